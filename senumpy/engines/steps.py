"""An engine whose units in inference are steps: for engines that write down operations, or count them."""

from __future__ import annotations

from typing import Any

from senumpy.engines.base import Engine


class StepEngine(Engine):
    """Run units through this engine's own operations. A subclass defines the operations.

    Only what inference calls is here. Results are what the subclass makes of arrays; there are no caches.
    """

    def conv_bn_relu_inference_forward(
        self, x: Any, w: Any, *norm: Any, eps: float = 1e-5, **settings: Any
    ) -> Any:
        """Run convolution, batch norm and ReLU."""
        y, _ = self.conv2d_forward(x, w, **settings)
        return self.relu_forward(self.batchnorm2d_inference_forward(y, *norm, eps=eps)[0])

    def residual_tail_inference_forward(
        self, c: Any, gamma: Any, beta: Any, mean: Any, var: Any,
        w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any, *, eps: float = 1e-5, **settings: Any,
    ) -> Any:  # fmt: skip
        """Run batch norm, SE if there is any, the sum and ReLU."""
        y, _ = self.batchnorm2d_inference_forward(c, gamma, beta, mean, var, eps=eps)
        if w1 is not None:
            y, _ = self.squeeze_excite_forward(y, w1, b1, w2, b2, **settings)
        return self.relu_forward(self.residual_add_forward(y, shortcut)[0])

    def concat_se_forward(self, xs: Any, *se: Any, **settings: Any) -> Any:
        """Run concatenation and SE."""
        return self.squeeze_excite_forward(self.concat_forward(xs)[0], *se, **settings)

    def se_add_forward(
        self, u: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any, **settings: Any
    ) -> Any:
        """Run SE and the sum."""
        return self.residual_add_forward(
            self.squeeze_excite_forward(u, w1, b1, w2, b2, **settings)[0], shortcut
        )
