"""Which mistake gives the candidate's numbers: a layer runs with one after the other, on the same input."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from senumpy.crosscheck.model.recording import borrowed
from senumpy.crosscheck.model.replay import Alone, Results, replay
from senumpy.crosscheck.model.twisted import Step, TwistedEngine
from senumpy.layers import BatchNorm2d, Conv2d, Layer, Residual, SqueezeExcite
from senumpy.layers.basic import Operation
from senumpy.layers.squeeze_excite import PLACEMENTS

SECONDS = 20.0  # for pairs of mistakes

_PLACES = {
    "standard": "at the end of the branch",
    "pre": "on what enters the branch",
    "post": "after the sum and its ReLU",
    "identity": "on the shortcut",
    "3x3": "before the last convolution",
}
_FLAGS = {
    "se after sum": "SE acts on the sum of branch and shortcut instead of on the branch",
    "se after relu": "SE comes after the sum and its ReLU instead of on the branch",
    "se before norm": "SE comes before the last batch norm instead of after it",
    "se before relu": "SE comes before the ReLU instead of after it",
    "relu before se": "There is a ReLU between the last batch norm and SE",
    "relu before sum": "ReLU is applied to the branch, and the shortcut added after it",
    "relu on shortcut": "There is a ReLU on the shortcut",
    "concat reversed": "The branches are joined in reverse order",
    "squeeze max": "SE squeezes by the maximum instead of the average",
    "squeeze avg": "SE squeezes by the average instead of the maximum",
    "gate sigmoid": "SE's gate is a sigmoid",
    "gate tanh": "SE's gate is tanh",
    "gate relu": "SE's gate is a ReLU",
    "gate hard_sigmoid": "SE's gate is a hard sigmoid",
    "hidden gate": "SE's hidden activation is the gate's instead of a ReLU",
    "se without biases": "SE's biases are not added",
    "se plus input": "SE's input is added to its result",
}
_CUTS = {
    "gate path cut": "dropped gate path: no gradient goes back through the squeeze (detached there?)",
    "scale path cut": "dropped scale path: no gradient goes back through the factor that SE scales",
    "gates cut": "SE's gates are detached: their weights get no gradient, nor what lies before",
    "shortcut cut": "No gradient goes back through the shortcut (detached?)",
    "branch cut": "No gradient goes back through the branch (detached?)",
}


@dataclass(frozen=True)
class Twist:
    """A mistake that a layer can be run with.

    Attributes
    ----------
    name, text : str
        For the report.
    flags : frozenset of str
        Of `TwistedEngine`.
    change : callable or None
        ``change(layer)`` -> what undoes it.
    backward : bool
        Whether forward is right with it.
    """

    name: str
    text: str
    flags: frozenset[str] = frozenset()
    change: Callable[[Layer], Callable[[], None]] | None = None
    backward: bool = False


def explain(held: Alone, name: str) -> list[tuple[Twist, ...]]:
    """Return the mistakes, or else pairs, with which a layer gives the candidate's numbers.

    Parameters
    ----------
    held : Alone
        The layer beside the candidate's, of which something is off.
    name : str
        The layer's.
    """
    forward = held.units("y") > 1.0
    twists = [t for t in all_twists(held, name) if forward or t.backward]
    found: list[tuple[Twist, ...]] = [(twist,) for twist in twists if fits(held, (twist,))]
    if found:
        return found
    end = time.monotonic() + SECONDS
    pairs: list[tuple[Twist, ...]] = []
    for pair in itertools.combinations(twists, 2):
        if time.monotonic() > end:
            break
        if fits(held, pair):
            pairs.append(pair)
    return pairs


def fits(held: Alone, twists: tuple[Twist, ...]) -> bool:
    """Return whether the layer with these mistakes gives the candidate's numbers."""
    flags: frozenset[str] = frozenset().union(*(t.flags for t in twists))
    back = held.dy is not None
    try:
        with changed(held.layer, twists):
            if back and any(not t.backward for t in twists):
                y = replay(held.layer, held.x, None, TwistedEngine(flags))
                if held.units("y", y) > 1.0:
                    return False
            found: Results = replay(held.layer, held.x, held.dy, TwistedEngine(flags))
    except (ValueError, TypeError, IndexError, AttributeError):  # this layer can't be run with it
        return False
    return held.fits(found)


