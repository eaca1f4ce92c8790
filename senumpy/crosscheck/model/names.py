"""Whose parameter is whose: a candidate's names and shapes beside those of a network here."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from senumpy.engines.shapes import ShapeEngine
from senumpy.errors import InputError
from senumpy.interop.layouts import recognise
from senumpy.layers import SEConfig
from senumpy.models import ResNetConfig, create_model, model_config

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
COUNTER = "num_batches_tracked"

BY_ORDER = "order and shape"


@dataclass(frozen=True)
class Match:
    """How a candidate's arrays belong to a network here.

    Attributes
    ----------
    settings : dict
        Arguments of `create_model` besides the name.
    sources : dict
        For each of our names, the candidate's.
    how : str
        Whose names they are, or that order and shape decided.
    spare : tuple of str
        Biases of convolutions before batch norm, which have no counterpart: batch norm subtracts them.
    """

    settings: dict[str, Any]
    sources: dict[str, str]
    how: str
    spare: tuple[str, ...] = ()


def match(like: str, shapes: Shapes, given: Mapping[str, Any]) -> Match:
    """Find settings of the network `like`, and for each of its arrays the candidate's.

    Names are tried first (ours, then those of known projects), then order and shape.

    Parameters
    ----------
    like : str
        A name of the registry.
    shapes : dict
        Of the candidate's parameters and buffers, by name, in order.
    given : dict
        Settings that are not to be changed.

    Raises
    ------
    InputError
        Nothing fits; says what doesn't: hidden widths of SE, its biases, the classes, ...
    """
    shapes = {n: s for n, s in shapes.items() if not n.endswith(COUNTER)}
    unknown = [field for field in given if field not in _known(like)]
    if unknown:
        raise InputError(f"settings: {like} has no {unknown[0]}; it has {', '.join(sorted(_known(like)))}")
    tried: list[tuple[int, str]] = []
    for how, named, adopted in _namings(like, shapes):
        for settings in _settings(like, {**adopted, **given}, given):
            ours = network_shapes(like, settings)
            found = named(ours)
            problems = _problems(ours, shapes, found)
            if not problems:
                return Match(settings, found, how, _spare(shapes, found))
            tried.append(
                (
                    len(problems),
                    f"{'; '.join(problems[:3])}"
                    + (f"; and {len(problems) - 3} more" if len(problems) > 3 else ""),
                )
            )
    raise InputError(f"{like}: the model's parameters don't fit: {min(tried)[1]}{_hint(like, shapes)}")


def network_shapes(like: str, settings: Mapping[str, Any]) -> dict[str, Shape]:
    """Return names and shapes of all parameters and buffers of a network, without making it."""
    skeleton = create_model(like, engine=ShapeEngine(), blank=True, **settings)
    arrays = [*skeleton.named_parameters(), *skeleton.named_buffers()]
    return {name: tuple(holder.value.shape) for name, holder in arrays}


def _known(like: str) -> set[str]:
    return {field.name for field in fields(model_config(like))} | {"num_classes", "in_channels"}


def _namings(like: str, shapes: Shapes) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield ways to name: a word for it, a function from our shapes to sources, and settings it implies."""
    sizes = _sizes(shapes)
    yield "the same names", lambda ours: {n: n for n in ours if n in shapes}, sizes
    try:
        layout = recognise(shapes, "the model")
    except (InputError, ArithmeticError, LookupError, TypeError, ValueError):
        layout = None
    if layout is not None:
        settings = {n: v for n, v in layout.settings.items() if n in _known(like)}
        if not model_config(like).se:
            settings.pop("se", None)
        yield (
            f"names of {layout.name}",
            lambda ours: {n: s for n, s in layout.sources.items() if n in ours},
            settings,
        )
    yield BY_ORDER, lambda ours: by_order(ours, shapes), sizes


def _sizes(shapes: Shapes) -> dict[str, Any]:
    """Return how many classes (by the last matrix) and channels of images (by the first kernels)."""
    settings = {}
    matrices = [s for s in shapes.values() if len(s) == 2]
    kernels = [s for s in shapes.values() if len(s) == 4]
    if matrices:
        settings["num_classes"] = matrices[-1][0]
    if kernels:
        settings["in_channels"] = kernels[0][1]
    return settings


