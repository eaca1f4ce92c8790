"""What lessons show, and the site that is made of them."""

from __future__ import annotations

from senumpy.lessons.display import show, style
from senumpy.lessons.timing import in_turns

__all__ = ["in_turns", "show", "style"]
