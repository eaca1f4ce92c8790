"""What was measured: rows of results, the goals that they are held against, and who was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """What one contender did in one row; None where it doesn't apply.

    Attributes
    ----------
    contender : str
    seconds : float
        Median.
    spread : float
        Slowest over fastest of the repeats.
    ratio : float
        Seconds (in the work `memory`: bytes) over those of our first contender: above 1 ours is better. In
        `cost` and the works after `memory` as the row's remarks say.
    images_per_second, gbytes : float
        Achieved rates; GB/s.
    share : float
        Of the measured copy bandwidth.
    moved_bytes, peak_bytes : int
        What a kernel has to read and write; memory at the peak.
    note : str
        How the contender did it: PyTorch's memory format.
    """

    contender: str
    seconds: float | None = None
    spread: float | None = None
    ratio: float | None = None
    images_per_second: float | None = None
    gbytes: float | None = None
    share: float | None = None
    moved_bytes: int | None = None
    peak_bytes: int | None = None
    batch: int | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        """Contender and note."""
        return f"{self.contender}, {self.note}" if self.note else self.contender

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return _known(self)


@dataclass(frozen=True)
class Goal:
    """A figure, what it has to reach, and what it would better reach.

    Attributes
    ----------
    figure : str
        What was reached, in words.
    reached, wanted : float
    aim : float or None
    at_most : bool
        Whether less is better.
    """

    figure: str
    reached: float
    wanted: float
    aim: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether `reached` is what is wanted."""
        return self.holds(self.wanted)

    def holds(self, limit: float) -> bool:
        """Whether `reached` is on the right side of a limit."""
        return self.reached <= limit if self.at_most else self.reached >= limit

    def to_dict(self) -> dict[str, Any]:
        """Return the goal for JSON."""
        aim_met = None if self.aim is None else self.holds(self.aim)
        return {**_known(self), "met": self.met, **({} if aim_met is None else {"aim_met": aim_met})}


@dataclass(frozen=True)
class Row:
    """Some results that belong together.

    Attributes
    ----------
    work, title : str
    precision : str
        Of matrix products, on both sides; "float32" too where there are none.
    results, goals, remarks : list
    """

    work: str
    title: str
    precision: str
    results: list[Result]
    goals: list[Goal] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return {
            "work": self.work,
            "title": self.title,
            "precision": self.precision,
            "results": [result.to_dict() for result in self.results],
            "goals": [goal.to_dict() for goal in self.goals],
            "remarks": self.remarks,
        }


@dataclass(frozen=True)
class LeftOut:
    """A contender that was not measured, and why."""

    title: str  # of the row
    contender: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return dict(vars(self))


def goals_of_pairs(
    results: list[Result], pairs: list[tuple[str, str]], wanted: float, aim: float
) -> list[Goal]:
    """Return a goal for each pair (peer, ours) that was measured: the ratio of their seconds."""
    seconds = {result.contender: result.seconds for result in results}
    found = [(peer, ours, seconds.get(peer), seconds.get(ours)) for peer, ours in pairs]
    return [
        Goal(f"{peer} / {ours}", theirs / own, wanted, aim)
        for peer, ours, theirs, own in found
        if theirs and own
    ]


def _known(value: Any) -> dict[str, Any]:
    return {name: entry for name, entry in vars(value).items() if entry is not None}
