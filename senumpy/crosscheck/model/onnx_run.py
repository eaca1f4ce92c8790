"""An ONNX file held beside one of our networks, tensor by tensor: `check_onnx`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.align import spread
from senumpy.crosscheck.model.beside import Beside, Ours, Theirs
from senumpy.crosscheck.model.blame import Blame
from senumpy.crosscheck.model.names import Match, match, network_shapes
from senumpy.crosscheck.model.onnx_order import in_order
from senumpy.crosscheck.model.onnx_side import OnnxFile, OnnxTrace, WeightNode
from senumpy.crosscheck.model.prepare import make_reference
from senumpy.crosscheck.model.recording import record
from senumpy.crosscheck.model.replay import Seen, error, explained
from senumpy.crosscheck.model.report import ModelReport
from senumpy.errors import InputError
from senumpy.interop import load_model
from senumpy.layers import BatchNorm2d, GlobalAvgPool, MaxPool2d
from senumpy.models import Network, ResNetConfig, model_config, settings_for
from senumpy.models.inception_resnet import EPS
from senumpy.verify.rounding import roundoff

Array = NDArray[Any]
_NORM = ("weight", "bias", "running_mean", "running_var")


def check_onnx(
    path: str | Path,
    like: str,
    *,
    input_size: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    weights: Mapping[str, Array] | str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> ModelReport:
    """Hold every tensor inside an ONNX file beside the reference in evaluation.

    The reference has the file's own weights, in float64, unless others are given. Batch norms that were
    folded into convolutions are compared after folding.

    Parameters
    ----------
    path : path
        Runs in ONNX Runtime, without its optimisations.
    like : str
        The reference.
    input_size, batch_size : int, optional
        Of the images, where the file doesn't fix them: 64 and 2 by default.
    seed : int
        Of the images.
    settings : dict, optional
        Of `create_model`.
    weights : dict or path, optional
        The reference's own: a state under our names, or a file of weights. Then nodes whose weights differ
        are found, too.
    progress : callable, optional
        Told in a few words what is done.

    Raises
    ------
    InputError
        The file can't be read or run, or its weights don't fit the network.
    """
    start = time.perf_counter()
    tell = progress or (lambda words: None)
    tell("running the file")
    file = OnnxFile(path)
    shape = file.image_shape(batch_size or 2, input_size or 64)
    x = np.random.default_rng([seed, 1]).standard_normal(shape, np.float32).astype(file.dtype)
    trace = file.run(x)
    tell(f"matching its weights with {like}")
    given = {**settings_for(like, shape[2]), **(settings or {})}
    layers, arrays, found, folded = _matched(like, trace, given)
    found = Match({**found.settings, **_seen_settings(like, given, trace)}, found.sources, found.how)
    model = make_reference(like, found, arrays, training=False)
    own = {n: h.value.copy() for n, h in [*model.named_parameters(), *model.named_buffers()]}
    notes = [f"Weights by {found.how}; {len(trace.nodes)} nodes in {trace.dtype}."]
    if folded:
        notes.append(f"{len(folded)} batch norms are folded into convolutions.")
    if weights is not None:
        _load_given(model, weights, folded)
        notes.append("The reference has the weights given, not the file's.")
    tell("running the reference")
    wide, u = x.astype(np.float64), roundoff(trace.dtype)
    try:
        ours = Ours(
            model, record(model, wide, None), [record(model, wide, None, u=u, seed=k) for k in (1, 2)]
        )
    except ValueError as problem:
        raise InputError(f"{like} can't run on images {shape}: {problem}") from problem
    theirs = _seen(ours, trace, layers, u)
    theirs.parameters = own if weights is not None else {}
    spread(theirs, ours.trace)
    beside = Beside(ours, theirs)
    report = ModelReport(like, dict(found.settings), notes, beside.rows)
    blame = Blame(ours, theirs, {})
    for parting in beside.partings:
        tell(f"judging {parting.name or 'the logits'} alone")
        finding = blame.finding(parting)
        node = first_node(ours, trace, u)
        report.findings.append(
            finding if not node else type(finding)(**{**vars(finding), "text": f"{finding.text} {node}"})
        )
    report.seconds = time.perf_counter() - start
    return report


def _matched(
    like: str, trace: OnnxTrace, given: Mapping[str, Any]
) -> tuple[dict[str, WeightNode], dict[str, Array], Match, set[str]]:
    """Return nodes by our layers, arrays by names of the file, the match, and our layers that are folded."""
    own_names = {name for node in trace.weights for name in node.names.values()}
    shapes: dict[str, tuple[int, ...]] = {}
    arrays: dict[str, Array] = {}
    nodes: dict[str, WeightNode] = {}

    def put(prefix: str, node: WeightNode, parts: Mapping[str, Array]) -> None:
        nodes[prefix] = node
        for role, array in parts.items():
            arrays[f"{prefix}.{role}"] = array
            shapes[f"{prefix}.{role}"] = array.shape

    by_name = any(name in own_names for name in network_shapes(like, _basic(like, trace, given)))
    has_norms = any(node.kind == "norm" for node in trace.weights)
    folding: set[str] = set()
    eps = EPS if "inception_resnet" in like else 1e-5  # folded ones are given a variance of 1 - eps
    for k, node in enumerate(trace.weights):
        stem = next(iter(node.names.values())).rpartition(".")[0] if by_name and has_norms else ""
        prefix = stem or f"node{k}"
        if node.kind == "conv" and not has_norms and "bias" in node.arrays and _is_map(trace, node):
            bias = node.arrays["bias"]
            put(prefix, node, {"weight": node.arrays["weight"]})
            ones = np.ones_like(bias, np.float64)
            put(f"{prefix}+", node, dict(zip(_NORM, (ones, bias, 0 * ones, (1 - eps) * ones), strict=True)))
            folding.add(f"{prefix}+")
        else:
            put(prefix, node, node.arrays)
    found = match(like, shapes, given)
    sources = dict(found.sources)
    if found.how == "order and shape":
        sources = in_order(like, found, trace, nodes, shapes)
    layers, folded = {}, set()
    for name, source in sources.items():
        layer, prefix = name.rpartition(".")[0], source.rpartition(".")[0]
        layers[layer] = nodes[prefix]
        if prefix in folding:
            folded.add(layer)
    return layers, arrays, Match(found.settings, sources, found.how), folded


def _basic(like: str, trace: OnnxTrace, given: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, "num_classes": trace.logits.shape[1]}


def _is_map(trace: OnnxTrace, node: WeightNode) -> bool:
    """Return whether a convolution sees images, rather than SE's 1x1 descriptors."""
    return bool(np.prod(trace.tensors[node.source].shape[2:]) > 1) or node.arrays["weight"].shape[2:] != (
        1,
        1,
    )


