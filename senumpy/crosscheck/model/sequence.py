"""An engine whose units are sequences of its own operations, in both modes and on the way back.

What an engine for inference alone has in `engines/steps.py`. Whoever derives from it sees every operation of
a network, also inside units, and may change one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from senumpy.crosscheck.model.tape import Node, Tape, UnitCache
from senumpy.engines import Engine
from senumpy.ops.arrays import Array
from senumpy.ops.bn_relu_se import BNReLUSEGradients
from senumpy.ops.concat_se import ConcatSEGradients
from senumpy.ops.conv_bn_relu import ConvBNReLUGradients, ConvBNReLUInferenceGradients
from senumpy.ops.residual_tail import ResidualTailGradients, ResidualTailInferenceGradients
from senumpy.ops.se_add import SEAddGradients
from senumpy.ops.squeeze_excite import SqueezeExciteGradients


class SequenceEngine(Engine):
    """Run every unit, and SE, through this engine's own operations."""

    name = "sequence"

    def add_gradients(self, total: Array, part: Array) -> Array:
        """Return total + part in new memory: what was written down stays as it was."""
        return total + part

    # -- the units, as nodes: for subclasses to change ---------------------------------------------------

    def conv_bn_relu_nodes(
        self, tape: Tape, x: Node, w: Node, norm: Sequence[Node], eps: float, settings: dict[str, Any]
    ) -> Node:
        """Write down relu(BN(conv(x, w)))."""
        return tape.run("relu", tape.norm(tape.run("conv2d", x, w, **settings), norm, eps))

    def residual_tail_nodes(
        self, tape: Tape, c: Node, norm: Sequence[Node], se: Sequence[Node], shortcut: Node, eps: float,
        settings: dict[str, Any],
    ) -> Node:  # fmt: skip
        """Write down relu(SE(BN(c)) + shortcut); without SE where its weights are None."""
        v = tape.norm(c, norm, eps)
        if se[0].value is not None:
            v = tape.run("squeeze_excite", v, *se, **settings)
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
        """Write down SE(relu(BN(c)))."""
        v = tape.run("relu", tape.norm(c, norm, eps))
        return tape.run("squeeze_excite", v, *se, **settings)

    def concat_se_nodes(
        self, tape: Tape, xs: Sequence[Node], se: Sequence[Node], settings: dict[str, Any]
    ) -> Node:
        """Write down SE(concat(xs))."""
        return tape.run("squeeze_excite", tape.run("concat", xs), *se, **settings)

    def se_add_nodes(
        self, tape: Tape, u: Node, se: Sequence[Node], shortcut: Node, settings: dict[str, Any]
    ) -> Node:
        """Write down SE(u) + shortcut."""
        return tape.run("residual_add", tape.run("squeeze_excite", u, *se, **settings), shortcut)

    def squeeze_excite_nodes(self, tape: Tape, u: Node, se: Sequence[Node], squeeze: str, gate: str) -> Node:
        """Write down scale(u, gate(W2 relu(W1 squeeze(u))))."""
        w1, b1, w2, b2 = se
        z = tape.run(f"global_{squeeze}_pool", u)
        hidden = tape.run("relu", tape.run("linear", z, w1, b1))
        return tape.run("scale", u, tape.run(gate, tape.run("linear", hidden, w2, b2)))

    # -- the units, as operations ------------------------------------------------------------------------

    def conv_bn_relu_forward(self, x: Any, w: Any, *norm: Any, eps: float = 1e-5, **settings: Any) -> Any:
        """See `ops.conv_bn_relu_forward`; with four vectors, of the mode with given statistics."""
        tape, (first, weights, *vectors) = Tape(self), _nodes(x, w, *norm)
        y = self.conv_bn_relu_nodes(tape, first, weights, vectors, eps, settings)
        return y.value, UnitCache(tape, (first, weights, *vectors), y)

    def conv_bn_relu_backward(self, dy: Any, cache: Any, *, need_dx: bool = True) -> Any:
        """See `ops.conv_bn_relu_backward`."""
        return ConvBNReLUGradients(*cache.gradients(dy, need_dx=need_dx))

    def conv_bn_relu_inference_forward(self, x: Any, w: Any, *norm: Any, **settings: Any) -> Any:
        """See `ops.conv_bn_relu_inference_forward`."""
        return self.conv_bn_relu_forward(x, w, *norm, **settings)

    def conv_bn_relu_inference_backward(self, dy: Any, cache: Any, *, need_dx: bool = True) -> Any:
        """See `ops.conv_bn_relu_inference_backward`."""
        return ConvBNReLUInferenceGradients(*cache.gradients(dy, need_dx=need_dx))

    def residual_tail_forward(
        self, c: Any, gamma: Any, beta: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any,
        *, eps: float = 1e-5, squeeze: str = "avg", gate: str = "sigmoid",
    ) -> Any:  # fmt: skip
        """See `ops.residual_tail_forward`."""
        return self._tail(
            c, (gamma, beta), (w1, b1, w2, b2), shortcut, eps, {"squeeze": squeeze, "gate": gate}
        )

    def residual_tail_backward(self, dy: Any, cache: Any) -> Any:
        """See `ops.residual_tail_backward`."""
        return ResidualTailGradients(*cache.gradients(dy))

    def residual_tail_inference_forward(
        self, c: Any, gamma: Any, beta: Any, mean: Any, var: Any, w1: Any, b1: Any, w2: Any, b2: Any,
        shortcut: Any, *, eps: float = 1e-5, squeeze: str = "avg", gate: str = "sigmoid",
    ) -> Any:  # fmt: skip
        """See `ops.residual_tail_inference_forward`."""
        norm, se = (gamma, beta, mean, var), (w1, b1, w2, b2)
        return self._tail(c, norm, se, shortcut, eps, {"squeeze": squeeze, "gate": gate})

    def residual_tail_inference_backward(self, dy: Any, cache: Any) -> Any:
        """See `ops.residual_tail_inference_backward`."""
        return ResidualTailInferenceGradients(*cache.gradients(dy))

    def _tail(self, c: Any, norm: Any, se: Any, shortcut: Any, eps: float, settings: dict[str, Any]) -> Any:
        tape = Tape(self)
        (start, end), vectors, weights = _nodes(c, shortcut), _nodes(*norm), _nodes(*se)
        y = self.residual_tail_nodes(tape, start, vectors, weights, end, eps, settings)
        return y.value, UnitCache(tape, (start, *vectors, *weights, end), y)

    def bn_relu_se_forward(
        self, c: Any, gamma: Any, beta: Any, *se: Any, eps: float = 1e-5, squeeze: str = "avg",
        gate: str = "sigmoid",
    ) -> Any:  # fmt: skip
        """See `ops.bn_relu_se_forward`."""
        tape, (start, *vectors), weights = Tape(self), _nodes(c, gamma, beta), _nodes(*se)
        y = self.bn_relu_se_nodes(tape, start, vectors, weights, eps, {"squeeze": squeeze, "gate": gate})
        return y.value, UnitCache(tape, (start, *vectors, *weights), y)

    def bn_relu_se_backward(self, dy: Any, cache: Any) -> Any:
        """See `ops.bn_relu_se_backward`."""
        return BNReLUSEGradients(*cache.gradients(dy))

    def concat_se_forward(self, xs: Any, *se: Any, **settings: Any) -> Any:
        """See `ops.concat_se_forward`."""
        tape, parts, weights = Tape(self), _nodes(*xs), _nodes(*se)
        y = self.concat_se_nodes(tape, parts, weights, settings)
        return y.value, UnitCache(tape, (parts, *weights), y)

    def concat_se_backward(self, dy: Any, cache: Any) -> Any:
        """See `ops.concat_se_backward`."""
        return ConcatSEGradients(*cache.gradients(dy))

    def se_add_forward(
        self, u: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any, **settings: Any
    ) -> Any:
        """See `ops.se_add_forward`."""
        tape, (start, end), weights = Tape(self), _nodes(u, shortcut), _nodes(w1, b1, w2, b2)
        y = self.se_add_nodes(tape, start, weights, end, settings)
        return y.value, UnitCache(tape, (start, *weights, end), y)

    def se_add_backward(self, dy: Any, cache: Any) -> Any:
        """See `ops.se_add_backward`."""
        return SEAddGradients(*cache.gradients(dy))

    def squeeze_excite_forward(
        self, u: Array, w1: Any, b1: Any, w2: Any, b2: Any, *, squeeze: str = "avg", gate: str = "sigmoid"
    ) -> Any:
        """See `ops.squeeze_excite_forward`."""
        tape, (start, *weights) = Tape(self), _nodes(u, w1, b1, w2, b2)
        y = self.squeeze_excite_nodes(tape, start, weights, squeeze, gate)
        return y.value, UnitCache(tape, (start, *weights), y)

    def squeeze_excite_backward(self, dy: Array, cache: Any) -> Any:
        """See `ops.squeeze_excite_backward`."""
        return SqueezeExciteGradients(*cache.gradients(dy))


def _nodes(*arrays: Any) -> list[Node]:
    return [Node(array) for array in arrays]
