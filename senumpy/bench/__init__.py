"""Speed and memory, operation by operation and network by network."""

from __future__ import annotations

from senumpy.bench.run import HEADER, Row, machine, run, select_cases

__all__ = ["HEADER", "Row", "machine", "run", "select_cases"]