@contextmanager
def changed(layer: Layer, twists: tuple[Twist, ...]) -> Iterator[None]:
    """Change a layer's settings meanwhile."""
    with ExitStack() as stack:
        for twist in twists:
            if twist.change is not None:
                stack.callback(twist.change(layer))
        yield


def all_twists(held: Alone, name: str) -> list[Twist]:
    """Return the mistakes that a layer could have, by what it consists of."""
    layer = held.layer
    steps = list_steps(layer, held, name)
    has_se = any(step.op == "squeeze_excite" for step in steps)
    twists = [*_left_out(steps)]
    twists += [
        Twist(flag, text, frozenset([flag])) for flag, text in _FLAGS.items() if has_se or "se" not in flag
    ]
    twists += [Twist(flag, text, frozenset([flag]), backward=True) for flag, text in _CUTS.items()]
    twists += [*_placements(layer), *_strides(layer), *_settings(layer), *_modes(layer)]
    return twists


def list_steps(layer: Layer, held: Alone, name: str) -> list[Step]:
    """Return the operations of a layer in the order in which they run."""
    engine = TwistedEngine()
    for inner_name, inner in layer.named_layers(name):
        if isinstance(inner, (Conv2d, BatchNorm2d)):
            engine.holder_of[id(inner.weight.value)] = inner_name
    with borrowed(layer, engine):
        layer.forward(held.x)
    return engine.steps


def _left_out(steps: list[Step]) -> Iterator[Twist]:
    for index, op, after, inside_se in steps:
        flag = frozenset([f"skip {index}"])
        behind = f" after {after}" if after else ""
        if op == "squeeze_excite":
            yield Twist("se never called", "SE is never called", flag)
        elif inside_se and op in ("relu", "sigmoid", "tanh"):
            last = not any(
                s.inside_se and s.place > index and s.op in ("relu", "sigmoid", "tanh") for s in steps
            )
            which = "gate" if last else "hidden ReLU"
            yield Twist(f"no {which} in SE", f"SE's {which} is missing", flag)
        elif op == "relu":
            yield Twist("missing relu", f"The ReLU{behind} is missing", flag)
            yield Twist(
                "relu without mask", f"The gradient passes the ReLU{behind} where it was off",
                frozenset([f"unmasked {index}"]), backward=True,
            )  # fmt: skip
            if f"{after}":
                yield Twist(
                    "relu before norm",
                    f"ReLU comes before batch norm {after}",
                    frozenset([f"relu before norm {index - 1}"]),
                )
        elif op == "residual_add":
            yield Twist("no shortcut", "The shortcut is never added", flag)
        elif op.startswith("batchnorm2d"):
            yield Twist("no batch norm", f"A batch norm is missing{behind}", flag)
        elif op == "channel_shuffle":
            yield Twist("no shuffle", "The channels are never shuffled", flag)
        elif op == "conv2d":
            yield Twist(
                "uneven padding",
                f"A convolution{behind} pads at the bottom and right alone (SAME padding's uneven side, or "
                "another phase of its stride)",
                frozenset([f"uneven {index}"]),
            )


def _placements(layer: Layer) -> Iterator[Twist]:
    se = getattr(layer, "se", None)
    if not isinstance(se, SqueezeExcite):
        return
    for place in PLACEMENTS:
        if place != se.config.placement:
            yield Twist(
                f"se placement {place}",
                f"SE sits {_PLACES[place]} (placement {place!r}) instead of {_PLACES[se.config.placement]}",
                change=_placing(place),
            )


def _placing(place: str) -> Callable[[Layer], Callable[[], None]]:
    def change(layer: Any) -> Callable[[], None]:
        before = layer.se.config
        layer.se.config = replace(before, placement=place)
        return lambda: setattr(layer.se, "config", before)

    return change


