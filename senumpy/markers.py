"""Markers of exercises in the source: comments around what a student is to write.

A part of the library that is an exercise stands between two comments,

    # exercise relu_backward: 1 point, level 1, lesson 3 "ReLU"; given: check_upstream
    ...
    # end of exercise

and is the solution. The first marker of an exercise says what it is worth, how hard it is (1 to 3), which
section of which lesson it belongs to, and which names stay at hand; it may go on in lines that begin with
``#   ``. Further parts repeat the name alone (``# exercise relu_backward``).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

_BEGIN = re.compile(r"^\s*# exercise (?P<name>\w+)(?P<text>:.*)?$")
_MORE = re.compile(r"^\s*#   (?P<text>\S.*)$")
_END = re.compile(r"^\s*# end of exercise$")


@dataclass(frozen=True)
class Block:
    """One part of a source between markers.

    Attributes
    ----------
    name : str
        Of the exercise.
    text : str
        What the marker says behind the name; empty for further parts.
    start, first, last, end : int
        Line numbers, from 0: of the first marker, of the lines between, and of the last marker.
    """

    name: str
    text: str
    start: int
    first: int
    last: int
    end: int


def blocks(text: str) -> list[Block]:
    """Return the parts of a source that are exercises.

    Raises
    ------
    ValueError
        A marker without its partner, or one within another's part.
    """
    lines = text.splitlines()
    found: list[Block] = []
    at = 0
    while at < len(lines):
        begin = _BEGIN.match(lines[at])
        if _END.match(lines[at]):
            raise ValueError(f"line {at + 1}: an end of exercise without its beginning")
        if begin is None:
            at += 1
            continue
        first, words = at + 1, begin["text"] or ""
        while words and first < len(lines) and (more := _MORE.match(lines[first])):
            words += " " + more["text"]
            first += 1
        end = first
        while end < len(lines) and not _END.match(lines[end]):
            if _BEGIN.match(lines[end]):
                raise ValueError(f"line {end + 1}: an exercise begins within {begin['name']}")
            end += 1
        if end == len(lines):
            raise ValueError(f"line {at + 1}: the exercise {begin['name']} has no end")
        found.append(Block(begin["name"], words.lstrip(": "), at, first, end - 1, end))
        at = end + 1
    return found


def marked_functions(text: str, besides: str = "") -> list[str]:
    """Return the top-level functions that are, or hold, a part of an exercise other than `besides`."""
    parts = [part for part in blocks(text) if part.name != besides]
    return [
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
        and any(node.lineno - 1 <= part.end and part.start < (node.end_lineno or 0) for part in parts)
    ]


def without_markers(text: str) -> str:
    """Return source text without the lines that are markers, and without the blank ones around them."""
    marks = {line for block in blocks(text) for line in (*range(block.start, block.first), block.end)}
    kept = [line for number, line in enumerate(text.splitlines()) if number not in marks]
    plain = re.sub(r"\n{4,}", "\n\n\n", "\n".join(kept)).rstrip("\n")
    return plain + ("\n" if text.endswith("\n") else "")
