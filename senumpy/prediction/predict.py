"""Classify images with the weights of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senumpy.data.images import opened, resized_and_cropped
from senumpy.errors import InputError
from senumpy.interop import Imported, Preprocessing, import_weights
from senumpy.layers import SqueezeExcite
from senumpy.models import Network
from senumpy.prediction.gates import GateWatcher
from senumpy.training import TrainingError
from senumpy.training.engine import make_engine
from senumpy.training.memory import within_memory


@dataclass(frozen=True)
class Guess:
    """One class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class BlockGates:
    """The gates of one SE block for one image: the weakest and the strongest channels, and the mean."""

    block: str
    mean: float
    weakest: tuple[tuple[int, float], ...]
    strongest: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image."""

    image: str
    engine: str
    guesses: tuple[Guess, ...]
    gates: tuple[BlockGates, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.image
        for guess in self.guesses:
            yield f"  {guess.probability:7.2%}  {guess.label}"
        if self.gates:
            yield ""
            yield f"  {'SE block':<26} {'mean':>6}   weakest channels      strongest channels"
        for block in self.gates:
            weakest, strongest = (
                "  ".join(f"{channel}: {gate:.2f}" for channel, gate in ends)
                for ends in (block.weakest, block.strongest)
            )
            yield f"  {block.block:<26} {block.mean:>6.3f}   {weakest:<20}  {strongest}"


def predict(
    weights: str | Path,
    images: Sequence[str | Path],
    *,
    labels: str | Path | None = None,
    size: int | None = None,
    top: int = 5,
    engine: str = "numpy",
    device: int | None = None,
    precision: str | None = None,
) -> list[Prediction]:
    """Classify image files.

    Parameters
    ----------
    weights : path
        A weight file; see `senumpy.interop.import_weights`.
    images : sequence of paths
        Anything that Pillow reads with 8 bits a channel (of 16-bit colour it takes the upper half); converted
        to RGB, or to grey where the network takes one channel. Of an animation the first picture counts.
        A camera's note how to turn an image (EXIF) is not followed, as in torchvision.
    labels : path, optional
        A text file with a line for each class.
    size : int, optional
        Height and width of the middle crop; the shorter side is resized in proportion. Where not given, what
        the network was published with: 256 and 224, the paper's.
    top : int
        How many classes to give.
    engine, device, precision
        Who computes, and how; see `senumpy.engine`.

    Raises
    ------
    InputError
        The weights, an image or the labels can't be used; says which and why.
    """
    watcher = GateWatcher(make_engine(engine, device=device, precision=precision))
    loaded = import_weights(weights, engine=watcher)
    prepared = _at_size(loaded.preprocessing, size)
    names = _names(labels, loaded)
    blocks = [n for n, layer in loaded.model.named_layers() if isinstance(layer, SqueezeExcite)]
    results = []
    with loaded.model.inference():
        for path in images:
            x = _prepared(Path(path), prepared, loaded.model.in_channels)
            watcher.gates.clear()
            try:
                logits = within_memory(loaded.model, _logits, x, np.zeros(1, np.int64))
            except TrainingError:
                raise
            except ValueError as error:
                raise InputError(f"{path}: {error}") from None
            if not np.isfinite(logits).all():
                raise InputError(f"{path}: the network's result is not finite; are these trained weights?")
            gates = tuple(_summary(n, s[0]) for n, s in zip(blocks, watcher.gates, strict=True))
            guesses = _guesses(logits, names, top)
            results.append(Prediction(str(path), watcher.describe(), guesses, gates))
    return results


def _at_size(prepared: Preprocessing, size: int | None) -> Preprocessing:
    if size is None:
        return prepared
    if size < 1:
        raise InputError(f"size: got {size}, wanted at least 1")
    return prepared._replace(resize=round(size * prepared.resize / prepared.size), size=size)


def _prepared(path: Path, prepared: Preprocessing, channels: int) -> np.ndarray[Any, Any]:
    """Return an image as (1, C, size, size), normalised."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if channels not in (1, 3):
        raise InputError(f"the network takes images of {channels} channels, wanted 1 or 3")
    with opened(data, str(path)) as image:
        picture = resized_and_cropped(
            image.convert("L" if channels == 1 else "RGB"), prepared.resize, prepared.size
        )
        pixels = np.asarray(picture, np.float32).reshape(prepared.size, prepared.size, channels)
    mean, std = (np.asarray(v, np.float32)[:channels] for v in (prepared.mean, prepared.std))
    return ((pixels / 255 - mean) / std).transpose(2, 0, 1)[None]


def _logits(model: Network, x: np.ndarray[Any, Any], labels: object) -> np.ndarray[Any, Any]:
    """Return the logits (K,) of one image in float64."""
    y = model.forward(model.engine.asarray(x, dtype=model.dtype))
    return model.engine.to_numpy(y)[0].astype(np.float64)


def _names(labels: str | Path | None, loaded: Imported) -> Sequence[str]:
    classes = loaded.model.num_classes
    if labels is None:
        return loaded.class_names or [f"class {k}" for k in range(classes)]
    try:
        lines = Path(labels).read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {labels}: {error}") from None
    if len(lines) != classes:
        raise InputError(f"{labels}: has {len(lines)} lines, wanted {classes}: one for each class")
    return lines


def _guesses(logits: np.ndarray[Any, Any], names: Sequence[str], top: int) -> tuple[Guess, ...]:
    powers = np.exp(logits - logits.max())
    probabilities = powers / powers.sum()
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Guess(names[k], float(probabilities[k])) for k in best)


def _summary(name: str, gates: np.ndarray[Any, Any], ends: int = 2) -> BlockGates:
    order = np.argsort(gates, kind="stable")
    ends = min(ends, len(gates))

    def chosen(channels: Any) -> tuple[tuple[int, float], ...]:
        return tuple((int(c), float(gates[c])) for c in channels)

    return BlockGates(name, float(gates.mean()), chosen(order[:ends]), chosen(order[::-1][:ends]))
