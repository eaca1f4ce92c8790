"""Executing lessons: two at a time, outputs kept in the cache from which the site takes them."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from senumpy.lessons.catalogue import TIMED, Lesson
from senumpy.lessons.notebook import read_notebook

Running: TypeAlias = list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]]

_CELL_SECONDS = 240
_INLINE = "module://matplotlib_inline.backend_inline"


class LessonFailedError(Exception):
    """A claim of a lesson did not hold, or a cell failed: one line for each lesson, which names the cell."""


@dataclass(frozen=True)
class Executed:
    """What was done for one lesson: `seconds` is None where its outputs were in the cache."""

    lesson: Lesson
    seconds: float | None

    def __str__(self) -> str:
        took = "in the cache" if self.seconds is None else f"{self.seconds:.1f} s"
        return f"lesson {self.lesson.number}, {self.lesson.title}: {took}"


def execute_lessons(
    lessons: Iterable[Lesson],
    cache_folder: Path,
    *,
    again: bool = False,
    report: Callable[[Executed], None] = lambda executed: None,
) -> list[Executed]:
    """Execute the lessons whose outputs are not in the cache, and put them there.

    Parameters
    ----------
    lessons : iterable of Lesson
    cache_folder : Path
        Of jupyter-cache, which knows a lesson by its code cells: use one for each state of the library.
    again : bool
        Whether to execute those in the cache, too.
    report : function
        Called with each lesson that is done.

    Raises
    ------
    LessonFailedError
        When cells failed; the other lessons are executed nevertheless.
    """
    from jupyter_cache import get_cache

    cache = get_cache(str(cache_folder))
    executed: list[Executed] = []
    work: list[tuple[Lesson, Any]] = []
    for lesson in lessons:
        notebook = read_notebook(lesson.path)
        if not again and _is_cached(cache, notebook):
            executed.append(Executed(lesson, None))
        else:
            work.append((lesson, notebook))
    failures = []
    for lesson, notebook, future in _execute_all(work):
        try:
            seconds = future.result()
        except LessonFailedError as error:
            failures.append(str(error))
            continue
        _keep(cache, lesson, notebook, seconds)
        executed.append(Executed(lesson, seconds))
        report(executed[-1])
    if failures:
        raise LessonFailedError("\n".join(failures))
    return sorted(executed, key=lambda one: one.lesson.number)


def _execute_all(work: list[tuple[Lesson, Any]]) -> Iterator[tuple[Lesson, Any, Future[float]]]:
    """Execute notebooks in place: two at a time, those that measure time by themselves."""
    side_by_side = [one for one in work if one[0].number not in TIMED]
    alone = [one for one in work if one[0].number in TIMED]
    at_once = min(2, os.cpu_count() or 1)
    running: Running = []
    for group, workers, threads in ((side_by_side, at_once, "1"), (alone, 1, None)):
        with _environment(threads), ThreadPoolExecutor(workers) as pool:
            futures = {pool.submit(_execute, *one, running): one for one in group}
            try:
                for future in as_completed(futures):
                    yield (*futures[future], future)
            except BaseException:  # Ctrl-C: kernels are ended, nothing is begun
                pool.shutdown(wait=False, cancel_futures=True)
                for loop, task in running:
                    with suppress(RuntimeError):  # that loop is closed
                        loop.call_soon_threadsafe(task.cancel)
                raise


def _execute(lesson: Lesson, notebook: Any, running: Running) -> float:
    """Execute one notebook in place, in a kernel and a folder of its own; return the seconds it took."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="senumpy-lesson-") as folder:
        client = NotebookClient(
            notebook,
            timeout=_CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # no word on loopback, nor of Ctrl-C
        )
        try:
            asyncio.run(_run(client, running))  # a loop of this thread's own, closed after
        except CellExecutionError as error:
            raise _failed(lesson, notebook, f"{error.ename}: {_reason(error)}") from None
        except CellTimeoutError:
            raise _failed(lesson, notebook, f"not done after {_CELL_SECONDS} s") from None
        except DeadKernelError:
            raise _failed(lesson, notebook, "its process died") from None
    _refuse_warnings(lesson, notebook)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times: with them the cache wouldn't know the lesson again
    return time.perf_counter() - began


async def _run(client: Any, running: Running) -> None:
    task = asyncio.current_task()
    assert task is not None
    running.append((asyncio.get_running_loop(), task))
    try:
        await client.async_execute()
    except asyncio.CancelledError:
        # While its kernel starts, nbclient leaves it alone until Python ends.
        atexit.unregister(client._cleanup_kernel)
        if client.km is not None and client.km.has_kernel:
            await client.km.shutdown_kernel(now=True)
        raise


def _reason(error: Any) -> str:
    """Return an error's message; where it has none, as a bare assert, the line that raised it."""
    if error.evalue.strip():
        return str(error.evalue.strip().splitlines()[0])
    line = re.search(r"^-+> \d+ (.*)$", re.sub(r"\x1b\[[\d;]*m", "", error.traceback), re.M)
    return line[1].strip() if line else "no message"


def _failed(lesson: Lesson, notebook: Any, what: str) -> LessonFailedError:
    """Return the error for the last cell that was begun."""
    begun = [cell for cell in notebook.cells if cell.cell_type == "code" and "execution" in cell.metadata]
    return _in_cell(lesson, notebook, begun[-1] if begun else None, what)


def _refuse_warnings(lesson: Lesson, notebook: Any) -> None:
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                raise _in_cell(
                    lesson, notebook, cell, f"wrote to stderr: {output.text.strip().splitlines()[0]}"
                )


def _in_cell(lesson: Lesson, notebook: Any, cell: Any, what: str) -> LessonFailedError:
    if cell is None:
        return LessonFailedError(f"lesson {lesson.number} ({lesson.path.name}): {what}")
    code = [one for one in notebook.cells if one.cell_type == "code"]
    place = next(index for index, one in enumerate(code, start=1) if one is cell)
    line = _line_of(lesson.path.read_text(encoding="utf-8"), place)
    return LessonFailedError(
        f"lesson {lesson.number}, code cell {place} ({lesson.path.name}, line {line}): {what}"
    )


def _line_of(text: str, place: int) -> int:
    """Return the line on which the code cell number `place` begins."""
    code = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.startswith("# %%") and not line.startswith("# %% [markdown]")
    ]
    return code[place - 1] if place <= len(code) else 1


def _is_cached(cache: Any, notebook: Any) -> bool:
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def _keep(cache: Any, lesson: Lesson, notebook: Any, seconds: float) -> None:
    from jupyter_cache.base import CacheBundleIn

    bundle = CacheBundleIn(notebook, str(lesson.path), data={"execution_seconds": seconds})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


@contextmanager
def _environment(threads: str | None) -> Iterator[None]:
    """Set what kernels inherit: figures inline, this Python's kernel first, threads of matrix products."""
    wanted = {"MPLBACKEND": _INLINE, "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    if threads is not None:
        wanted["OMP_NUM_THREADS"] = threads
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
