"""Anybody's implementation held against the reference: how far off, where first, and by which mistake.

>>> import numpy as np
>>> from senumpy.crosscheck import check
>>> def forward(x, w, b=None):
...     return x @ w.T + (0 if b is None else b), (x, w, b)
>>> def backward(dy, cache):
...     x, w, b = cache
...     return dy @ w, dy.T @ x, None if b is None else dy.mean(0)  # the sum is right
>>> report = check("linear", forward, backward=backward, max_examples=20)
>>> report.ok, report.verdict, [mistake.name for mistake in report.diagnosis.mistakes]
(False, 'wrong', ['db-averaged'])
"""

from __future__ import annotations

from senumpy.crosscheck.report import OpReport
from senumpy.crosscheck.run import assert_matches, check, check_call
from senumpy.verify.calls import OpCall
from senumpy.verify.outcome import Outcome

__all__ = ["OpCall", "OpReport", "Outcome", "assert_matches", "check", "check_call"]