def _seen_settings(like: str, given: Mapping[str, Any], trace: OnnxTrace) -> dict[str, Any]:
    """Return what the graph says, but weights don't: max pool, place of strides, activation."""
    config, seen = model_config(like), {}
    kinds = [node.op_type for node in trace.nodes]
    if like.removeprefix("se_") == "mobilenet" and "activation" not in given:
        seen["activation"] = "relu6" if "Clip" in kinds or "Sub" in kinds else "relu"
    if not isinstance(config, ResNetConfig):
        return seen
    for node in trace.nodes:
        attributes = {a.name: (list(a.ints) if a.ints else a.i) for a in node.attribute}
        if node.op_type == "MaxPool" and "pool" not in given and config.stem != "cifar":
            seen.setdefault("pool", "ceil" if attributes.get("ceil_mode") else "padded")
    votes = []
    strided = [
        n for n in trace.nodes
        if n.op_type == "Conv" and any(a.name == "strides" and max(a.ints) > 1 for a in n.attribute)
    ]  # fmt: skip
    inputs = [n.input[0] for n in strided]
    kernels = {w.result: w.arrays["weight"].shape[2] for w in trace.weights if w.kind == "conv"}
    for node in strided:
        kernel = kernels.get(node.output[0])
        # The shortcut's convolution is strided, too: it shares its input only with a strided 1x1.
        if kernel == 3 or (kernel == 1 and inputs.count(node.input[0]) > 1):
            votes.append(f"{kernel}x{kernel}")
    if votes and "stride_in" not in given and config.unit == "bottleneck":
        seen["stride_in"] = max(("1x1", "3x3"), key=votes.count)
    return seen


