"""Training side by side: which step parts from the reference, in what, and by which convention."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.beside import gap
from senumpy.crosscheck.model.optimisers import Rule
from senumpy.crosscheck.model.prepare import images, pair_up
from senumpy.crosscheck.model.recording import RecordingEngine, borrowed
from senumpy.crosscheck.model.report import Gap, _plain, number, wrapped
from senumpy.crosscheck.model.step_causes import StepEvidence, cause
from senumpy.crosscheck.model.torch_side import library, torch_copy
from senumpy.errors import InputError
from senumpy.layers import Layer
from senumpy.models import Network
from senumpy.training.sgd import SGD
from senumpy.verify.rounding import roundoff

Array = NDArray[Any]
PARTS = ("loss", "gradients", "buffers", "momentum", "parameters")


@dataclass
class Moment:
    """One training step of one side: what it computed, and all state after it, by our names."""

    loss: Array
    gradients: dict[str, Array | None]
    buffers: dict[str, Array]
    momentum: dict[str, Array]
    parameters: dict[str, Array]


@dataclass
class StepsReport:
    """Training beside the reference.

    Attributes
    ----------
    like : str
    steps : int
    notes : list of str
    rows : list of dict
        For each step, the largest `Gap` of each part (None where there is nothing to compare).
    step : int or None
        The first that parts, counted from 1.
    part, name : str
        What of it: one of "loss", "gradients", "buffers", "momentum", "parameters"; and of which array.
    mistakes : tuple of str
        The conventions that explain it.
    text : str
    seconds : float
    """

    like: str
    steps: int
    notes: list[str] = field(default_factory=list)
    rows: list[dict[str, Gap | None]] = field(default_factory=list)
    step: int | None = None
    part: str = ""
    name: str = ""
    mistakes: tuple[str, ...] = ()
    explanation: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return self.text()

    @property
    def ok(self) -> bool:
        """The same as `passed`, as other reports call it."""
        return self.passed

    @property
    def passed(self) -> bool:
        """Whether all steps are the reference's."""
        return self.step is None

    def text(self, width: int = 80) -> str:
        """Return the table and what was found."""
        lines = [wrapped(note, width) for note in self.notes]
        lines += [
            "",
            "error in units of what rounding explains",
            f"{'step':<6}" + "".join(f"{p:>13}" for p in PARTS),
        ]
        for k, row in enumerate(self.rows, start=1):
            cells = ""
            for part in PARTS:
                found = row.get(part)
                cells += f"{'-' if found is None else number(found.units):>13}"
            lines.append(f"{k:<6}{cells}{' <' if k == self.step else ''}")
        lines.append("")
        if self.passed:
            words = f"right: {self.steps} steps beside {self.like} in {self.seconds:.1f} s, within rounding"
            lines.append(wrapped(words, width))
        else:
            place = "" if self.name == self.part else f" of {self.name}"
            what = f"step {self.step}: {self.part}{place} first. {self.explanation}"
            lines += [wrapped(what, width), f"wrong: it parts from {self.like} at step {self.step}"]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        rows = [{part: found and asdict(found) for part, found in row.items()} for row in self.rows]
        return _plain(
            {
                "like": self.like, "steps": self.steps, "notes": self.notes, "passed": self.passed,
                "rows": rows,
                "step": self.step, "part": self.part, "name": self.name, "mistakes": self.mistakes,
                "explanation": self.explanation, "seconds": round(self.seconds, 3),
            }
        )  # fmt: skip


