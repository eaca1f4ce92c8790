"""Before two networks are compared: the reference is made like the candidate, and nothing trivial is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.names import BY_ORDER, COUNTER, Match, match
from senumpy.crosscheck.model.recording import record
from senumpy.crosscheck.model.replay import error
from senumpy.crosscheck.model.torch_side import TorchTrace, library, probe
from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.layers import BatchNorm2d, Dropout, Layer
from senumpy.models import Network, ResNetConfig, create_model, model_config, settings_for

Array = NDArray[Any]
ROUNDS = 4


class Pair(NamedTuple):
    """Both sides, ready to be compared: with equal weights, none of which says nothing.

    Attributes
    ----------
    net : torch.nn.Module
        A copy of the candidate.
    model : Network
    found : Match
    notes : list of str
        What was done.
    """

    net: Any
    model: Network
    found: Match
    notes: list[str]


def pair_up(
    net: Any, like: str, x: Array, settings: Mapping[str, Any] | None, *, seed: int, training: bool
) -> Pair:
    """Make the reference like a candidate (a copy of it, which is changed), for images `x`.

    Raises
    ------
    InputError
        The candidate can't run, its parameters don't fit, or the reference takes no such images.
    """
    net.train(training)
    trace = probe(net, x)
    found = find_match(net, like, settings or {}, trace, x.shape[2])
    if found.how == BY_ORDER:
        found = _by_run(net, like, settings or {}, trace, x, found, training=training)
    listed = ", ".join(f"{name}={value!r}" for name, value in found.settings.items()) or "its own settings"
    notes = [f"Weights by {found.how}; {like} with {listed}.", *stir(net, found.spare, seed)]
    model = make_reference(like, found, arrays_of(net), training=training)
    wide = x.astype(np.float64)
    try:
        notes += settle(net, model, found, wide, str(x.dtype), seed)
        notes += revive(net, model, found, wide)
    except ValueError as problem:
        size = f"{x.shape[2]}x{x.shape[3]}"
        raise InputError(f"{like} can't run on {size} images, {len(x)} at once: {problem}") from problem
    return Pair(net, model, found, notes)


def images(net: Any, count: int, batch: int, size: int, dtype: str, seed: int) -> Array:
    """Return `count` batches of random images for a network, whose first convolution says their channels."""
    first = (int(m.in_channels) for m in net.modules() if isinstance(m, library().nn.Conv2d))
    channels = next(first, next((int(p.shape[1]) for p in net.parameters() if p.ndim == 4), 3))
    draws = np.random.default_rng([seed, 1])
    return draws.standard_normal((count, batch, channels, size, size), np.float32).astype(dtype)


def arrays_of(net: Any) -> dict[str, Array]:
    """Return parameters and buffers of a module as NumPy arrays, parameters first."""
    named = [*net.named_parameters(), *net.named_buffers()]
    return {n: np.array(t.detach().numpy()) for n, t in named if not n.endswith(COUNTER)}


def _by_run(
    net: Any,
    like: str,
    settings: Mapping[str, Any],
    trace: TorchTrace,
    x: Array,
    found: Match,
    *,
    training: bool,
) -> Match:
    """Return the match by the order in which modules run, where that gives the logits and `found` doesn't.

    Modules may be registered in another order than they run; those of one shape are then exchanged.
    """
    try:
        other = find_match(net, like, settings, trace, x.shape[2], by_run=True)
    except InputError:
        return found
    if other.sources == found.sources:
        return found

    def off(match: Match) -> float:
        model = make_reference(like, match, arrays_of(net), training=training)
        return float(np.abs(model.forward(x.astype(np.float64)) - trace.logits).max())

    scale = 1e-4 * float(np.abs(trace.logits).max())
    return other if off(other) < scale < off(found) else found


def find_match(
    net: Any,
    like: str,
    settings: Mapping[str, Any],
    trace: TorchTrace,
    size: int,
    *,
    by_run: bool = False,
) -> Match:
    """Return whose names the candidate has, and the settings that its weights and its run show.

    Parameters
    ----------
    net : torch.nn.Module
    like : str
    settings : dict
        Given by the user: they stay.
    trace : TorchTrace
        A run of it, which shows where strides are and which max pool it has.
    size : int
        Height and width of images.
    by_run : bool
        Whether the order of parameters is that in which their modules run.

    Raises
    ------
    InputError
        Parameters don't fit the network.
    """
    model_config(like)  # an unknown name is an error of its own
    fixed = {**settings_for(like, size), **settings}
    shapes = {n: a.shape for n, a in arrays_of(net).items()}
    if by_run:
        place = {name: k for k, name in enumerate(trace.order)}
        shapes = dict(
            sorted(shapes.items(), key=lambda item: place.get(item[0].rpartition(".")[0], len(place)))
        )
    found = match(like, shapes, fixed)
    classes = found.settings.get("num_classes")
    if trace.logits.shape[1] != classes:
        raise InputError(f"model: its result has shape {trace.logits.shape}, wanted (N, {classes})")
    return Match(found.settings | _seen_settings(net, like, settings, found, trace), *_rest(found))


def _rest(found: Match) -> tuple[Any, ...]:
    return found.sources, found.how, found.spare


def _seen_settings(
    net: Any, like: str, given: Mapping[str, Any], found: Match, trace: TorchTrace
) -> dict[str, Any]:
    """Return what weights don't show, but a run does."""
    config, seen = model_config(like), {}
    if like.removeprefix("se_") == "mobilenet" and "activation" not in given:
        six = any(type(m).__name__ == "ReLU6" or getattr(m, "max_val", 0) == 6 for m in net.modules())
        seen["activation"] = "relu6" if six else "relu"
    if not isinstance(config, ResNetConfig):
        return seen
    if "stride_in" not in given and config.unit == "bottleneck":
        votes = _stride_votes(found.sources, trace)
        if votes:
            seen["stride_in"] = max(("1x1", "3x3"), key=votes.count)
    if "pool" not in given and config.stem != "cifar":
        pool = _pool(net, found.sources, trace)
        if pool:
            seen["pool"] = pool
    return seen


