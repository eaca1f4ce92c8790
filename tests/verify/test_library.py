"""The table of operations, the library's own gradients, and strangers' functions and files."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import json
import re

import numpy as np
import pytest

import senumpy.ops
import senumpy.verify
from senumpy import InputError, ops
from senumpy.verify import OPS, check_file, check_like, check_op, format_table, op_names


def test_the_table_names_every_operation():
    forwards = {name.removesuffix("_forward") for name in vars(senumpy.ops) if name.endswith("_forward")}
    assert forwards == set(OPS)


@pytest.mark.parametrize("name", op_names())
def test_the_librarys_gradients(name):
    report = check_op(name)
    assert report.ok, "\n".join(report.reasons)
    assert report.complex_step is not None
    assert report.central is not None
    assert report.complex_step < 1e-12
    assert report.central < 1e-8
    assert all(
        a.verdict != "failed" and a.method == "complex step" for r in report.reports for a in r.arguments
    )
    assert report.kinks > 0 or not any(case.kink for case in OPS[name].cases())
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("name", op_names())
def test_cases_are_drawn_by_seed_and_reach_every_option(name):
    spec = OPS[name]
    first, again, other = (spec.cases(seed=seed) for seed in (0, 0, 1))
    assert [case.name for case in first] == [case.name for case in other]
    assert len({case.name for case in first}) == len(first)
    flat = [
        [np.concatenate([np.ravel(a) for a in leaves(case)]) for case in drawn]
        for drawn in (first, again, other)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(flat[0], flat[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(flat[0], flat[2], strict=True))
    parameters = inspect.signature(spec.forward).parameters.values()
    options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert options == set().union(*(case.kwargs for case in first)) - {"operator"} | (options & {"operator"})
    assert all(leaf.dtype == np.float32 for case in spec.cases(dtype=np.float32) for leaf in leaves(case)
               if leaf.dtype.kind == "f")  # fmt: skip


def leaves(case):
    for argument in case.args:
        yield from argument if isinstance(argument, list) else [] if argument is None else [argument]


@pytest.mark.parametrize("name", [name for name in op_names() if OPS[name].pattern])
def test_patterns_tell_the_pieces_apart(name):
    """Between two points of one pattern the complex step of the library's forward must not jump."""
    spec = OPS[name]
    for case in spec.cases():
        assert spec.pattern is not None
        masks = spec.pattern(case.args, case.kwargs)
        assert all(mask.dtype == bool or mask.dtype.kind == "i" for mask in masks)
        assert all(mask.any() for mask in masks if mask.dtype == bool)


def test_the_example_in_the_package_docstring():
    assert doctest.testmod(senumpy.verify).failed == 0


def test_table_is_narrow_and_has_a_row_an_operation():
    rows = [check_op(name) for name in ("linear", "relu")]
    lines = format_table(rows).splitlines()
    assert [line.split()[0] for line in lines] == ["operation", "linear", "relu"]
    assert max(map(len, lines)) <= 80


def test_unknown_names_and_cases():
    with pytest.raises(InputError, match="did you mean 'conv2d'"):
        check_op("conv2")
    with pytest.raises(InputError, match="relu has no case 9: cases are 0 to 3"):
        check_op("relu", case=9)


def test_like_passes_the_librarys_own_and_any_names_and_caches():
    def forward(X, weight, bias=None):
        return X @ weight.T + (0 if bias is None else bias), {"X": X, "weight": weight, "bias": bias}

    def backward(dout, cache):
        db = None if cache["bias"] is None else dout.sum(0)
        return [dout @ cache["weight"], dout.T @ cache["X"], db]

    report = check_like("linear", forward, backward)
    assert report.ok, report
    assert report.cases == len(OPS["linear"].cases())
    assert check_like("linear").ok


def test_like_compares_the_forward_with_the_reference():
    """A wrong forward with the backward that belongs to it: its gradients agree with each other."""

    def forward(x):
        y, cache = ops.avg_pool2d_forward(x, kernel=2)
        return y + 1e-9, cache

    def pool(x, **options):
        y, cache = ops.avg_pool2d_forward(x, **options)
        return y + 1e-9, cache

    report = check_like("avg_pool2d", pool)
    assert report.verdict == "failed"
    assert re.match(r"forward's result at \(.*\): wanted", report.reasons[0])
    assert all(a.verdict == "passed" for a in report.arguments)


