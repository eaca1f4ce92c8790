"""Layers: parameters, gradients and buffers around calls into an engine; forward and backward by hand."""

from __future__ import annotations

from senumpy.layers.base import Buffer, Layer, Parameter
from senumpy.layers.basic import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    GlobalMaxPool,
    Linear,
    MaxPool2d,
    PadShortcut,
    ReLU,
)
from senumpy.layers.residual import ConvBN, ConvBNReLU, Residual, Sequential
from senumpy.layers.squeeze_excite import SEConfig, SqueezeExcite

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvBN",
    "ConvBNReLU",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Layer",
    "Linear",
    "MaxPool2d",
    "PadShortcut",
    "Parameter",
    "ReLU",
    "Residual",
    "SEConfig",
    "Sequential",
    "SqueezeExcite",
]
