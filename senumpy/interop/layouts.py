"""Whose names a weight file has: each layout is known by its keys, and says what its network is like.

| layout | known by | stride in | max pool | besides |
|---|---|---|---|---|
| torchvision, timm | `layer1.0.conv1.weight`, `fc.weight` | 3x3 | padded | SE `se.fc1` with biases |
| Cadene, timm's legacy | `layer0.`, `last_linear.` | 1x1, with groups 3x3 | ceil | SE `se_module.fc1` |
| moskomule | `se.fc.0.weight` | 3x3 | padded | SE without biases |
| akamaster (CIFAR) | `linear.weight` | | | parameter-free shortcuts |
| torchvision's, timm's VGG | `features.0.weight` | | | biases before batch norm |
| timm's MobileNet | `conv_stem.weight` | | | ReLU6 |
| timm's Inception-ResNet-v2 | `mixed_5b.` | | | |

Stride position, max pool and activation can't be seen in a file of weights: with the wrong ones it loads and
is silently worse. Hence the layout decides. What has the very same names and shapes can't be told apart:
timm's ResNets with blur or average pooling (`resnetblur*`, `resnetaa*`) are taken for plain ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from senumpy.errors import InputError
from senumpy.interop.resnet_shapes import ResNetShapes, Shapes, find_resnet

Array = np.ndarray[Any, np.dtype[Any]]
Read = Callable[[str], Array]


class Preprocessing(NamedTuple):
    """What images go through: shorter side resized, middle cropped, then (x / 255 - mean) / std."""

    resize: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PARALLEL = "module."  # PyTorch's DataParallel puts it before every name
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Layout(NamedTuple):
    """What was recognised.

    Attributes
    ----------
    name : str
        Whose names they are.
    model : str
        The registry's name of the network.
    settings : dict
        Arguments for `create_model`, `num_classes` and `in_channels` among them.
    sources : dict
        For each name of ours, the name in the file.
    transform : callable
        ``transform(our name, array, read)`` -> the array as ours; `read` gives others of the file.
    preprocessing : Preprocessing
        What the published weights of this layout expect.
    class_names : tuple of str
        Empty where the file doesn't say.
    """

    name: str
    model: str
    settings: dict[str, Any]
    sources: dict[str, str]
    transform: Callable[[str, Array, Read], Array]
    preprocessing: Preprocessing = IMAGENET
    class_names: tuple[str, ...] = ()


def recognise(shapes: Shapes, where: str) -> Layout:
    """Return the layout of a state with these names and shapes.

    Raises
    ------
    InputError
        No layout, or no network, fits; or one is known that would not compute the same here.
    """
    shapes = {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}
    if shapes and all(name.startswith(_PARALLEL) for name in shapes):
        inner = recognise({name.removeprefix(_PARALLEL): shape for name, shape in shapes.items()}, where)
        return inner._replace(
            sources={ours: _PARALLEL + name for ours, name in inner.sources.items()},
            transform=lambda name, array, read: inner.transform(name, array, lambda n: read(_PARALLEL + n)),
        )
    for known, read in _LAYOUTS:
        if known(shapes):
            return read(shapes, where)
    if "layer1.0.conv1.weight" in shapes:
        raise InputError(
            f"{where}: missing: fc.weight, the classifier (or linear.weight, last_linear.weight)"
        )
    some = ", ".join(list(shapes)[:4]) or "nothing"
    raise InputError(
        f"{where}: no known layout of weights: it has {some}, ...; known are those of torchvision, timm, "
        "Cadene, moskomule, akamaster and senumpy"
    )


def _as_it_is(name: str, array: Array, read: Read) -> Array:
    return array


def _resnet(layout: str, shapes: Shapes, where: str, rename: Callable[[str], str], **settings: Any) -> Layout:
    sources = _renamed(shapes, rename, where)
    found: ResNetShapes = find_resnet({ours: shapes[name] for ours, name in sources.items()}, where)
    if not found.is_basic and "stride_in" not in settings:
        settings["stride_in"] = "1x1" if found.groups == 1 else "3x3"
    return Layout(layout, found.model, {**found.settings, **settings}, sources, _as_it_is)


def _renamed(shapes: Shapes, rename: Callable[[str], str], where: str) -> dict[str, str]:
    """Return the file's names by ours; two of the file for one of ours are an error."""
    sources: dict[str, str] = {}
    for name in shapes:
        other = sources.setdefault(rename(name), name)
        if other != name:
            raise InputError(f"{where}: tensors {other!r} and {name!r} are the same one, wanted either")
    return sources


def _torchvision_resnet(shapes: Shapes, where: str) -> Layout:
    return _resnet("torchvision/timm", shapes, where, lambda n: n, stride_in="3x3", pool="padded")


