"""Which parameter of somebody's module is which argument: by name, owner, order and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from senumpy.errors import InputError
from senumpy.verify.cases import op_spec

_WEIGHTS = {"w": "b", "w1": "b1", "w2": "b2"}  # and the bias that belongs to each
_NORM = ("gamma", "beta")
_STATISTICS = ("mean", "var")
_FIRST = ("weight", "gamma", "scale", "g")
_SECOND = ("bias", "beta", "shift", "offset", "b")


class Parameter(NamedTuple):
    """A parameter of a module: its path, such as ``fc1.weight``, and its shape."""

    path: str
    shape: tuple[int, ...]

    @property
    def owner(self) -> str:
        """Path of the module that it belongs to."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.rpartition(".")[2]


def inputs_of(op: str) -> tuple[str, ...]:
    """Return the arguments that a module is called with; the others are parameters or statistics."""
    spec = op_spec(op)
    return tuple(name for name in (*spec.arguments, *spec.others) if name not in parameters_of(op))


def parameters_of(op: str) -> tuple[str, ...]:
    """Return the arguments that are parameters of a module, and ``mean`` and ``var``."""
    if op == "shake":  # its a and b are images
        return ()
    known = (*_WEIGHTS, *_WEIGHTS.values(), *_NORM, *_STATISTICS)
    return tuple(name for name in op_spec(op).arguments if name in known)


def match(
    op: str,
    found: Sequence[Parameter],
    absent: Sequence[str] = (),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, str]:
    """Return the path of the parameter for each argument that has one.

    Parameters
    ----------
    op : str
    found : sequence of Parameter
        In the order in which the module declares them.
    absent : sequence of str
        Weights that are None in the call: a tail without a gate.
    shapes : dict, optional
        Of the call's weights, by argument: they tell which is which where they differ.

    Raises
    ------
    InputError
        There are more or fewer weights than arguments, or it can't be told which is which.
    """
    known = parameters_of(op)
    weights = [name for name in _WEIGHTS if name in known and name not in absent]
    matrices = [p for p in found if len(p.shape) > 1] if weights else []
    vectors = [p for p in found if p not in matrices]
    if len(matrices) != len(weights):
        names = ", ".join(p.path for p in matrices) or "none"
        wanted = ", ".join(weights) or "none"
        raise InputError(f"its weights are {names}; wanted one each for {wanted}: give a factory make(call)")
    matrices = _ordered(matrices, shapes or {})
    placed = dict(zip(weights, (p.path for p in matrices), strict=True))
    if "gamma" in known:
        norm = _norm(vectors, matrices)
        placed |= norm
        vectors = [p for p in vectors if p.path not in norm.values()]
    placed |= _biases(vectors, dict(zip(weights, matrices, strict=True)))
    left = [p.path for p in found if p.path not in placed.values()]
    if left:
        raise InputError(
            f"its parameters {', '.join(left)} belong to no argument of {op}: give a factory make(call)"
        )
    return placed


def _ordered(matrices: list[Parameter], shapes: Mapping[str, tuple[int, ...]]) -> list[Parameter]:
    """Return the weights in the order of the computation: as the module declares them, or as shapes tell."""
    if len(matrices) != 2:
        return matrices
    first, second = matrices
    if "w1" in shapes:
        return [second, first] if _fits(second, shapes["w1"]) and not _fits(first, shapes["w1"]) else matrices
    # Without a call: first the one that reduces.
    widens, reduces = first.shape[0] > first.shape[1], second.shape[0] < second.shape[1]
    return [second, first] if widens and reduces and _outputs_first(first) else matrices


def _fits(p: Parameter, shape: tuple[int, ...]) -> bool:
    """Whether a weight has the shape wanted; that of a 1x1 convolution counts as a matrix's."""
    if not _outputs_first(p):
        return tuple(sorted(p.shape)) == tuple(sorted(shape))
    return p.shape[: len(shape)] == shape


def _outputs_first(p: Parameter) -> bool:
    """Whether axis 0 counts outputs; in a kernel of Keras it is the last."""
    return p.name != "kernel" and len(p.shape) in (2, 4)


def _norm(vectors: list[Parameter], matrices: list[Parameter]) -> dict[str, str]:
    """Return gamma and beta: two vectors of an owner without a weight, or named so."""
    owners = {p.owner for p in matrices}
    group = [p for p in vectors if p.owner not in owners] or [p for p in vectors if p.name in _NORM]
    if len(group) > 2:
        group = [p for p in group if p.name in _NORM] or group
    if len(group) != 2:
        names = ", ".join(p.path for p in group) or "none"
        raise InputError(
            f"its norm's parameters are {names}; wanted two, gamma and beta: give a factory make(call)"
        )
    a, b = group
    if a.name in _SECOND or b.name in _FIRST:
        a, b = b, a
    return {"gamma": a.path, "beta": b.path}


def _biases(vectors: list[Parameter], weights: Mapping[str, Parameter]) -> dict[str, str]:
    """Return the biases of weights: of the same owner, else in order."""
    placed: dict[str, str] = {}
    for name, weight in weights.items():
        alone = sum(other.owner == weight.owner for other in weights.values()) == 1
        mine = [p for p in vectors if p.owner == weight.owner] if alone else []
        if len(mine) == 1:
            placed[_WEIGHTS[name]] = mine[0].path
    left = [p for p in vectors if p.path not in placed.values()]
    open_ = [name for name in weights if _WEIGHTS[name] not in placed]
    if len(left) == len(open_):
        placed |= {_WEIGHTS[name]: p.path for name, p in zip(open_, left, strict=True)}
    return placed
