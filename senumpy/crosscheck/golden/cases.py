"""The cases of a golden set: names, calls, and what is expected of each in each dtype."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.golden.realistic import realistic_cases
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall, call_of, results
from senumpy.verify.cases import Draw, op_names, op_spec
from senumpy.verify.rounding import Expectation, expect

Array = NDArray[Any]
DTYPES = ("float64", "float32")
_ATTEMPTS = 100  # draws of a realistic case until no ReLU or maximum is too close to its kink


@dataclass(frozen=True)
class GoldenCase:
    """One call in one dtype.

    Attributes
    ----------
    name : str
        ``"conv2d-03-float32"``; its files are ``calls/NAME.safetensors`` and ``results/NAME.safetensors``.
    call : OpCall
    dtype : dtype
    """

    name: str
    call: OpCall
    dtype: np.dtype[Any]

    @property
    def op(self) -> str:
        """Name of the operation."""
        return self.call.op

    @functools.cached_property
    def expectation(self) -> Expectation:
        """The reference's results in extended precision, and how far rounding may take others."""
        expectation = expect(self.call, self.dtype)
        with np.errstate(all="ignore"):
            return replace(expectation, want=results(_precise(self.call), np.longdouble))

    @property
    def results(self) -> dict[str, Array]:
        """The reference's results, rounded once to the dtype; gradients of what isn't there are left out."""
        want = self.expectation.want
        return {name: array.astype(self.dtype) for name, array in want.items() if array is not None}


def ops_wanted(ops: str | Iterable[str]) -> list[str]:
    """Return the operations that "all", "conv2d,linear" or a list of names means, in the table's order.

    Raises
    ------
    InputError
        A name that is no operation, or none at all.
    """
    texts = [ops] if isinstance(ops, str) else ops
    names = [name.strip() for text in texts for name in text.split(",")]
    names = op_names() if names == ["all"] else [name for name in names if name]
    if not names:
        raise InputError('ops: got no operation, wanted "all" or names such as "conv2d,linear"')
    for name in names:
        op_spec(name)
    return [name for name in op_names() if name in names]


def check_seed(seed: int) -> None:
    """Raise InputError unless `seed` is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed: got {seed!r}, wanted a whole number of at least 0")


def golden_cases(ops: Sequence[str], *, seed: int = 0) -> Iterator[GoldenCase]:
    """Yield the cases of some operations: the checker's small ones, then larger ones, each in both dtypes."""
    for op in ops:
        for index, pair in enumerate(_both_dtypes(op, seed)):
            for case in pair:
                yield replace(case, name=f"{op}-{index:02}-{case.dtype}")


def _both_dtypes(op: str, seed: int) -> Iterator[list[GoldenCase]]:
    small = op_spec(op).cases(seed=seed)
    for case in small:
        yield _pair(call_of(op, case, seed=_seed_of(seed, op, case.name)))
    for place in range(len(_realistic(op, seed, 0))):
        for attempt in range(_ATTEMPTS):
            case = _realistic(op, seed, attempt)[place]
            pair = _pair(call_of(op, case, seed=_seed_of(seed, op, case.name)))
            if op_spec(op).pattern is None or not any(one.expectation.near_kink for one in reversed(pair)):
                break
        yield pair


def _pair(call: OpCall) -> list[GoldenCase]:
    return [GoldenCase("", call, np.dtype(dtype)) for dtype in DTYPES]


def _realistic(op: str, seed: int, attempt: int) -> list[Any]:
    rng = np.random.default_rng([seed, zlib.crc32(op.encode()), 1 + attempt])
    return realistic_cases(op, Draw(rng))


def _seed_of(seed: int, op: str, case: str) -> int:
    return zlib.crc32(f"{seed} {op} {case}".encode())


def _precise(call: OpCall) -> OpCall:
    """Return the call with options in extended precision: 1 - p and the like are then not rounded."""
    wide = {name: np.longdouble(v) if type(v) is float else v for name, v in call.options.items()}
    return replace(call, options=wide)
