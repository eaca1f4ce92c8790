"""What an adapter is: one kind of implementation, made to answer calls."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, Restriction


class Adapter(Protocol):
    """An implementation of one operation in one framework. It runs unguarded: its caller catches all."""

    framework: str

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""

    def restrict(self) -> Restriction | None:
        """Return what calls have to look like, or None where anything goes that `accepts` takes."""

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Make a call and give the results to `record`, one by one as they come."""
