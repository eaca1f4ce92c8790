"""A PyTorch network held beside one of ours: `check_model`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.align import aligned, spread
from senumpy.crosscheck.model.beside import Beside, Ours
from senumpy.crosscheck.model.blame import Blame
from senumpy.crosscheck.model.prepare import images, pair_up
from senumpy.crosscheck.model.recording import record
from senumpy.crosscheck.model.report import ModelReport
from senumpy.crosscheck.model.torch_side import run_torch, torch_copy
from senumpy.errors import InputError
from senumpy.verify.rounding import roundoff

Array = NDArray[Any]
Progress = Callable[[str], None]


def check_model(
    net: Any,
    like: str,
    *,
    input_size: int = 64,
    batch_size: int = 2,
    dtype: str = "float64",
    seed: int = 0,
    training: bool = True,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> ModelReport:
    """Hold a PyTorch network beside the reference, layer by layer, forward and backward.

    A copy of it runs on random images with a random gradient of its logits; the reference, with its weights,
    in float64 on the same. Each layer's error is measured in units of what rounding explains. The first layer
    that parts from the reference is judged alone, on what it itself took, and the mistake is named if it is
    known.

    Parameters
    ----------
    net : torch.nn.Module, class or function
        The candidate, of which a copy is used; or what makes it without arguments. Its result is (N, classes)
        logits.
    like : str
        The reference: one of `senumpy.models.model_names()`.
    input_size, batch_size : int
        Height and width of the images, and how many.
    dtype : "float64" or "float32"
        In which the candidate runs.
    seed : int
        Of images and gradient.
    training : bool
        Batch statistics, and running statistics are compared, too; or evaluation.
    settings : dict, optional
        Of `create_model`, such as ``stride_in`` or ``se``. What isn't given is taken from the candidate where
        its weights or a run of it show it; the notes say so.
    progress : callable, optional
        Told in a few words what is done.

    Raises
    ------
    InputError
        The candidate can't be made or run, its result is no (N, classes) array, or its parameters don't fit.
    """
    start = time.perf_counter()
    tell = progress or (lambda words: None)
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype: got {dtype!r}, wanted float32 or float64")
    for name, value, least in (
        ("input_size", input_size, 1),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise InputError(f"{name}: got {value!r}, wanted a whole number of at least {least}")
    tell(f"running the model once, matching its parameters with {like}")
    own = torch_copy(net, dtype)
    x = images(own, 1, batch_size, input_size, dtype, seed)[0]
    pair = pair_up(own, like, x, settings, seed=seed, training=training)
    model, found = pair.model, pair.found
    started = {name: buffer.value.copy() for name, buffer in model.named_buffers()}

    def upstream(shape: tuple[int, ...]) -> Array:
        draws = np.random.default_rng([seed, 2]).standard_normal(shape, np.float32)
        return (draws + np.float32(0.1)).astype(dtype)

    tell("running the model forward and back")
    trace = run_torch(own, x, upstream)
    tell("running the reference")
    wide, dy, u = x.astype(np.float64), upstream(trace.logits.shape).astype(np.float64), roundoff(dtype)
    ours = Ours(model, record(model, wide, dy), [record(model, wide, dy, u=u, seed=k) for k in (1, 2)])
    tell("comparing")
    theirs = aligned(ours.trace, ours.layers(), trace, own, found.sources, u)
    if not training:
        theirs.buffers = {}
    spread(theirs, ours.trace)
    beside = Beside(ours, theirs)
    report = ModelReport(like, dict(found.settings), pair.notes, beside.rows)
    blame = Blame(ours, theirs, started)
    for parting in beside.partings:
        tell(f"judging {parting.name or 'the logits'} alone")
        report.findings.append(blame.finding(parting))
    report.seconds = time.perf_counter() - start
    return report
