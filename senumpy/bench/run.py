"""`senumpy bench`: measure the chosen cases and report them as a table or as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from senumpy.bench.cases import CASES, Case
from senumpy.bench.measure import Measurement, measure
from senumpy.engines import Engine, engine
from senumpy.errors import InputError


@dataclass(frozen=True)
class Row:
    """A case and what was measured."""

    case: Case
    measurement: Measurement

    def rate(self) -> str:
        """Return what the row achieved: images/s of a model, GFLOP/s of a product (2 per multiply-add)."""
        m = self.measurement
        if self.case.images:
            return f"{self.case.images / (m.forward + m.backward):.0f} images/s"
        if self.case.multiply_adds:
            # the backward does the work of the forward twice: once for each argument
            return f"{6e-9 * self.case.multiply_adds / (m.forward + m.backward):.0f} GFLOP/s"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON: seconds and bytes."""
        m = self.measurement
        row: dict[str, Any] = {"case": self.case.name, "kind": self.case.kind, **m._asdict()}
        if self.case.images:
            row["batch_size"] = self.case.images
            row["images_per_second"] = self.case.images / (m.forward + m.backward)
        if self.case.multiply_adds:
            row["gflops_per_second"] = 6e-9 * self.case.multiply_adds / (m.forward + m.backward)
        return row

    def __str__(self) -> str:
        m = self.measurement
        return (
            f"{self.case.name:<28} {1e3 * m.forward:>10.1f} {1e3 * m.backward:>11.1f} "
            f"{m.peak_bytes / 2**20:>9.0f} {self.rate():>17}"
        )


HEADER = f"{'case':<28} {'forward ms':>10} {'backward ms':>11} {'peak MiB':>9} {'rate':>17}"


def select_cases(wanted: Iterable[str]) -> list[Case]:
    """Return the cases of a kind ("op", "model") or with a text in their name; all where none is wanted."""
    wanted = list(wanted)
    for text in wanted:
        if not any(text in (case.kind, case.name) or text in case.name for case in CASES):
            names = ", ".join(case.name for case in CASES)
            raise InputError(f"no case has {text!r} in its name; wanted op, model, or part of: {names}")
    return [
        case for case in CASES if not wanted or any(text == case.kind or text in case.name for text in wanted)
    ]


def run(
    wanted: Iterable[str] = (),
    *,
    engine_name: str = "numpy",
    repeats: int = 5,
    report: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Measure cases one after the other; `report` is called with each row as soon as it is known."""
    if repeats < 1:
        raise InputError(f"repeats: got {repeats}, wanted at least 1")
    chosen: Engine = engine(engine_name)
    rows = []
    for case in select_cases(wanted):
        row = Row(case, measure(*case.prepare(chosen), repeats=repeats))
        report(row)
        rows.append(row)
    return rows


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