def _call(sources: Mapping[str, str], trace: TorchTrace, layer: str) -> Any:
    source = sources.get(f"{layer}.weight")
    calls = trace.calls.get(source.rpartition(".")[0]) if source else None
    return calls[0] if calls else None


def _stride_votes(sources: Mapping[str, str], trace: TorchTrace) -> list[str]:
    votes = []
    for stage in (2, 3, 4):
        for conv, kernel in ((1, "1x1"), (2, "3x3")):
            call = _call(sources, trace, f"layer{stage}.0.conv{conv}")
            halves = call is not None and call.x is not None and call.y is not None
            if halves and call.x.shape[2] > call.y.shape[2]:
                votes.append(kernel)
    return votes


def _pool(net: Any, sources: Mapping[str, str], trace: TorchTrace) -> str:
    """Return which max pool gives what the first block takes, or else what a module of it says."""
    bn, conv = _call(sources, trace, "bn1"), _call(sources, trace, "layer1.0.conv1")
    if bn is not None and conv is not None and bn.y is not None and conv.x is not None:
        engine = Engine()
        active = engine.relu_forward(bn.y)[0]
        for name, settings in (("padded", {"padding": 1}), ("ceil", {"ceil_mode": True})):
            if error(conv.x, engine.max_pool2d_forward(active, kernel=3, stride=2, **settings)[0]) == 0.0:
                return name
    for module in net.modules():
        if type(module).__name__ == "MaxPool2d":
            return "ceil" if module.ceil_mode and module.padding in (0, (0, 0)) else "padded"
    return ""


