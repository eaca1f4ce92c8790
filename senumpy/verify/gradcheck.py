"""The gradient checker, for anybody's forward/backward pair.

    from senumpy.verify import check_gradients
    report = check_gradients(my_forward, my_backward, (x, w, b), {"stride": 2})
    print(report)

What it does, in order: calls the pair and looks at number, names, shapes and finiteness of the gradients;
compares every argument's gradient with numerical derivatives (`compare`) for several signed upstream
gradients (`directions`), by complex step where the function takes complex arrays and by extrapolated central
differences (`numerical`); looks for kinks; says "vacuous" where the true gradient vanishes and nothing could
be seen; checks purity (`purity`) and a batch of one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from senumpy.verify.candidate import Arguments, Candidate, Values
from senumpy.verify.compare import Problem, check_argument
from senumpy.verify.directions import Direction, upstream_gradients
from senumpy.verify.hints import sizes_of
from senumpy.verify.numerical import EPS, Function
from senumpy.verify.purity import Call, check_purity
from senumpy.verify.report import ArgumentResult, Finding, Report
from senumpy.verify.reproduce import reproduction
from senumpy.verify.slots import CandidateError

Array = NDArray[Any]
MOVED = 8 * EPS  # a relative change of the arguments that any computation may make by rounding
Pattern = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Array, ...]]


def check_gradients(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    arguments: Sequence[str] | None = None,
    pattern: Pattern | None = None,
    analytic: bool | None = None,
    upstream: ArrayLike | None = None,
    batched: Sequence[str] = (),
    oracle: Callable[..., Any] | None = None,
    purity: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> Report:
    """Check `backward` against numerical derivatives of `forward`, and both for purity.

    Parameters
    ----------
    forward : callable
        ``forward(*args, **kwargs) -> (y, cache)``; y is an array or a scalar loss, the cache anything.
    backward : callable
        ``backward(dy, cache)`` -> gradients: a tuple, named tuple or list in the order of the arguments, a
        dictionary by name (``"dx"`` or ``"x"``), or one array. None for an argument that is None.
    args, kwargs : sequence, mapping
        The call at which to check. Floating-point arrays are differentiated, in float64; a random generator
        is copied for every call.
    arguments : sequence of str, optional
        Which arguments `backward` returns gradients of, in its order; all floating-point ones if None.
    pattern : callable, optional
        ``pattern(args, kwargs)`` -> tuple of arrays that changes when a kink is crossed (ReLU masks,
        positions of maxima). Without it, kinks are found by one-sided derivatives that disagree.
    analytic : bool, optional
        False: don't try the complex step. None: use it where the function takes complex arrays and
        central differences agree with it.
    upstream : array_like, optional
        Check for this upstream gradient alone. By default for several: Gaussian, signs, constant over
        space, over a channel, one-hot (all of them, so the full Jacobian, for small results).
    batched : sequence of str, optional
        Arguments whose first axis counts samples: they are also cut to a batch of one and checked again.
    oracle : callable, optional
        Another forward that is known to be right: derivatives are taken of it.
    purity : bool
        Whether to check for mutation, aliasing, repeatability, dtype and memory order.
    seed : int
        Of directions and upstream gradients.
    name : str, optional
        What the report calls the pair; by default `forward`'s name.

    Returns
    -------
    Report
        ``report.ok`` only if everything passed and nothing was vacuous. Exceptions of the functions under
        test are failures in the report.

    Raises
    ------
    InputError
        No argument is a floating-point array, or `arguments` names one that is not.
    """
    call = Arguments(forward, args, kwargs or {}, arguments)
    check = Check(
        call,
        forward,
        backward,
        oracle,
        pattern,
        analytic is not False,
        upstream,
        tuple(batched),
        purity,
        seed,
    )
    reproduce = reproduction(forward, backward, call, arguments, seed, upstream)
    return check.report(name or str(getattr(forward, "__name__", "forward")), reproduce)


@dataclass
class Check:
    """One pair at one point, with the settings of `check_gradients`."""

    arguments: Arguments
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    oracle: Callable[..., Any] | None
    pattern: Pattern | None
    complex_step: bool
    upstream: ArrayLike | None
    batched: tuple[str, ...]
    purity: bool
    seed: int

    def report(self, subject: str, reproduce: str) -> Report:
        """Run everything and return the report."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results, findings, notes = self.run()
            verdicts = {a.verdict for a in results} | {f.verdict for f in findings}
            if self.batched and "failed" not in verdicts:
                findings.append(self._batch_of_one())
        return Report(
            subject=subject,
            arguments=tuple(results),
            findings=tuple(findings),
            seed=self.seed,
            notes=tuple(notes),
            reproduce=reproduce,
        )

    def run(self) -> tuple[list[ArgumentResult], list[Finding], list[str]]:
        """Return the results by argument, the findings and the notes."""
        candidate = Candidate(self.forward, self.backward, self.arguments)
        rng = np.random.default_rng(self.seed)
        values = self.arguments.values
        try:
            y = candidate.output(values)
            upstream = self._upstream(y, rng)
            gradients = self._gradients(candidate, upstream)
        except CandidateError as error:
            return [], [Finding(error.stage, "failed", str(error))], []
        findings = [Finding("runs", "passed"), *_not_finite(y, gradients)]
        notes: list[str] = []
        results: list[ArgumentResult] = []
        if findings[-1].verdict == "passed":
            try:
                results, notes = self._compare(y, upstream, gradients, rng)
            except CandidateError as error:
                findings.append(Finding(error.stage, "failed", f"{error} (close to the given arguments)"))
        if self.purity:
            first = {leaf: g[0] for leaf, g in gradients.items()}
            findings += check_purity(Call(candidate, values, upstream[0].array, y, first))
        if self.pattern is not None:
            findings.append(self._alive(self.pattern))
        return results, findings, notes

    def _upstream(self, y: Array, rng: np.random.Generator) -> list[Direction]:
        if self.upstream is None:
            return upstream_gradients(y.shape, rng)
        given = np.asarray(self.upstream, dtype=np.float64)
        return [Direction("given", np.broadcast_to(given, y.shape).copy())]

    def _gradients(self, candidate: Candidate, upstream: list[Direction]) -> dict[str, list[Array]]:
        """Return backward's results for every upstream gradient, each on a fresh cache."""
        gradients: dict[str, list[Array]] = {leaf: [] for leaf in self.arguments.leaves}
        for direction in upstream:
            copies = {leaf: array.copy(order="K") for leaf, array in self.arguments.values.items()}
            _, cache = candidate.forward(copies)
            for leaf, gradient in candidate.backward(direction.array.copy(), cache).items():
                gradients[leaf].append(np.array(gradient, dtype=np.float64))
        return gradients

    def _compare(
        self, y: Array, upstream: list[Direction], gradients: dict[str, list[Array]], rng: np.random.Generator
    ) -> tuple[list[ArgumentResult], list[str]]:
        function = Candidate(self.oracle or self.forward, None, self.arguments)
        values = self.arguments.values
        y = function.output(values)
        reason = self._why_no_complex_step(function, y)
        notes = [f"central differences only: {reason}"] if reason else []
        sizes = sizes_of({leaf: array.shape for leaf, array in values.items()}, y.shape)
        noise = float(np.abs(function.output(_moved(values)) - y).max(initial=0))
        results = []
        for leaf in self.arguments.leaves:
            problem = Problem(
                name=leaf,
                x=values[leaf],
                y=y,
                function=_along(function, values, leaf),
                complex_function=None if reason else _along(function, _complex(values), leaf),
                complex_moved=None if reason else _along(function, _complex(_moved(values)), leaf),
                x_moved=_moved(values)[leaf],
                noise=noise,
                upstream=upstream,
                gradients=np.stack([g.ravel() for g in gradients[leaf]]),
                same_piece=self._same_piece(leaf),
                sizes=sizes,
            )
            result, remarks = check_argument(problem, rng)
            results.append(result)
            notes += remarks
        return results, notes

    def _why_no_complex_step(self, function: Candidate, y: Array) -> str:
        """Return why the function can't be given complex arrays; empty if it can."""
        if not self.complex_step:
            return "the complex step was switched off"
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                z = function.output(_complex(self.arguments.values))
            except CandidateError as error:
                return f"with complex arrays, the function {error}"
        if z.shape != y.shape or z.dtype.kind != "c":
            return "the function returns no complex array for complex arguments"
        if not np.abs(z - y).max(initial=0) <= 1e-9 * np.abs(y).max(initial=0):
            return "the function returns another value for complex arguments"
        return ""

    def _same_piece(self, leaf: str) -> Callable[[Array], bool] | None:
        pattern = self.pattern
        if pattern is None:
            return None
        here = self._pattern_at(pattern, self.arguments.values)

        def same_piece(x: Array) -> bool:
            there = self._pattern_at(pattern, {**self.arguments.values, leaf: x})
            return all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))

        return same_piece

    def _pattern_at(self, pattern: Pattern, values: Values) -> tuple[Array, ...]:
        args, kwargs = self.arguments.build(values)
        return pattern(tuple(args), kwargs)

    def _alive(self, pattern: Pattern) -> Finding:
        """Return whether every mask lets something through: behind a dead one nothing can be seen."""
        masks = [m for m in self._pattern_at(pattern, self.arguments.values) if m.dtype == bool]
        dead = [i for i, mask in enumerate(masks) if not mask.any()]
        if dead:
            return Finding(
                "alive", "vacuous", f"the ReLU mask {dead[0]} is off everywhere: what it hides is not checked"
            )
        return Finding("alive", "passed")

    def _batch_of_one(self) -> Finding:
        """Return whether the pair also holds on the first sample alone."""
        args, kwargs = self.arguments.build(self.arguments.values)
        for position, name in enumerate(self.arguments.positional):
            if name in self.batched and args[position] is not None:
                args[position] = args[position][:1]
        kwargs |= {name: kwargs[name][:1] for name in self.batched if kwargs.get(name) is not None}
        names = [slot.name for slot in self.arguments.slots]
        one = Arguments(self.arguments.signature, args, kwargs, names)
        results, findings, _ = replace(self, arguments=one, upstream=None, purity=False).run()
        # Vacuous is no failure here: one sample alone may well have a dead mask.
        wrong = [a.explanation for a in results if a.verdict == "failed"]
        wrong += [f.message for f in findings if f.verdict == "failed"]
        return Finding(
            "batch of one", "failed" if wrong else "passed", f"batch of one: {wrong[0]}" if wrong else ""
        )


def _along(function: Candidate, values: Values, leaf: str) -> Function:
    def value_at(x: Array) -> Array:
        return function.output({**values, leaf: x})

    return value_at


def _moved(values: Values) -> Values:
    """Return the arguments, each number a relative `MOVED` up or down from where it should be."""
    rng = np.random.default_rng(0)
    return {
        name: array * (1 + MOVED * rng.choice([-1.0, 1.0], array.shape)) for name, array in values.items()
    }


def _complex(values: Values) -> Values:
    return {leaf: array.astype(np.complex128) for leaf, array in values.items()}


def _not_finite(y: Array, gradients: dict[str, list[Array]]) -> list[Finding]:
    """Return a finding on NaN and infinities in the result and the gradients."""
    bad = [] if np.isfinite(y).all() else [f"forward's result is {_first_bad(y)}"]
    for leaf, arrays in gradients.items():
        bad += [f"d{leaf} is {_first_bad(array)}" for array in arrays if not np.isfinite(array).all()][:1]
    return [Finding("finite", "failed" if bad else "passed", "; ".join(bad))]


def _first_bad(array: Array) -> str:
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    return f"{array[index]} at {index}"
