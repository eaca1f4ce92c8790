"""What an entry of the bank is, and how a family of mistakes registers its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from senumpy import ops

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
    arguments, result, gradients : callable or None
        What the wrong function does around the right one, where it is as simple as that; two mistakes can
        then be made one upon the other. `arguments` returns the arguments and options that the right
        forward gets instead; `result` takes the right result and the arguments, and `gradients` the right
        gradients, the upstream gradient and the cache.
    """

    op: str
    name: str
    explanation: str
    forward: Function | None = None
    backward: Function | None = None
    arguments: Function | None = None
    result: Function | None = None
    gradients: Function | None = None


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


def wrong_arguments(op: str, name: str, explanation: str) -> Callable[[Function], Function]:
    """Register a wrong forward that is the right one of other arguments: `(args, options)` are returned.

    The cache is that of the other arguments, so the backward is the derivative of what was computed.
    """

    def register(function: Function) -> Function:
        def forward(*args: Any, **options: Any) -> Any:
            changed, settings = function(*args, **options)
            return library(op, "forward")(*changed, **settings)

        MISTAKES.append(Mistake(op, name, explanation, forward=forward, arguments=function))
        return function

    return register


def wrong_result(op: str, name: str, explanation: str) -> Callable[[Function], Function]:
    """Register a wrong forward that changes the right result: `function(y, *args, **options)`.

    The cache is the right one, so the backward is right, too.
    """

    def register(function: Function) -> Function:
        def forward(*args: Any, **options: Any) -> Any:
            y, cache = library(op, "forward")(*args, **options)
            return function(y, *args, **options), cache

        MISTAKES.append(Mistake(op, name, explanation, forward=forward, result=function))
        return function

    return register


def wrong_gradients(op: str, name: str, explanation: str) -> Callable[[Function], Function]:
    """Register a wrong backward that changes the right gradients: `function(gradients, dy, cache)`."""

    def register(function: Function) -> Function:
        def backward(dy: Any, cache: Any) -> Any:
            return function(library(op, "backward")(dy, cache), dy, cache)

        MISTAKES.append(Mistake(op, name, explanation, backward=backward, gradients=function))
        return function

    return register


def library(op: str, side: str) -> Function:
    """Return the library's own function, `side` being "forward" or "backward"."""
    return getattr(ops, f"{op}_{side}")
