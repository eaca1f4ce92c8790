"""Networks beside PyTorch: training, inference, what SE costs, memory, and the price of determinism."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from senumpy.bench import ours
from senumpy.bench.gpu.rows import Goal, Result, Row, goals_of_pairs
from senumpy.bench.gpu.session import OURS, PYTORCH, Contender, Prepared, Session, with_ratios
from senumpy.bench.gpu.settings import PRECISIONS
from senumpy.bench.workloads import ModelWork
from senumpy.engines import Engine

GRAPH = "CUDA graph"


def measure_training(session: Session) -> None:
    """Measure a training step, in both precisions."""
    for precision in PRECISIONS:
        work = _work(session, train=True)
        title = f"training step, {work.model}, batch {work.batch}, {precision}"
        contenders = [our_contender(session, work, precision), *_peers(session, work)]
        with session.precision(precision):
            results = with_ratios(session.alternate(title, contenders))
        goals = goals_of_pairs(results, [(PYTORCH, OURS)], 0.7, 1.2)
        session.add(Row("train", title, precision, results, goals))


def measure_inference(session: Session) -> None:
    """Measure a batch and one image; that one in PyTorch's CUDA graph, too: launches take longer than it."""
    for batch in dict.fromkeys((session.settings.batch, 1)):
        for precision in PRECISIONS:
            work = _work(session, train=False, batch=batch)
            title = f"inference, {work.model}, batch {batch}, {precision}"
            contenders = [our_contender(session, work, precision), *_peers(session, work)]
            if batch == 1:
                contenders += _graph(session, title, work)
            with session.precision(precision):
                results = with_ratios(session.alternate(title, contenders))
            goals = goals_of_pairs(results, [(PYTORCH, OURS)], 0.8, 1.3)
            session.add(Row("inference", title, precision, results, goals))


def measure_cost(session: Session) -> None:
    """Measure a training step with SE and without, of both libraries."""
    settings = session.settings
    for precision in PRECISIONS:
        title = f"cost of SE, training step, batch {settings.batch}, {precision}"
        works = [
            replace(_work(session, train=True), model=model) for model in (settings.model, settings.plain)
        ]
        contenders = [our_contender(session, work, precision, name=f"{OURS} {work.model}") for work in works]
        for work in works:
            contenders += _peers(session, work, name=f"{PYTORCH} {work.model}")
        with session.precision(precision):
            results = session.alternate(title, contenders)
        found = {result.contender: result for result in results}
        goals = []
        for library in (OURS, PYTORCH):
            whole, plain = (found.get(f"{library} {model}") for model in (settings.model, settings.plain))
            if whole and plain and whole.seconds and plain.seconds:
                ratio = whole.seconds / plain.seconds
                found[whole.contender] = replace(whole, ratio=ratio)
                if library == OURS:
                    goals.append(Goal(f"{OURS}, with SE / without", ratio, 1.05, 1.02, at_most=True))
        remarks = ["ratio: with SE / without"]
        session.add(Row("cost", title, precision, list(found.values()), goals, remarks))


def measure_memory(session: Session) -> None:
    """Measure the peak of a training step, with the weights and all else that is there before it."""
    for precision in PRECISIONS:
        work = _work(session, train=True)
        title = f"peak memory, training step, {work.model}, batch {work.batch}, {precision}"
        session.progress(title)
        session.clean()
        results = []
        own = session.attempt(title, OURS, partial(_our_peak, session, work, precision))
        session.clean()
        if own is not None:
            results.append(Result(OURS, peak_bytes=own))
        goals = []
        found = None
        if session.peer is not None:
            with session.precision(precision):
                found = session.attempt(title, PYTORCH, partial(session.peer.peaks, work))
            session.clean()
        if found:
            for name, peak in zip(("reserved", "allocated"), found, strict=False):
                ratio = peak / own if own else None
                results.append(Result(f"{PYTORCH}, {name}", peak_bytes=peak, ratio=ratio, note=found[2]))
            if own:  # like with like: what either takes from the device
                goals.append(Goal(f"{OURS} / {PYTORCH}, reserved", own / found[0], 1.0, 0.8, at_most=True))
        session.add(Row("memory", title, precision, results, goals))


def measure_determinism(session: Session) -> None:
    """Measure a training step with the ways of convolving chosen by rule, and by measurement."""
    for precision in PRECISIONS:
        work = _work(session, train=True)
        title = f"determinism, training step, {work.model}, batch {work.batch}, {precision}"
        fixed: Any = session.new_engine(precision=precision, deterministic=True)
        contenders = [
            our_contender(session, work, precision),
            engine_contender(fixed, work, f"{OURS}, deterministic"),
        ]
        results = with_ratios(session.alternate(title, contenders))
        remarks = [
            "ratio: deterministic / default",
            f"chosen by rule, one use of every shape takes {fixed.runtime.choices.price:.3f} ms longer",
        ]
        session.add(Row("deterministic", title, precision, results, [], remarks))


def our_contender(session: Session, work: ModelWork, precision: str, *, name: str = OURS) -> Contender:
    """Return our engine with a work."""
    return engine_contender(session.engine(precision), work, name)


def engine_contender(made: Engine, work: ModelWork, name: str) -> Contender:
    """Return an engine with a work."""
    return Contender(name, lambda: Prepared(ours.model_run(made, work)), work.batch, work.batch)


def _work(session: Session, *, train: bool, batch: int | None = None) -> ModelWork:
    settings = session.settings
    return ModelWork(settings.model, batch or settings.batch, train, settings.size, classes=settings.classes)


def _peers(session: Session, work: ModelWork, *, name: str = PYTORCH) -> list[Contender]:
    """Return PyTorch with a work, if it is there."""
    peer = session.peer
    if peer is None:
        return []
    return [Contender(name, lambda: peer.prepare(work), work.batch, work.batch)]


def _graph(session: Session, title: str, work: ModelWork) -> list[Contender]:
    """Return PyTorch with the work launched as a whole."""
    session.leave_out(title, f"{OURS}, {GRAPH}", "CuPy refuses cuBLAS while it records a graph")
    if session.peer is None:
        return []
    peer = session.peer
    return [Contender(f"{PYTORCH}, {GRAPH}", lambda: peer.prepare(work, graph=True), work.batch, work.batch)]


def _our_peak(session: Session, work: ModelWork, precision: str) -> int:
    """Return what the memory pool has taken from the device at the peak of a step."""
    made = session.engine(precision)
    run = ours.model_run(made, work)
    for _ in range(session.settings.warm_ups):
        run()
    session.clean()
    held = session.cupy.get_default_memory_pool().total_bytes()
    added = made.peak_memory(run)
    return int(held + added)
