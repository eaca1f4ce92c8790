"""Gradient checking for anybody's forward/backward pair, and for the library's own operations.

>>> import numpy as np
>>> from senumpy.verify import check_gradients
>>> def square(x):
...     return x * x, x
>>> def wrong(dy, x):
...     return dy * x
>>> report = check_gradients(square, wrong, (np.array([1.0, -2.0, 3.0]),))
>>> report.verdict, report.arguments[0].hint
('failed', 'every entry is halved')
"""

from __future__ import annotations

from senumpy.verify.cases import OPS, Case, OpSpec, op_names, op_spec
from senumpy.verify.files import check_file
from senumpy.verify.gradcheck import check_gradients
from senumpy.verify.library import OpReport, check_like, check_op, format_table
from senumpy.verify.report import ArgumentResult, Finding, Report, format_report

__all__ = [
    "OPS",
    "ArgumentResult",
    "Case",
    "Finding",
    "OpReport",
    "OpSpec",
    "Report",
    "check_file",
    "check_gradients",
    "check_like",
    "check_op",
    "format_report",
    "format_table",
    "op_names",
    "op_spec",
]
