"""An engine that makes mistakes on demand: the ways in which a block of a network goes wrong.

What one operation's implementation gets wrong is in the bank of `senumpy.verify`. Here is what goes wrong
between operations: one left out, put elsewhere, or cut off from the gradient. The engine computes what such a
block would, forward and back, so its numbers can be held beside a candidate's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from senumpy.crosscheck.model.recording import OPERATIONS
from senumpy.crosscheck.model.sequence import SequenceEngine
from senumpy.crosscheck.model.tape import Node, Tape, cut
from senumpy.ops.arrays import Array
from senumpy.ops.windows import pair

SKIPPABLE = (
    "relu", "sigmoid", "tanh", "squeeze_excite", "residual_add", "batchnorm2d", "batchnorm2d_inference",
    "channel_shuffle",
)  # fmt: skip


class Skipped(NamedTuple):
    """The cache of an operation that did nothing; a batch norm's has statistics all the same."""

    op: str
    mean: Any = None
    var: Any = None


class Shifted(NamedTuple):
    """The cache of a convolution whose padding is all at the bottom and the right."""

    inner: Any
    size: tuple[int, int]


class Unmasked(NamedTuple):
    """The cache of a ReLU whose gradient passes everywhere."""

    inner: Any


class Step(NamedTuple):
    """An operation that ran: its place in the order, and the parameters' layer before it."""

    place: int
    op: str
    after: str
    inside_se: bool


class TwistedEngine(SequenceEngine):
    """Compute with the mistakes that `flags` name.

    Parameters
    ----------
    flags : iterable of str
        ``"skip 3"``: the operation of this number is left out; ``"uneven 3"``: the convolution of this number
        pads at the bottom and right alone; ``"unmasked 3"``: the gradient passes the ReLU of this number
        everywhere; the others are those that the methods below ask for.
    holder_of : dict, optional
        Names of layers by the id of their parameters' arrays, for `steps`.

    Attributes
    ----------
    steps : list of Step
        What ran, in order.
    """

    name = "twisted"

    def __init__(self, flags: Iterable[str] = (), holder_of: dict[int, str] | None = None):
        self.flags = frozenset(flags)
        self.holder_of = holder_of or {}
        self.steps: list[Step] = []
        self._after = ""
        self._depth = 0  # inside SE

    def _step(self, op: str, args: Sequence[Any]) -> int:
        index = len(self.steps)
        self.steps.append(Step(index, op, self._after, self._depth > 0))
        for array in args[1:]:
            self._after = self.holder_of.get(id(array), self._after)
        return index

    # -- units -------------------------------------------------------------------------------------------

    def conv_bn_relu_nodes(
        self, tape: Tape, x: Node, w: Node, norm: Sequence[Node], eps: float, settings: dict[str, Any]
    ) -> Node:
        """Write down the unit; perhaps with ReLU before batch norm."""
        c = tape.run("conv2d", x, w, **settings)
        if f"relu before norm {len(self.steps)}" in self.flags:
            return tape.norm(tape.run("relu", c), norm, eps)
        return tape.run("relu", tape.norm(c, norm, eps))

    def residual_tail_nodes(
        self, tape: Tape, c: Node, norm: Sequence[Node], se: Sequence[Node], shortcut: Node, eps: float,
        settings: dict[str, Any],
    ) -> Node:  # fmt: skip
        """Write down the tail, in the order that the flags ask for."""
        flags = self.flags

        def excited(u: Node) -> Node:
            return u if se[0].value is None else tape.run("squeeze_excite", u, *se, **settings)

        if "shortcut cut" in flags:
            shortcut = cut(shortcut)
        if "relu on shortcut" in flags:
            shortcut = tape.run("relu", shortcut)
        if "se before norm" in flags:
            return tape.run("relu", tape.run("residual_add", tape.norm(excited(c), norm, eps), shortcut))
        v = tape.norm(c, norm, eps)
        if "branch cut" in flags:
            v = cut(v)
        if "relu before se" in flags:
            v = tape.run("relu", v)
        if "se after sum" in flags:
            return tape.run("relu", excited(tape.run("residual_add", v, shortcut)))
        if "se after relu" in flags:
            return excited(tape.run("relu", tape.run("residual_add", v, shortcut)))
        v = excited(v)
        if "relu before sum" in flags:
            return tape.run("residual_add", tape.run("relu", v), shortcut)
        return tape.run("relu", tape.run("residual_add", v, shortcut))

    def bn_relu_se_nodes(
        self,
        tape: Tape,
        c: Node,
        norm: Sequence[Node],
        se: Sequence[Node],
        eps: float,
        settings: dict[str, Any],
    ) -> Node:
        """Write down batch norm, ReLU and SE, in the order that the flags ask for."""

        def excited(u: Node) -> Node:
            return tape.run("squeeze_excite", u, *se, **settings)

        if "se before norm" in self.flags:
            return tape.run("relu", tape.norm(excited(c), norm, eps))
        v = tape.norm(c, norm, eps)
        if "se before relu" in self.flags:
            return tape.run("relu", excited(v))
        return excited(tape.run("relu", v))

    def concat_se_nodes(
        self, tape: Tape, xs: Sequence[Node], se: Sequence[Node], settings: dict[str, Any]
    ) -> Node:
        """Write down concatenation and SE; perhaps the parts in reverse order."""
        parts = list(reversed(xs)) if "concat reversed" in self.flags else xs
        return tape.run("squeeze_excite", tape.run("concat", parts), *se, **settings)

    def se_add_nodes(
        self, tape: Tape, u: Node, se: Sequence[Node], shortcut: Node, settings: dict[str, Any]
    ) -> Node:
        """Write down SE and the sum, in the order that the flags ask for."""
        if "shortcut cut" in self.flags:
            shortcut = cut(shortcut)
        if "branch cut" in self.flags:
            u = cut(u)
        if "relu before se" in self.flags:
            u = tape.run("relu", u)
        if "se after sum" in self.flags:
            return tape.run("squeeze_excite", tape.run("residual_add", u, shortcut), *se, **settings)
        return tape.run("residual_add", tape.run("squeeze_excite", u, *se, **settings), shortcut)

    def squeeze_excite_nodes(self, tape: Tape, u: Node, se: Sequence[Node], squeeze: str, gate: str) -> Node:
        """Write down SE, with what the flags change in it."""
        flags = self.flags
        w1, b1, w2, b2 = (se[0], Node(None), se[2], Node(None)) if "se without biases" in flags else se
        squeeze = next((s for s in ("avg", "max") if f"squeeze {s}" in flags), squeeze)
        gate = next((g for g in ("sigmoid", "tanh", "relu", "hard_sigmoid") if f"gate {g}" in flags), gate)
        z = tape.run(f"global_{squeeze}_pool", cut(u) if "gate path cut" in flags else u)
        h = tape.run("linear", z, w1, b1)
        h = tape.run(gate if "hidden gate" in flags else "relu", h)
        s = tape.run(gate, tape.run("linear", h, w2, b2))
        y = tape.run(
            "scale", cut(u) if "scale path cut" in flags else u, cut(s) if "gates cut" in flags else s
        )
        return tape.run("residual_add", y, u) if "se plus input" in flags else y

    def squeeze_excite_forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run SE, unless it is skipped; its inner operations are counted as such."""
        index = self._step("squeeze_excite", args)
        if f"skip {index}" in self.flags:
            return args[0], Skipped("squeeze_excite")
        self._depth += 1
        result = super().squeeze_excite_forward(*args, **kwargs)
        self._depth -= 1
        return result

    def squeeze_excite_backward(self, dy: Array, cache: Any) -> Any:
        """Run SE's way back."""
        if isinstance(cache, Skipped):
            return dy, None, None, None, None
        return super().squeeze_excite_backward(dy, cache)

    # -- operations that no engine has -------------------------------------------------------------------

    def hard_sigmoid_forward(self, x: Array) -> Any:
        """Return min(max(x / 6 + 1/2, 0), 1), the gate of MobileNetV3."""
        return np.clip(x / 6 + 0.5, 0, 1), x

    def hard_sigmoid_backward(self, dy: Array, x: Array) -> Any:
        """Return its gradient."""
        return ((np.abs(x) < 3) * dy / 6,)

    def conv2d_forward(self, *args: Any, **settings: Any) -> Any:
        """Convolve; perhaps with the padding at the bottom and right alone."""
        index = self._step("conv2d", args)
        if f"uneven {index}" not in self.flags:
            return super().conv2d_forward(*args, **settings)
        below, right = (2 * p for p in pair("padding", settings["padding"], 0))
        x = np.pad(args[0], ((0, 0), (0, 0), (0, below), (0, right)))
        y, cache = super().conv2d_forward(x, *args[1:], **{**settings, "padding": 0})
        return y, Shifted(cache, args[0].shape[2:])

    def conv2d_backward(self, dy: Array, cache: Any, *, need_dx: bool = True) -> Any:
        """Return the gradients."""
        if not isinstance(cache, Shifted):
            return super().conv2d_backward(dy, cache, need_dx=need_dx)
        gradients: Any = super().conv2d_backward(dy, cache.inner)
        h, w = cache.size
        return gradients._replace(dx=gradients.dx[:, :, :h, :w].copy())


