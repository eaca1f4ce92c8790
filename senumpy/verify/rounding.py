"""How far rounding may take a result: a bound from the dtype, the lengths of sums, and the call's condition.

A sum of n terms in floating point is the exact sum of terms that are each off by a relative

    gamma_n = n u / (1 - n u)   always                   (Higham 2002, "Accuracy and Stability", sec. 4.2)
    lambda sqrt(n) u            nearly always            (Higham & Mary 2019, "A new approach to
                                                          probabilistic rounding error analysis")

where u is the unit roundoff, half the distance from 1 to the next number: 2^-24 for float32, 2^-53 for
float64, and lambda a small number. A result is therefore right if it is what numbers give that are off by
delta = LAMBDA sqrt(L) u, L the longest sum of the operation and its gradients. How far that moves a result
depends on the call (that is its condition), and is measured: the reference runs in extended precision with
every argument, the upstream gradient, and every number that forward keeps for backward off by +-delta. The
bound on |got - want| is

    bound = ROOM spread + ROUND u max|want|        spread: the largest move in PAIRS pairs of opposite signs

so it is tight where the operation is well conditioned, and wide exactly where no implementation could do
better: a batch norm over two nearly equal values, a sum that cancels.

At a kink (ReLU at 0, a tie of a maximum) the gradient jumps. Where numbers that are off by NEAR delta choose
another side than the exact ones, no gradient can be judged: `Expectation.near_kink`. Equal numbers are off by
the same amount, so exact ties stay ties, and zeros stay zeros: there the convention decides, and is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.verify.calls import OpCall, Results, named_gradients, results, running_statistics

Array = NDArray[Any]

LAMBDA = 2.0  # in sqrt(L): normally distributed errors exceed it by a factor of two in one case of 10,000
PAIRS = 2
ROOM = 4.0  # the spread is estimated from a few samples; an error is a sum over another few roundings
ROUND = 4.0  # the result itself is rounded, and constants like eps
NEAR = 30.0
_WIDE = np.dtype(np.longdouble)


def roundoff(dtype: DTypeLike) -> float:
    """Return the unit roundoff u of a dtype: 2^-24 for float32, 2^-53 for float64."""
    return float(np.finfo(np.dtype(dtype)).eps) / 2.0


def longest_sum(call: OpCall, y: Array) -> int:
    """Return how many terms the longest sum of the operation or its gradients has.

    Over the pixels of a batch (batch norm, gradients of weights and biases), over what a window of a
    convolution sees, over the features of a linear layer.
    """
    terms = [1]
    for position, array in enumerate([*call.floats(), y]):
        if array.ndim == 4:
            terms.append(array.size // array.shape[1])
            if position == 1 and "conv" in call.op:
                terms.append(array.size // array.shape[0])
        elif array.ndim:
            terms += array.shape
    return max(terms)


@dataclass(frozen=True)
class Expectation:
    """What a call gives, and how far rounding may take it.

    Attributes
    ----------
    call : OpCall
    dtype : dtype
        Of the results to be judged.
    want : dict
        The library's results, in extended precision.
    near_kink : bool
        A ReLU or a maximum lies within rounding of where it would choose another side.
    length : int
        Terms of the longest sum, L.
    spread : dict
        By result, how far it moves at most when all numbers are off by `delta`.
    """

    call: OpCall
    dtype: np.dtype[Any]
    want: Results
    near_kink: bool
    length: int
    spread: dict[str, float] = field(repr=False)

    @property
    def delta(self) -> float:
        """Relative errors of the numbers that a result may be the exact one of."""
        return delta_of(self.length, roundoff(self.dtype))

    def bound(self, name: str, u: float | None = None) -> float:
        """Return the largest |got - want| of a result that rounding explains.

        Parameters
        ----------
        name : str
            Of the result.
        u : float, optional
            Unit roundoff of the arithmetic; that of `dtype` by default.
        """
        own = roundoff(self.dtype)
        u = own if u is None else u
        # Where there is no precision beyond the results' own, the reference is off as well.
        sides = 2.0 if roundoff(_WIDE) > own / 4 else 1.0
        tiny = float(np.finfo(self.dtype).smallest_subnormal)
        return sides * (ROOM * self.spread[name] * u / own + ROUND * u * _largest(self.want[name])) + tiny


def delta_of(length: int, u: float) -> float:
    """Return LAMBDA sqrt(L) u."""
    return LAMBDA * float(length) ** 0.5 * u


def expect(call: OpCall, dtype: DTypeLike) -> Expectation:
    """Run the reference on a call, exactly and with numbers that are off, and return what to expect.

    Parameters
    ----------
    call : OpCall
    dtype : dtype
        float32 or float64: of the results to be judged.
    """
    dtype = np.dtype(dtype)
    with np.errstate(all="ignore"):
        want = results(call, _WIDE)
        length = longest_sum(call, want["y"])  # type: ignore[arg-type]
        delta = delta_of(length, roundoff(dtype))
        # For float32 results, off by 1e-7, float64 is as good as extended precision, and faster.
        fine = _WIDE if dtype == np.float64 else np.dtype(np.float64)
        rng = np.random.default_rng([call.seed, 6])
        spread = dict.fromkeys(want, 0.0)
        near_kink = False
        centre = _kept(call, fine)
        for _ in range(PAIRS):
            noise = _Noise(rng, delta)
            for sign in (1.0, -1.0):
                moved = _run_off(call, fine, noise.at(sign))
                for name, exact in want.items():
                    if exact is not None:
                        spread[name] = max(spread[name], _largest(moved[name] - exact))
                near_kink |= not _same_sides(centre, _kept(call, fine, noise.at(NEAR * sign)))
    return Expectation(call, dtype, want, near_kink, length, spread)


class _Noise:
    """Relative errors of equal size and random signs: always the same for a place, opposite at will.

    Equal numbers of an array get equal errors.
    """

    def __init__(self, rng: np.random.Generator, delta: float) -> None:
        self._seed, self._delta = int(rng.integers(2**32)), delta

    def at(self, scale: float) -> Callable[[Array, int], Array]:
        """Return a function that puts the numbers of an array off; its second argument tells arrays apart."""

        def off(array: Array, place: int) -> Array:
            rng = np.random.default_rng([self._seed, place])
            distinct, where = np.unique(array, return_inverse=True)
            signs = rng.choice([-1.0, 1.0], distinct.size)[where].reshape(array.shape)
            return array * (1.0 + array.dtype.type(scale * self._delta) * signs.astype(array.dtype))

        return off


def _arguments_off(call: OpCall, dtype: np.dtype[Any], off: Callable[[Array, int], Array]) -> tuple[Any, ...]:
    return _map_leaves(call.arguments(dtype), off, [0])


def _run_off(call: OpCall, dtype: np.dtype[Any], off: Callable[[Array, int], Array]) -> Results:
    """Return the results when arguments, upstream gradient, cache and results are all off."""
    spec, place = call.spec, [100]
    args = _arguments_off(call, dtype, off)
    y, cache = spec.forward(*args, **call.keywords())
    y = np.asarray(y)
    dy = off(call.upstream(y.shape, dtype), 99)
    gradients = spec.backward(dy if dy.ndim else dy[()], _map_leaves(cache, off, place))
    found = {"y": y, **named_gradients(spec, gradients)}
    if call.op == "batchnorm2d":
        after = running_statistics(OpCall(call.op, args, call.options, call.seed), dtype)
        found |= _map_named(after, off)
    return found


def _map_named(found: Results, off: Callable[[Array, int], Array]) -> Results:
    return {name: None if a is None else off(a, 200 + place) for place, (name, a) in enumerate(found.items())}


def _kept(
    call: OpCall, dtype: np.dtype[Any], off: Callable[[Array, int], Array] = lambda array, place: array
) -> list[Array]:
    """Return the masks and positions that forward keeps: which sides it chose."""
    if call.spec.pattern is None:
        return []
    _, cache = call.spec.forward(*_arguments_off(call, dtype, off), **call.keywords())
    kept: list[Array] = []

    def keep(array: Array, place: int) -> Array:
        return array

    _map_leaves(cache, keep, [0], kept)
    return kept


def _same_sides(a: list[Array], b: list[Array]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _map_leaves(
    value: Any, off: Callable[[Array, int], Array], place: list[int], chosen: list[Array] | None = None
) -> Any:
    """Rebuild nested tuples with `off` applied to every float array; collect the others in `chosen`."""
    if isinstance(value, np.ndarray):
        place[0] += 1
        if value.dtype.kind == "f":
            return off(value, place[0])
        if chosen is not None:
            chosen.append(value)
        return value
    if isinstance(value, tuple | list):
        parts = [_map_leaves(item, off, place, chosen) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _largest(array: Array | None) -> float:
    return 0.0 if array is None else float(np.abs(array).max(initial=0))
