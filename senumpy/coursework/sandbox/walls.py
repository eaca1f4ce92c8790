"""The names of the walls around this process."""

from __future__ import annotations

STANDING: list[str] = []


def standing() -> list[str]:
    """Return the walls around this process, in words."""
    return list(STANDING)
