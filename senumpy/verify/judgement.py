"""Somebody's numbers beside the reference's: exact, accurate, lossy or wrong, and how far off.

- exact: every number is the true one, correctly rounded.
- accurate: off by no more than rounding explains (`rounding.Expectation.bound`).
- lossy: off by more, but just as if inputs or the result had been rounded to a lower precision, or, where
  matrices are multiplied, by no more than sums in one explain; `looks_like` names it. For convolutions of 3x3
  this may also be Winograd's algorithm, whose transforms lose a few digits (Barabasz et al. 2020, "Error
  analysis and improving the accuracy of Winograd convolution").
- wrong: off by more than any of these explains, of another shape, or not finite where the true value is.

Whether a small error is lost precision or a mistake with small effects (an eps in another place) no bound can
tell: known mistakes are tried first, by `diagnosis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from senumpy.verify.calls import OpCall, Results, map_arrays, results, rounded_to
from senumpy.verify.rounding import Expectation, roundoff

Array = NDArray[Any]
Level = Literal["exact", "accurate", "lossy", "wrong"]
LEVELS: tuple[Level, ...] = ("exact", "accurate", "lossy", "wrong")

HALF, BFLOAT16 = 2.0**-11, 2.0**-8  # unit roundoffs; HALF is that of TF32, too
MANY = 8  # numbers, from which on a coincidence is out of the question
# F(4x4, 3x3) with the usual points 0, +-1, +-2 loses up to 4 bits, F(6x6, 3x3) up to 8.
WINOGRAD = 2.0**8
_FORMATS = {"float16": 11, "TF32": 11, "bfloat16": 8}  # bits of the significand, the leading one included

BIASES = ("b", "b1", "b2")

# Operations that multiply matrices, or may: hardware does that in lower precision when it is let.
PRODUCTS = frozenset(
    (
        "conv2d", "linear", "excitation", "squeeze_excite", "conv_bn_relu", "conv_bn_relu_inference",
        "residual_tail", "residual_tail_inference", "bn_relu_se", "concat_se", "se_add",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """One result beside the reference's.

    Attributes
    ----------
    result : str
        ``"y"``, ``"dx"``, ``"running_var"``, ...
    level : {"exact", "accurate", "lossy", "wrong"}
    max_error, typical_error : float
        Largest and median |got - want|.
    max_ulp, typical_ulp : float
        The same in units of the last place of each wanted number. Where terms cancel, an accurate result may
        be off by many of them.
    index : tuple of int
        Of the entry that is furthest off.
    got, want : float
        That entry.
    bound : float
        What rounding explains, for every entry of the result.
    looks_like : str
        What lost the precision of a lossy result; a word on the shape of a wrong one; may be empty.
    """

    result: str
    level: Level
    max_error: float
    typical_error: float
    max_ulp: float
    typical_ulp: float
    index: tuple[int, ...]
    got: float
    want: float
    bound: float
    looks_like: str = ""

    @property
    def ratio(self) -> float:
        """Largest error in units of the bound; infinite where nothing may be off."""
        return self.max_error / self.bound if self.bound else float("inf") if self.max_error else 0.0


def judge(expectation: Expectation, got: Results) -> list[Judgement]:
    """Judge every result that the candidate has, in the reference's order.

    At a call near a kink only ``y`` and the running statistics are judged.

    Parameters
    ----------
    expectation : Expectation
    got : dict
        Arrays by name; names that the reference doesn't have are passed over, None stands for no array.
    """
    return [
        judge_result(expectation, name, got[name])
        for name in expectation.want
        if name in got and not (expectation.near_kink and name.startswith("d"))
    ]


def judge_result(expectation: Expectation, name: str, got: Array | None) -> Judgement:
    """Judge one result."""
    want, bound = expectation.want[name], expectation.bound(name)
    if want is None or got is None:
        same = want is None and got is None
        text = "" if same else "an array where the argument is None" if want is None else "None for an array"
        error = 0.0 if same else float("inf")
        level: Level = "exact" if same else "wrong"
        return Judgement(name, level, error, error, error, error, (), 0, 0, bound, text)
    if got.shape != want.shape:
        inf, nan = float("inf"), float("nan")
        text = f"its shape is {got.shape}, not {want.shape}"
        return Judgement(name, "wrong", inf, inf, inf, inf, (), nan, nan, bound, text)
    judgement = _measure(expectation, name, got, want, bound)
    if judgement.level != "wrong":
        return judgement
    text = _lost_precision(expectation, name, got, judgement)
    return replace(judgement, level="lossy" if text else "wrong", looks_like=text)


def within(
    expectation: Expectation, name: str, a: Array | None, b: Array | None, u: float | None = None
) -> bool:
    """Return whether two arrays are the same numbers, as far as rounding of this result allows to tell."""
    if a is None or b is None:
        return a is None and b is None
    if a.shape != b.shape:
        return False
    with np.errstate(all="ignore"):
        return bool((np.abs(np.asarray(a, np.longdouble) - b) <= expectation.bound(name, u)).all())


def verdict_of(judgements: Sequence[Judgement]) -> Level:
    """Return the worst level; exact where nothing was judged."""
    return max((j.level for j in judgements), key=LEVELS.index, default="exact")


def _measure(expectation: Expectation, name: str, got: Array, want: Array, bound: float) -> Judgement:
    dtype = expectation.dtype
    with np.errstate(all="ignore"):
        error = np.abs(np.asarray(got, np.longdouble) - want)
        # Infinities that are wanted (none of the operations gives one for finite numbers) count as right.
        error = np.where(np.asarray(got == want), 0, np.where(np.isfinite(error), error, np.inf))
        ulp = error / np.spacing(np.abs(want).astype(dtype)).astype(np.longdouble)
        rounded = bool(np.array_equal(np.asarray(got, np.longdouble), want.astype(dtype)))
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))
    worst = float(error[index])
    level: Level = "exact" if rounded else "accurate" if worst <= bound else "wrong"
    return Judgement(
        name,
        level,
        worst,
        float(np.median(error)),
        float(ulp.max()),
        float(np.median(ulp)),
        index,
        float(got[index]),
        float(want[index]),
        bound,
    )


# -- where precision was lost ------------------------------------------------------------------------------


def _lost_precision(expectation: Expectation, name: str, got: Array, judgement: Judgement) -> str:
    """Return what explains an error beyond rounding in `dtype`; empty where nothing does."""
    worst = judgement.max_error
    if not np.isfinite(got).all():
        return ""
    if expectation.dtype == np.float64 and worst <= expectation.bound(name, roundoff(np.float32)):
        if np.array_equal(got, got.astype(np.float32)):
            return "float32: the result was rounded to it"
        return "" if _by_a_factor(expectation, name, got) else "float32 somewhere inside, or sums that cancel"
    for label, bits in _FORMATS.items():
        u = 2.0**-bits
        if worst > expectation.bound(name, u):
            continue
        if label != "TF32" and _stored_in(expectation, name, got, bits):
            return f"{label}: the result was rounded to it"
        if expectation.call.op in PRODUCTS and _of_rounded_inputs(expectation, name, got, bits):
            return f"inputs rounded to {label} ({bits} bits)"
    if judgement.typical_error < worst / 50 or _by_a_factor(expectation, name, got):
        return ""  # lost precision shows everywhere and in either direction
    if _may_be_winograd(expectation.call) and worst <= WINOGRAD * judgement.bound:
        return "Winograd's algorithm, or sums in a lower precision"
    if expectation.call.op in PRODUCTS:
        if worst <= expectation.bound(name, HALF) / 2:
            return "sums in float16, or inputs cut to TF32"
        if got.size >= MANY and worst <= expectation.bound(name, BFLOAT16) / 4:
            return "bfloat16 somewhere inside"
    return ""


def _stored_in(expectation: Expectation, name: str, got: Array, bits: int) -> bool:
    """Whether `got` has so few digits, and is what rounding the true numbers to them gives."""
    want = expectation.want[name]
    if want is None or not np.array_equal(got, rounded_to(got, bits)):
        return False
    error = np.abs(got - want)
    if (error <= 2.0 ** (1 - bits) * np.abs(want) + expectation.bound(name)).all():
        return True
    # With inputs or sums rounded as well, it is off by more; then numbers have to be many.
    return len(np.unique(got[got != 0])) >= MANY and bool(
        (error <= expectation.bound(name, 2.0**-bits)).all()
    )


def _of_rounded_inputs(expectation: Expectation, name: str, got: Array, bits: int) -> bool:
    """Whether `got` is what the reference gives for arguments and an upstream gradient of `bits` digits."""

    def rounded(array: Array) -> Array:
        return rounded_to(array, bits) if array.dtype.kind == "f" else array

    call = expectation.call
    every = tuple(map_arrays(rounded, value) for value in call.args)
    # Biases are added, not multiplied: some keep them as they are.
    factors = tuple(
        old if name in BIASES else new for name, old, new in zip(call.names, call.args, every, strict=True)
    )
    with np.errstate(all="ignore"):
        return any(
            within(expectation, name, got, results(replace(call, args=args, digits=bits), np.float64)[name])
            for args in (every, factors)
        )


def _by_a_factor(expectation: Expectation, name: str, got: Array) -> bool:
    """Whether the numbers are the true ones times another factor than one, within rounding: a mistake."""
    want = expectation.want[name]
    if want is None or got.size < 2 or not (want * want).sum():
        return False
    factor = (got * want).sum() / (want * want).sum()
    return within(expectation, name, got, factor * want)


def _may_be_winograd(call: OpCall) -> bool:
    """Whether Winograd's algorithm applies: kernels of 3x3 (or 5x5) with stride 1."""
    if "conv" not in call.op or call.args[1].shape[2:] not in ((3, 3), (5, 5)):
        return False
    return call.options.get("stride", 1) in (1, (1, 1)) and call.options.get("dilation", 1) in (1, (1, 1))