def _settings(like: str, settings: dict[str, Any], given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield settings to try: as they are, then with SE and shortcuts of other kinds."""
    config = model_config(like)
    yield settings
    if isinstance(config, ResNetConfig) and "shortcut" not in given and config.shortcut == "projection":
        yield {**settings, "shortcut": "pad"}
    if config.se and "se" not in given:
        base = settings.get("se") or config.se
        for bias in (True, False):
            for rounding in ("floor", "timm"):
                for reduction in (16, 8, 4, 2, 32):
                    yield {**settings, "se": replace(base, bias=bias, rounding=rounding, reduction=reduction)}


def by_order(ours: Shapes, theirs: Shapes) -> dict[str, str]:
    """Return sources by order: the k-th layer of a kind and shape is the k-th of the candidate's."""
    waiting: dict[Any, list[dict[str, str]]] = defaultdict(list)
    for signature, layer in _layers(theirs):
        waiting[signature].append(layer)
    found: dict[str, str] = {}
    for signature, layer in _layers(ours):
        if waiting[signature]:
            other = waiting[signature].pop(0)
            found |= {name: other[role] for role, name in layer.items()}
    return found


def _layers(shapes: Shapes) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yield layers as (signature, names by role), from arrays that stand side by side."""
    groups: dict[str, list[str]] = {}
    for name in shapes:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    for names in groups.values():
        roles: dict[str, str] = {}
        vectors = ["gamma", "beta", "running_mean", "running_var"]
        if any(len(shapes[n]) > 1 for n in names):
            vectors = ["bias"]
        for name in names:
            # By their own names where those say it, else by their order.
            word = name.rpartition(".")[2]
            shape = shapes[name]
            if len(shape) > 1:
                roles["weight"] = name
            elif word in vectors:
                vectors.remove(word)
                roles[word] = name
            elif len(shape) == 1 and vectors:
                roles[vectors.pop(0)] = name
        main = shapes[roles.get("weight", names[0])]
        if len(main) == 4 and main[2:] == (1, 1):
            main = main[:2]  # a linear layer, or a 1x1 convolution on a 1x1 map
        yield (main, frozenset(roles)), roles


def _problems(ours: Shapes, theirs: Shapes, sources: Mapping[str, str]) -> list[str]:
    """Return what doesn't fit, in words."""
    problems = []
    for name, shape in ours.items():
        source = sources.get(name)
        if source is None or source not in theirs:
            problems.append(f"{name} {shape} is missing")
        elif math.prod(theirs[source]) != math.prod(shape) or theirs[source][: len(shape)][:1] != shape[:1]:
            problems.append(f"{source} has shape {theirs[source]}, wanted {shape}")
    used = {*sources.values(), *_spare(theirs, sources)}
    problems += [f"{name} {theirs[name]} is left over" for name in theirs if name not in used]
    return problems


def _spare(theirs: Shapes, sources: Mapping[str, str]) -> tuple[str, ...]:
    """Return biases beside kernels that belong to us while they themselves don't."""
    used = set(sources.values())
    return tuple(
        n
        for n, s in theirs.items()
        if n not in used
        and n.endswith(".bias")
        and f"{n.removesuffix('bias')}weight" in used
        and len(theirs[f"{n.removesuffix('bias')}weight"]) == 4
        and len(s) == 1
    )


def _hint(like: str, shapes: Shapes) -> str:
    """Return what usually is the matter, where it can be seen."""
    has_se = bool(model_config(like).se)
    narrow = {
        (s[1], s[0]) for n, s in shapes.items()
        if n.endswith("weight") and len(s) in (2, 4) and s[2:] in ((), (1, 1)) and s[0] * 2 <= s[1]
        and any(word in n for word in ("se.", "se_", "fc1", "fc.0", "excit", "squeeze"))
    }  # fmt: skip
    if has_se and narrow:
        config: SEConfig = model_config(like).se
        here = ", ".join(f"{c}: {config.hidden(c)}" for c, _ in sorted(narrow))
        timm = ", ".join(f"{c}: {replace(config, rounding='timm').hidden(c)}" for c, _ in sorted(narrow))
        found = ", ".join(f"{c}: {h}" for c, h in sorted(narrow))
        return (
            f". SE's hidden widths there are {found} (channels: width); C // 16 gives {here}, timm's "
            f"rounding {timm}. Say which by settings: se=SEConfig(reduction=..., rounding=..., bias=...)"
        )
    if has_se:
        return f". No SE layers were recognised there: is {like.removeprefix('se_')} meant?"
    if narrow:
        return f". It seems to have SE layers: is se_{like} meant?"
    return ""
