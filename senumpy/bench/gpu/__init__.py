"""`senumpy bench --engine cupy`: the engine for GPUs beside PyTorch, in one process, on one device.

`settings` says what is measured and how large, `session` measures contenders in turns, `peer` is PyTorch,
`rows` are the results; `networks`, `kernels`, `feeding` and `crossover` hold the works, `report` prints.
CuPy and PyTorch are imported when a session begins, and not before.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from senumpy.bench.gpu.crossover import draw_crossover, measure_crossover
from senumpy.bench.gpu.feeding import measure_feeding
from senumpy.bench.gpu.kernels import measure_copy, measure_kernels
from senumpy.bench.gpu.networks import (
    measure_cost,
    measure_determinism,
    measure_inference,
    measure_memory,
    measure_training,
)
from senumpy.bench.gpu.report import Table, left_out_lines, machine_lines
from senumpy.bench.gpu.rows import Goal, LeftOut, Result, Row
from senumpy.bench.gpu.session import Session
from senumpy.bench.gpu.settings import WORKS, Settings, select_works

__all__ = [
    "WORKS",
    "Goal",
    "LeftOut",
    "Result",
    "Row",
    "Session",
    "Settings",
    "Table",
    "draw_crossover",
    "left_out_lines",
    "machine",
    "machine_lines",
    "measure",
    "run",
    "select_works",
]

_FUNCTIONS: dict[str, Callable[[Session], None]] = {
    "copy": measure_copy,
    "kernels": measure_kernels,
    "train": measure_training,
    "inference": measure_inference,
    "cost": measure_cost,
    "memory": measure_memory,
    "cifar": measure_feeding,
    "deterministic": measure_determinism,
    "crossover": measure_crossover,
}


def run(
    wanted: Iterable[str],
    settings: Settings,
    *,
    show: Callable[[str], None],
    progress: Callable[[str], None],
) -> tuple[dict[str, Any], list[Row]]:
    """Measure works and show them line by line; return what goes to JSON, and the rows.

    Raises
    ------
    InputError
        There is no such work, no GPU or no CuPy.
    """
    works, table = select_works(wanted), Table()

    def print_lines(lines: Iterable[str]) -> None:
        for line in lines:
            show(line)

    def report(row: Row) -> None:
        progress("")
        print_lines(table.lines(row))

    session = Session(settings, report, progress)
    described = machine(session)
    print_lines(machine_lines(described))
    measure(session, works)
    progress("")
    print_lines(left_out_lines(session.left_out))
    return {
        "machine": described,
        "repeats": settings.repeats,
        "rows": [row.to_dict() for row in session.rows],
        "left_out": [entry.to_dict() for entry in session.left_out],
    }, session.rows


def measure(session: Session, works: Sequence[str]) -> None:
    """Do works one after the other; one that fails is left out."""
    for work in works:
        session.attempt(work, "all", partial(_FUNCTIONS[work], session))
        session.clean()


def machine(session: Session) -> dict[str, Any]:
    """Return what the figures depend on."""
    from senumpy import __version__

    device, runtime = session.device, session.cupy.cuda.runtime
    return {
        "device": device.number,
        "name": device.name,
        "architecture": device.architecture,
        "memory": device.memory,
        "driver": _cuda(runtime.driverGetVersion()),
        "runtime": _cuda(runtime.runtimeGetVersion()),
        "senumpy": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cupy": session.cupy.__version__,
        **(session.peer.versions() if session.peer is not None else {}),
        "repeats": session.settings.repeats,
        "warm_ups": session.settings.warm_ups,
    }


def _cuda(version: int) -> str:
    """Return "13.1" for 13010."""
    return f"{version // 1000}.{version % 1000 // 10}"
