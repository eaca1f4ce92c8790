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
from senumpy.layers.inception import InceptionResidual
from senumpy.layers.initialisation import BLANK
from senumpy.layers.preactivation import PreActivation
from senumpy.layers.residual import ConvBN, ConvBNReLU, ConvBNReLUSE, Residual, ResidualUnit, Sequential
from senumpy.layers.shake import ShakeShake, ShiftedShortcut, shake_branch
from senumpy.layers.shuffle import ShuffleUnit
from senumpy.layers.squeeze_excite import PixelExcite, SEConfig, SqueezeExcite, se_layer
from senumpy.layers.structure import Branches, ChannelShuffle, Dropout, Flatten, InceptionModule, ReLU6

__all__ = [
    "BLANK",
    "AvgPool2d",
    "BatchNorm2d",
    "Branches",
    "Buffer",
    "ChannelShuffle",
    "Conv2d",
    "ConvBN",
    "ConvBNReLU",
    "ConvBNReLUSE",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "InceptionModule",
    "InceptionResidual",
    "Layer",
    "Linear",
    "MaxPool2d",
    "PadShortcut",
    "Parameter",
    "PixelExcite",
    "PreActivation",
    "ReLU",
    "ReLU6",
    "Residual",
    "ResidualUnit",
    "SEConfig",
    "Sequential",
    "ShakeShake",
    "ShiftedShortcut",
    "ShuffleUnit",
    "SqueezeExcite",
    "se_layer",
    "shake_branch",
]
