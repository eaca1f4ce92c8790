"""One argument's gradient against numerical derivatives along many directions, with a tolerance for each.

For upstream gradient u_k and direction v_d,

    expected[k, d] = <u_k, J v_d>       J v_d by complex step or by differences
    got[k, d]      = <g_k, v_d>         g_k = backward(u_k)

so a one-hot v_d compares one entry of the gradient, and one evaluation of f serves all upstream gradients.
The tolerance is no constant: rounding is estimated by what was added up, |u_k| . |J v_d| and |g_k| . |v_d|,
and differences bring their own estimate of truncation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.verify.directions import Direction, directions
from senumpy.verify.hints import explain, explain_ratio
from senumpy.verify.numerical import (
    EPS,
    Function,
    Opinion,
    SamePiece,
    complex_step,
    differences,
    slopes_nearby,
)
from senumpy.verify.report import ArgumentResult, Verdict

Array = NDArray[Any]

ROUNDING = 1000 * EPS  # of what was added up: 2e-13, room for sums of a million terms
SECOND_OPINIONS = 6  # directions looked at by differences where the complex step serves all
INFORMATIVE = 100.0  # a gradient is seen where it exceeds its tolerance by this factor


@dataclass(frozen=True)
class Problem:
    """All that is needed to check the gradient of one argument.

    Attributes
    ----------
    name : str
    x, y : array
        The argument and the result, real.
    function : callable
        The result as a function of this argument alone.
    complex_function : callable or None
        The same for complex arguments; None where the complex step can't be used.
    complex_moved : callable or None
        As `complex_function`, with the other arguments moved by a few rounding errors.
    x_moved : array
        The argument moved likewise.
    noise : float
        Change of the result by the same move: its error, whoever computes it.
    upstream : list of Direction
    gradients : (K, x.size) array
        What `backward` returned for each of them.
    same_piece : callable or None
        Whether a point has x's activation pattern.
    sizes : mapping
        Sizes by name, for hints.
    """

    name: str
    x: Array
    y: Array
    function: Function
    complex_function: Function | None
    complex_moved: Function | None
    x_moved: Array
    noise: float
    upstream: list[Direction]
    gradients: Array
    same_piece: SamePiece | None
    sizes: Mapping[str, int] = field(default_factory=dict)


def check_argument(problem: Problem, rng: np.random.Generator) -> tuple[ArgumentResult, list[str]]:
    """Return the verdict on one argument's gradient, and notes on how it was reached."""
    table = _Table(problem, directions(problem.x.shape, rng))
    notes = []
    if problem.complex_function is not None and not table.use_complex_step():
        notes.append(
            f"{problem.name}: the complex step disagrees with central differences, so the function is not "
            "analytic as written (abs, conj, var or a cast to real); central differences decide"
        )
    if table.method != "complex step":
        table.use_differences()
    table.look_closer_where_wrong()
    return table.result(), notes


