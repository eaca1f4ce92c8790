"""The stand-in's streams and events. Work is done at once, but what could have raced on a GPU raises.

Every stream counts its operations. It knows up to which operation each other stream has finished for
certain: what it waited for by events, and what this program had waited for when it enqueued the operation.
An operation on memory that another stream used later than that is a race. So is memory that goes back to
the pool while a stream may be using it, and a host's buffer that is filled again before its last copy was
waited for.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

Known = dict[int, int]  # operations finished for certain, by stream

_numbers = itertools.count()
_host: Known = {}  # what this program has waited for
_sources: dict[int, tuple[int, int]] = {}  # the last copy from each buffer of the host: stream, operation
races: list[str] = []  # found where nothing can be raised


class RaceError(AssertionError):
    """Two streams use the same memory, and nobody waits."""


def _learn(known: Known, other: Known) -> None:
    for number, operation in other.items():
        known[number] = max(known.get(number, 0), operation)


class Stream:
    """Operations in order."""

    ptr = 0

    def __init__(self, non_blocking: bool = False) -> None:
        self.number, self.time = next(_numbers), 0
        self.known: Known = {}

    def __enter__(self) -> Stream:
        _stack.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _stack.pop()

    def synchronize(self) -> None:
        _learn(_host, self.known)

    def wait_event(self, event: Event) -> None:
        _learn(self.known, event.known)


def operate(stream: Stream, *uses: Known) -> None:
    """Enqueue an operation on memories, each given by who used it last."""
    _learn(stream.known, _host)
    stream.time += 1
    stream.known[stream.number] = stream.time
    for used in uses:
        for number, operation in used.items():
            if stream.known.get(number, 0) < operation:
                raise RaceError(f"stream {stream.number} uses memory that stream {number} may be using")
        used[stream.number] = stream.time


def copy_from_host(stream: Stream, address: int) -> None:
    """Note that the operation under way reads a buffer of the host."""
    number, operation = _sources.get(address, (stream.number, 0))
    if _host.get(number, 0) < operation:
        raise RaceError("a buffer of the host was filled again before its last copy was waited for")
    _sources[address] = stream.number, stream.time


_null = Stream()
_stack = [_null]


def current() -> Stream:
    """Return the stream that operations are enqueued on."""
    return _stack[-1]


def check_free(uses: Known) -> None:
    """Note a race if memory goes back to the pool, for the null stream, while another may be using it."""
    for number, operation in uses.items():
        if number != _null.number and max(_null.known.get(number, 0), _host.get(number, 0)) < operation:
            races.append(f"memory was freed while stream {number} may be using it")


class Event:
    """A point in time, and in a stream."""

    def __init__(self, **settings: Any) -> None:
        self.known: Known = {}
        self.time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.known = dict((stream or current()).known)
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        _learn(_host, self.known)


def get_elapsed_time(start: Event, end: Event) -> float:
    """Return milliseconds between two events."""
    return (end.time - start.time) * 1e3