def test_like_sees_a_variance_that_cancels():
    def forward(x, gamma, beta, *, eps=1e-5):
        axes = (0, 2, 3)
        mean = x.mean(axes, keepdims=True)
        var = (x * x).mean(axes, keepdims=True) - mean * mean
        _, cache = ops.batchnorm2d_forward(x, gamma, beta, eps=eps)
        return gamma[:, None, None] * (x - mean) / np.sqrt(var + eps) + beta[:, None, None], cache

    report = check_like("batchnorm2d", forward)
    assert report.verdict == "failed"
    assert "cancels" in report.case


def test_like_names_a_wrong_value_before_bad_manners():
    """The dtype is wrong in every case, the smoothing in the second: the smoothing is what is said."""

    def forward(logits, labels, *, label_smoothing=0.0):
        K = logits.shape[1]
        target = np.full(logits.shape, label_smoothing / (K - 1))  # float64 whatever the logits are
        target[np.arange(len(labels)), labels] = 1 - label_smoothing
        shifted = logits - logits.real.max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return -(target * log_p).sum() / len(labels), (np.exp(log_p), target)

    def backward(dloss, cache):
        p, target = cache
        return dloss * (p - target) / len(p)

    report = check_like("softmax_cross_entropy", forward, backward)
    assert report.case == "smoothing 0.1"
    assert report.reasons[0].startswith("forward's result: wanted")


def test_like_sees_the_dropped_gate_path():
    def backward(dy, cache):
        paths = ops.squeeze_excite_backward_paths(dy, cache)
        return ops.squeeze_excite_backward(dy, cache)._replace(du=paths.through_scale)

    for case in range(len(OPS["squeeze_excite"].cases())):
        report = check_like("squeeze_excite", None, backward, case=case)
        assert [a.name for a in report.arguments if a.verdict == "failed"] == ["u"]


def negated_backward(dy, cache):
    return -ops.tanh_backward(dy, cache).dx


FILE = """
import numpy as np

def forward(x, w, b=None):
    return x @ w.T + (0 if b is None else b), (x, w, b)

def backward(dy, cache):
    x, w, b = cache
    return dy @ w, dy.T @ x, None if b is None else dy.sum(0)

def wrong(dy, cache):
    dx, dw, db = backward(dy, cache)
    return dx, dw, None if db is None else db / len(dy)
"""


def printed(code, **names):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, names)
    return out.getvalue().strip()


def test_reproduction_lines_run(tmp_path):
    report = check_like("tanh", None, negated_backward, seed=3)
    assert report.verdict == "failed"
    assert printed(report.reproduce, negated_backward=negated_backward).startswith(
        "negated_backward as tanh: failed"
    )
    file = tmp_path / "my file.py"
    file.write_text(FILE)
    report = check_file(f"{file}:forward,wrong", "linear", seed=2)
    again = printed(report.reproduce)
    assert "dividing" in again or "N = 3 times too small" in " ".join(again.split())
    assert "passed" in printed(check_op("relu", case=1).reports[0].reproduce)


def test_files(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    assert check_file(f"{file}:forward,backward", "linear").ok
    report = check_file(f"{file}:forward, wrong", "linear")
    assert report.verdict == "failed"
    assert "N = 3 times too small" in report.arguments[2].hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py"]


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        (FILE, "missing.py:forward,backward", "missing.py: no such file"),
        (FILE, "mine.py:forward", "wanted FILE.py:FORWARD,BACKWARD"),
        (FILE, "mine.py", "wanted FILE.py:FORWARD,BACKWARD"),
        (FILE, "mine.py:forward,backwards", "did you mean 'backward'"),
        ("def f(:\n", "mine.py:f,b", "mine.py, line 1: syntax error"),
        ("1 / 0\n", "mine.py:f,b", "running it raised ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "mine.py:f,b", "running it raised SystemExit: 3"),
        ("import no_such_module\n", "mine.py:f,b", "No module named 'no_such_module'"),
        ("forward = 1\n", "mine.py:forward,b", "unknown function 'forward'"),
    ],
)
def test_files_that_cant_be_used(tmp_path, content, target, message):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(InputError) as caught:
        check_file(f"{tmp_path}/{target}", "linear")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_without_py_and_unknown_operation(tmp_path):
    (tmp_path / "mine.txt").write_text(FILE)
    with pytest.raises(InputError, match=r"has to end in \.py"):
        check_file(f"{tmp_path / 'mine.txt'}:forward,backward", "linear")
    with pytest.raises(InputError, match="unknown operation 'lineal'"):
        check_file(f"{tmp_path / 'mine.py'}:forward,backward", "lineal")