def _skippable(op: str) -> tuple[Any, Any]:
    def forward(self: TwistedEngine, *args: Any, **kwargs: Any) -> Any:
        index = self._step(op, args)
        if f"skip {index}" in self.flags and op in SKIPPABLE:
            axes = (0, *range(2, args[0].ndim))
            return args[0], Skipped(op, args[0].mean(axes), args[0].var(axes))
        y, cache = getattr(super(TwistedEngine, self), f"{op}_forward")(*args, **kwargs)
        return y, (Unmasked(cache) if f"unmasked {index}" in self.flags else cache)

    def backward(self: TwistedEngine, dy: Any, cache: Any, **settings: Any) -> Any:
        if isinstance(cache, (Skipped, Unmasked)):
            return _Passed(dy)
        return getattr(super(TwistedEngine, self), f"{op}_backward")(dy, cache, **settings)

    return forward, backward


class _Passed(tuple[Any, ...]):
    """The gradients of an operation that did nothing: dy for the first argument, none for the others."""

    def __new__(cls, dy: Array) -> _Passed:
        return super().__new__(cls, (dy, None, None, None, None))

    @property
    def dx(self) -> Array:
        """Gradient of the one argument."""
        return self[0]

    dgamma = dbeta = None


for _op in OPERATIONS:
    if f"{_op}_forward" not in vars(TwistedEngine):
        _forward, _backward = _skippable(_op)
        setattr(TwistedEngine, f"{_op}_forward", _forward)
        setattr(TwistedEngine, f"{_op}_backward", _backward)
