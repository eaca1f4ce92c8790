"""What a terminal shows, what a log file gets, and silence."""

from __future__ import annotations

import io

import pytest

from senumpy.training import EpochMetrics, Position, Tally
from senumpy.training.progress import Progress, clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


METRICS = EpochMetrics(12, 540, 0.00123, 0.1234567, 0.98765, 0.2345678, 0.9876, 1234.5, 75.0)


def show(stream: io.StringIO, *, quiet: bool = False) -> str:
    with Progress(200, 1437, Position(), quiet=quiet, stream=stream) as progress:
        progress.line("hello")
        progress.header()
        for k in range(1, 4):
            progress.update(Position(0, k, k, Tally(32 * k, 70.0, 20), 0.5, 0.5))
        progress.update(Position(0, 45, 45, Tally(1437, 70.0, 20), 0.5, 0.5), "test: 90.0 % of 128")
        progress.epoch(METRICS)
    return stream.getvalue()


def test_a_log_file_gets_whole_lines_of_80_columns():
    lines = show(io.StringIO()).splitlines()
    assert lines[0] == "hello"
    assert " ".join(lines[1].split()) == "epoch lr train loss accuracy test loss accuracy images/s time"
    assert " ".join(lines[2].split()) == "12/200 0.0012 0.1235 98.77 % 0.2346 98.76 % 1,234 1:15"
    assert len(lines) == 3
    assert max(len(line) for line in lines) <= 80
    assert len(lines[1]) == len(lines[2])


def test_a_terminal_gets_a_bar_under_the_lines():
    text = show(Terminal())
    assert "\r" in text
    assert "left" in text
    assert "12/200" in text


def test_quiet_is_silent():
    assert show(Terminal(), quiet=True) == show(io.StringIO(), quiet=True) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (10921, "3:02:01")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
