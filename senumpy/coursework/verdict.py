"""What came of an answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["passed", "failed", "not begun", "refused", "error"]


@dataclass(frozen=True)
class Verdict:
    """What came of an answer to one exercise.

    Attributes
    ----------
    exercise : str
        Its name.
    status : {"passed", "failed", "not begun", "refused", "error"}
        Refused: it can't be an answer, and was not run. Error: it ran and broke off, at all calls.
    points : float
        All of the exercise's, or none.
    line : str
        One line that says why.
    feedback : str
        For the student, some lines: what is wrong for which input, what it looks like, what to read. Never
        the solution.
    mistakes : tuple of str
        Names from the bank of mistakes.
    seconds : float
        That running and judging it took.
    example : dict of arrays
        The input that the feedback speaks of, by argument, with what was got and wanted; may be empty.
    """

    exercise: str
    status: Status
    points: float
    line: str
    feedback: str
    mistakes: tuple[str, ...] = ()
    seconds: float = 0.0
    example: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return self.status == "passed"

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON, without the example's numbers."""
        found = asdict(self)
        del found["example"]
        return {**found, "mistakes": list(self.mistakes), "seconds": round(self.seconds, 3)}

    def __str__(self) -> str:
        return self.feedback


def example_arrays(arguments: dict[str, Any], got: dict[str, Any], want: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays of an example under the names that a file of them has."""
    found = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
    found |= {f"got_{name}": np.asarray(value) for name, value in got.items() if value is not None}
    found |= {
        f"wanted_{name}": np.asarray(value, np.float64) for name, value in want.items() if value is not None
    }
    return found