class _Table:
    """The table of expected and got values over upstream gradients (rows) and directions (columns)."""

    def __init__(self, problem: Problem, dirs: list[Direction]) -> None:
        self.problem, self.dirs = problem, dirs
        self.u = np.stack([u.array.ravel() for u in problem.upstream])  # (K, ny)
        self.v = np.stack([d.array.ravel() for d in dirs])  # (D, nx)
        self.one_hot = np.array([direction.index is not None for direction in dirs])
        self.got = problem.gradients @ self.v.T  # (K, D)
        self.added = np.abs(problem.gradients) @ np.abs(self.v).T
        # A derivative far below the ordinary size |u| |y| / |x| is what is left of terms of that size, as in
        # 1 - s^2 of a saturated tanh: its error is theirs.
        ordinary = np.abs(problem.y).max(initial=0) / (np.abs(problem.x).max(initial=0) or 1.0)
        self.floor = ROUNDING * np.abs(self.u).max(1, keepdims=True) * ordinary
        self.method = "none"
        self.opinions: dict[int, Opinion] = {}
        self.expected = np.full_like(self.got, np.nan)
        self.tolerance = np.zeros_like(self.got)
        self.excused = np.zeros(self.got.shape, bool)  # at a kink, between the one-sided derivatives
        self.outside = np.zeros(self.got.shape, bool)  # at a kink, and not between them

    def use_complex_step(self) -> bool:
        """Fill the table by complex steps; False where differences show them to be wrong."""
        p = self.problem
        assert p.complex_function is not None
        J = np.stack([complex_step(p.complex_function, p.x, d.array) for d in self.dirs])  # (D, ny)
        expected, summed = self.u @ J.T, np.abs(self.u) @ np.abs(J).T
        for d in self._second_opinions():
            opinion = self._ask(d)
            doubt = 10 * opinion.error + 1e-6 * summed[:, d] + self.floor[:, 0]
            if not opinion.kink and (np.abs(opinion.value - expected[:, d]) > doubt).any():
                return False
        self.method, self.expected = "complex step", expected
        self._set_tolerance(summed)
        self.tolerance += self._conditioning(J)
        self._judge_kinks()
        return True

    def _conditioning(self, J: Array) -> Array:
        """Return what rounding of the arguments makes of the derivatives, a number for each row.

        Batch norm of values far from zero loses digits in x - mean, whoever computes it.
        """
        p = self.problem
        if p.complex_moved is None:
            return np.zeros((len(self.u), 1))
        change = [
            np.abs(self.u @ (complex_step(p.complex_moved, p.x_moved, self.dirs[d].array) - J[d]))
            for d in self._second_opinions()
        ]
        return 4 * np.max(change, axis=0)[:, None]

    def use_differences(self) -> None:
        """Fill the table by central differences in every direction."""
        self.method = "central differences"
        opinions = [self._ask(d) for d in range(len(self.dirs))]
        self.expected = np.stack([opinion.value for opinion in opinions], axis=1)
        self._set_tolerance(np.stack([opinion.summed for opinion in opinions], axis=1))
        self.tolerance += 10 * np.stack([opinion.error for opinion in opinions], axis=1)
        self._judge_kinks()

    def look_closer_where_wrong(self) -> None:
        """Ask for one-sided derivatives where the complex step says wrong: it knows one side of a kink."""
        if self.method != "complex step":
            return
        severity = (self.error / self.tolerance).max(0)
        for d in np.argsort(-severity):
            if not self.wrong[:, d].any():
                continue
            if not self._ask(int(d)).kink:
                return  # really wrong
            self._judge_kinks()

    @property
    def error(self) -> Array:
        """|got - expected|, (K, D); infinite where a value isn't a number."""
        error = np.abs(self.got - self.expected)
        return np.where(np.isnan(error), np.inf, error)

    @property
    def wrong(self) -> Array:
        """Where the gradient is wrong, (K, D)."""
        return ((self.error > self.tolerance) & ~self.excused) | self.outside

    def _ask(self, d: int) -> Opinion:
        if d not in self.opinions:
            p = self.problem
            self.opinions[d] = differences(
                p.function, p.x, p.y, self.dirs[d].array, self.u, p.noise, p.same_piece
            )
        return self.opinions[d]

    def _second_opinions(self) -> list[int]:
        """Return the structured directions and, up to the limit, evenly chosen coordinates."""
        structured = np.flatnonzero(~self.one_hot).tolist()
        rest = len(self.dirs) - len(structured)
        room = max(SECOND_OPINIONS - len(structured), 2)
        picked = np.unique(np.linspace(0, rest - 1, min(room, rest)).astype(int)) + len(structured)
        return structured + picked.tolist()

    def _set_tolerance(self, summed: Array) -> None:
        """Set the rounding tolerance from what was added up, by entry and, weakly, by row."""
        summed = summed + self.added
        self.tolerance = ROUNDING * summed + 16 * EPS * summed.max(1, keepdims=True) + self.floor

    def _judge_kinks(self) -> None:
        """Hold the directions known to be at a kink between the one-sided derivatives.

        What agrees with the complex step is right: it is the derivative on the side that forward takes.
        """
        for d, opinion in self.opinions.items():
            if not opinion.kink:
                continue
            got, low, high = self.got[:, d], opinion.lower, opinion.upper
            agrees = (self.error[:, d] <= self.tolerance[:, d]) & (self.method == "complex step")
            slack = self.tolerance[:, d] + 10 * opinion.error + 1e-9 * np.abs(high - low)
            between = agrees | ((got >= low - slack) & (got <= high + slack))
            if not between.all():
                p = self.problem
                nearby = slopes_nearby(p.function, p.x, self.dirs[d].array, self.u, np.random.default_rng(0))
                low, high = np.minimum(low, nearby[0]), np.maximum(high, nearby[1])
                between = agrees | ((got >= low - slack) & (got <= high + slack))
            self.outside[:, d] = ~between
            self.excused[:, d] = between & ~agrees

    def result(self) -> ArgumentResult:
        """Return the verdict with the worst entry."""
        wrong, smooth = self.wrong, ~self.excused & ~self.outside
        size = np.where(smooth, np.abs(self.expected), 0).max(1)  # (K,) largest true value a row
        seen = size > INFORMATIVE * np.where(smooth, self.tolerance, 0).max(1)
        seen |= (self.excused & (np.abs(self.got) > self.tolerance)).any(1)
        verdict: Verdict = "failed" if wrong.any() else "passed" if seen.any() else "vacuous"
        relative = self.error / self._largest(size)[:, None]
        relevant = smooth if verdict == "vacuous" else wrong | (smooth & seen[:, None])
        k, d = self._worst(wrong)
        expected, got = float(self.expected[k, d]), float(self.got[k, d])
        ratio = got / expected if abs(expected) > self.tolerance[k, d] else None
        nonzero = (seen[:, None] & (np.abs(self.expected) > self.tolerance)).any(0)
        return ArgumentResult(
            name=self.problem.name,
            verdict=verdict,
            method=self.method,
            error=float(np.where(relevant, relative, 0).max()),
            tolerance=float(self.tolerance[k, d] / self._largest(size)[k]),
            central_error=self._central_error(size, seen),
            kinks=sum(opinion.kink for opinion in self.opinions.values()),
            coverage=float(nonzero[self.one_hot].mean()),
            index=self.dirs[d].index,
            direction=f"along {self.dirs[d].name}",
            upstream=self.problem.upstream[k].name,
            expected=expected,
            got=got,
            ratio=ratio,
            hint=self._hint(k, d, ratio) if verdict == "failed" else "",
        )

    def _worst(self, wrong: Array) -> tuple[int, int]:
        """Return the entry furthest beyond its tolerance.

        Where there is a choice, a single coordinate rather than a mixed direction, and a Gaussian upstream
        gradient: among its numbers, equal ratios are no coincidence.
        """
        severity = np.where(self.excused, 0, self.error / self.tolerance)
        if wrong.any():
            severity = np.where(wrong, severity, -1)
            plain = np.array([u.name in ("Gaussian", "given", "scalar") for u in self.problem.upstream])[
                :, None
            ]
            for preferred in (self.one_hot & plain, self.one_hot & ~plain):
                if (wrong & preferred).any():
                    severity = np.where(preferred, severity, -1)
                    break
        k, d = np.unravel_index(severity.argmax(), severity.shape)
        return int(k), int(d)

    def _largest(self, size: Array) -> Array:
        """Return what errors are relative to: the largest derivative, scaled by each row's upstream."""
        upstream = np.abs(self.u).max(1)
        return upstream * float((size / np.where(upstream > 0, upstream, 1)).max() or 1.0) + (upstream == 0)

    def _central_error(self, size: Array, seen: Array) -> float | None:
        errors = [
            (np.abs(opinion.value - self.got[:, d]) / self._largest(size))[seen]
            for d, opinion in self.opinions.items()
            if not opinion.kink
        ]
        return max((float(error.max()) for error in errors if error.size), default=None)

    def _hint(self, k: int, d: int, ratio: float | None) -> str:
        if self.outside[k, d]:
            opinion = self.opinions[d]
            low, high = opinion.lower[k], opinion.upper[k]
            return f"x is at a kink, and the value is not between the one-sided {low:.6g} and {high:.6g}"
        got, expected = self.got[k, self.one_hot], self.expected[k, self.one_hot]
        if got.size == self.problem.x.size:
            got, expected = got.reshape(self.problem.x.shape), expected.reshape(self.problem.x.shape)
        hint = explain(got, expected, self.problem.sizes)
        if not hint and ratio is not None:
            text = explain_ratio(ratio, self.problem.sizes)
            hint = f"this entry {text}" if text else ""
        return hint
