"""The lines that `senumpy bench --engine cupy` prints, 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from senumpy.bench.gpu.rows import Goal, LeftOut, Result, Row

_WIDTH = 80
_TABLES = ("copy", "kernels")  # works whose rows are one line each
_KERNEL = "{:<37}{:>9}{:>9}{:>7}"
_RUN = "{:<37}{:>10}{:>8}{:>13}{:>12}"


class Table:
    """Prints rows as they come, with a header where the columns change."""

    def __init__(self) -> None:
        self._work: str | None = None

    def lines(self, row: Row) -> Iterator[str]:
        """Yield the lines of a row."""
        of_kernels = row.work in _TABLES
        before, self._work = self._work, row.work
        if before is None or (before in _TABLES) != of_kernels:
            yield ""
            yield (
                _KERNEL.format("", "ms", "GB/s", "share")
                if of_kernels
                else _RUN.format("", "ms", "ratio", "images/s", "MiB")
            )
        yield from _kernel_lines(row) if of_kernels else _run_lines(row)


def machine_lines(machine: dict[str, Any]) -> Iterator[str]:
    """Yield what the figures depend on, and how to read them."""
    yield (
        f"device {machine['device']}: {machine['name']}, {machine['architecture']}, "
        f"{machine['memory'] / 2**30:,.0f} GiB"
    )
    yield f"CUDA driver {machine['driver']}, runtime {machine['runtime']}"
    names = ("senumpy", "python", "numpy", "cupy", "torch")
    yield ", ".join(f"{name} {machine[name]}" for name in names if name in machine)
    if "torch" in machine:
        yield _cut(
            f"PyTorch on {machine['torch_device']}, CUDA {machine['torch_cuda']}, cuDNN {machine['cudnn']}, "
            "eager, its faster memory format"
        )
    yield f"medians of {machine['repeats']} rounds in turns after {machine['warm_ups']} more"
    yield "ratio = theirs / ours (above 1: ours is better), unless a row says otherwise"


def left_out_lines(left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Yield who was not measured, and why."""
    if left_out:
        yield ""
        yield "left out:"
    for entry in left_out:
        text = f"{entry.title}: {entry.contender}: {entry.reason}"
        yield from textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _kernel_lines(row: Row) -> Iterator[str]:
    for result in row.results:
        share = "" if result.share is None or row.work == "copy" else f"{result.share:.2f}"
        line = _KERNEL.format(_cut(result.name, 37), _ms(result), f"{result.gbytes or 0:,.0f}", share)
        goals = "  ".join(_verdict(goal.wanted, goal.met) for goal in row.goals)
        yield f"{line}  {goals}".rstrip()


def _run_lines(row: Row) -> Iterator[str]:
    yield _cut(row.title)
    for result in row.results:
        ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
        images = "" if result.images_per_second is None else f"{result.images_per_second:,.0f}"
        peak = "" if result.peak_bytes is None else f"{result.peak_bytes / 2**20:,.1f}"
        yield _RUN.format(f"  {_cut(result.name, 34)}", _ms(result), ratio, images, peak).rstrip()
    for goal in row.goals:
        yield from textwrap.wrap(_goal(goal), _WIDTH, initial_indent="  ", subsequent_indent="    ")
    for remark in row.remarks:
        yield from textwrap.wrap(f"({remark})", _WIDTH, initial_indent="  ", subsequent_indent="   ")


def _goal(goal: Goal) -> str:
    parts = [_verdict(goal.wanted, goal.met)]
    if goal.aim is not None:
        parts.append(_verdict(goal.aim, goal.holds(goal.aim), "aim"))
    return f"{goal.figure} {_figure(goal.reached)}: {', '.join(parts)}"


def _verdict(limit: float, met: bool, word: str = "goal") -> str:
    return f"{word} {_figure(limit)} {'met' if met else 'missed'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _ms(result: Result) -> str:
    if result.seconds is None:
        return ""
    ms = 1e3 * result.seconds
    return f"{ms:,.0f}" if ms >= 1000 else f"{ms:.3f}"


def _cut(text: str, width: int = _WIDTH) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
