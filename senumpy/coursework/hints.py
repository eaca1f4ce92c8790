"""Hints of exercises, kept as prose in ``hints.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path


@cache
def hints() -> dict[str, list[str]]:
    """Return the hints of all exercises, the gentlest first."""
    return tomllib.loads(Path(__file__).with_name("hints.toml").read_text(encoding="utf-8"))
