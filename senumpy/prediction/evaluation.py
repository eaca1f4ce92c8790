"""`senumpy eval`: a run, a checkpoint or anybody's weights on a test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from senumpy.data import FixedCrop, load_data
from senumpy.engines import default_engine
from senumpy.errors import InputError
from senumpy.interop import import_weights
from senumpy.storage import TensorFile
from senumpy.training import Evaluation, evaluate, evaluate_checkpoint
from senumpy.training.checkpoint import FORMAT
from senumpy.training.engine import make_engine
from senumpy.training.loaders import evaluation_loader
from senumpy.training.testing import check_fits


def evaluate_file(
    path: Path,
    *,
    data: str | None = None,
    engine: str | None = None,
    device: int | None = None,
    precision: str | None = None,
    batch_size: int = 128,
    workers: int = 1,
    crops: int = 1,
) -> Evaluation:
    """Evaluate a run folder, a checkpoint, or weights of any known layout.

    Parameters
    ----------
    path : Path
        What it is shows in the file.
    data, engine, device, precision, batch_size, workers, crops
        As in `evaluate_checkpoint`; weights don't know their test set, and are evaluated on one crop.

    Raises
    ------
    InputError
        As those of `evaluate_checkpoint` and `evaluate_weights`.
    """
    where: dict[str, Any] = {"engine": engine, "device": device, "precision": precision}
    if not _is_run(path):
        if data is None:
            raise InputError(f"{path}: weights don't say on which images; wanted --data NAME_OR_PATH")
        if crops != 1:
            raise InputError(f"crops: got {crops}, but weights are evaluated on one crop, as published")
        return evaluate_weights(path, data, **where, batch_size=batch_size, workers=workers)
    return evaluate_checkpoint(path, data=data, **where, batch_size=batch_size, workers=workers, crops=crops)


def _is_run(path: Path) -> bool:
    if path.suffix != ".safetensors" or not path.is_file():
        return path.is_dir() or not path.is_file()  # what isn't there is refused as a run
    return TensorFile(path).metadata.get("format") == FORMAT


def evaluate_weights(
    path: Path,
    data: str,
    *,
    engine: str | None = None,
    device: int | None = None,
    precision: str | None = None,
    batch_size: int = 128,
    workers: int = 1,
) -> Evaluation:
    """Evaluate weights on the test images of a data set.

    Images go through what the weights expect: shorter side resized, middle cropped, normalised. Classes are
    taken in the data set's order; where both name them, the names have to agree.

    Raises
    ------
    InputError
        Broken weights or data, or classes or channels that differ.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: got {batch_size}, wanted at least 1")
    executor = make_engine(engine or default_engine(), device=device, precision=precision)
    loaded = import_weights(path, engine=executor)
    prepared, model = loaded.preprocessing, loaded.model
    test = load_data(data, image_size=prepared.resize).test
    check_fits(test, model.num_classes, model.in_channels, path)
    for k, (theirs, ours) in enumerate(zip(test.class_names, loaded.class_names, strict=False)):
        if theirs != ours:
            raise InputError(f"{test.name}: class {k} is {theirs!r}, wanted {ours!r} as in {path}")
    loader = evaluation_loader(
        test,
        batch_size,
        mean=prepared.mean[: model.in_channels],
        std=prepared.std[: model.in_channels],
        workers=workers,
        crop=None if prepared.size == prepared.resize else FixedCrop(0, (prepared.size, prepared.size)),
        engine=executor,
    )
    tally = evaluate(model, loader)
    return Evaluation.of(tally, model, test, path)
