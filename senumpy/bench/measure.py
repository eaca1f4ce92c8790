"""Measure cases: all contenders of a case in turns, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from senumpy.bench.cases import OURS, Case, Contender, select_cases
from senumpy.bench.limits import Limits
from senumpy.bench.worker import Worker, WorkerError, is_installed
from senumpy.bench.workloads import ModelWork
from senumpy.engines import default_engine, engine
from senumpy.engines.cores import default_threads
from senumpy.errors import InputError


@dataclass(frozen=True)
class Result:
    """What one contender did in one case.

    Attributes
    ----------
    library : str
        Name of the engine or the peer.
    work : str
        The network or the operation.
    seconds : float
        Median.
    spread : float
        Slowest over fastest of the repeats.
    ratio : float or None
        Seconds over ours: above 1 we are faster. In cases of kind "cost" and "models", seconds with SE over
        without.
    peak_bytes : int or None
        Of networks.
    gflops, gbytes : float
        Achieved rates; 0 where it doesn't apply.
    images_per_second : float or None
        Of networks.
    """

    library: str
    work: str
    seconds: float
    spread: float
    ratio: float | None
    peak_bytes: int | None
    gflops: float
    gbytes: float
    images_per_second: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Row:
    """A case and its results."""

    case: Case
    results: list[Result]
    problems: list[str] = field(default_factory=list)  # contenders that are missing or failed

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return {
            "case": self.case.name,
            "kind": self.case.kind,
            "results": [result.to_dict() for result in self.results],
            "problems": self.problems,
        }


Progress = Callable[[str], None]


def run(
    wanted: Iterable[str] = (),
    *,
    engine_name: str | None = None,
    threads: int | None = None,
    repeats: int = 5,
    progress: Progress = lambda text: None,
    report: Callable[[Row], None] = lambda row: None,
    models: bool = False,
) -> list[Row]:
    """Measure cases one after the other; `report` is called with each row as soon as it is known.

    Raises
    ------
    InputError
        Bad settings, or a case that doesn't exist.
    """
    chosen = check_settings(wanted, engine_name, repeats, models=models)
    name = engine_name or default_engine()
    threads = threads or default_threads()
    rows = []
    with contextlib.ExitStack() as stack:
        shared: dict[str, Worker] = {}  # for operations; networks get new processes, for their peaks
        for case in chosen:
            row = _measure(case, name, threads, repeats, shared, stack, progress)
            report(row)
            rows.append(row)
    return rows


def check_settings(
    wanted: Iterable[str], engine_name: str | None, repeats: int, *, models: bool = False
) -> list[Case]:
    """Return the chosen cases; raise InputError for a case or an engine that isn't there, or no repeats."""
    if repeats < 1:
        raise InputError(f"repeats: got {repeats}, wanted at least 1")
    engine(engine_name or default_engine())
    return select_cases(wanted, models=models)


def machine(threads: int, limits: Limits) -> dict[str, Any]:
    """Return what the figures depend on."""
    packages = ("numpy", "numba", "torch", "onnxruntime")
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        **versions,
        "product_gflops": limits.gflops,
        "copy_gbytes": limits.gbytes,
    }


def _measure(
    case: Case,
    engine_name: str,
    threads: int,
    repeats: int,
    shared: dict[str, Worker],
    stack: contextlib.ExitStack,
    progress: Progress,
) -> Row:
    problems: list[str] = []
    alone = isinstance(case.contenders[0].work, ModelWork)
    ready: list[tuple[Contender, str, Worker]] = []
    with contextlib.ExitStack() as own:
        for contender in _without_doubles(case.contenders, engine_name):
            library = engine_name if contender.library == OURS else contender.library
            if not is_installed(library):
                problems.append(f"{library} is not installed")
                continue
            progress(f"{case.name}: {library} gets ready")
            try:
                if alone:
                    worker = Worker(library, threads)
                    own.callback(worker.close)
                elif library in shared:
                    worker = shared[library]
                else:
                    worker = shared[library] = Worker(library, threads)
                    stack.callback(worker.close)
                worker.prepare(contender.work)
            except WorkerError as error:
                problems.append(str(error))
                shared.pop(library, None)
                continue
            ready.append((contender, library, worker))
        times: list[list[float]] = [[] for _ in ready]
        for turn in range(repeats):
            for k, (_, library, worker) in enumerate(ready):
                progress(f"{case.name}: {library}, {turn + 1} of {repeats}")
                times[k].append(worker.run())
        peaks = [worker.peak_bytes() if alone else None for _, _, worker in ready]
    return Row(case, _results(case, ready, times, peaks), problems)


def _without_doubles(contenders: Sequence[Contender], engine_name: str) -> list[Contender]:
    """Leave out an engine that is measured anyway, as ours."""
    if all(c.library != OURS for c in contenders):
        return list(contenders)
    return [c for c in contenders if c.library != engine_name]


def _results(
    case: Case,
    ready: list[tuple[Contender, str, Worker]],
    times: list[list[float]],
    peaks: list[int | None],
) -> list[Result]:
    results: list[Result] = []
    medians = [statistics.median(t) for t in times]
    for k, (contender, library, _) in enumerate(ready):
        work, seconds = contender.work, medians[k]
        if case.kind in ("cost", "models"):
            # pairs of with and without
            ratio = seconds / medians[k + 1] if k % 2 == 0 and k + 1 < len(medians) else None
        else:
            ratio = seconds / medians[0] if k else None
            first = ready[0][0].work
            if ratio and work != first:  # other work: the rates are what is compared
                ratio *= first.multiply_adds / work.multiply_adds
        results.append(
            Result(
                library,
                work.model if isinstance(work, ModelWork) else work.op,
                seconds,
                max(times[k]) / min(times[k]),
                ratio,
                peaks[k],
                2e-9 * work.multiply_adds / seconds,
                1e-9 * work.moved_bytes / seconds,
                work.batch / seconds if isinstance(work, ModelWork) else None,
            )
        )
    return results
