"""What lessons show, and the site that is made of them."""

from __future__ import annotations

from senumpy.lessons.display import show, style

__all__ = ["show", "style"]
