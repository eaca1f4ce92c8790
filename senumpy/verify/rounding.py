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

    bound = ROOM spread + ROUND u max|want|        spread: the largest move among SAMPLES of them

so it is tight where the operation is well conditioned, and wide exactly where no implementation could do
better: a batch norm over two nearly equal values, a sum that cancels.

At a kink (ReLU at 0, a tie of a maximum) the gradient jumps. Where numbers that are off by NEAR delta choose
another side than the exact ones, no gradient can be judged (`Expectation.near_kink`). In operations that
choose among their arguments as they are (`CHOOSES`), equal numbers are off by the same amount: ties stay
ties, and zeros are zeros everywhere: there the convention decides, and is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.ops.arrays import per_channel
from senumpy.ops.batchnorm import BatchNorm2dCache
from senumpy.verify.calls import OpCall, Results, named_gradients, results, running_statistics, walk

Array = NDArray[Any]

LAMBDA = 2.0
SAMPLES = 6
ROOM = 5.0  # for what a few samples may miss, and for more than one sum in a row
ROUND = 4.0  # the result itself is rounded, and constants like eps
NEAR = 30.0
PAIRS = 2
_WIDE = np.dtype(np.longdouble)
CHOOSES = frozenset(
    ("relu", "max_pool2d", "global_max_pool", "squeeze", "squeeze_excite", "concat_se", "se_add")
)


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


# The largest number on the way to a result where no argument has its size: softmax's sum is at least one, so
# its logarithm is off by u, however small the loss.
_ON_THE_WAY = {("softmax_cross_entropy", "y"): 1.0}


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
        # What is too small for the dtype may become zero on the way, and then be multiplied by large numbers.
        tiny = 2.0**20 * float(np.finfo(self.dtype).smallest_normal)
        size = _largest(self.want[name]) + _ON_THE_WAY.get((self.call.op, name), 0.0)
        return sides * (ROOM * self.spread[name] * u / own + ROUND * u * size) + tiny


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
        spread = dict.fromkeys(want, 0.0)
        for sample in range(SAMPLES):
            moved = _run_off(call, fine, _Noise(call, delta, sample))
            for name, exact in want.items():
                if exact is not None:
                    spread[name] = max(spread[name], _largest(moved[name] - exact))
        near_kink = call.spec.pattern is not None and _near_kink(call, fine, NEAR * delta)
    return Expectation(call, dtype, want, near_kink, length, spread)


class _Noise:
    """Puts arrays off by relative errors: normal ones of a standard deviation, the same for the same call.

    In operations that choose among their arguments, equal numbers of an array get equal errors.
    """

    def __init__(self, call: OpCall, delta: float, sample: int) -> None:
        self._rng = np.random.default_rng([call.seed, 6, sample])
        self._delta, self._ties = delta, call.op in CHOOSES

    def __call__(self, array: Array) -> Array:
        if self._ties and array.size > 1:
            distinct, where = np.unique(array, return_inverse=True)
            errors = self._rng.standard_normal(distinct.size)[where].reshape(array.shape)
        else:
            errors = self._rng.standard_normal(array.shape)
        return array * (1.0 + np.asarray(self._delta * errors, array.dtype))


def _run_off(call: OpCall, dtype: np.dtype[Any], off: _Noise) -> Results:
    """Return the results when arguments, upstream gradient, what forward keeps, and results are all off."""
    spec = call.spec
    args = _arguments_off(call, dtype, off)
    y, cache = spec.forward(*args, **call.keywords())
    y = np.asarray(y)
    dy = off(call.upstream(y.shape, dtype))
    found = {"y": y, **named_gradients(spec, spec.backward(dy if dy.ndim else dy[()], _off(cache, off)))}
    after = running_statistics(replace(call, args=args), dtype)
    return found | {name: None if array is None else off(array) for name, array in after.items()}


def _arguments_off(call: OpCall, dtype: np.dtype[Any], off: _Noise) -> tuple[Any, ...]:
    """Return arguments that are off; so is the mean of batch norm's batch, for which beta can stand."""
    args = _off(call.arguments(dtype), off)
    if "beta" not in call.names or "mean" in call.names:
        return args
    _, cache = call.spec.forward(*args, **call.keywords())
    norm = cache if isinstance(cache, BatchNorm2dCache) else cache.norm
    gamma, beta = (call.names.index(name) for name in ("gamma", "beta"))
    moved = list(args)
    moved[beta] = args[beta] + args[gamma] * _mean_off(norm, off)
    return tuple(moved)


def _mean_off(norm: BatchNorm2dCache, off: _Noise) -> Array:
    """Return by how much all normalised values of each channel are off when the mean is: an array (C,)."""
    return (off(norm.mean) - norm.mean) * norm.rstd


def _off(value: Any, off: _Noise) -> Any:
    """Rebuild nested tuples with every float array off."""
    if isinstance(value, np.ndarray):
        return off(value) if value.dtype.kind == "f" else value
    if not isinstance(value, tuple | list):
        return value
    parts = [_off(item, off) for item in value]
    if isinstance(value, BatchNorm2dCache):
        parts[0] = parts[0] + per_channel(_mean_off(value, off))
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _near_kink(call: OpCall, dtype: np.dtype[Any], delta: float) -> bool:
    """Whether arguments that are off by `delta`, this way or that, choose another side of a kink."""
    chosen = _sides(call, call.arguments(dtype))
    for sample in range(PAIRS):
        for sign in (1.0, -1.0):
            moved = _sides(call, _arguments_off(call, dtype, _Noise(call, sign * delta, sample)))
            if not all(np.array_equal(a, b) for a, b in zip(chosen, moved, strict=True)):
                return True
    return False


def _sides(call: OpCall, args: tuple[Any, ...]) -> list[Array]:
    """Return the masks and positions that forward keeps."""
    _, cache = call.spec.forward(*args, **call.keywords())
    return [array for array in walk(cache) if array.dtype.kind in "biu"]


def _largest(array: Array | None) -> float:
    return 0.0 if array is None else float(np.abs(array).max(initial=0))
