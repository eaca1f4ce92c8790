"""`senumpy eval`: a trained model on a test set, by its checkpoint alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senumpy.data import Dataset, FixedCrop, load_data
from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.models import Network, create_model, settings_for
from senumpy.training.checkpoint import Checkpoint, load_checkpoint
from senumpy.training.engine import engine_for_run
from senumpy.training.evaluate import Tally, evaluate, evaluate_crops
from senumpy.training.folder import RunFolder
from senumpy.training.loaders import evaluation_loader, set_name
from senumpy.training.threads import limited_threads


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracies of a checkpoint on a test set; `top5` is None with five classes or fewer."""

    checkpoint: str
    model: str
    engine: str
    data: str
    images: int
    num_classes: int
    loss: float
    top1: float
    top5: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        top5 = "" if self.top5 is None else f"\ntop-5  {100 * self.top5:6.2f} %"
        return (
            f"{self.model} on {self.data}: {self.images:,} test images, {self.num_classes} classes\n"
            f"engine {self.engine}\n"
            f"top-1  {100 * self.top1:6.2f} %{top5}\nloss   {self.loss:8.4f}"
        )

    @classmethod
    def of(cls, tally: Tally, model: Network, test: Dataset, path: Path) -> Evaluation:
        """Return what was counted of a model from this file."""
        return cls(
            checkpoint=str(path),
            model=model.name,
            engine=model.engine.describe(),
            data=set_name(test),
            images=tally.images,
            num_classes=model.num_classes,
            loss=tally.mean_loss,
            top1=tally.accuracy,
            top5=tally.top5_accuracy if model.num_classes > 5 else None,
        )


def check_fits(test: Dataset, num_classes: int, in_channels: int, path: Path) -> None:
    """Raise unless a network from this file, of so many classes and channels, can be tried on `test`."""
    for field, found, wanted in (
        ("num_classes", test.num_classes, num_classes),
        ("in_channels", test.image_shape[2], in_channels),
    ):
        if found != wanted:
            raise InputError(f"{test.name}: {field} is {found}, wanted {wanted} as in {path}")


def evaluate_checkpoint(
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
    """Evaluate a checkpoint on a test set.

    Images are normalised as those that the model was trained on, also where `data` is another set.

    Parameters
    ----------
    path : Path
        A run folder, or the checkpoint itself.
    data : str, optional
        Name or path of a data set; that of the training where not given.
    engine : str, optional
        That of the training where not given.
    device : int, optional
        Number of the GPU; the first where not given.
    precision : str, optional
        Of products on a GPU; that of the training where not given.
    batch_size, workers : int
    crops : {1, 10}
        One crop, the whole image; or the mean of the softmax over ten: centre, corners and mirror images
        (Krizhevsky et al. 2012, sec. 4.1). These are cut from images resized to 8/7 of the training's
        `image_size` (256 for 224), or, without one, from images with an eighth of their size in zeros on each
        side (4 for 32, as in training). For models trained with `augment`: others know neither shifted nor
        mirrored images.

    Raises
    ------
    InputError
        Broken checkpoint or data, or a number of classes or channels that differs.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: got {batch_size}, wanted at least 1")
    if crops not in (1, 10):
        raise InputError(f"crops: got {crops}, wanted 1 or 10")
    checkpoint = load_checkpoint(RunFolder(path).checkpoint if path.is_dir() else path)
    config, images = checkpoint.config, checkpoint.data
    enlarged = round(config.image_size * 8 / 7) if config.image_size and crops == 10 else config.image_size
    test = load_data(data or config.data, image_size=enlarged).test
    executor = engine_for_run(config, engine, device=device, precision=precision)
    model = _restored_model(checkpoint, test, executor)
    settings: dict[str, Any] = {"mean": images.mean, "std": images.std, "engine": executor}
    with limited_threads(config.threads):
        if crops == 1:
            tally = evaluate(model, evaluation_loader(test, batch_size, workers=workers, **settings))
        else:
            views = _ten_crops(checkpoint)
            tally = evaluate_crops(
                model, [evaluation_loader(test, batch_size, workers=0, crop=v, **settings) for v in views]
            )
    return Evaluation.of(tally, model, test, checkpoint.path)


def _restored_model(checkpoint: Checkpoint, test: Dataset, engine: Engine) -> Network:
    """Return the checkpoint's model, if the data fits it."""
    check_fits(test, checkpoint.num_classes, checkpoint.in_channels, checkpoint.path)
    model = create_model(
        checkpoint.model,
        num_classes=checkpoint.num_classes,
        in_channels=checkpoint.in_channels,
        engine=engine,
        dtype=checkpoint.dtype,
        **settings_for(checkpoint.model, max(checkpoint.data.image_shape[:2])),
    )
    checkpoint.restore(model)
    return model


def _ten_crops(checkpoint: Checkpoint) -> list[FixedCrop]:
    size = checkpoint.data.image_shape[:2]
    padding = 0 if checkpoint.config.image_size else max(1, min(size) // 8)
    return [FixedCrop(index, size, padding) for index in range(10)]
