"""What a run shows on stderr: one line an epoch, and on a terminal a bar for the whole run."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, TextIO

from senumpy.errors import InputError
from senumpy.training.trainer import EpochMetrics, Position

_HEADER = (
    f"{'epoch':>9}  {'lr':>8}  {'train loss':>10} {'accuracy':>9}  {'test loss':>9} {'accuracy':>9}"
    f"  {'images/s':>8}  {'time':>5}"
)


def clock(seconds: float) -> str:
    """Return a duration as 0:07, 12:34 or 3:02:01."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


class Progress:
    """Report on a run; silent when `quiet`.

    On a terminal, tqdm draws a bar under the lines; a log file gets whole lines only.

    Parameters
    ----------
    epochs, images : int
        Epochs of the run, training images in each.
    start : Position
        Where it begins.
    quiet : bool
    stream : text file, optional
        stderr where not given.
    """

    def __init__(
        self, epochs: int, images: int, start: Position, *, quiet: bool = False, stream: TextIO | None = None
    ):
        self._epochs = epochs
        self._images = images
        self._quiet = quiet
        self._stream = sys.stderr if stream is None else stream
        self._bar = None if quiet or not self._stream.isatty() else self._new_bar(start)

    def _new_bar(self, start: Position) -> Any:
        try:
            from tqdm import tqdm
        except ImportError:
            raise InputError('the progress bar needs tqdm: pip install "senumpy[train]"') from None
        return tqdm(
            total=self._epochs * self._images,
            initial=self._done(start),
            file=self._stream,
            bar_format="{percentage:3.0f} %|{bar}| {desc}{remaining} left",
            smoothing=0.0,  # the mean rate: evaluation comes in bursts
            leave=False,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def line(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def header(self) -> None:
        """Print the heading of the table."""
        self.line(_HEADER)

    def update(self, position: Position, doing: str = "") -> None:
        """Move the bar to `position`; `doing` takes the place of loss and accuracy during evaluation."""
        if self._bar is None:
            return
        tally = position.tally
        rate = tally.images / max(1e-9, position.training_seconds)
        state = doing or f"loss {tally.mean_loss:.3f}  {100 * tally.accuracy:.1f} %  {rate:,.0f} images/s"
        text = f"{position.epoch + 1}/{self._epochs}  {state}  "
        self._bar.set_description_str(text, refresh=False)
        self._bar.update(self._done(position) - self._bar.n)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Print an epoch's line."""
        m = metrics
        self.line(
            f"{f'{m.epoch}/{self._epochs}':>9}  {m.lr:>8.2g}  {m.train_loss:>10.4f} "
            f"{100 * m.train_accuracy:>7.2f} %  {m.test_loss:>9.4f} {100 * m.test_accuracy:>7.2f} %"
            f"  {m.images_per_second:>8,.0f}  {clock(m.seconds):>5}"
        )

    def _done(self, position: Position) -> int:
        return position.epoch * self._images + position.tally.images
