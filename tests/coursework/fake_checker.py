"""A checker for tests of grading: the file's text says what comes of it."""

from __future__ import annotations

import os
import time
from typing import Any

from senumpy.coursework.verdict import Verdict


class FakeChecker:
    """Passes ``right``, breaks on ``break``, dies on ``die``, takes long on ``slow``, fails the rest."""

    def __init__(self, names: tuple[str, ...], *, seed: int, sandbox: Any) -> None:
        self.names, self.seed = names, seed

    def check(self, name: str, text: bytes | None, *, label: str) -> Verdict:
        """Return a verdict."""
        assert text is not None
        assert name in self.names
        if b"break" in text:
            raise ZeroDivisionError("of the checker")
        if b"die" in text:
            os._exit(3)
        if b"slow" in text:
            time.sleep(30)
        if b"right" in text:
            return Verdict(name, "passed", 99, f"passed with seed {self.seed}", f"{name}: right")
        return Verdict(name, "failed", 0, f"{label}: wrong", f"{name}: ```wrong```", ("a mistake",))
