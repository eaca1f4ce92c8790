"""The picture of a run: loss and accuracy by epoch, training and test."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from senumpy.errors import InputError

# Blue and orange of Okabe & Ito (2008): told apart by every kind of colour vision, and in grey by lightness.
_TRAIN = {"color": "#E69F00", "marker": "o", "linestyle": "--", "label": "training"}
_TEST = {"color": "#0072B2", "marker": "s", "linestyle": "-", "label": "test"}


def draw_curves(rows: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Return a PNG with loss and accuracy beside each other.

    Parameters
    ----------
    rows : sequence of mapping
        The lines of `metrics.jsonl`, at least one.
    title : str

    Raises
    ------
    InputError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise InputError('curves need matplotlib: pip install "senumpy[train]"') from None
    # A Figure of its own, not pyplot: no window, no state shared with the user's figures.
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    loss, accuracy = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    size = 5 if len(rows) <= 30 else 0  # markers would merge into a band
    for axes, quantity, scale in ((loss, "loss", 1.0), (accuracy, "accuracy", 100.0)):
        for part, style in (("train", _TRAIN), ("test", _TEST)):
            values = [scale * row[f"{part}_{quantity}"] for row in rows]
            axes.plot(epochs, values, markersize=size, linewidth=1.8, **style)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    loss.set_ylabel("cross-entropy loss")
    loss.set_ylim(bottom=0)
    accuracy.set_ylabel("accuracy (%)")
    final = 100 * rows[-1]["test_accuracy"]
    accuracy.annotate(
        f"{final:.1f} %",
        (epochs[-1], final),
        xytext=(0, -14),
        textcoords="offset points",
        ha="right",
        va="top",
        color=_TEST["color"],
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
