"""Drawn calls: any operation takes them, and they fit a candidate of fixed geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.crosscheck.candidates import mismatch
from senumpy.crosscheck.strategy import calls
from senumpy.verify import OPS
from senumpy.verify.calls import results
from senumpy.verify.conduct import Restriction

# fmt: off
FIXED = [
    ("conv2d", Restriction({"w": (6, 2, 3, 2), "b": (6,)},
                           options={"groups": 2, "stride": 2, "padding": 0, "dilation": (1, 2)})),
    ("conv2d", Restriction({"w": (4, None, 3, 3)}, absent=("b",), options={"padding": 1})),
    ("conv2d", Restriction(options={"stride": 2, "padding": 0, "dilation": 1, "groups": 1})),
    ("conv2d", Restriction(options={"groups": 3})),
    ("linear", Restriction({"w": (3, 4), "b": (3,)}, present=("b",))),
    ("batchnorm2d", Restriction({"gamma": (5,), "beta": (5,)}, options={"eps": 1e-3})),
    ("batchnorm2d_inference", Restriction(dict.fromkeys(("gamma", "beta", "mean", "var"), (3,)))),
    ("squeeze_excite", Restriction({"w1": (2, 8), "b1": (2,), "w2": (8, 2), "b2": (8,)},
                                   options={"gate": "sigmoid", "squeeze": "avg"})),
    ("excitation", Restriction({"w1": (2, 8), "w2": (8, 2)}, absent=("b1", "b2"))),
    ("max_pool2d", Restriction(options={"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": False})),
    ("avg_pool2d", Restriction(options={"kernel": (5, 4)})),
    ("conv_bn_relu", Restriction({"w": (4, 3, 3, 3), "gamma": (4,), "beta": (4,)}, options={"padding": 1})),
    ("residual_tail", Restriction({"gamma": (4,), "beta": (4,)}, absent=("w1", "b1", "w2", "b2"))),
    ("se_add", Restriction({"w1": (1, 4), "w2": (4, 1)}, absent=("b1", "b2"))),
    ("channel_shuffle", Restriction(options={"groups": 4})),
    ("pad_shortcut", Restriction(options={"channels": 3, "stride": 2})),
    ("softmax_cross_entropy", Restriction({"logits": (None, 7)}, options={"label_smoothing": 0.1})),
    ("scale", Restriction({"u": (None, 3, None, None)})),
]
# fmt: on


@pytest.mark.parametrize("op", OPS)
@given(data=st.data())
def test_operations_take_what_is_drawn(op, data):
    call = data.draw(calls(op))
    with np.errstate(all="ignore"):
        found = results(call, np.float64)
    assert all(a is None or np.isfinite(a).all() for a in found.values())
    for array in call.floats():
        assert np.array_equal(array, array.astype(np.float32))
    assert len(call.layouts) == len(call.floats())


@pytest.mark.parametrize(("op", "restriction"), FIXED, ids=str)
@given(data=st.data())
def test_calls_fit_a_restriction(op, restriction, data):
    call = data.draw(calls(op, restriction=restriction))
    assert mismatch(restriction, call) == ""
    with np.errstate(all="ignore"):
        results(call, np.float64)


def test_sizes_that_are_open_vary():
    seen = set()

    @given(calls("conv2d", restriction=FIXED[0][1]))
    def look(call):
        seen.add(call.args[0].shape)

    look()
    assert len(seen) > 3
    assert {shape[1] for shape in seen} == {4}
