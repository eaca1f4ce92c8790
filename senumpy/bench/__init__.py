"""Speed and memory beside PyTorch and ONNX Runtime, operation by operation and network by network."""

from __future__ import annotations

from senumpy.bench.cases import KINDS, select_cases
from senumpy.bench.limits import Limits, measure_limits
from senumpy.bench.measure import Result, Row, check_settings, machine, run
from senumpy.bench.report import HEADER, MODELS_HEADER, draw_ratios, lines, machine_lines
from senumpy.engines import default_engine

__all__ = [
    "HEADER",
    "KINDS",
    "MODELS_HEADER",
    "Limits",
    "Result",
    "Row",
    "check_settings",
    "default_engine",
    "draw_ratios",
    "lines",
    "machine",
    "machine_lines",
    "measure_limits",
    "run",
    "select_cases",
]
