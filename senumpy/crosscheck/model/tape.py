"""A short tape: a unit as a sequence of an engine's operations, with the way back following by itself.

Units are written once, forward; steps left out, put elsewhere or cut off on the way back then have the right
gradient of what they compute, which is what a wrong implementation with automatic gradients has, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from senumpy.engines import Engine
from senumpy.ops.arrays import Array


class Node:
    """An array on the tape, and the sum of the gradients that reach it."""

    def __init__(self, value: Array | None):
        self.value: Any = value
        self.grad: Any = None
        self.is_kernel = False

    def receive(self, gradient: Array | None) -> None:
        """Add a gradient."""
        if gradient is not None and self.value is not None:
            self.grad = gradient if self.grad is None else self.grad + gradient


class _Step(NamedTuple):
    operation: str
    inputs: tuple[Node | Sequence[Node], ...]
    result: Node
    cache: Any


class Tape:
    """Operations of `engine`, noted in order."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.steps: list[_Step] = []
        self.cache_of: dict[str, Any] = {}  # of the last operation of a kind

    def run(self, operation: str, *inputs: Node | Sequence[Node], **settings: Any) -> Node:
        """Run an operation on nodes (or lists of nodes) and return its result."""
        if operation == "conv2d":
            inputs[1].is_kernel = True  # type: ignore[union-attr]
        arguments = [i.value if isinstance(i, Node) else [n.value for n in i] for i in inputs]
        y, cache = getattr(self.engine, f"{operation}_forward")(*arguments, **settings)
        result = Node(y)
        self.steps.append(_Step(operation, inputs, result, cache))
        self.cache_of[operation] = cache
        return result

    def norm(self, x: Node, vectors: Sequence[Node], eps: float) -> Node:
        """Run batch norm with the batch's statistics, or with given ones if there are four vectors."""
        kind = "batchnorm2d" if len(vectors) == 2 else "batchnorm2d_inference"
        y = self.run(kind, x, *vectors, eps=eps)
        self.cache_of["norm"] = self.cache_of[kind]
        return y

    def back(self, result: Node, dy: Array, **settings: Any) -> None:
        """Send `dy` back from `result` to all nodes; `settings` go to convolutions."""
        result.receive(dy)
        for step in reversed(self.steps):
            if step.result.grad is None:
                continue  # nothing depends on it
            extra = settings if step.operation == "conv2d" else {}
            gradients = getattr(self.engine, f"{step.operation}_backward")(
                step.result.grad, step.cache, **extra
            )
            for target, gradient in zip(step.inputs, gradients, strict=False):
                if isinstance(target, Node):
                    target.receive(gradient)
                else:
                    for node, part in zip(target, gradient, strict=True):
                        node.receive(part)


def cut(node: Node) -> Node:
    """Return the same value, from where nothing goes back."""
    return Node(node.value)


class UnitCache:
    """What the backward of a unit needs: its tape, its arguments in order, its result.

    `mean` and `var` are those of its batch norm, for running statistics.
    """

    def __init__(self, tape: Tape, arguments: Sequence[Node | Sequence[Node]], result: Node):
        self.tape, self.arguments, self.result = tape, arguments, result
        norm = tape.cache_of.get("norm")
        self.mean, self.var = getattr(norm, "mean", None), getattr(norm, "var", None)

    def gradients(self, dy: Array, **settings: Any) -> list[Any]:
        """Return the gradients of all arguments; None for one that was None, or a parameter that got none."""
        for argument in self.arguments:
            for node in [argument] if isinstance(argument, Node) else argument:
                node.grad = None
        for step in self.tape.steps:
            step.result.grad = None
        self.tape.back(self.result, dy, **settings)
        return [
            _gradient(a) if isinstance(a, Node) else [_gradient(node) for node in a] for a in self.arguments
        ]


def _gradient(node: Node) -> Any:
    """Return what reached a node; zeros for an activation that nothing reached, None for a parameter."""
    if node.grad is None and node.value is not None and node.value.ndim == 4 and not node.is_kernel:
        return node.value - node.value
    return node.grad