def _load_given(model: Network, weights: Any, folded: set[str]) -> None:
    if isinstance(weights, (str, Path)):
        state: Mapping[str, Any] = load_model(weights, dtype="float64").state_dict()
    else:
        state = weights
    if folded:
        raise InputError(
            "weights: the file's batch norms are folded into its convolutions: export it without"
        )
    model.load_state_dict(state)


def _seen(ours: Ours, trace: OnnxTrace, layers: dict[str, WeightNode], u: float) -> Theirs:
    """Return the file's tensors in terms of our layers."""
    theirs = Theirs({}, trace.logits, u)
    own = ours.layers()
    folded = {
        id(node): name
        for name, node in layers.items()
        if isinstance(own[name], BatchNorm2d) and node.kind == "conv"
    }
    pools = {kind: [n for n in trace.nodes if n.op_type in names] for kind, names in (
        (MaxPool2d, ("MaxPool",)), (GlobalAvgPool, ("GlobalAveragePool", "ReduceMean")))}  # fmt: skip
    counts = {
        kind: len({p.name for p in ours.trace.forward if isinstance(own[p.name], kind)}) for kind in pools
    }
    for passage in ours.trace.forward:
        name = passage.name
        node = layers.get(name)
        if node is not None and passage.leaf:
            first = folded.get(id(node)) == name  # batch norm of a folded convolution has its result alone
            alone = id(node) in folded and not first
            x = None if first else trace.tensors[node.source]
            y = None if alone else trace.tensors[node.result]
            theirs.seen[name] = Seen(node.name, x, y)
        for kind, found in pools.items():
            if isinstance(own[name], kind) and found and name not in theirs.seen:
                if kind is MaxPool2d and len(found) != counts[kind]:
                    continue
                chosen = found.pop(0) if kind is MaxPool2d else found[-1]
                theirs.seen[name] = Seen(
                    chosen.name or chosen.op_type,
                    trace.tensors.get(chosen.input[0]),
                    trace.tensors.get(chosen.output[0]),
                )
    return theirs


def first_node(ours: Ours, trace: OnnxTrace, u: float) -> str:
    """Return a sentence on the first operation of ours whose result no node has."""
    by_size: dict[int, list[str]] = {}
    for name, value in trace.tensors.items():
        by_size.setdefault(value.size, []).append(name)
    where: dict[int, str] = {}
    records, noisy = ours.trace.records, [t.records for t in ours.noisy]
    for k, entry in enumerate(records):
        bound = explained(entry.y, [n[k].y for n in noisy], u)
        match_ = next(
            (n for n in by_size.get(entry.y.size, []) if error(trace.tensors[n], entry.y) <= bound), None
        )
        if match_ is not None:
            where[id(entry.y)] = match_
            continue
        if entry.op == "squeeze_excite" or _fused(entry, records[k + 1 :], trace, by_size, noisy, k, u):
            continue
        source = where.get(id(entry.args[0]))
        users = [n for n in trace.nodes if source in n.input]
        names = ", ".join(f"{n.name or n.output[0]} ({n.op_type})" for n in users[:3])
        place = f" in {entry.layer}" if entry.layer else ""
        return f"No node has the result of the {entry.op}{place}" + (
            f"; its input goes to {names}." if names else "."
        )
    return ""


def _fused(
    entry: Any,
    later: list[Any],
    trace: OnnxTrace,
    by_size: dict[int, list[str]],
    noisy: Any,
    k: int,
    u: float,
) -> bool:
    """Return whether what takes this result is there: a folded batch norm hides its convolution's."""
    for j, other in enumerate(later[:2], start=k + 1):
        if other.args[0] is entry.y:
            bound = explained(other.y, [n[j].y for n in noisy], u)
            names = by_size.get(other.y.size, [])
            return any(error(trace.tensors[n], other.y) <= bound for n in names)
    return False
