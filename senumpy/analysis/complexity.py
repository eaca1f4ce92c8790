"""What a network costs: parameters and multiply-adds of each layer, and SE's share (paper sec. 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from senumpy.analysis.counting import Count, CountingEngine
from senumpy.engines.shapes import shape_array
from senumpy.errors import InputError
from senumpy.models import Network, create_model, image_size


@dataclass(frozen=True)
class LayerCost:
    """One row: a layer's name, kind, output shape without the batch, parameters and multiply-adds."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int

    @property
    def in_se(self) -> bool:
        """Whether the layer is part of an SE block."""
        return "se" in self.name.split(".")


@dataclass(frozen=True)
class Complexity:
    """The cost of one forward pass on one image, layer by layer.

    The paper's "FLOPs" are multiply-adds of convolutions and linear layers, and its parameter counts include
    batch norm's running statistics; both are given apart here.
    """

    model: str
    input_shape: tuple[int, int, int]
    num_classes: int
    layers: tuple[LayerCost, ...]
    statistics: int  # numbers in batch norm's running means and variances

    def total(self, field: str, *, in_se: bool | None = None) -> int:
        """Sum `field` ("parameters" or "multiply_adds") over all layers, or over those in or outside SE."""
        rows = (row for row in self.layers if in_se is None or row.in_se == in_se)
        return sum(getattr(row, field) for row in rows)

    def to_dict(self) -> dict[str, Any]:
        """Return totals and layers for JSON."""
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "parameters": self.total("parameters"),
            "se_parameters": self.total("parameters", in_se=True),
            "batch_norm_statistics": self.statistics,
            "multiply_adds": self.total("multiply_adds"),
            "se_multiply_adds": self.total("multiply_adds", in_se=True),
            "layers": [asdict(row) for row in self.layers],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        c, h, w = self.input_shape
        yield f"{self.model}: {c}x{h}x{w} images, {self.num_classes} classes"
        yield ""
        yield f"{'layer':<26} {'kind':<11} {'output':>12} {'parameters':>12} {'multiply-adds':>14}"
        yield "-" * 79
        for row in self.layers:
            shape = "x".join(str(size) for size in row.output)
            yield (
                f"{_shortened(row.name):<26} {row.kind:<11} {shape:>12} {_number(row.parameters):>12} "
                f"{_number(row.multiply_adds):>14}"
            )
        yield "-" * 79
        for title, in_se in (("total", None), ("of these in SE", True)):
            parameters, macs = (self.total(field, in_se=in_se) for field in ("parameters", "multiply_adds"))
            yield f"{title:<51} {_number(parameters):>12} {_number(macs):>14}"
        yield f"{'batch-norm running statistics, beside the parameters':<51} {_number(self.statistics):>11}"


def complexity(
    name: str,
    *,
    size: int | tuple[int, int] | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    **settings: Any,
) -> Complexity:
    """Count a registered network's parameters and multiply-adds for one image.

    Parameters
    ----------
    name : str
        One of `senumpy.models.model_names()`.
    size : int or pair, optional
        Height and width of the image; the size that the network was published for where not given.
    num_classes, in_channels, settings
        As in `create_model`.

    Raises
    ------
    InputError
        Unknown model, or an image smaller than 8x8.
    """
    engine = CountingEngine()
    model = create_model(name, num_classes=num_classes, in_channels=in_channels, engine=engine, **settings)
    chosen = image_size(name) if size is None else size
    height, width = chosen if isinstance(chosen, tuple) else (chosen, chosen)
    if min(height, width) < 8:
        raise InputError(f"size: got {height}x{width}, wanted at least 8x8")
    with model.inference():
        model.forward(shape_array(1, in_channels, height, width))
    return Complexity(
        name,
        (in_channels, height, width),
        model.num_classes,
        tuple(_rows(engine.counts, model)),
        sum(buffer.value.size for _, buffer in model.named_buffers()),
    )


def _rows(counts: list[Count], model: Network) -> Iterator[LayerCost]:
    owners = {id(parameter.value): name.rpartition(".")[0] for name, parameter in model.named_parameters()}
    name = ""
    for count in counts:
        # A scale has no weights: it belongs to the SE block of the row before.
        name = owners[id(count.weights[0])] if count.weights else name.rpartition(".")[0]
        parameters = sum(w.size for w in count.weights)
        yield LayerCost(name, count.kind, count.output, parameters, count.multiply_adds)


def _shortened(name: str, width: int = 26) -> str:
    """Return a name that fits its column; of a long one the middle is left out."""
    half = width // 2
    return name if len(name) <= width else f"{name[: half - 1]}…{name[half - width :]}"


def _number(value: int) -> str:
    return f"{value:,}" if value else "-"
