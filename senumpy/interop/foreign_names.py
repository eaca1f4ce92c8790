"""Weights out under the names of timm and torchvision, where they have a network that computes the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from senumpy.errors import InputError
from senumpy.layers import SEConfig
from senumpy.models import Network, ResNetConfig, model_config
from senumpy.models.resnet import EXPANSION

Array = np.ndarray[Any, np.dtype[Any]]


class Foreign(NamedTuple):
    """A state that `twin`'s `load_state_dict` takes: "timm seresnet50", "torchvision vgg16_bn", ..."""

    twin: str
    state: dict[str, Array]


def foreign_state(model: Network) -> Foreign:
    """Return the network's state under the names of its twin.

    Raises
    ------
    InputError
        Neither timm nor torchvision computes what this network does; says in what they differ.
    """
    state = {name: _with_kernels(name, array) for name, array in model.state_dict().items()}
    config = model.config
    published: Any = model_config(model.name)
    free = {"stride_in", "pool", "se"} if isinstance(config, ResNetConfig) else {"se"}
    if model.name == "mobilenet":
        free = {"activation"}
    same = {name: getattr(published, name) for name in free}
    if replace(config, **same) != published:
        raise InputError(f"{model.name}: timm and torchvision have it as published alone, this is {config}")
    if isinstance(config, ResNetConfig):
        return _resnet(model, state)
    if model.name == "vgg16_bn":
        biases = {
            name.replace("running_mean", "bias"): np.zeros_like(array)
            for name, array in state.items()
            if name.startswith("features.") and name.endswith("running_mean")
        }
        return Foreign("torchvision vgg16_bn", {**state, **_before_norms(biases)})
    if model.name == "mobilenet" and config.activation == "relu6":
        return Foreign("timm mobilenetv1_100", state)
    if model.name == "inception_resnet_v2":
        return Foreign("timm inception_resnet_v2", state)
    hint = "; timm's MobileNet has ReLU6 (activation='relu6')" if model.name == "mobilenet" else ""
    raise InputError(f"{model.name}: neither timm nor torchvision has a network that computes this{hint}")


def _with_kernels(name: str, array: Array) -> Array:
    """Return SE's weights as 1x1 convolutions, which they are elsewhere."""
    return array[:, :, None, None] if ".se.fc" in name and array.ndim == 2 else array


def _before_norms(biases: dict[str, Array]) -> dict[str, Array]:
    """Move a bias from the place of a batch norm to that of the convolution before it."""
    moved = {}
    for name, array in biases.items():
        features, place, kind = name.split(".")
        moved[f"{features}.{int(place) - 1}.{kind}"] = array
    return moved


def _resnet(model: Network, state: dict[str, Array]) -> Foreign:
    config: ResNetConfig = model.config
    se = config.se
    if config.stem == "cifar":
        raise InputError(f"{model.name}: neither timm nor torchvision has CIFAR's ResNets")
    if se and replace(se, reduction=16, rounding="floor") != SEConfig():
        raise InputError(f"{model.name}: timm has SE as published alone, this network a variant: {se}")
    suffix = model.name.removeprefix("se_")
    bottleneck = config.unit == "bottleneck"
    published = "1x1" if config.groups == 1 else "3x3"
    if config.pool == "padded" and (not bottleneck or config.stride_in == "3x3"):
        if se and not _same_widths(config, se):
            raise InputError(
                f"{model.name}: timm rounds SE's hidden widths to multiples of 8 (rounding='timm'); here "
                "they are others"
            )
        if model.name == "senet154":
            return Foreign("timm senet154", state)
        library = "timm" if suffix == "resnext101_32x4d" else "torchvision"  # which has other widths
        return Foreign(f"timm se{suffix}" if se else f"{library} {suffix}", state)
    legacy = (config.pool, config.stride_in) == ("ceil", published)
    if se and bottleneck and legacy and se.reduction == 16:
        name = suffix if suffix == "senet154" else f"se{suffix}"
        return Foreign(f"timm legacy_{name}", {_legacy_name(n, config): a for n, a in state.items()})
    raise InputError(
        f"{model.name}: no network of timm or torchvision has its strides in the {config.stride_in} and the "
        f"max pool {config.pool!r}; torchvision's and timm's newer ones have stride_in='3x3' and "
        "pool='padded', timm's legacy ones, all with SE, '1x1' (ResNeXt: '3x3') and 'ceil'"
    )


def _same_widths(config: ResNetConfig, se: SEConfig) -> bool:
    timm = SEConfig(rounding="timm")
    channels = [width * EXPANSION[config.unit] for width in config.widths]
    return all(se.hidden(c) == timm.hidden(c) for c in channels)


def _legacy_name(name: str, config: ResNetConfig) -> str:
    stem = {"conv1.0": "conv1", "conv1.1": "bn1", "conv1.3": "conv2", "conv1.4": "bn2", "conv1.6": "conv3"}
    name = name.replace(".se.", ".se_module.")
    first = name.split(".")[0]
    if first == "fc":
        return f"last_linear.{name.partition('.')[2]}"
    if first not in ("conv1", "bn1"):
        return name
    if config.stem == "deep":
        before, _, kind = name.rpartition(".")
        return f"layer0.{'bn3' if before == 'bn1' else stem[before]}.{kind}"
    return f"layer0.{name}"