def _legacy(shapes: Shapes, where: str) -> Layout:
    if "layer1.0.se_module.fc1.weight" in shapes and "layer1.0.conv3.weight" not in shapes:
        raise InputError(
            f"{where}: timm's legacy SE-ResNet-18/34 applies a ReLU between the last batch norm and SE; no "
            "network here does (nor the paper's), so the weights would give other results; use timm's newer "
            "seresnet18 or seresnet34"
        )
    deep = "layer0.conv3.weight" in shapes
    stem = {"conv1": "conv1.0", "bn1": "conv1.1", "conv2": "conv1.3", "bn2": "conv1.4", "conv3": "conv1.6"}

    def rename(name: str) -> str:
        name = name.replace(".se_module.", ".se.").replace("last_linear.", "fc.")
        if name.startswith("layer0."):
            name = name.removeprefix("layer0.")
            part, _, rest = name.partition(".")
            if deep:
                name = f"{'bn1' if part == 'bn3' else stem[part]}.{rest}"
        return name

    return _resnet("Cadene/timm legacy", shapes, where, rename, pool="ceil")


def _moskomule(shapes: Shapes, where: str) -> Layout:
    def rename(name: str) -> str:
        return name.replace(".se.fc.0.", ".se.fc1.").replace(".se.fc.2.", ".se.fc2.")

    return _resnet("moskomule", shapes, where, rename, stride_in="3x3", pool="padded")


def _akamaster(shapes: Shapes, where: str) -> Layout:
    def rename(name: str) -> str:
        return name.replace("linear.", "fc.")

    mean, std = IMAGENET[2:]
    return _resnet("akamaster", shapes, where, rename)._replace(
        preprocessing=Preprocessing(32, 32, mean, std)
    )


def _vgg(shapes: Shapes, where: str) -> Layout:
    if "features.1.running_mean" not in shapes:
        raise InputError(f"{where}: a VGG without batch norm; the networks here have it (vgg16_bn)")
    renames = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}

    def rename(name: str) -> str:
        stem, _, kind = name.rpartition(".")
        return f"{renames.get(stem, stem)}.{kind}"

    sources = _renamed(shapes, rename, where)
    for name in list(sources):
        # A bias before batch norm shifts nothing but the mean: the running mean takes it in.
        stem = name.removesuffix(".bias")
        if re.fullmatch(r"features\.\d+", stem) and f"{stem}.running_mean" not in shapes:
            del sources[name]
    hidden, *inputs = shapes[sources["classifier.0.weight"]]
    pixels = int(np.prod(inputs)) // 512
    settings = {
        "num_classes": shapes[sources["classifier.6.weight"]][0],
        "in_channels": shapes["features.0.weight"][1],
        "image_size": 32 * round(pixels**0.5),
        "hidden": hidden,
    }

    def transform(name: str, array: Array, read: Read) -> Array:
        if name.endswith("running_mean"):
            place = int(name.split(".")[1])
            bias = f"features.{place - 1}.bias"
            return array - read(bias) if bias in shapes else array
        return array.reshape(len(array), -1) if name.startswith("classifier") and array.ndim == 4 else array

    return Layout("torchvision/timm VGG", "vgg16_bn", settings, sources, transform)


def _mobilenet(shapes: Shapes, where: str) -> Layout:
    if "blocks.0.0.conv_dw.weight" not in shapes or "conv_head.weight" in shapes:
        raise InputError(
            f"{where}: timm's names, but not of MobileNet 1.0 (mobilenetv1_100); no other network with a "
            "conv_stem is built here"
        )
    settings = {
        "num_classes": shapes["classifier.weight"][0],
        "in_channels": shapes["conv_stem.weight"][1],
        "activation": "relu6",
    }
    sources = {name: name for name in shapes}
    return Layout(
        "timm MobileNet", "mobilenet", settings, sources, _as_it_is, Preprocessing(256, 224, *_HALVES)
    )


def _inception_resnet(shapes: Shapes, where: str) -> Layout:
    settings = {
        "num_classes": shapes["classif.weight"][0],
        "in_channels": shapes["conv2d_1a.conv.weight"][1],
    }
    sources = {name: name for name in shapes}
    prepared = Preprocessing(352, 299, *_HALVES)  # the paper's sizes (sec. 5.1)
    name = "timm Inception-ResNet-v2"
    return Layout(name, "inception_resnet_v2", settings, sources, _as_it_is, prepared)


def _has(*wanted: str) -> Callable[[Shapes], bool]:
    return lambda shapes: all(name in shapes for name in wanted)


_LAYOUTS: tuple[tuple[Callable[[Shapes], bool], Callable[[Shapes, str], Layout]], ...] = (
    (_has("layer0.conv1.weight", "last_linear.weight"), _legacy),
    (_has("layer1.0.se.fc.0.weight", "fc.weight"), _moskomule),
    (_has("layer1.0.conv1.weight", "linear.weight"), _akamaster),
    (_has("layer1.0.conv1.weight", "fc.weight"), _torchvision_resnet),
    (_has("features.0.weight"), _vgg),
    (_has("conv_stem.weight"), _mobilenet),
    (_has("mixed_5b.branch0.conv.weight", "classif.weight"), _inception_resnet),
)
