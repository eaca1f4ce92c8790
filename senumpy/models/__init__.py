"""The paper's networks, assembled from layers."""

from __future__ import annotations

from senumpy.models.network import Network
from senumpy.models.registry import create_model, image_size, model_config, model_names, settings_for
from senumpy.models.resnet import ResNet, ResNetConfig

__all__ = [
    "Network",
    "ResNet",
    "ResNetConfig",
    "create_model",
    "image_size",
    "model_config",
    "model_names",
    "settings_for",
]
