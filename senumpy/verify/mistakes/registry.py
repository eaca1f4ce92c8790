"""What an entry of the bank is, and how a family of mistakes registers its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong version of an operation.

    Attributes
    ----------
    op : str
        The operation it is a version of; the wrong functions have its signature.
    name : str
        Unique within the operation.
    explanation : str
        One sentence for whoever made it.
    forward, backward : callable or None
        None where that side is the library's own.
    """

    op: str
    name: str
    explanation: str
    forward: Function | None = None
    backward: Function | None = None


MISTAKES: list[Mistake] = []
"""The bank; filled by the modules beside this one."""


def wrong_forward(op: str, name: str, explanation: str) -> Callable[[Function], Function]:
    """Register the decorated function as a wrong forward of `op`."""

    def register(function: Function) -> Function:
        MISTAKES.append(Mistake(op, name, explanation, forward=function))
        return function

    return register


def wrong_backward(op: str, name: str, explanation: str) -> Callable[[Function], Function]:
    """Register the decorated function as a wrong backward of `op`."""

    def register(function: Function) -> Function:
        MISTAKES.append(Mistake(op, name, explanation, backward=function))
        return function

    return register
