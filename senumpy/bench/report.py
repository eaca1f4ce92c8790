"""The table and the bar chart of `senumpy bench`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from senumpy.bench.limits import Limits
from senumpy.bench.measure import Result, Row
from senumpy.errors import InputError

_COLUMNS = "{:<28}{:>9}{:>8}{:>9}{:>9}{:>7}{:>8}"
HEADER = _COLUMNS.format("", "ms", "ratio", "GFLOP/s", "of limit", "GB/s", "MiB")
MODELS_HEADER = _COLUMNS.format("", "ms", "SE", "GFLOP/s", "of limit", "img/s", "MiB")


def lines(row: Row, limits: Limits) -> Iterator[str]:
    """Yield the lines of a row: the case, then a line for each contender."""
    yield row.case.name
    for result in row.results:
        name = f"{result.library} {result.work}" if row.case.kind in ("cost", "models") else result.library
        name = name.removesuffix("_cifar")
        moved = result.gbytes if row.case.kind != "models" else result.images_per_second
        rates = _rates(result, limits, f"{moved:.1f}" if moved else "")
        yield f"  {name:<26}{_ms(result.seconds):>9}{_ratio(result):>8}{rates}"
    for problem in row.problems:
        yield f"  ({problem})"[:80]


def machine_lines(machine: dict[str, Any]) -> Iterator[str]:
    """Yield what the figures depend on, and how to read them."""
    names = ("python", "numpy", "numba", "torch", "onnxruntime")
    versions = ", ".join(f"{name} {machine[name]}" for name in names if name in machine)
    yield f"{machine['threads']} threads on {machine['cores']} cores; {versions}"
    yield (
        f"limits: matrix product {machine['product_gflops']:.0f} GFLOP/s, "
        f"copy {machine['copy_gbytes']:.0f} GB/s"
    )
    yield "ratio = time / ours, medians (above 1: ours is faster); cost of SE = with / without"


def draw_ratios(rows: Sequence[Row]) -> bytes:
    """Return a bar chart of the ratios as PNG.

    Raises
    ------
    InputError
        There is nothing to draw, or no matplotlib.
    """
    bars = [
        (f"{row.case.name}\n{result.library}", result.ratio)
        for row in rows
        for result in row.results
        if result.ratio is not None
    ]
    if not bars:
        raise InputError("no ratio to draw: wanted a case with a peer that is installed")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError('a bar chart needs matplotlib: pip install "senumpy[train]"') from None
    figure = Figure(figsize=(8, 1 + 0.42 * len(bars)), layout="constrained")
    axes = figure.subplots()
    labels, ratios = zip(*reversed(bars), strict=True)
    colours = ["tab:green" if ratio >= 1 else "tab:red" for ratio in ratios]
    drawn = axes.barh(range(len(bars)), ratios, color=colours)
    axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.set_yticks(range(len(bars)), labels, fontsize=8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlim(0, 1.15 * max(ratios))
    axes.set_xlabel("time / time of senumpy (cost of SE: with / without)")
    axes.set_title("senumpy bench")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f}" if seconds >= 1 else f"{1e3 * seconds:.2f}"


def _ratio(result: Result) -> str:
    return "" if result.ratio is None else f"{result.ratio:.2f}"


def _rates(result: Result, limits: Limits, moved: str) -> str:
    flops = f"{result.gflops:.0f}" if result.gflops else ""
    share = max(result.gflops / limits.gflops, result.gbytes / limits.gbytes)
    peak = "" if result.peak_bytes is None else f"{result.peak_bytes / 2**20:,.0f}"
    return f"{flops:>9}{100 * share:>7.0f} %{moved:>7}{peak:>8}"
