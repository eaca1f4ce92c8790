"""Whole runs: start one in a new folder, or resume one, with checkpoints, metrics, curves and Ctrl-C."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senumpy.data import Dataset, DataSplits, load_data
from senumpy.errors import InputError
from senumpy.models import Network, create_model, settings_for
from senumpy.storage import write_atomic
from senumpy.training.checkpoint import Checkpoint, DataInfo, load_checkpoint, save_checkpoint
from senumpy.training.config import TrainConfig
from senumpy.training.curves import draw_curves
from senumpy.training.defaults import complete_settings
from senumpy.training.engine import ENGINE_SETTINGS, engine_of_run
from senumpy.training.errors import TrainingError
from senumpy.training.evaluate import Tally
from senumpy.training.folder import RunFolder, create_folder, open_folder
from senumpy.training.interrupt import Interrupted, deferred_interrupt
from senumpy.training.loaders import evaluation_loader, set_name, training_loader
from senumpy.training.progress import Progress, clock
from senumpy.training.schedules import make_schedule
from senumpy.training.sgd import SGD
from senumpy.training.threads import limited_threads
from senumpy.training.trainer import EpochMetrics, Trainer

_CURVES_EVERY = 60.0  # seconds; drawing takes a good part of one


@dataclass(frozen=True)
class Summary:
    """How a run ended: the last line of its metrics, and where everything is."""

    data: str
    model: str
    parameters: int
    epochs: int
    test_loss: float
    test_accuracy: float
    seconds: float
    folder: Path
    curves: Path
    checkpoint: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(self).items()}

    def __str__(self) -> str:
        return (
            f"test accuracy  {100 * self.test_accuracy:.2f} %  (loss {self.test_loss:.4f}) "
            f"after {self.epochs} epochs, {clock(self.seconds)}\n"
            f"run folder     {self.folder}\n"
            f"curves         {self.curves}"
        )


def start_run(settings: Mapping[str, Any], *, out: Path | None = None, quiet: bool = False) -> Summary:
    """Train a model in a new run folder.

    Parameters
    ----------
    settings : mapping
        Fields of `TrainConfig`; those not given are chosen for the data (`data` itself: the digits).
    out : Path, optional
        The run folder; `runs/DATA-MODEL-NNN` where not given.
    quiet : bool
        Show nothing on stderr.

    Raises
    ------
    InputError
        Bad settings or data, a folder that is in use, a full disk; `TrainingError` among them.
    Interrupted
        Ctrl-C; the state is saved.
    """
    _need_packages()
    given = {"data": "digits", **settings}
    if Path(given["data"]).exists():
        given["data"] = str(Path(given["data"]).resolve())  # a resume may be started from elsewhere
    splits = load_data(given["data"], image_size=given.get("image_size"))
    config = complete_settings(given, splits.train)
    model = _new_model(config, splits)
    height, width, channels = splits.train.image_shape
    model.check_images((config.batch_size, channels, height, width))  # before there is a folder
    folder = create_folder(config, set_name(splits.train), out)
    run = _Run(folder, config, splits, model, quiet=quiet)
    run.save()  # a disk that takes no checkpoint is better known now than after an hour
    return run.go()


def resume_run(
    path: Path,
    *,
    workers: int | None = None,
    engine: str | None = None,
    device: int | None = None,
    quiet: bool = False,
) -> Summary:
    """Go on with the run in a folder as if it had never stopped.

    Metrics of epochs after the checkpoint are cut off and made anew. A complete run is only summed up.

    Parameters
    ----------
    path : Path
        The run folder.
    workers : int, optional
        Threads that prepare batches, if others than at the start.
    engine : str, optional
        Who computes from here on, if another than before: `config.toml` says so then, and the last bits of
        results are no longer those of the whole run on one engine.
    device : int, optional
        Number of the GPU, if another than before.
    quiet : bool
        Show nothing on stderr.

    Raises
    ------
    InputError
        The folder, its settings or its checkpoint are missing, broken, or don't belong together.
    Interrupted
        Ctrl-C; the state is saved.
    """
    _need_packages()
    folder, config = open_folder(path)
    if workers is not None:
        config = dataclasses.replace(config, workers=workers)
    if device is not None:
        config = dataclasses.replace(config, device=device)
    checkpoint = load_checkpoint(folder.checkpoint)
    moved = engine is not None and {engine} != {config.engine, checkpoint.config.engine}
    if moved:
        config = _on_engine(config, engine, device)
    _check_same_settings(folder, config, checkpoint, moved=moved)
    splits = load_data(config.data, image_size=config.image_size)
    _check_same_data(config.data, _data_info(splits.train), checkpoint)
    run = _Run(folder, config, splits, _new_model(config, splits), checkpoint, quiet=quiet)
    folder.keep_epochs(checkpoint.position.epoch)
    if moved and checkpoint.position.epoch < config.epochs:
        run.save()
        config.save(folder.config)
    return run.go()


class _Run:
    """A run in progress: the trainer, and what is done after its steps and epochs."""

    def __init__(
        self,
        folder: RunFolder,
        config: TrainConfig,
        splits: DataSplits,
        model: Network,
        checkpoint: Checkpoint | None = None,
        *,
        quiet: bool,
    ):
        self.folder, self.config, self.splits, self.quiet = folder, config, splits, quiet
        sgd = SGD(
            model,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            decay_all=config.decay_all,
        )
        self._engine_before = checkpoint.config.engine if checkpoint else config.engine
        if checkpoint:
            checkpoint.restore(model, sgd)
        train = training_loader(splits.train, config, model.engine)
        schedule = make_schedule(
            config.schedule,
            config.lr,
            steps=config.epochs * len(train),
            warm_up_steps=round(config.warmup_epochs * len(train)),
        )
        self.trainer = Trainer(
            model,
            sgd,
            schedule,
            train,
            evaluation_loader(
                splits.test,
                config.batch_size,
                mean=splits.train.mean,
                std=splits.train.std,
                workers=config.workers,
                engine=model.engine,
            ),
            epochs=config.epochs,
            label_smoothing=config.label_smoothing,
            seed=config.seed,
            position=checkpoint.position if checkpoint else None,
        )
        self._saved_step = self.trainer.position.step
        self._saved_at = self._drawn_at = time.monotonic()
        self._interrupted: Callable[[], bool] = lambda: False

    def go(self) -> Summary:
        """Train to the end; report, save and draw on the way."""
        trainer, config = self.trainer, self.config
        start = trainer.position
        progress = Progress(config.epochs, len(self.splits.train), start, quiet=self.quiet)
        try:
            with limited_threads(config.threads), deferred_interrupt() as self._interrupted, progress:
                self._introduce(progress)
                trainer.run(
                    after_step=lambda: self._after_step(progress),
                    after_test_batch=lambda tally: self._after_test_batch(progress, tally),
                    after_epoch=lambda metrics: self._after_epoch(progress, metrics),
                )
                self._draw()
        except TrainingError as error:
            saved = f"{self.folder.checkpoint} (step {self._saved_step})"
            raise TrainingError(f"{error}. Last checkpoint: {saved}") from error
        return self._summary()

    def save(self) -> None:
        """Write a checkpoint."""
        trainer = self.trainer
        info = _data_info(self.splits.train)
        save_checkpoint(
            self.folder.checkpoint, trainer.model, trainer.sgd, trainer.position, self.config, info
        )
        self._saved_step, self._saved_at = trainer.position.step, time.monotonic()

    def _after_step(self, progress: Progress) -> None:
        progress.update(self.trainer.position)
        self._stop_if_interrupted()
        if time.monotonic() - self._saved_at >= 60.0 * self.config.checkpoint_minutes:
            self.save()

    def _after_test_batch(self, progress: Progress, tally: Tally) -> None:
        progress.update(self.trainer.position, f"test: {100 * tally.accuracy:.1f} % of {tally.images:,}")
        self._stop_if_interrupted()

    def _after_epoch(self, progress: Progress, metrics: EpochMetrics) -> None:
        # In this order: a kill between the two leaves a line too many, which a resume cuts off.
        self.folder.append(metrics)
        self.save()
        progress.epoch(metrics)
        if metrics.epoch == 1:
            for note in self.trainer.model.engine.notes():
                progress.line(f"note   {note}")
        if time.monotonic() - self._drawn_at >= _CURVES_EVERY:
            self._draw()
        if metrics.epoch < self.config.epochs:
            self._stop_if_interrupted()

    def _stop_if_interrupted(self) -> None:
        if self._interrupted():
            self.save()
            self._draw()
            position = self.trainer.position
            raise Interrupted(
                f"interrupted in epoch {position.epoch + 1} at step {position.step}; all is saved. "
                f"Go on with: senumpy train --resume {self.folder.path}"
            )

    def _draw(self) -> None:
        if rows := self.folder.rows():
            title = f"{self.config.model} on {set_name(self.splits.train)}"
            write_atomic(self.folder.curves, draw_curves(rows, title))
            self._drawn_at = time.monotonic()

    def _introduce(self, progress: Progress) -> None:
        train, model, start = self.splits.train, self.trainer.model, self.trainer.position
        h, w, c = train.image_shape
        progress.line(
            f"data   {set_name(train)}: {len(train):,} training, {len(self.splits.test):,} "
            f"test images, {c}x{h}x{w}, {train.num_classes} classes"
        )
        progress.line(
            f"model  {model.name}: {model.num_parameters():,} parameters, engine {model.engine.describe()}"
        )
        complete = start.epoch >= self.config.epochs
        begin = f", from epoch {start.epoch + 1}, step {start.step}" if start.step else ""
        progress.line(f"run    {self.folder.path}{', complete' if complete else begin}")
        if not complete:
            if self._engine_before != self.config.engine:
                progress.line(
                    f"note   engine {self._engine_before} up to here, {self.config.engine} from here on: "
                    "last bits differ from a run on one of them"
                )
            if model.engine.must_compile:
                progress.line(
                    "note   kernels are compiled on first use, some ten seconds; later runs find them"
                )
                model.engine.compile_ahead()
            progress.header()

    def _summary(self) -> Summary:
        rows = self.folder.rows()
        return Summary(
            data=set_name(self.splits.train),
            model=self.config.model,
            parameters=self.trainer.model.num_parameters(),
            epochs=rows[-1]["epoch"],
            test_loss=rows[-1]["test_loss"],
            test_accuracy=rows[-1]["test_accuracy"],
            seconds=sum(row["seconds"] for row in rows),
            folder=self.folder.path,
            curves=self.folder.curves,
            checkpoint=self.folder.checkpoint,
        )


def _new_model(config: TrainConfig, splits: DataSplits) -> Network:
    return create_model(
        config.model,
        num_classes=splits.train.num_classes,
        in_channels=splits.train.image_shape[2],
        engine=engine_of_run(config),
        seed=config.seed,
        **settings_for(config.model, max(splits.train.image_shape[:2])),
    )


def _on_engine(config: TrainConfig, name: str | None, device: int | None) -> TrainConfig:
    """Return the settings with another engine: options of the one before say nothing of it."""
    options: dict[str, Any] = {
        field.name: field.default
        for field in dataclasses.fields(TrainConfig)
        if field.name in ENGINE_SETTINGS
    }
    return dataclasses.replace(config, **(options | {"engine": name, "device": device}))


def _data_info(train: Dataset) -> DataInfo:
    return DataInfo(set_name(train), train.class_names, train.image_shape, train.mean, train.std)


def _check_same_settings(
    folder: RunFolder, config: TrainConfig, checkpoint: Checkpoint, *, moved: bool
) -> None:
    """Refuse a config.toml that was changed: the weights would be those of neither run."""
    # data may have moved; its contents are compared
    harmless = {"data", "device", "workers", "checkpoint_minutes", *(ENGINE_SETTINGS if moved else ())}
    for field in dataclasses.fields(TrainConfig):
        found, wanted = getattr(config, field.name), getattr(checkpoint.config, field.name)
        if field.name not in harmless and found != wanted:
            raise InputError(
                f"{folder.config}: {field.name} is {found!r}, wanted {wanted!r} as in {checkpoint.path}: "
                "a run is resumed with the settings that it began with"
            )


def _check_same_data(where: str, data: DataInfo, checkpoint: Checkpoint) -> None:
    """Refuse other data than the run began with; its name may differ, since it may have moved."""
    for field in ("class_names", "image_shape", "mean", "std"):
        found, wanted = getattr(data, field), getattr(checkpoint.data, field)
        if found != wanted:
            raise InputError(
                f"{where}: {field} is {found}, wanted {wanted} as in {checkpoint.path}: "
                "a run is resumed with the data that it began with"
            )


def _need_packages() -> None:
    missing = [
        name
        for name in ("matplotlib", "safetensors", "threadpoolctl", "tqdm")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise InputError(f'training needs {", ".join(missing)}: pip install "senumpy[train]"')
