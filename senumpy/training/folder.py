"""The run folder: `config.toml`, `metrics.jsonl`, `checkpoint.safetensors`, `curves.png`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senumpy.errors import InputError
from senumpy.storage import append_line, read_lines, write_atomic
from senumpy.training.config import TrainConfig, load_config
from senumpy.training.trainer import EpochMetrics

METRICS_KEYS = tuple(field.name for field in dataclasses.fields(EpochMetrics))


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run's files, and the metrics among them."""

    path: Path

    @property
    def config(self) -> Path:
        """Settings."""
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        """One JSON line an epoch, with exactly the fields of `EpochMetrics`."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The newest whole checkpoint."""
        return self.path / "checkpoint.safetensors"

    @property
    def curves(self) -> Path:
        """Loss and accuracy by epoch."""
        return self.path / "curves.png"

    def rows(self) -> list[dict[str, Any]]:
        """Return the epochs' metrics; none before the first epoch is done.

        Raises
        ------
        InputError
            A line is not JSON or has other fields.
        """
        if not self.metrics.exists():
            return []
        rows = read_lines(self.metrics).rows
        for number, row in enumerate(rows, start=1):
            if set(row) != set(METRICS_KEYS):
                raise InputError(
                    f"{self.metrics}, line {number}: fields are {', '.join(row)}, "
                    f"wanted {', '.join(METRICS_KEYS)}"
                )
        return rows

    def append(self, metrics: EpochMetrics) -> None:
        """Add an epoch's metrics."""
        append_line(self.metrics, dataclasses.asdict(metrics))

    def keep_epochs(self, epochs: int) -> None:
        """Cut the metrics off after `epochs` epochs: what came later is done again."""
        if self.metrics.exists():
            lines = self.metrics.read_bytes().split(b"\n")[: len(self.rows())]  # without a torn last one
            write_atomic(self.metrics, b"".join(line + b"\n" for line in lines[:epochs]))


def create_folder(config: TrainConfig, data_name: str, out: Path | None) -> RunFolder:
    """Make a new run folder and write its `config.toml`.

    Parameters
    ----------
    config : TrainConfig
    data_name : str
        For the folder's name, `runs/DATA-MODEL-NNN`, where `out` is None.
    out : Path or None
        May exist if it is empty.

    Raises
    ------
    InputError
        `out` exists and is not an empty folder, or a folder cannot be made.
    """
    try:
        if out is None:
            path = _next_numbered(Path("runs"), f"{_plain(data_name)}-{config.model}")
        else:
            path = out
            if path.exists() and not (path.is_dir() and not any(path.iterdir())):
                raise InputError(
                    f"{path} exists and is not an empty folder: choose another --out, "
                    f"or continue that run with --resume {path}"
                )
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the run folder {error.filename}: {error.strerror or error}") from error
    folder = RunFolder(path)
    config.save(folder.config)
    return folder


def open_folder(path: Path) -> tuple[RunFolder, TrainConfig]:
    """Return an existing run folder and its settings.

    Raises
    ------
    InputError
        There is no such folder, or its `config.toml` is missing or broken.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder: wanted the run folder of an earlier `senumpy train`")
    folder = RunFolder(path)
    return folder, load_config(folder.config)


def _next_numbered(parent: Path, stem: str) -> Path:
    """Make the folder `stem-NNN` that follows the highest number there is."""
    parent.mkdir(parents=True, exist_ok=True)
    numbers = [
        int(match[1])
        for entry in parent.iterdir()
        if (match := re.fullmatch(re.escape(stem) + r"-(\d+)", entry.name))
    ]
    number = max(numbers, default=0) + 1
    while True:
        path = parent / f"{stem}-{number:03}"
        try:
            path.mkdir()
        except FileExistsError:  # another run has just taken it
            number += 1
        else:
            return path


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "data"
