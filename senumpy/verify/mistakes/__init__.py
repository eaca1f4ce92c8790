"""A bank of plausible mistakes: what people get wrong in these operations, each named and explained.

It has two uses. The gradient checker must catch every one (`tests/verify/test_mistakes.py`); and somebody's
wrong numbers can be compared with those of each mistake, to name the one that was made.
"""

from __future__ import annotations

# Importing a family registers its entries.
from senumpy.verify.mistakes import (
    activations,
    conv,
    dense,
    gates,
    layout,
    loss,
    norm,
    norm_conventions,
    pool,
    se_units,
    squeeze_excite,
    structure,
    ties,
    units,
    windows,
)
from senumpy.verify.mistakes.registry import MISTAKES, Mistake
from senumpy.verify.mistakes.running import RUNNING_MISTAKES, RunningMistake

__all__ = [
    "MISTAKES",
    "RUNNING_MISTAKES",
    "Mistake",
    "RunningMistake",
    "activations",
    "conv",
    "dense",
    "gates",
    "layout",
    "loss",
    "norm",
    "norm_conventions",
    "pool",
    "se_units",
    "squeeze_excite",
    "structure",
    "ties",
    "units",
    "windows",
]
