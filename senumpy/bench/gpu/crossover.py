"""Small batches on the GPU and on the processor: from which batch on the GPU is the faster one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from senumpy.bench.gpu.networks import engine_contender, our_contender
from senumpy.bench.gpu.rows import Result, Row
from senumpy.bench.gpu.session import Session
from senumpy.bench.workloads import ModelWork
from senumpy.engines import default_engine, engine
from senumpy.errors import InputError

GPU, _CLASSES, _PRECISION = "cupy", 10, "float32"
_KINDS = {True: "training step", False: "inference"}


def measure_crossover(session: Session) -> None:
    """Measure inference and training at each batch, on both."""
    settings = session.settings
    processor = engine(default_engine())
    for train, kind in _KINDS.items():
        title = f"crossover, {kind}, {settings.small_model}, {_PRECISION}"
        results = []
        for batch in settings.batches:
            work = ModelWork(settings.small_model, batch, train, settings.small_size, classes=_CLASSES)
            contenders = [
                our_contender(session, work, _PRECISION, name=GPU),
                engine_contender(processor, work, processor.name),
            ]
            found = session.alternate(f"{title}, batch {batch}", contenders)
            results += _compared(found)
        remarks = [f"ratio: {processor.name} / {GPU}", wins(results, processor.name)]
        session.add(Row("crossover", title, _PRECISION, results, [], remarks))


def _compared(found: list[Result]) -> list[Result]:
    """Return results named by batch, with the processor's time over the GPU's."""
    own = next((result.seconds for result in found if result.contender == GPU), None)
    return [
        replace(
            result,
            note=f"batch {result.batch}",
            ratio=result.seconds / own if own and result.seconds and result.contender != GPU else None,
        )
        for result in found
    ]


def wins(results: Sequence[Result], processor: str) -> str:
    """Say from which batch on the GPU is the faster one, at that batch and all larger ones."""
    faster = {
        result.batch or 0: result.ratio > 1
        for result in results
        if result.contender == processor and result.ratio is not None
    }
    if not faster:
        return "no batch was measured on both"
    first = None
    for batch in sorted(faster, reverse=True):
        if not faster[batch]:
            break
        first = batch
    if first is None:
        return f"{processor} is faster at batch {max(faster)}, the largest one"
    return f"{GPU} is faster from batch {first} on"


def draw_crossover(rows: Sequence[Row]) -> bytes:
    """Return the times by batch as lines, PNG.

    Raises
    ------
    InputError
        There is nothing to draw, or no matplotlib.
    """
    rows = [row for row in rows if row.work == "crossover"]
    if not rows:
        raise InputError("nothing to draw: the crossover was not measured")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('a plot needs matplotlib: pip install "senumpy[train]"') from None
    figure = Figure(figsize=(5 * len(rows), 4), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        for name in dict.fromkeys(result.contender for result in row.results):
            points: list[Any] = [r for r in row.results if r.contender == name and r.seconds]
            axes.plot([r.batch for r in points], [1e3 * r.seconds for r in points], "o-", label=name)
        batches = sorted({result.batch or 1 for result in row.results})
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.minorticks_off()
        axes.set_xlabel("batch")
        axes.set_ylabel("ms")
        axes.set_title(row.title.replace(", ", "\n", 1), fontsize=9)
        axes.legend()
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()