def _strides(layer: Layer) -> Iterator[Twist]:
    """Yield the stride in another convolution of a bottleneck."""
    if not isinstance(layer, Residual) or not hasattr(layer, "conv3"):
        return
    convs: list[Any] = [getattr(layer, f"conv{k}") for k in (1, 2, 3)]
    strides = [conv.settings["stride"] for conv in convs]
    if max(strides) == 1:
        return
    kernels = [conv.weight.value.shape[2] for conv in convs]
    own = strides.index(max(strides))
    for other in range(3):
        if other != own:
            wanted = [1, 1, 1]
            wanted[other] = max(strides)
            k, o = kernels[other], kernels[own]
            yield Twist(
                f"stride in conv{other + 1}",
                f"The stride is in the {k}x{k} convolution (conv{other + 1}) instead of the {o}x{o} "
                f"(conv{own + 1})",
                change=_striding(wanted),
            )


def _striding(wanted: list[int]) -> Callable[[Layer], Callable[[], None]]:
    def change(layer: Any) -> Callable[[], None]:
        convs = [getattr(layer, f"conv{k}") for k in (1, 2, 3)]
        before = [conv.settings["stride"] for conv in convs]
        for conv, stride in zip(convs, wanted, strict=True):
            conv.settings["stride"] = stride

        def undo() -> None:
            for conv, stride in zip(convs, before, strict=True):
                conv.settings["stride"] = stride

        return undo

    return change


def _settings(layer: Layer) -> Iterator[Twist]:
    """Yield other settings of the layer itself, if it is one operation."""
    if isinstance(layer, Conv2d):
        own = layer.settings
        for stride, padding, dilation in itertools.product((1, 2), (0, 1, 2, 3), (1, 2)):
            other = {"stride": stride, "padding": padding, "dilation": dilation}
            differs = {k: v for k, v in other.items() if v != own[k]}
            if differs:
                yield _setting(differs, own)
    elif isinstance(layer, BatchNorm2d):
        for eps in (1e-5, 1e-3, 1e-4, 1e-6, 1e-8, 1e-12, 1e-2, 0.0):
            if eps != layer.eps:
                yield Twist(
                    f"eps {eps:g}", f"eps is {eps:g} instead of {layer.eps:g}", change=_attribute("eps", eps)
                )
    elif isinstance(layer, Operation) and "kernel" in layer.settings:
        own = layer.settings
        kernel = own["kernel"]
        choices = {"padding": (0, 1), "stride": (1, 2), "kernel": (2, 3), "ceil_mode": (False, True)}
        if "count_include_pad" in own:
            choices["count_include_pad"] = (False, True)
        for values in itertools.product(*choices.values()):
            differs = {k: v for k, v in zip(choices, values, strict=True) if v != own.get(k, kernel)}
            if differs:
                yield _setting(differs, own)


def _setting(differs: dict[str, Any], own: dict[str, Any]) -> Twist:
    text = ", ".join(f"{k} is {v} instead of {own[k]}" for k, v in differs.items())
    return Twist(", ".join(f"{k} {v}" for k, v in differs.items()), text, change=_updating(differs))


def _updating(differs: dict[str, Any]) -> Callable[[Layer], Callable[[], None]]:
    def change(layer: Any) -> Callable[[], None]:
        before = dict(layer.settings)
        layer.settings.update(differs)
        return lambda: layer.settings.update(before)

    return change


def _attribute(name: str, value: Any) -> Callable[[Layer], Callable[[], None]]:
    def change(layer: Any) -> Callable[[], None]:
        before = getattr(layer, name)
        setattr(layer, name, value)
        return lambda: setattr(layer, name, before)

    return change


def _modes(layer: Layer) -> Iterator[Twist]:
    """Yield batch norm in the other mode."""
    norms: list[tuple[str, Any]] = [(n, x) for n, x in layer.named_layers() if isinstance(x, BatchNorm2d)]
    for name, norm in norms:
        which = f"Batch norm {name}" if name else "It"
        took, instead = ("running", "the batch's") if norm.training else ("the batch's", "running")
        yield Twist(
            f"{'running' if norm.training else 'batch'} statistics",
            f"{which} takes {took} statistics instead of {instead}",
            change=_other_mode(name),
        )


def _other_mode(name: str) -> Callable[[Layer], Callable[[], None]]:
    def change(layer: Any) -> Callable[[], None]:
        norm: Any = dict(layer.named_layers())[name]
        norm.training = not norm.training
        return lambda: setattr(norm, "training", not norm.training)

    return change
