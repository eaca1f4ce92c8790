"""Composite layers: a sequence, the conv-BN-ReLU unit, and the residual unit with or without SE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from senumpy.layers.base import Layer
from senumpy.layers.basic import BatchNorm2d, Conv2d
from senumpy.layers.squeeze_excite import PixelExcite, SqueezeExcite
from senumpy.ops.arrays import Array


class Sequential(Layer):
    """Layers one after the other, named "0", "1", ..., or by keyword."""

    def __init__(self, *layers: Layer, **named: Layer):
        names = {**{str(k): layer for k, layer in enumerate(layers)}, **named}
        super().__init__(next(iter(names.values())).engine if names else "numpy")
        for name, layer in names.items():
            setattr(self, name, layer)

    def __iter__(self) -> Iterator[Layer]:
        return (layer for _, layer in self._public(Layer))

    def forward(self, x: Array) -> Array:
        """Pass `x` through all layers."""
        for layer in self:
            x = layer.forward(x)
        return x

    def backward(self, dy: Array) -> Array:
        """Pass `dy` back through all layers."""
        for layer in reversed(list(self)):
            dy = layer.backward(dy)
        return dy


class ConvBNReLU(Layer):
    """Convolution, batch norm and ReLU as one call into the engine; `conv` and `bn` hold the parameters."""

    def __init__(self, conv: Conv2d, bn: BatchNorm2d):
        super().__init__(conv.engine)
        self.conv = conv
        self.bn = bn

    def forward(self, x: Array) -> Array:
        """Return relu(bn(conv(x)))."""
        conv, bn = self.conv, self.bn
        arguments = (x, conv.weight.value, bn.weight.value, bn.bias.value)
        if bn.training:
            y, cache = self.engine.conv_bn_relu_forward(*arguments, eps=bn.eps, **conv.settings)
            bn.update_running(cache.mean, cache.var, y.size // y.shape[1])
        else:
            y, cache = self.engine.conv_bn_relu_inference_forward(
                *arguments, bn.running_mean.value, bn.running_var.value, eps=bn.eps, **conv.settings
            )
        self._cache = (bn.training, cache) if bn.recording else None
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set the gradients of all parameters; return dx, or None if it is not needed."""
        trained, cache = self._kept()
        if self.bn.releasing:  # a unit is no named layer: nobody sets its own modes
            self._cache = None
        name = "conv_bn_relu_backward" if trained else "conv_bn_relu_inference_backward"
        gradients: Any = getattr(self.engine, name)(dy, cache, need_dx=need_dx)
        self.conv._receive(self.conv.weight, gradients.dw)
        self.bn._receive(self.bn.weight, gradients.dgamma)
        self.bn._receive(self.bn.bias, gradients.dbeta)
        return gradients.dx


_APART = "the unit and SE ran one after the other, and have caches of their own"


