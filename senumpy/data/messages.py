"""What other libraries say about damaged files, fit for one line."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """Return an exception's message without line breaks, or its type where it has none (`MemoryError`)."""
    return " ".join(str(error).split()) or type(error).__name__
