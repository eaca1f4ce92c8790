"""What a subject is: an exercise that is no operation, with its cases, its judge and its bank of mistakes.

How far rounding may take an answer is derived, in one of two ways. Where nothing better is said, as in
`senumpy.verify.rounding`: a sum of L terms in floating point is the exact sum of terms that are off by
delta = LAMBDA sqrt(L) u, nearly always; so the reference runs with all arrays of the case off by delta, and

    bound = ROOM (largest move of a result among SAMPLES of them) + ROUND u max|result|

Where rounding has another cause than sums of the case's arrays (differences that cancel, a cosine, Winograd's
transforms) the subject has a bound of its own, and its module says why.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from senumpy.verify.calls import map_arrays
from senumpy.verify.rounding import LAMBDA, ROOM, ROUND, SAMPLES
from senumpy.verify.slots import text_of

Array = NDArray[Any]
Results = dict[str, Array]
Function = Callable[..., Any]
Functions = Mapping[str, Function]

U = 2.0**-53  # unit roundoff of float64, in which all cases are
# How far an answer and a mistake's result may be apart: both are rounded.
ALIKE = 4.0  # bounds
RELATIVE = 64.0  # roundoffs of the result


class AnswerError(TypeError):
    """A student's function returned what is no result at all; the message says what was wanted."""


@dataclass(frozen=True, eq=False)
class Case:
    """One thing that an answer is asked.

    Attributes
    ----------
    text : str
        What is asked, for whoever got it wrong: sizes and settings.
    data : dict
        Arguments: arrays of float64, numbers, texts, tuples of these.
    """

    text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class SubjectMistake:
    """A plausible wrong answer.

    Attributes
    ----------
    name : str
        Unique within the subject.
    explanation : str
        One sentence for whoever made it.
    functions : dict
        The wrong functions; those that are missing are the reference's.
    """

    name: str
    explanation: str
    functions: dict[str, Function] = field(repr=False)


@dataclass(frozen=True)
class Judged:
    """What is to be said of an answer to one case.

    Attributes
    ----------
    wrong, right : tuple of str
        Names of results.
    text : str
        Of the worst entry: what was got, what was wanted; empty where nothing is wrong.
    """

    wrong: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    text: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong


@dataclass(frozen=True)
class Subject:
    """An exercise that is judged by its results in a number of cases.

    Attributes
    ----------
    name : str
        The exercise.
    reference : dict
        The library's functions, by the names that a file must define.
    fixed : callable
        () -> the cases that are always the same.
    draw : callable
        (random generator) -> cases with other numbers at every seed.
    runs : callable
        (functions, case) -> results, plain arrays; changes nothing in the case.
    mistakes : tuple of SubjectMistake
        The bank.
    terms : int
        L above.
    bound : callable, optional
        (case, wanted results) -> bound by result, where it is not the one above.
    expected : callable, optional
        (case) -> wanted results, where these are not what the reference gives.
    enough : tuple of str
        Results that settle it: if they are right, only the shapes of the others count.
    words : dict
        What the numbers of a result mean, where they are codes: texts by result.
    """

    name: str
    reference: dict[str, Function]
    fixed: Callable[[], list[Case]]
    draw: Callable[[np.random.Generator], list[Case]]
    runs: Callable[[Functions, Case], Results]
    mistakes: tuple[SubjectMistake, ...]
    terms: int = 1
    bound: Callable[[Case, Results], dict[str, Any]] | None = None
    expected: Callable[[Case], Results] | None = None
    enough: tuple[str, ...] = ()
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # What diagnoses need of a case again and again: bounds (name ""), and results of mistakes by name.
    _known: WeakKeyDictionary[Case, dict[str, Any]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    @property
    def functions(self) -> tuple[str, ...]:
        """Names that a file must define."""
        return tuple(self.reference)

    def cases(self, seed: int) -> list[Case]:
        """Return the fixed cases, then those of a seed."""
        return [*self.fixed(), *self.drawn(seed)]

    def drawn(self, seed: int) -> list[Case]:
        """Return the cases of a seed alone."""
        return self.draw(np.random.default_rng([seed, zlib.crc32(self.name.encode())]))

    def run(self, functions: Functions, case: Case) -> Results:
        """Return what functions give in a case.

        Raises
        ------
        AnswerError
            They return something else than they should. What they raise themselves passes through.
        """
        return self.runs(functions, case)

    def want(self, case: Case) -> Results:
        """Return the right results."""
        return self.expected(case) if self.expected else self.runs(self.reference, case)

    def bounds(self, case: Case, want: Results) -> dict[str, Any]:
        """Return how far rounding may take each result: a number, or an array of its shape."""
        if self.bound is not None:
            return self.bound(case, want)
        return {name: moved + ROUND * U * _largest(want[name]) for name, moved in self._moved(case).items()}

    def judge(self, got: Results, want: Results, case: Case, bounds: dict[str, Any] | None = None) -> Judged:
        """Judge the answer to a case."""
        bounds = self.bounds(case, want) if bounds is None else bounds
        texts: dict[str, tuple[float, str]] = {}
        for name in want:
            ratio, text = self._compared(name, got.get(name), want[name], bounds[name])
            if text:
                texts[name] = ratio, text
        settled = bool(self.enough) and not any(name in texts for name in self.enough)
        if settled and not any(np.isinf(ratio) for ratio, _ in texts.values()):
            texts = {}
        right = tuple(name for name in want if name not in texts)
        worst = max(texts.values(), key=lambda entry: entry[0], default=(0.0, ""))
        return Judged(tuple(texts), right, worst[1])

    def diagnose(
        self, cases: Sequence[Case], answers: Sequence[Results | None]
    ) -> tuple[SubjectMistake, ...]:
        """Return the mistakes that give what the answers are, in every case.

        Parameters
        ----------
        cases : list of Case
        answers : list
            Results by case; None where there are none, because the functions raised something.
        """
        there = [(case, got) for case, got in zip(cases, answers, strict=True) if got]
        return tuple(
            mistake
            for mistake in self.mistakes
            if there and all(self._made(mistake, case, got) for case, got in there)
        )

    def wrong(self, mistake: SubjectMistake, case: Case) -> Results | None:
        """Return what a mistake gives in a case; None where it raises something."""
        try:
            with np.errstate(all="ignore"):
                return self.runs({**self.reference, **mistake.functions}, case)
        except Exception:  # whatever a wrong function may run into
            return None

    def agree(self, got: Results, wrong: Results | None, bounds: dict[str, Any]) -> bool:
        """Return whether all results are the same, but for rounding."""
        if wrong is None or wrong.keys() != got.keys():
            return False
        for name, other in wrong.items():
            if got[name].shape != other.shape:
                return False
            with np.errstate(all="ignore"):  # a wrong result may be much larger than the right one
                limit = ALIKE * _fitting(bounds[name], other) + RELATIVE * U * np.abs(other)
            if not (_apart(got[name], other) <= limit).all():
                return False
        return True

    def _made(self, mistake: SubjectMistake, case: Case, got: Results) -> bool:
        """Return whether an answer is what a mistake gives in a case; what that is, is kept."""
        known = self._known.setdefault(case, {})
        if "" not in known:
            known[""] = self.bounds(case, self.want(case))
        if mistake.name not in known:
            known[mistake.name] = self.wrong(mistake, case)
        return self.agree(got, known[mistake.name], known[""])

    def _moved(self, case: Case) -> dict[str, float]:
        """Return ROOM times how far results move when all arrays are off by delta."""
        exact = self.runs(self.reference, case)
        delta = LAMBDA * self.terms**0.5 * U
        moved = dict.fromkeys(exact, 0.0)
        for sample in range(SAMPLES):
            rng = np.random.default_rng(sample)

            def off(array: Array, rng: np.random.Generator = rng) -> Array:
                return array * (1.0 + delta * rng.standard_normal(array.shape)) if _float(array) else array

            data = {name: map_arrays(off, value) for name, value in case.data.items()}
            for name, value in self.runs(self.reference, Case(case.text, data)).items():
                moved[name] = max(moved[name], ROOM * _largest(value - exact[name]))
        return moved

    def _compared(self, name: str, got: Array | None, want: Array, bound: Any) -> tuple[float, str]:
        """Return how many bounds the worst entry is off, and a text if that is more than one."""
        if got is None:
            return np.inf, f"{name}: there is none"
        if got.shape != want.shape:
            return np.inf, self._shapes(name, got, want)
        if not want.size:
            return 0.0, ""
        with np.errstate(all="ignore"):
            ratio = np.asarray(_apart(got, want) / np.maximum(_fitting(bound, want), 1e-300))
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        at = np.unravel_index(int(ratio.argmax()), ratio.shape)
        if ratio[at] <= 1.0:
            return float(ratio[at]), ""
        place = f"[{', '.join(map(str, at))}]" if at else ""
        text = f"{name}{place}: got {self._word(name, got[at])}, wanted {self._word(name, want[at])}"
        return min(float(ratio[at]), 1e300), text

    def _shapes(self, name: str, got: Array, want: Array) -> str:
        if name in self.words and max(got.size, want.size) <= 40:
            both = (", ".join(self._word(name, entry) for entry in array.ravel()) for array in (got, want))
            return "{}: got {}; wanted {}".format(name, *both)
        return f"{name}: got the shape {got.shape}, wanted {want.shape}"

    def _word(self, name: str, entry: Any) -> str:
        if name in self.words:
            texts = self.words[name]
            return texts[int(entry)] if 0 <= entry < len(texts) else str(entry)
        return f"{entry:.10g}"


def numbers(value: Any, what: str) -> Array:
    """Return what a student's function returned as an array of numbers.

    Raises
    ------
    AnswerError
        It is none.
    """
    try:
        array = np.array(value)
    except (ValueError, TypeError, RuntimeError):
        array = np.array(None)
    if array.dtype.kind not in "biufc":
        raise AnswerError(f"{what}: got {text_of(value)}, wanted numbers (an array, or a number)")
    return array


def shape_text(array: Array) -> str:
    """Return a shape as it is written in words: ``3 x 4``, ``one number``."""
    return " x ".join(map(str, array.shape)) or "one number"


def _largest(array: Array) -> float:
    return float(np.abs(array).max(initial=0.0))


def _float(array: Array) -> bool:
    return array.dtype.kind == "f"


def _apart(a: Array, b: Array) -> Array:
    """Return |a - b|; 0 where both are the same infinity, or both NaN."""
    with np.errstate(all="ignore"):
        apart = np.abs(np.subtract(a, b, dtype=np.result_type(a, b, np.longdouble)))
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, apart)


def _fitting(bound: Any, like: Array) -> Array:
    """Return a bound for each entry of an array."""
    array = np.asarray(bound, np.float64)
    if array.ndim and array.shape != like.shape:  # the result itself has a wrong shape
        array = array.max(initial=0.0)
    return np.broadcast_to(array, like.shape)