class ConvBNReLUSE(Layer):
    """The unit and SE after it; in training, all after the convolution is one call into the engine.

    Parameters
    ----------
    unit : ConvBNReLU
    se : SqueezeExcite or PixelExcite
    """

    def __init__(self, unit: ConvBNReLU, se: SqueezeExcite | PixelExcite):
        super().__init__(unit.engine)
        self.unit, self.se = unit, se

    def forward(self, x: Array) -> Array:
        """Return SE(relu(bn(conv(x))))."""
        conv, bn, se = self.unit.conv, self.unit.bn, self.se
        if isinstance(se, PixelExcite) or (bn.recording and not bn.training):
            self._cache = _APART
            return se.forward(self.unit.forward(x))
        self.unit._cache = se._cache = None  # of another mode
        if not bn.training:
            self._cache = None
            return self.engine.squeeze_excite_inference(self.unit.forward(x), *se.weights(), **se.settings())
        y, cache = self.engine.bn_relu_se_forward(
            conv.forward(x), bn.weight.value, bn.bias.value, *se.weights(), eps=bn.eps, **se.settings()
        )
        bn.update_running(cache.mean, cache.var, y.size // y.shape[1])
        self._cache = cache if bn.recording else None
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set the gradients of all parameters; return dx, or None if it is not needed."""
        bn, se = self.unit.bn, self.se
        cache = self._kept()
        if cache is _APART or isinstance(se, PixelExcite):
            return self.unit.backward(se.backward(dy), need_dx=need_dx)
        dc, dgamma, dbeta, *se_gradients = self.engine.bn_relu_se_backward(dy, cache)
        if bn.releasing:
            self._cache = None
        bn._receive(bn.weight, dgamma)
        bn._receive(bn.bias, dbeta)
        se.receive(*se_gradients)
        return self.unit.conv.backward(dc, need_dx=need_dx)


class ConvBN(Sequential):
    """Convolution and batch norm, named "0" and "1": the shortcut where the shape changes."""

    def __init__(self, conv: Conv2d, bn: BatchNorm2d):
        super().__init__(conv, bn)
        self._conv, self._bn = conv, bn

    def forward(self, x: Array) -> Array:
        """Return bn(conv(x)); in inference the engine may do both at once."""
        conv, bn = self._conv, self._bn
        if bn.training or bn.recording:
            return super().forward(x)
        self._keep(None)
        return self.engine.conv_bn_inference(x, conv.weight.value, *bn.values(), eps=bn.eps, **conv.settings)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set the gradients of all parameters; return dx, or None if it is not needed."""
        return self._conv.backward(self._bn.backward(dy), need_dx=need_dx)


class ResidualUnit(Layer):
    """Base of residual units: a branch, a shortcut, and SE at one of five places (paper fig. 5).

    Units call `_se_at(place, x)` at each place that they have, and `_se_back(place, dy)` on the way back; all
    but one of these calls do nothing. A unit's inner layers are public attributes, so that they have names
    and modes.
    """

    se: SqueezeExcite | PixelExcite | None

    def _se_at(self, place: str, x: Array) -> Array:
        return self.se.forward(x) if self.se and self.se.config.placement == place else x

    def _se_back(self, place: str, dy: Array) -> Array:
        return self.se.backward(dy) if self.se and self.se.config.placement == place else dy

    @property
    def _own_se(self) -> SqueezeExcite | None:
        """SE where an engine may do it in one go with what follows: the paper's own."""
        se = self.se
        return se if isinstance(se, SqueezeExcite) and se.config.placement == "standard" else None

    @property
    def _pixel_se(self) -> PixelExcite | None:
        """SE without squeeze at the paper's place."""
        se = self.se
        return se if isinstance(se, PixelExcite) and se.config.placement == "standard" else None


class JoiningUnit(ResidualUnit):
    """Base of units that end in SE(branch) + shortcut."""

    def _join(self, branch: Array, shortcut: Array) -> tuple[Array, Any]:
        """Return the sum, and what its gradient needs."""
        se = self._own_se
        if se:
            return self.engine.se_add_forward(branch, *se.weights(), shortcut, **se.settings())
        return self.engine.residual_add_forward(self._se_at("standard", branch), shortcut)

    def _join_back(self, dy: Array, cache: Any) -> tuple[Array, Array]:
        """Return the gradients of branch and shortcut."""
        if self._own_se:
            dbranch, dw1, db1, dw2, db2, dshortcut = self.engine.se_add_backward(dy, cache)
            self._own_se.receive(dw1, db1, dw2, db2)
            return dbranch, dshortcut
        dbranch, dshortcut = self.engine.residual_add_backward(dy, cache)
        return self._se_back("standard", dbranch), dshortcut


class EndingUnit(ResidualUnit):
    """Base of units that end in relu(SE(BN(conv(x))) + shortcut), the residual tail.

    Subclasses set `_last_conv` and `_last_bn`.
    """

    _last_conv: Conv2d
    _last_bn: BatchNorm2d

    def _end(self, x: Array, shortcut: Array) -> Array:
        """Return relu(SE(BN(conv(x))) + shortcut) for the last convolution."""
        if self._pixel_se:
            v = self._pixel_se.forward(self._last_bn.forward(self._last_conv.forward(x)))
            total, add_cache = self.engine.residual_add_forward(v, shortcut)
            y, relu_cache = self.engine.relu_forward(total)
            self._keep((add_cache, relu_cache))
            return y
        if not (self.training or self.recording):
            return self._end_inference(x, shortcut)
        return self._tail_forward(self._last_conv.forward(x), shortcut)

    def _end_backward(self, dy: Array) -> tuple[Array, Array]:
        if self._pixel_se:
            add_cache, relu_cache = self._kept()
            dtotal = self.engine.relu_backward(dy, relu_cache).dx
            dv, dshortcut = self.engine.residual_add_backward(dtotal, add_cache)
            dc = self._last_bn.backward(self._pixel_se.backward(dv))
        else:
            dc, dshortcut = self._tail_backward(dy)
        return self._last_conv.backward(dc), dshortcut

    def _se_arguments(self) -> tuple[Any, dict[str, Any]]:
        """Return SE's weights (four None without SE in the tail) and the settings of the tail."""
        se = self._own_se
        weights = se.weights() if se else (None, None, None, None)
        return weights, {"eps": self._last_bn.eps, **(se.settings() if se else {})}

    def _end_inference(self, x: Array, shortcut: Array) -> Array:
        conv, bn = self._last_conv, self._last_bn
        weights, settings = self._se_arguments()
        self._keep(None)
        end: Any = self.engine.residual_end_inference
        return end(x, conv.weight.value, *bn.values(), *weights, shortcut, **settings, **conv.settings)

    def _tail_forward(self, c: Array, shortcut: Array) -> Array:
        bn = self._last_bn
        (w1, b1, w2, b2), settings = self._se_arguments()
        gamma, beta = bn.weight.value, bn.bias.value
        if bn.training:
            y, cache = self.engine.residual_tail_forward(c, gamma, beta, w1, b1, w2, b2, shortcut, **settings)
            bn.update_running(cache.mean, cache.var, c.size // c.shape[1])
        else:
            mean, var = bn.running_mean.value, bn.running_var.value
            y, cache = self.engine.residual_tail_inference_forward(
                c, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, **settings
            )
        self._keep((bn.training, cache))
        return y

    def _tail_backward(self, dy: Array) -> tuple[Array, Array]:
        trained, cache = self._kept()
        name = "residual_tail_backward" if trained else "residual_tail_inference_backward"
        gradients: Any = getattr(self.engine, name)(dy, cache)
        self._last_bn._receive(self._last_bn.weight, gradients.dgamma)
        self._last_bn._receive(self._last_bn.bias, gradients.dbeta)
        if self._own_se:
            self._own_se.receive(gradients.dw1, gradients.db1, gradients.dw2, gradients.db2)
        return gradients.dc, gradients.dshortcut


class Residual(EndingUnit):
    """A residual unit: relu(SE(BN(conv_k(... relu(BN(conv_1(x)))))) + shortcut(x)).

    Basic units have two convolutions, bottlenecks three. Parameters are named as in torchvision and timm:
    `conv1`, `bn1`, ..., `se`, `downsample`.

    Parameters
    ----------
    convs : sequence of Conv2d
        The branch; batch norm and ReLU follow each, but the sum and only then ReLU the last.
    se : SqueezeExcite or PixelExcite, optional
        At the branch's end, before the sum (paper fig. 3), or where its configuration says.
    shortcut : Layer, optional
        Identity where None.
    """

    def __init__(
        self,
        convs: Sequence[Conv2d],
        *,
        se: SqueezeExcite | PixelExcite | None = None,
        shortcut: Layer | None = None,
    ):
        engine = convs[0].engine
        super().__init__(engine)
        self._steps = []
        for k, conv in enumerate(convs, start=1):
            weight = conv.weight.value
            bn = BatchNorm2d(weight.shape[0], engine=engine, dtype=weight.dtype)
            setattr(self, f"conv{k}", conv)
            setattr(self, f"bn{k}", bn)
            self._steps.append(ConvBNReLU(conv, bn))
        last = self._steps.pop()
        self._last_conv, self._last_bn = last.conv, last.bn
        self.se = se
        self.downsample = shortcut

    def forward(self, x: Array) -> Array:
        """Return the unit's result for `x` (N, C, H, W)."""
        c = self._se_at("pre", x)
        for step in self._steps:
            c = step.forward(c)
        c = self._se_at("3x3", c)
        shortcut = self._se_at("identity", self.downsample.forward(x) if self.downsample else x)
        return self._se_at("post", self._end(c, shortcut))

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx, the sum over branch and shortcut."""
        dx, dshortcut = self._end_backward(self._se_back("post", dy))
        dx = self._se_back("3x3", dx)
        for step in reversed(self._steps):
            dx = step.backward(dx)
        dx = self._se_back("pre", dx)
        dshortcut = self._se_back("identity", dshortcut)
        if self.downsample:
            dshortcut = self.downsample.backward(dshortcut)
        return self.engine.add_gradients(dx, dshortcut)
