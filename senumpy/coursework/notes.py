"""What a student's process says of its calls, taken as what it is: words of a stranger.

A file can write to the pipe itself and never call anything. So notes are read with suspicion here, and
`OpTask` and `SubjectTask` want every result of every call: nothing that is missing counts as right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from senumpy.verify.conduct import Conduct, one_line

KINDS = frozenset(
    (
        "raised", "timeout", "exited", "crashed", "printed", "shape", "dtype", "type", "not finite", "alias",
        "changed input", "not repeatable", "overflow", "unusable",
    )
)  # fmt: skip
ENDINGS = ("raised", "timeout", "exited", "crashed", "unusable")  # after which calls may be missing
_MOST = 40  # entries a call; honest ones have a few


class ForgedError(Exception):
    """Notes that no answer gives that was called as it should."""


@dataclass(frozen=True)
class Note:
    """What is said of one call: what the answer did besides, and which gradients are None."""

    conduct: tuple[Conduct, ...]
    absent: tuple[str, ...] = ()


def read_notes(notes: Any, count: int) -> list[Note]:
    """Return the notes on `count` calls.

    Fewer are allowed where the last one says what ended the answer.

    Raises
    ------
    ForgedError
        They are of another form.
    """
    if not isinstance(notes, list) or not 0 < len(notes) <= count:
        raise ForgedError
    found = [_note(note) for note in notes]
    if len(found) < count and not any(entry.kind in ENDINGS for entry in found[-1].conduct):
        raise ForgedError
    return found


def _note(note: Any) -> Note:
    if not isinstance(note, dict):
        raise ForgedError
    conduct, absent = note.get("conduct"), note.get("absent", [])
    if not isinstance(conduct, list) or not isinstance(absent, list) or len(conduct) + len(absent) > _MOST:
        raise ForgedError
    if not all(isinstance(name, str) and len(name) < _MOST for name in absent):
        raise ForgedError
    return Note(tuple(_conduct(entry) for entry in conduct), tuple(absent))


def _conduct(entry: Any) -> Conduct:
    if not isinstance(entry, list) or len(entry) != 3 or not all(isinstance(part, str) for part in entry):
        raise ForgedError
    kind, message, result = entry
    if kind not in KINDS or len(result) > _MOST:
        raise ForgedError
    return Conduct(kind, one_line(message[:2000]), result)
