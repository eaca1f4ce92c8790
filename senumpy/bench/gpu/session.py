"""One run of the bench: the clock, the engines, PyTorch if it is there, rows as they become known."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from senumpy.bench.gpu.rows import LeftOut, Result, Row
from senumpy.bench.gpu.settings import Settings
from senumpy.engines import engine

OURS, PYTORCH = "senumpy", "PyTorch"
T = TypeVar("T")
Run = Callable[[], Any]


@dataclass(frozen=True)
class Prepared:
    """A run that is ready, and how it goes about its work."""

    run: Run
    note: str | None = None


@dataclass(frozen=True)
class Contender:
    """Who is measured; `images` are those of one run, 0 where they don't count."""

    name: str
    prepare: Callable[[], Prepared]
    images: int = 0
    batch: int | None = None


class Session:
    """What the works share.

    Parameters
    ----------
    settings : Settings
    report : callable
        Called with each row as soon as it is known.
    progress : callable
        Called with what is being done.

    Attributes
    ----------
    peer : TorchPeer or None
        PyTorch on the same device.
    rows, left_out : list
    """

    def __init__(
        self, settings: Settings, report: Callable[[Row], None], progress: Callable[[str], None]
    ) -> None:
        self.settings = settings
        self.report, self.progress = report, progress
        self.rows: list[Row] = []
        self.left_out: list[LeftOut] = []
        self._engines: dict[str, Any] = {}
        self.device = self.engine("float32").runtime.device  # first: it says what is missing, and selects

        import cupy

        self.cupy = cupy
        self.peer = self._find_peer()
        self.copy_gbytes: float | None = None

    def _find_peer(self) -> Any:
        """Return PyTorch, or None and say why it is left out."""
        try:
            from senumpy.bench.gpu.peer import find_peer
        except ImportError as error:
            self.leave_out("all rows", PYTORCH, f"not installed ({error})")
            return None
        try:
            peer, reason = find_peer(self.settings)
        except Exception as error:  # a driver that PyTorch can't use, though CuPy can
            self.leave_out("all rows", PYTORCH, error)
            return None
        if reason:
            self.leave_out("all rows", PYTORCH, reason)
        return peer

    def engine(self, precision: str) -> Any:
        """Return the engine of a precision: always the same, which has measured its ways before."""
        if precision not in self._engines:
            self._engines[precision] = self.new_engine(precision=precision)
        return self._engines[precision]

    def new_engine(self, **options: Any) -> Any:
        """Return another engine on this device."""
        return engine("cupy", device=self.settings.device, **options)

    def add(self, row: Row) -> None:
        """Report a row, unless nobody is in it."""
        if row.results:
            self.rows.append(row)
            self.report(row)

    def leave_out(self, title: str, contender: str, reason: object) -> None:
        """Note who isn't measured."""
        if isinstance(reason, Exception):
            reason = f"{type(reason).__name__}: {reason}"
        self.left_out.append(LeftOut(title, contender, " ".join(str(reason).split())))

    def attempt(self, title: str, contender: str, function: Callable[[], T]) -> T | None:
        """Return what the function returns; None, and a note of the reason, if it fails, whatever it is."""
        try:
            return function()
        except Exception as error:  # out of memory, a missing driver: the others are measured all the same
            self.leave_out(title, contender, error)
        self.clean()  # here, where the exception holds no arrays any more
        return None

    def synchronize(self) -> None:
        """Wait for all work of the device, CuPy's and PyTorch's."""
        self.cupy.cuda.Device(self.settings.device).synchronize()

    def clean(self) -> None:
        """Give free memory back to the device."""
        gc.collect()
        with suppress(Exception):  # of a device that a kernel has broken: the next attempt reports it
            self.synchronize()
            self.cupy.get_default_memory_pool().free_all_blocks()
            if self.peer is not None:
                self.peer.clean()

    def seconds(self, run: Run) -> float:
        """Return the time of one run, from an idle device to an idle device."""
        self.synchronize()
        start = time.perf_counter()
        run()
        self.synchronize()
        return time.perf_counter() - start

    def event_seconds(self, run: Run, times: int) -> float:
        """Return the time of one of several runs by the device's own clock."""
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        start.record()
        for _ in range(times):
            run()
        end.record()
        end.synchronize()
        return 1e-3 * float(self.cupy.cuda.get_elapsed_time(start, end)) / times

    def by_events(self, run: Run) -> list[float]:
        """Return the seconds of a run in every round, by events."""
        settings = self.settings
        rounds = range(settings.warm_ups + settings.repeats)
        return [self.event_seconds(run, settings.launches) for _ in rounds][settings.warm_ups :]

    @contextmanager
    def precision(self, name: str) -> Iterator[None]:
        """Let PyTorch compute with a precision; ours has an engine for each."""
        with self.peer.precision(name) if self.peer is not None else nullcontext():
            yield

    def alternate(self, title: str, contenders: Sequence[Contender]) -> list[Result]:
        """Measure contenders in turns; return the results of those that finish, in their order."""
        self.clean()
        ready: dict[Contender, Prepared] = {}
        for contender in contenders:
            self.progress(f"{title}: {contender.name} gets ready")
            prepared = self.attempt(title, contender.name, contender.prepare)
            if prepared is not None:
                ready[contender] = prepared
            self.clean()
        times: dict[Contender, list[float]] = {contender: [] for contender in ready}
        for number in range(self.settings.warm_ups + self.settings.repeats):
            for contender in list(ready):
                self.progress(f"{title}: {contender.name}, round {number + 1}")
                seconds = self._turn(title, contender, ready[contender], times[contender])
                if seconds is None:
                    del ready[contender]
                    self.clean()
                else:
                    times[contender].append(seconds)
        return [
            _result(contender, prepared, times[contender][self.settings.warm_ups :])
            for contender, prepared in ready.items()
        ]

    def _turn(
        self, title: str, contender: Contender, prepared: Prepared, before: list[float]
    ) -> float | None:
        """Return the mean of a round's runs; one run where nothing is known of its time."""
        count = max(1, int(self.settings.turn / before[-1])) if before else 1
        run = prepared.run
        return self.attempt(
            title, contender.name, lambda: sum(self.seconds(run) for _ in range(count)) / count
        )


def _result(contender: Contender, prepared: Prepared, times: list[float]) -> Result:
    seconds = statistics.median(times)
    rate = contender.images / seconds if contender.images else None
    spread = max(times) / min(times)
    return Result(
        contender.name, seconds, spread, images_per_second=rate, batch=contender.batch, note=prepared.note
    )


def with_ratios(results: list[Result], first: str = OURS) -> list[Result]:
    """Return results with their seconds over those of the contender `first`."""
    own = next((result.seconds for result in results if result.contender == first), None)
    if own is None:
        return results
    return [
        result
        if result.contender == first or result.seconds is None
        else replace(result, ratio=result.seconds / own)
        for result in results
    ]