def check_steps(
    net: Any,
    like: str,
    *,
    steps: int = 5,
    optimizer: Callable[[Any], Any] | None = None,
    loss: Callable[[Any, Any], Any] | None = None,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    nesterov: bool = False,
    decay_all: bool = False,
    input_size: int = 32,
    batch_size: int = 4,
    dtype: str = "float64",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> StepsReport:
    """Train a PyTorch network and the reference on the same batches, and compare all state after each step.

    The reference is `senumpy.training.SGD` on the mean softmax cross-entropy. The learning rate changes on
    the way (half of it from the third step on), since some conventions differ only then.

    Parameters
    ----------
    net, like, input_size, batch_size, dtype, seed, settings, progress
        As in `check_model`.
    steps : int
    optimizer : callable, optional
        ``optimizer(parameters)`` -> a `torch.optim.Optimizer`. By default `torch.optim.SGD` configured like
        ours.
    loss : callable, optional
        ``loss(logits, labels)`` -> a tensor with one number. By default PyTorch's cross-entropy.
    lr, momentum, weight_decay, nesterov : float, bool
        The reference's.
    decay_all : bool
        Whether weight decay acts on batch norm and biases, too.

    Raises
    ------
    InputError
        As in `check_model`; or the optimiser can't be made or fails.
    """
    start = time.perf_counter()
    tell = progress or (lambda words: None)
    if not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps: got {steps!r}, wanted a whole number of at least 1")
    for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
        if not np.isfinite(value):
            raise InputError(f"{name}: got {value}, wanted a finite number")
    own = torch_copy(net, dtype)
    batches = images(own, steps, batch_size, input_size, dtype, seed)
    pair = pair_up(own, like, batches[0], settings, seed=seed, training=True)
    model, found = pair.model, pair.found
    labels = np.random.default_rng([seed, 3]).integers(0, model.num_classes, (steps, batch_size))
    rates = [lr if k < 2 else lr / 2 for k in range(steps)]
    rule = Rule(momentum, weight_decay, nesterov, "all" if decay_all else "weights")
    job = _Job(batches, labels, rates, rule, roundoff(dtype))
    begun = {n: h.value.copy() for n, h in [*model.named_parameters(), *model.named_buffers()]}
    tell("training the model")
    theirs = _train_torch(own, found.sources, model, job, optimizer, loss, lr)
    tell("training the reference")
    ours = _train(model, job, 0.0, 0)
    noisy = []
    for k in (1, 2):
        tell("training the reference with rounding errors put in")
        _restore(model, begun)
        noisy.append(_train(model, job, job.u, k))
    report = StepsReport(like, steps, pair.notes)
    _compare(report, ours, noisy, theirs, job.u)
    if report.step is not None:
        decays = {n: p.decay for n, p in model.named_parameters()}
        evidence = StepEvidence(
            report.step, report.part, report.name, begun, ours, theirs, rates, rule, decays, job.u,
            batch_size, dict(model.named_layers()), batches,
        )  # fmt: skip
        report.mistakes, report.explanation = cause(evidence)
    report.seconds = time.perf_counter() - start
    return report


@dataclass(frozen=True)
class _Job:
    images: Array
    labels: Array
    rates: list[float]
    rule: Rule
    u: float


def _train(model: Network, job: _Job, u: float, seed: int) -> list[Moment]:
    """Train the reference; where u is above 0, with rounding errors of that size put in."""
    rule = job.rule
    sgd = SGD(model, momentum=rule.momentum, nesterov=rule.nesterov, weight_decay=rule.weight_decay,
              decay_all=rule.decayed == "all")  # fmt: skip
    moments = []
    for x, labels, rate in zip(job.images, job.labels, job.rates, strict=True):
        engine = RecordingEngine(u=u, seed=seed, keep=False)
        buffers, gradients, value = _forward_back(model, engine, x.astype(np.float64), labels)
        for name, buffer in model.named_buffers():
            buffer.value[...] = buffers[name]
        for name, parameter in model.named_parameters():
            parameter.grad = engine.off(gradients[name])
        sgd.step(rate)
        for _, parameter in model.named_parameters():
            parameter.value[...] = engine.off(parameter.value)
        state = {n: p.value.copy() for n, p in model.named_parameters()}
        moments.append(Moment(value, dict(gradients), buffers, sgd.state_dict(), state))
        model.forget()
    return moments


def _forward_back(model: Network, engine: RecordingEngine, x: Array, labels: Array) -> Any:
    with borrowed(model, engine):
        logits = model.forward(engine.off(x))
        value, cache = engine.softmax_cross_entropy_forward(logits, labels)
        model.backward(engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
        gradients = {n: p.grad for n, p in model.named_parameters()}
        buffers = {n: b.value.copy() for n, b in model.named_buffers()}
    return buffers, gradients, np.asarray(value)


def _restore(model: Layer, state: Mapping[str, Array]) -> None:
    for name, holder in [*model.named_parameters(), *model.named_buffers()]:
        holder.value[...] = state[name]


def _train_torch(
    net: Any, sources: Mapping[str, str], model: Network, job: _Job, make: Any, loss: Any, lr: float
) -> list[Moment]:
    torch = library()
    parameters = dict(net.named_parameters())
    if make is None:
        optimizer = _like_ours(parameters, sources, model, job.rule, lr)
    else:
        try:
            optimizer = make(list(net.parameters()))
        except Exception as problem:
            raise InputError(f"optimizer: making it raised {type(problem).__name__}: {problem}") from problem
        if not hasattr(optimizer, "step") or not hasattr(optimizer, "zero_grad"):
            raise InputError(f"optimizer: got a {type(optimizer).__name__}, wanted a torch.optim.Optimizer")
    criterion = loss or torch.nn.functional.cross_entropy
    groups = getattr(optimizer, "param_groups", [])
    own_rates = [group.get("lr") for group in groups]
    moments: list[Moment] = []
    for x, labels, rate in zip(job.images, job.labels, job.rates, strict=True):
        for group, own in zip(groups, own_rates, strict=True):
            if isinstance(own, float):
                group["lr"] = own * rate / lr
        optimizer.zero_grad()
        try:
            value = criterion(net(torch.tensor(x)), torch.tensor(labels))
            value.backward()
            gradients = {n: _array(p.grad) for n, p in parameters.items()}
            optimizer.step()
        except Exception as problem:
            raise InputError(
                f"model: step {len(moments) + 1} raised {type(problem).__name__}: {problem}"
            ) from problem
        moments.append(_moment(net, sources, model, optimizer, value, gradients))
    return moments


def _like_ours(parameters: Any, sources: Mapping[str, str], model: Network, rule: Rule, lr: float) -> Any:
    """Return PyTorch's SGD configured like ours: by default norms and biases don't decay."""
    decayed = {sources[n] for n, p in model.named_parameters() if p.decay or rule.decayed == "all"}
    groups = [
        {"params": [p for n, p in parameters.items() if n in decayed], "weight_decay": rule.weight_decay},
        {"params": [p for n, p in parameters.items() if n not in decayed], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return library().optim.SGD(groups, lr=lr, momentum=rule.momentum, nesterov=rule.nesterov)


def _moment(
    net: Any, sources: Mapping[str, str], model: Network, optimizer: Any, value: Any, gradients: Any
) -> Moment:
    parameters, buffers = dict(net.named_parameters()), dict(net.named_buffers())
    state = getattr(optimizer, "state", {})
    result = Moment(np.asarray(value.detach().numpy(), np.float64), {}, {}, {}, {})
    for name, parameter in model.named_parameters():
        source, shape = sources[name], parameter.value.shape
        gradient = gradients[source]
        result.gradients[name] = None if gradient is None else gradient.reshape(shape)
        result.parameters[name] = _array(parameters[source]).reshape(shape)  # type: ignore[union-attr]
        kept = state.get(parameters[source], {}).get("momentum_buffer") if state else None
        if kept is not None:
            result.momentum[name] = _array(kept).reshape(shape)  # type: ignore[union-attr]
    for name, buffer in model.named_buffers():
        if sources[name] in buffers:
            result.buffers[name] = _array(buffers[sources[name]]).reshape(buffer.value.shape)  # type: ignore[union-attr]
    return result


def _array(tensor: Any) -> Array | None:
    return None if tensor is None else np.array(tensor.detach().numpy(), np.float64)


def _compare(
    report: StepsReport, ours: list[Moment], noisy: list[list[Moment]], theirs: list[Moment], u: float
) -> None:
    """Fill in the rows, and the first step and part that are off."""
    for k, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        row: dict[str, Gap | None] = {}
        for part in PARTS:
            mine, got = getattr(own, part), getattr(other, part)
            if part == "loss":
                mine, got = {"loss": mine}, {"loss": got}
            if not got:
                row[part] = None
                continue
            worst: Gap | None = None
            for name, want in mine.items():
                beside = [getattr(n[k], part) for n in noisy]
                others = beside if part == "loss" else [b[name] for b in beside]
                found = gap(got.get(name), want, others, u, name)
                if worst is None or found.units > worst.units:
                    worst = found
            row[part] = worst
            if worst is not None and not worst.right and report.step is None:
                report.step, report.part, report.name = k + 1, part, worst.what
        report.rows.append(row)
        if report.step is not None:
            return
