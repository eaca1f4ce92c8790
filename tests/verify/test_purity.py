"""Each broken promise of a pure pair is reported under its name, and nothing raises out of the checker."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy.verify import check_gradients


def broken(report, check):
    """The message of the one finding that should fail; numbers are right, so nothing else may."""
    assert report.verdict == "failed", report
    failed = {f.check: f.message for f in report.findings if f.verdict == "failed"}
    assert check in failed, failed
    return failed[check]


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, 4)) + 3


def square(x):
    return x * x, x


def test_forward_changes_its_argument(x):
    def forward(x):
        x *= x
        return x.copy(), np.sqrt(x)

    message = broken(check_gradients(forward, lambda dy, root: 2 * dy * root, (x,)), "no mutation")
    assert message == "forward changes its argument x"


def test_backward_changes_the_upstream_gradient(x):
    def backward(dy, x):  # deep-learning-from-scratch's ReLU does this
        dy *= 2 * x
        return dy.copy()

    assert "upstream" in broken(check_gradients(square, backward, (x,)), "no mutation")


def test_backward_changes_its_cache(x):
    def forward(x):
        return x * x, {"saved": [x.copy()]}

    def backward(dy, cache):
        saved = cache["saved"][0]
        saved *= 2
        return dy * saved

    report = check_gradients(forward, backward, (x,))
    assert broken(report, "no mutation") == "backward changes cache['saved'][0]"
    assert "another dx" in broken(report, "backward twice")


def test_backward_changes_forwards_argument_and_result(x):
    def forward(x):
        y = x * x
        return y, (x, y)

    def backward(dy, cache):
        x, y = cache
        y[...] = 2 * dy * x
        return y.copy()

    assert "forward's result" in broken(check_gradients(forward, backward, (x,)), "no mutation")


def test_result_that_is_a_view_of_the_argument(x):
    report = check_gradients(lambda x: (x.reshape(-1), x.shape), lambda dy, s: dy.reshape(s).copy(), (x,))
    assert broken(report, "no aliasing") == "forward's result shares memory with x"


def test_gradient_that_is_the_upstream_gradient(x):
    report = check_gradients(lambda x: (x + 1, None), lambda dy, _: dy, (x,))
    assert broken(report, "no aliasing") == "dx shares memory with the upstream gradient"


def test_two_gradients_in_one_memory(x):
    def backward(dy, _):
        gradient = dy.copy()
        return gradient, gradient

    report = check_gradients(lambda x, s: (x + s, None), backward, (x, x + 1))
    assert broken(report, "no aliasing") == "dx shares memory with ds"


def test_accumulation_between_calls(x):
    store = np.zeros_like(x)

    def backward(dy, x):
        store[...] += 1e-3
        return 2 * dy * x + store

    assert "another dx" in broken(check_gradients(square, backward, (x,)), "repeatable")


def test_randomness(x):
    noise = np.random.default_rng(0)

    def forward(x):
        return x * x + noise.standard_normal() * 1e-3, x

    assert "another result" in broken(check_gradients(forward, lambda dy, x: 2 * dy * x, (x,)), "repeatable")


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hard_coded_dtype(x, where, dtype):
    def forward(x):
        y = x * x
        return (y.astype(dtype) if where == "forward" and y.dtype.kind == "f" else y), x

    def backward(dy, x):
        dx = 2 * dy.astype(x.dtype) * x
        return dx.astype(dtype) if where == "backward" else dx

    message = broken(check_gradients(forward, backward, (x,)), "dtype")
    other = "float32" if dtype is np.float64 else "float64"
    assert other in message
    assert np.dtype(dtype).name in message


def test_order_of_memory(x):
    def forward(x):
        flat = np.ravel(x, order="K")  # the order that happens to be in memory
        return flat.reshape(x.shape) ** 2, x

    message = broken(check_gradients(forward, lambda dy, x: 2 * dy * x, (x,)), "memory order")
    assert "Fortran order gives another result" in message


def test_channels_last_upstream(rng):
    def backward(dy, x):
        if dy.strides[1] < dy.strides[3]:
            raise RuntimeError("contiguous memory expected")
        return 2 * dy * x

    report = check_gradients(square, backward, (rng.standard_normal((2, 3, 4, 5)),))
    message = broken(report, "memory order")
    assert "raised RuntimeError in backward: contiguous memory expected (arrays in channels-last" in message


def test_read_only_arguments(x):
    def forward(x):
        x += 1
        y = x * x
        x -= 1
        return y, x.copy()

    message = broken(check_gradients(forward, lambda dy, x: 2 * dy * (x + 1), (x,)), "read-only arrays")
    assert "raised ValueError in forward" in message


def test_batch_of_one(x):
    def forward(x):
        return np.squeeze(x * x), x

    report = check_gradients(forward, lambda dy, x: 2 * np.reshape(dy, x.shape) * x, (x,), batched=["x"])
    assert report.ok, report

    def careless(dy, x):
        return 2 * dy * x if x.shape[0] > 1 else 2 * dy[0] * x

    report = check_gradients(forward, careless, (x,), batched=["x"])
    assert "batch of one" in broken(report, "batch of one")


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda dy, c: 1 / 0, "raised ZeroDivisionError in backward: division by zero"),
        (lambda dy, c: exit("bye"), "raised SystemExit in backward: bye"),
        (lambda dy: dy, "raised TypeError in backward"),
        (lambda dy, c: None, "backward returned None, wanted 1 gradient: dx"),
        (lambda dy, c: (dy, dy), "backward returned 2 values, wanted 1 gradient: dx"),
        (lambda dy, c: (None,), "dx is None, wanted an array of shape (3, 4)"),
        (lambda dy, c: dy.sum(0), "dx has shape (4,), wanted (3, 4)"),
        (lambda dy, c: {"dz": dy}, "backward returned a dictionary of 'dz', wanted a key 'dx'"),
        (lambda dy, c: [[1.0], [1.0, 2.0]], "wanted 1 gradient"),
        (lambda dy, c: ("text",), "dx has dtype"),
        (lambda dy, c: np.full((3, 4), np.inf), "dx is inf at (0, 0)"),
    ],
)
def test_backward_that_breaks_the_contract(x, backward, message):
    report = check_gradients(square, backward, (x,))
    assert report.verdict == "failed"
    assert message in report.reasons[0]


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x.no_such_attribute, "raised AttributeError in forward"),
        (lambda x: x * x, "forward returned ndarray, wanted a pair (y, cache)"),
        (lambda x: (x > 0, x), "forward returned dtype bool, wanted floating point"),
        (lambda x: ([[1.0], [1.0, 2.0]], x), "forward's result is no array"),
        (lambda x: (np.log(-x), x), "forward's result is nan at (0, 0)"),
    ],
)
def test_forward_that_breaks_the_contract(x, forward, message):
    report = check_gradients(forward, lambda dy, x: dy, (x,))
    assert report.verdict == "failed"
    assert message in report.reasons[0]


def test_gradient_for_an_absent_argument(x):
    report = check_gradients(lambda x, b: (x * 1, None), lambda dy, _: (dy * 1, dy.sum(0)), (x, None))
    assert "db is an array of shape (4,), wanted None" in report.reasons[0]


def test_cache_may_be_anything(x):
    class Saved:
        def __init__(self, x):
            self.x, self.itself = x, self

    assert check_gradients(lambda x: (x * x, Saved(x)), lambda dy, c: 2 * dy * c.x, (x,)).ok
    assert check_gradients(lambda x: (x * x, lambda: x), lambda dy, c: 2 * dy * c(), (x,)).ok
