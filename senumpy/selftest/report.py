"""What the self-test found, as frozen records that print at 80 columns and turn into JSON."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

WIDTH = 80


@dataclass(frozen=True)
class Failure:
    """A check that did not hold.

    Attributes
    ----------
    group, subject, case, what : str
        Kind of check; operation, network or helper; its arguments; what was looked at.
    message : str
        What was found and what was wanted.
    seed : int
        Draws the case again with ``--seed SEED --draws 1``.
    """

    group: str
    subject: str
    case: str
    what: str
    message: str
    seed: int

    def __str__(self) -> str:
        case = f" ({self.case})" if self.case else ""
        first = f"{self.group}: {self.subject}{case}, {self.what}, seed {self.seed}"
        wrap = {"width": WIDTH, "subsequent_indent": "    ", "break_on_hyphens": False}
        return "\n".join(
            textwrap.wrap(first, initial_indent="  ", **wrap)  # type: ignore[arg-type]
            + textwrap.wrap(self.message, initial_indent="    ", **wrap)  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class GroupResult:
    """One kind of check over all its cases: a line of the table.

    Attributes
    ----------
    name : str
    checks, failed : int
    worst : float or None
        Largest error over its bound; None where nothing is measured.
    worst_at : str
        Where that was.
    seconds : float
    """

    name: str
    checks: int
    failed: int
    worst: float | None
    worst_at: str
    seconds: float

    def __str__(self) -> str:
        worst = "-" if self.worst is None else f"{self.worst:.2g}"
        return f"{self.name:<44}{self.checks:>8}{self.failed:>8}{worst:>10}{self.seconds:>9.1f}"


HEADER = f"{'checks':<44}{'made':>8}{'failed':>8}{'worst':>10}{'seconds':>9}"


@dataclass(frozen=True)
class SelfTestReport:
    """Everything that was found.

    Attributes
    ----------
    engine, describe : str
        Its name, and what it says about how it runs here.
    versions : dict
        Of senumpy, Python, NumPy, and what the engine needs.
    seed, draws : int
    quick : bool
    groups : tuple of GroupResult
    failures : tuple of Failure
    left_out : tuple of str
        What was not checked, and why.
    """

    engine: str
    describe: str
    versions: dict[str, str]
    seed: int
    draws: int
    quick: bool
    groups: tuple[GroupResult, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all checks held, and there were any."""
        return not self.failures and self.checks > 0

    @property
    def checks(self) -> int:
        """How many checks were made."""
        return sum(group.checks for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, strings and finite numbers or None, ready for JSON."""
        record = asdict(self)
        for group in record["groups"]:
            if group["worst"] is not None and not math.isfinite(group["worst"]):
                group["worst"] = str(group["worst"])  # JSON has no infinity
        return {"ok": self.ok, "checks": self.checks, **record}

    def summary(self) -> str:
        """Return what comes below the table: failures, what was left out, the verdict."""
        lines = []
        if self.failures:
            lines += ["", "did not hold:", *map(str, self.failures)]
            lines.append("  (the same again: --seed and the seed that is named, --draws 1)")
        lines += ["", "left out:"]
        for text in self.left_out:
            lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
        failed = f"{len(self.failures)} of {self.checks} checks failed"
        lines += ["", failed if self.failures else f"{self.checks} checks held"]
        return "\n".join(lines)


def heading(describe: str, versions: dict[str, str], seed: int, draws: int) -> str:
    """Return what stands above the table."""
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    settings = f"seed {seed}, {draws} draw{'s' * (draws != 1)} of each operation's cases"
    lines = [f"engine {describe}", listed, settings, "worst: the largest error relative to its bound"]
    wrapped = [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]
    return "\n".join([*wrapped, "", HEADER])
