"""What a call with bad arguments gets: an error that names the argument, what it is and what is wanted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.strategies import OPS


def ones(*shape):
    return np.ones(shape)


X = ones(2, 4, 5, 5)
V = ones(4)
SE = (ones(2, 4), ones(2), ones(4, 2), V)
WEIGHTS = dict(zip(("w1", "b1", "w2", "b2"), SE, strict=True))
LABELS = np.array([0, 1])

# One good call of each operation: arguments by name, options. The first argument has to be a float array.
GOOD = {
    "conv2d": ({"x": X, "w": ones(6, 4, 3, 3), "b": ones(6)}, {}),
    "linear": ({"x": ones(2, 3), "w": ones(4, 3), "b": V}, {}),
    "batchnorm2d": ({"x": X, "gamma": V, "beta": V}, {}),
    "batchnorm2d_inference": ({"x": X, "gamma": V, "beta": V, "mean": V, "var": V}, {}),
    "relu": ({"x": X}, {}),
    "sigmoid": ({"x": X}, {}),
    "tanh": ({"x": X}, {}),
    "max_pool2d": ({"x": X}, {"kernel": 3}),
    "avg_pool2d": ({"x": X}, {"kernel": 3}),
    "global_avg_pool": ({"x": X}, {}),
    "global_max_pool": ({"x": X}, {}),
    "squeeze": ({"u": X}, {}),
    "excitation": ({"z": ones(2, 4), **WEIGHTS}, {}),
    "scale": ({"u": X, "s": ones(2, 4)}, {}),
    "squeeze_excite": ({"u": X, **WEIGHTS}, {}),
    "residual_add": ({"branch": X, "shortcut": X}, {}),
    "pad_shortcut": ({"x": X}, {"channels": 8}),
    "concat": ({"xs": (X, X)}, {}),
    "channel_shuffle": ({"x": X}, {"groups": 2}),
    "dropout": ({"x": X}, {"rng": np.random.default_rng(0)}),
    "shake": ({"a": X, "b": X}, {"alpha": (0.5, 0.5)}),
    "softmax_cross_entropy": ({"logits": ones(2, 3), "labels": LABELS}, {}),
    "conv_bn_relu": ({"x": X, "w": ones(4, 4, 3, 3), "gamma": V, "beta": V}, {}),
    "conv_bn_relu_inference": (
        {"x": X, "w": ones(4, 4, 3, 3), "gamma": V, "beta": V, "mean": V, "var": V},
        {},
    ),
    "residual_tail": (
        {"c": X, "gamma": V, "beta": V, **WEIGHTS, "shortcut": X},
        {},
    ),
    "residual_tail_inference": (
        {
            "c": X, "gamma": V, "beta": V, "mean": V, "var": V, **WEIGHTS, "shortcut": X,
        },
        {},
    ),
    "bn_relu_se": ({"c": X, "gamma": V, "beta": V, **WEIGHTS}, {}),
    "concat_se": ({"xs": (X[:, :1], X[:, 1:]), **WEIGHTS}, {}),
    "se_add": ({"u": X, **WEIGHTS, "shortcut": X}, {}),
}  # fmt: skip
ANY_RANK = {"relu", "sigmoid", "tanh", "dropout", "concat"}
FLOATS = [
    (op, name) for op, (args, _) in GOOD.items() for name in args if name not in ("labels", "xs")
]  # all float arguments of all operations


def call(engine, op, changed, **options):
    args, good_options = GOOD[op]
    assert set(changed) <= set(args)
    args = {**args, **changed}
    return getattr(engine, f"{op}_forward")(*args.values(), **{**good_options, **options})


def refused(engine, op, changed, error, *words, **options):
    """Assert that the call fails and that the message has all the words."""
    with pytest.raises(error) as caught:
        call(engine, op, changed, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize("op", OPS)
def test_the_good_calls_are_good(engine, op):
    y, cache = call(engine, op, {})
    getattr(engine, f"{op}_backward")(np.ones_like(y), cache)


@pytest.mark.parametrize("dtype", ["int64", "float16", "bool"])
@pytest.mark.parametrize(("op", "name"), FLOATS)
def test_dtypes_other_than_float32_and_float64(engine, op, name, dtype):
    value = GOOD[op][0][name].astype(dtype)
    refused(engine, op, {name: value}, TypeError, f"{name}: got dtype {dtype}, wanted float")


@pytest.mark.parametrize(
    ("op", "name"),
    [(op, name) for op, name in FLOATS if len(GOOD[op][0]) > 1 and op != "softmax_cross_entropy"],
)
def test_mixed_dtypes(engine, op, name):
    refused(engine, op, {name: GOOD[op][0][name].astype(np.float32)}, TypeError, "float32", "float64")


@pytest.mark.parametrize(("op", "name"), FLOATS)
def test_what_is_no_array(engine, op, name):
    refused(engine, op, {name: [[1.0, 2.0]]}, (TypeError, ValueError), "list", "array")


@pytest.mark.parametrize(("op", "name"), [(op, name) for op, name in FLOATS if op not in ANY_RANK])
def test_wrong_ranks(engine, op, name):
    value = GOOD[op][0][name][None]
    refused(engine, op, {name: value}, ValueError, f"{name}: got shape {value.shape}, wanted (")


@pytest.mark.parametrize(("op", "name"), [case for case in FLOATS if case[0] in ANY_RANK])
def test_no_axis_at_all(engine, op, name):
    refused(engine, op, {name: np.array(1.0)}, ValueError, f"{name}: got shape ()", "at least one axis")


@pytest.mark.parametrize("op", [op for op in OPS if op not in ("concat", "concat_se")])
def test_empty_batches(engine, op):
    args = GOOD[op][0]
    name = next(iter(args))
    empty = {
        key: value[:0]
        for key, value in args.items()
        if key in (name, "shortcut", "s", "labels")  # those that have a batch axis
    }
    shape = re.escape(str(args[name][:0].shape))
    with pytest.raises(ValueError, match=rf"{name}: got shape {shape}"):
        call(engine, op, empty)


MISMATCHES = [
    ("conv2d", "w", (6, 3, 3, 3), "(6, 4, 3, 3)"),
    ("conv2d", "b", (5,), "(6,)"),
    ("linear", "w", (4, 2), "(O, 3)"),
    ("linear", "b", (3,), "(4,)"),
    ("batchnorm2d", "gamma", (5,), "(4,)"),
    ("batchnorm2d", "beta", (3,), "(4,)"),
    ("batchnorm2d_inference", "gamma", (1,), "(4,)"),
    ("batchnorm2d_inference", "mean", (5,), "(4,)"),
    ("batchnorm2d_inference", "var", (5,), "(4,)"),
    ("excitation", "w1", (2, 5), "(h, 4)"),
    ("excitation", "b1", (4,), "(2,)"),
    ("excitation", "w2", (2, 4), "(4, 2)"),
    ("excitation", "b2", (2,), "(4,)"),
    ("scale", "s", (2, 5), "(2, 4)"),
    ("scale", "s", (1, 4), "(2, 4)"),
    ("squeeze_excite", "w1", (2, 5), "(h, 4)"),
    ("squeeze_excite", "b1", (4,), "(2,)"),
    ("squeeze_excite", "w2", (4, 3), "(4, 2)"),
    ("squeeze_excite", "b2", (2,), "(4,)"),
    ("residual_add", "shortcut", (2, 4, 5, 1), "(2, 4, 5, 5)"),
    ("shake", "b", (2, 4, 5, 1), "(2, 4, 5, 5)"),
    ("softmax_cross_entropy", "labels", None, "(2,)"),
    ("conv_bn_relu", "w", (4, 5, 3, 3), "(4, 4, 3, 3)"),
    ("conv_bn_relu", "gamma", (5,), "(4,)"),
    ("conv_bn_relu_inference", "var", (5,), "(4,)"),
    ("residual_tail", "beta", (5,), "(4,)"),
    ("residual_tail", "w1", (2, 5), "(h, 4)"),
    ("residual_tail", "shortcut", (1, 4, 5, 5), "(2, 4, 5, 5)"),
    ("residual_tail_inference", "mean", (5,), "(4,)"),
    ("residual_tail_inference", "shortcut", (2, 4, 1, 1), "(2, 4, 5, 5)"),
]


@pytest.mark.parametrize(("op", "name", "shape", "wanted"), MISMATCHES)
def test_shapes_that_do_not_match(engine, op, name, shape, wanted):
    value = np.array([0, 1, 2]) if shape is None else np.ones(shape)  # nothing may be broadcast in silence
    refused(engine, op, {name: value}, ValueError, f"{name}: got shape {value.shape}", f"wanted {wanted}")


OPTIONS = [
    ("conv2d", {"groups": 0}, ValueError, "groups: got 0"),
    ("conv2d", {"groups": -1}, ValueError, "groups: got -1"),
    ("conv2d", {"groups": 3}, ValueError, "groups: got 3, wanted a divisor of C = 4"),
    ("conv2d", {"groups": 4}, ValueError, "and of O = 6"),
    ("conv2d", {"groups": 2.0}, TypeError, "groups: got 2.0, wanted an int"),
    ("conv2d", {"groups": True}, TypeError, "groups: got True, wanted an int"),
    ("conv2d", {"stride": 0}, ValueError, "stride: got 0, wanted at least 1"),
    ("conv2d", {"stride": (1, 0)}, ValueError, "stride: got (1, 0), wanted at least 1"),
    ("conv2d", {"stride": 1.5}, TypeError, "stride: got 1.5, wanted an int or a pair"),
    ("conv2d", {"stride": (1, 2, 3)}, TypeError, "stride: got (1, 2, 3)"),
    ("conv2d", {"padding": -1}, ValueError, "padding: got -1, wanted at least 0"),
    ("conv2d", {"padding": "same"}, TypeError, "padding: got 'same'"),
    ("conv2d", {"dilation": 0}, ValueError, "dilation: got 0, wanted at least 1"),
    ("conv2d", {"dilation": 3}, ValueError, "kernel: got a window of 7 entries on axis H, wanted at most 5"),
    ("batchnorm2d", {"eps": -1.0}, ValueError, "eps: got -1.0"),
    ("batchnorm2d", {"eps": float("nan")}, ValueError, "eps: got nan"),
    ("batchnorm2d_inference", {"eps": -1.0}, ValueError, "eps: got -1.0"),
    *(
        (f"{kind}_pool2d", options, error, message)
        for kind in ("max", "avg")
        for options, error, message in [
            ({"kernel": 0}, ValueError, "kernel: got 0, wanted at least 1"),
            ({"kernel": 6}, ValueError, "kernel: got a window of 6 entries on axis H, wanted at most 5"),
            ({"kernel": (1, 6)}, ValueError, "entries on axis W"),
            ({"kernel": "3"}, TypeError, "kernel: got '3'"),
            ({"stride": 0}, ValueError, "stride: got 0"),
            ({"padding": -1}, ValueError, "padding: got -1"),
            ({"padding": 2}, ValueError, "padding: got 2, wanted at most half of the kernel 3"),
            ({"kernel": (3, 1), "padding": 1}, ValueError, "padding: got 1, wanted at most half"),
        ]
    ),
    ("squeeze", {"operator": "mean"}, ValueError, 'got \'mean\', wanted "avg" or "max"'),
    ("excitation", {"gate": "softmax"}, ValueError, "gate: got 'softmax', wanted \"sigmoid\""),
    ("squeeze_excite", {"squeeze": "sum"}, ValueError, "squeeze: got 'sum'"),
    ("squeeze_excite", {"gate": "Sigmoid"}, ValueError, "gate: got 'Sigmoid'"),
    ("residual_tail", {"squeeze": "sum"}, ValueError, "squeeze: got 'sum'"),
    ("residual_tail_inference", {"gate": ""}, ValueError, "gate: got ''"),
    ("pad_shortcut", {"channels": 3}, ValueError, "channels: got 3, wanted at least the 4 channels of x"),
    ("pad_shortcut", {"stride": 0}, ValueError, "stride: got 0"),
    ("concat", {"axis": 4}, ValueError, "axis: got 4, wanted one from -4 to 3"),
    ("concat", {"axis": -5}, ValueError, "axis: got -5"),
    ("channel_shuffle", {"groups": 3}, ValueError, "groups: got 3, wanted a divisor of C = 4"),
    ("channel_shuffle", {"groups": 0}, ValueError, "groups: got 0"),
    ("channel_shuffle", {"groups": 2.0}, TypeError, "groups: got 2.0"),
    ("shake", {"alpha": (0.5,)}, ValueError, "alpha: got shape (1,), wanted (2,)"),
    ("shake", {"alpha": (0.5, 0.5), "beta": 0.5}, ValueError, "beta: got shape (), wanted (2,)"),
    ("dropout", {"p": 1.0}, ValueError, "p: got 1.0, wanted 0 <= p < 1"),
    ("dropout", {"p": -0.1}, ValueError, "p: got -0.1"),
    ("dropout", {"p": float("nan")}, ValueError, "p: got nan"),
    ("softmax_cross_entropy", {"label_smoothing": 1.1}, ValueError, "label_smoothing: got 1.1"),
    ("softmax_cross_entropy", {"label_smoothing": -0.1}, ValueError, "label_smoothing: got -0.1"),
    ("conv_bn_relu", {"groups": 3}, ValueError, "groups: got 3"),
    ("conv_bn_relu", {"eps": -1.0}, ValueError, "eps: got -1.0"),
]


@pytest.mark.parametrize(("op", "options", "error", "message"), OPTIONS)
def test_options(engine, op, options, error, message):
    refused(engine, op, {}, error, message, **options)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 3]), ValueError, "labels: got 3, wanted 0 to 2 for 3 classes"),
        (np.array([-1, 0]), ValueError, "labels: got -1"),
        (np.array([0.0, 1.0]), TypeError, "labels: got dtype float64, wanted ints"),
        (np.array([True, False]), TypeError, "labels: got dtype bool, wanted ints"),
        ([0, 1], TypeError, "labels: got list"),
        (np.array([[0], [1]]), ValueError, "labels: got shape (2, 1), wanted (2,)"),
    ],
)
def test_labels(engine, labels, error, message):
    refused(engine, "softmax_cross_entropy", {"labels": labels}, error, message)


@pytest.mark.parametrize(
    ("xs", "error", "message"),
    [
        ((), ValueError, "xs: got no arrays"),
        ((X, ones(2, 4, 5, 6)), ValueError, "xs[1]: got shape (2, 4, 5, 6), wanted (2, any, 5, 5)"),
        ((X, ones(2, 4, 5)), ValueError, "xs[1]: got shape (2, 4, 5)"),
        ((X, X.astype(np.float32)), TypeError, "xs[1]: got dtype float32, wanted float64 like xs[0]"),
        ((X.astype(int), X), TypeError, "xs[0]: got dtype int64"),
        ((X, X[:, :0]), ValueError, "xs[1]: got shape (2, 0, 5, 5)"),
    ],
)
def test_parts_of_a_concatenation(engine, xs, error, message):
    refused(engine, "concat", {"xs": xs}, error, message)


@pytest.mark.parametrize(("op", "name"), [("batchnorm2d", "x"), ("residual_tail", "c"), ("bn_relu_se", "c")])
def test_one_value_a_channel_has_no_variance(engine, op, name):
    changed = {key: ones(1, 4, 1, 1) for key in (name, "shortcut") if key in GOOD[op][0]}
    refused(
        engine,
        op,
        changed,
        ValueError,
        f"{name}: got shape (1, 4, 1, 1), one value per channel; wanted N*H*W > 1",
    )


@pytest.mark.parametrize("op", ["residual_tail", "residual_tail_inference"])
@pytest.mark.parametrize("missing", [("w1",), ("w2",), ("w1", "w2"), ("w1", "b1", "w2")])
def test_half_of_an_se_block(engine, op, missing):
    refused(engine, op, dict.fromkeys(missing), ValueError, "w1, w2", "all four None")


@pytest.mark.parametrize("op", OPS)
def test_upstream_gradients_of_another_shape_or_dtype(engine, op):
    y, cache = call(engine, op, {})
    backward = getattr(engine, f"{op}_backward")
    with pytest.raises(ValueError, match=r"d(y|loss): got shape \("):
        backward(np.ones((*y.shape, 1)), cache)
    if op != "softmax_cross_entropy":
        with pytest.raises(TypeError, match=r"dy: got dtype float32, wanted float64"):
            backward(np.ones(y.shape, np.float32), cache)
        with pytest.raises(TypeError, match=r"dy: got dtype int64, wanted float32 or float64"):
            backward(np.ones(y.shape, int), cache)
        with pytest.raises(ValueError, match=r"dy: got shape .*, wanted"):
            backward(np.ones((1, *y.shape[1:])), cache)
