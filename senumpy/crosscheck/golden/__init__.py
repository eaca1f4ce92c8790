"""Golden vectors: calls and their correctly rounded results as files, and judging somebody's answers to them.

`README.md` beside this file says how a program in any language reads the calls and writes its answers.
"""

from __future__ import annotations

from senumpy.crosscheck.golden.check import check_golden
from senumpy.crosscheck.golden.read import GoldenSet, StoredCase, load_golden
from senumpy.crosscheck.golden.report import GoldenReport
from senumpy.crosscheck.golden.write import GoldenSummary, write_golden

__all__ = [
    "GoldenReport",
    "GoldenSet",
    "GoldenSummary",
    "StoredCase",
    "check_golden",
    "load_golden",
    "write_golden",
]
