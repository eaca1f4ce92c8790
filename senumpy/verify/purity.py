"""What a pair of pure functions owes its caller, whatever it computes.

Nothing handed in is changed, nothing handed out shares memory with what was handed in, equal calls give
equal results, float32 stays float32, and the order of the numbers in memory makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.verify.candidate import Candidate, Values, walk_arrays
from senumpy.verify.report import Finding
from senumpy.verify.slots import CandidateError

Array = NDArray[Any]
SAME = 1e-9  # results of one computation in another memory order: sums in another order, no more


@dataclass(frozen=True)
class Call:
    """One call whose results are known.

    Attributes
    ----------
    candidate : Candidate
    values : dict
        Its arrays, float64.
    dy : array
        An upstream gradient.
    y : array
        forward's result.
    gradients : dict
        backward's results.
    """

    candidate: Candidate
    values: Values
    dy: Array
    y: Array
    gradients: Values

    def ordinary(self, name: str) -> float:
        """Return the size that a gradient would have if nothing cancelled: |dy| |y| / |x|."""
        x, y, dy = (float(np.abs(a).max(initial=0)) for a in (self.values[name], self.y, self.dy))
        return dy * y / (x or 1.0)


def check_purity(call: Call) -> list[Finding]:
    """Return one finding a property; an exception within one check is that check's failure."""
    checks: dict[str, Callable[[Call], Iterator[str]]] = {
        "no mutation": _mutations,
        "no aliasing": _aliases,
        "repeatable": _differences_between_runs,
        "backward twice": _differences_between_backwards,
        "dtype": _wrong_dtypes,
        "memory order": _order_dependence,
        "read-only arrays": _read_only,
    }
    return [_finding(name, check, call) for name, check in checks.items()]


def _finding(name: str, check: Callable[[Call], Iterator[str]], call: Call) -> Finding:
    try:
        messages = list(check(call))
    except CandidateError as error:
        messages = [f"{error} (where checked: {name})"]
    return Finding(name, "failed" if messages else "passed", "; ".join(messages))


def _copies(values: Values) -> Values:
    return {name: array.copy(order="K") for name, array in values.items()}


def _mutations(call: Call) -> Iterator[str]:
    values, dy = _copies(call.values), call.dy.copy()
    y, cache = call.candidate.forward(values)
    for name, array in values.items():
        if not np.array_equal(array, call.values[name]):
            yield f"forward changes its argument {name}"
    kept = [(path, array, array.copy()) for path, array in walk_arrays(cache, "cache")]
    y_before, before = y.copy(), _copies(values)
    call.candidate.backward(dy, cache)
    if not np.array_equal(dy, call.dy):
        yield "backward changes the upstream gradient"
    for path, array, copy in kept:
        if not np.array_equal(array, copy, equal_nan=array.dtype.kind in "fc"):
            yield f"backward changes {path}"
    for name, array in values.items():
        if not np.array_equal(array, before[name]):
            yield f"backward changes the argument {name}"
    if not np.array_equal(y, y_before):
        yield "backward changes forward's result"


def _aliases(call: Call) -> Iterator[str]:
    values, dy = _copies(call.values), call.dy.copy()
    y, cache = call.candidate.forward(values)
    yield from (f"forward's result shares memory with {name}" for name in _sharing(y, values))
    gradients = call.candidate.backward(dy, cache)
    for name, gradient in gradients.items():
        others = {"the upstream gradient": dy, "forward's result": y, **values}
        others |= dict(walk_arrays(cache, "cache"))
        shared = _sharing(gradient, others)
        later = {
            f"d{other}": gradients[other] for other in list(gradients)[list(gradients).index(name) + 1 :]
        }
        yield from (f"d{name} shares memory with {other}" for other in shared[:1] + _sharing(gradient, later))


def _sharing(array: Array, others: Values) -> list[str]:
    return [name for name, other in others.items() if array.size and _shares(array, other)]


def _shares(a: Array, b: Array) -> bool:
    # The exact question can be very hard for strided arrays: it is asked only where the ranges overlap.
    return np.may_share_memory(a, b) and np.shares_memory(a, b)


def _differences_between_runs(call: Call) -> Iterator[str]:
    for _ in range(2):
        y, cache = call.candidate.forward(_copies(call.values))
        gradients = call.candidate.backward(call.dy.copy(), cache)
        yield from _unlike(call, y, gradients, "a second equal call gives another")
        if not _alike(y, call.y):
            return


def _differences_between_backwards(call: Call) -> Iterator[str]:
    _, cache = call.candidate.forward(_copies(call.values))
    for _ in range(2):
        gradients = call.candidate.backward(call.dy.copy(), cache)
    for name, gradient in gradients.items():
        if not _alike(gradient, call.gradients[name], call.ordinary(name)):
            yield f"backward called twice on one cache gives another d{name}"


def _wrong_dtypes(call: Call) -> Iterator[str]:
    for dtype in (np.float64, np.float32):
        values = {name: array.astype(dtype) for name, array in call.values.items()}
        y, cache = call.candidate.forward(values)
        name = np.dtype(dtype).name
        if y.dtype != dtype:
            yield f"forward turns {name} into {y.dtype}"
        gradients = call.candidate.backward(call.dy.astype(dtype), cache)
        for leaf, gradient in gradients.items():
            if gradient.dtype != dtype:
                yield f"d{leaf} is {gradient.dtype} for {name} arguments"


def _order_dependence(call: Call) -> Iterator[str]:
    layouts: dict[str, Callable[[Array], Array]] = {
        "Fortran order": lambda array: array.copy(order="F"),
        "channels-last memory": _channels_last,
        "strided memory": _strided,
        "reversed memory": _reversed,
    }
    for layout, rearrange in layouts.items():
        values = {name: rearrange(array) for name, array in call.values.items()}
        try:
            y, cache = call.candidate.forward(values)
            gradients = call.candidate.backward(rearrange(call.dy), cache)
        except CandidateError as error:
            yield f"{error} (arrays in {layout})"
            continue
        yield from _unlike(call, y, gradients, f"{layout} gives another")


def _channels_last(array: Array) -> Array:
    """Return an array of the same shape whose axis 1 is innermost in memory."""
    if array.ndim < 3:
        return array.copy()
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)


def _strided(array: Array) -> Array:
    """Return a view of every second number of a larger array."""
    if not array.ndim:
        return array.copy()
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _reversed(array: Array) -> Array:
    """Return a view with negative strides."""
    every = (slice(None, None, -1),) * array.ndim
    return array[every].copy()[every]


def _read_only(call: Call) -> Iterator[str]:
    values, dy = _copies(call.values), call.dy.copy()
    for array in (*values.values(), dy):
        array.flags.writeable = False
    y, cache = call.candidate.forward(values)
    yield from _unlike(call, y, call.candidate.backward(dy, cache), "read-only memory gives another")


def _unlike(call: Call, y: Array, gradients: Values, what: str) -> Iterator[str]:
    if not _alike(y, call.y):
        yield f"{what} result"
    for name, gradient in gradients.items():
        if not _alike(gradient, call.gradients[name], call.ordinary(name)):
            yield f"{what} d{name}"


def _alike(a: Array, b: Array, ordinary: float = 0.0) -> bool:
    """Whether two results are equal but for the order of summation of terms of an ordinary size."""
    if a.shape != b.shape:
        return False
    return bool(np.abs(a - b).max(initial=0) <= SAME * np.abs(b).max(initial=0) + 1e-12 * ordinary)