def stir(net: Any, spare: tuple[str, ...], seed: int) -> list[str]:
    """Give numbers to parameters that say nothing as they are, in place; return notes.

    New networks have batch norms that scale by one or zero, and biases of zero: half of the mistakes do
    nothing to them. Constant vectors become random, biases that batch norm subtracts become zeros.
    """
    torch, rng = library(), np.random.default_rng([seed, 11])
    stirred = 0
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name in spare:
                parameter.zero_()
            elif parameter.ndim == 1 and bool((parameter == parameter[0]).all()):
                ones = float(parameter[0]) == 1.0 or name.endswith(("weight", "gamma", "scale"))
                draws = (
                    rng.uniform(0.5, 1.5, parameter.shape)
                    if ones
                    else 0.2 * rng.standard_normal(parameter.shape)
                )
                parameter.copy_(torch.tensor(draws))
                stirred += 1
    notes = []
    if stirred:
        notes.append(f"{stirred} constant vectors (fresh batch norms, biases) were made random in a copy.")
    if spare:
        notes.append(f"{len(spare)} biases before batch norm were set to zero: it subtracts them.")
    return notes


def make_reference(like: str, found: Match, arrays: Mapping[str, Array], *, training: bool) -> Network:
    """Return the network in float64 with the candidate's weights.

    Raises
    ------
    InputError
        In training it draws random numbers that the candidate doesn't draw.
    """
    model = create_model(like, dtype="float64", blank=True, **found.settings)
    load(model, found.sources, arrays)
    for _, layer in model.named_layers():
        if isinstance(layer, Dropout):
            layer.p = 0.0
        elif layer.draws and training:
            raise InputError(f"{like}: draws random numbers in training; compare it in evaluation")
    model.train(training)
    return model


def load(model: Layer, sources: Mapping[str, str], arrays: Mapping[str, Array]) -> None:
    """Copy a candidate's arrays into ours."""
    for name, holder in [*model.named_parameters(), *model.named_buffers()]:
        holder.value[...] = np.reshape(arrays[sources[name]], holder.value.shape)


def settle(net: Any, model: Network, found: Match, x: Array, dtype: str, seed: int) -> list[str]:
    """Give both sides running statistics near those of some images, if they have none yet; return notes."""
    norms = [layer for _, layer in model.named_layers() if isinstance(layer, BatchNorm2d)]
    fresh = all(not n.running_mean.value.any() and bool((n.running_var.value == 1).all()) for n in norms)
    if not norms or not fresh:
        return []
    torch, rng = library(), np.random.default_rng([seed, 12])
    training, momenta = model.training, [norm.momentum for norm in norms]
    model.train()
    for norm in norms:
        norm.momentum = 1.0
    _without_draws(model, x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.running_mean.value += 0.1 * rng.standard_normal(norm.running_mean.value.shape)
        norm.running_var.value *= rng.uniform(0.8, 1.25, norm.running_var.value.shape)
    model.train(training)
    theirs = dict(net.named_buffers())
    for name, buffer in model.named_buffers():
        with torch.no_grad():
            target = theirs[found.sources[name]]
            target.copy_(torch.tensor(buffer.value).reshape(target.shape).to(getattr(torch, dtype)))
        buffer.value[...] = target.numpy().reshape(buffer.value.shape)  # as the candidate's dtype holds them
    return ["Running statistics, fresh there, were set near those of the images in both."]


def revive(net: Any, model: Network, found: Match, x: Array) -> list[str]:
    """Turn SE blocks around whose hidden units are all off for all images, on both sides; return notes.

    Such a block has constant gates: nothing that goes wrong before them would show. With the signs of its
    first layer turned, all units are on.
    """
    torch, theirs, turned = library(), dict(net.named_parameters()), set()
    layers = dict(model.named_layers())
    for _ in range(ROUNDS):  # a block that is turned changes what those behind it take
        dead = [
            r.layer
            for r in record(model, x, None).records
            if r.op in ("linear", "conv2d") and r.layer.endswith(".fc1") and (r.y <= 0).all()
        ]
        for name in dead:
            turned.add(name)
            for part, parameter in layers[name].named_parameters():
                np.negative(parameter.value, out=parameter.value)
                with torch.no_grad():
                    theirs[found.sources[f"{name}.{part}"]].neg_()
        if not dead:
            break
    if not turned:
        return []
    return [f"{len(turned)} SE blocks whose hidden units were all off had their first layer's signs turned."]


def _without_draws(model: Network, x: Array) -> None:
    model.forward(x)
    model.forget()
