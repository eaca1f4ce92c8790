"""A call read back from a golden file: its arrays are given, nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.verify.calls import OpCall, Running
from senumpy.verify.cases import op_spec

Array = NDArray[Any]


class KeptDraws:
    """Stands in for a random generator where it is known what dropout keeps."""

    def __init__(self, kept: Array) -> None:
        self._kept = np.asarray(kept, bool)

    def random(self, shape: tuple[int, ...]) -> Array:
        """Return draws above any drop probability where an entry is kept, below 0 elsewhere."""
        return np.where(self._kept, 1.0, -1.0).reshape(shape)


@dataclass(frozen=True)
class GivenCall(OpCall):
    """A call whose upstream gradient and running statistics are arrays from a file.

    Attributes
    ----------
    dy : array
    before : Running or None
    """

    dy: Array = field(default_factory=lambda: np.zeros(()))
    before: Running | None = None

    def upstream(self, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        """Return the gradient of the file, in a dtype; of another size (a mistake's result), a drawn one."""
        if self.dy.size != np.prod(shape, dtype=int):
            return super().upstream(shape, dtype)
        return self.dy.reshape(shape).astype(dtype)

    def running(self, dtype: DTypeLike = np.float64) -> Running | None:
        """Return the running statistics of the file, in a dtype."""
        if self.before is None:
            return None
        return Running(self.before.mean.astype(dtype), self.before.var.astype(dtype), self.before.momentum)


def spelt_out(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with every pair as a list of two, and shake's beta as numbers, sorted by name."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    for name in ("kernel", "stride", "padding", "dilation"):
        if isinstance(plain.get(name), int):
            plain[name] = [plain[name]] * 2
    if "alpha" in plain and plain.get("beta") is None:
        plain["beta"] = plain["alpha"]
    return dict(sorted(plain.items()))


def call_from(
    op: str, tensors: Mapping[str, Array], options: Mapping[str, Any], *, seed: int, note: str
) -> GivenCall:
    """Return the call that the tensors of a file and the options of the manifest describe.

    Parameters
    ----------
    op : str
    tensors : mapping
        As `senumpy.crosscheck.exchange` names them.
    options : mapping
        Spelt out; lists stand for tuples.
    seed : int
        Draws the trials of the tolerance; no numbers of the call.
    note : str

    Raises
    ------
    KeyError
        A tensor is missing.
    """
    spec = op_spec(op)
    keywords: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    before = None
    if op == "batchnorm2d":
        mean, var = tensors["running_mean"], tensors["running_var"]
        before = Running(_wide(mean), _wide(var), keywords.pop("momentum"))
    if op == "dropout":
        keywords["rng"] = KeptDraws(tensors["kept"])
    args = tuple(_argument(name, tensors) for name in (*spec.arguments, *spec.others))
    return GivenCall(op, args, keywords, seed, note, dy=_wide(tensors["dy"]), before=before)


def _argument(name: str, tensors: Mapping[str, Array]) -> Any:
    if name in tensors:
        return _wide(tensors[name])
    parts: list[Array] = []
    while f"{name}[{len(parts)}]" in tensors:
        parts.append(_wide(tensors[f"{name}[{len(parts)}]"]))
    return tuple(parts) or None


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
