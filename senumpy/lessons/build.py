"""Building the site: outputs of the lessons, then Sphinx, then the finished folder in one move."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from senumpy.errors import InputError
from senumpy.lessons.catalogue import lessons, lessons_folder
from senumpy.lessons.execute import Executed, execute_lessons
from senumpy.lessons.mathjax import mathjax_folder
from senumpy.lessons.places import cache_folder, library_key, site_key

Execution = Literal["cached", "always", "never"]

# Packages of the extra `lessons`, by the names under which they are imported.
_NEEDED = ("sphinx", "myst_nb", "furo", "jupytext", "ipykernel", "sphinx_copybutton", "matplotlib", "sklearn")
_STAMP = "senumpy-lessons.json"
_KEPT_OUTPUTS = 3  # states of the library whose outputs stay in the cache


class SiteError(Exception):
    """The site could not be built from what the lessons say: one line for each thing that is wrong."""


@dataclass(frozen=True)
class Built:
    """What was built: where, from which lessons, in how many seconds."""

    folder: Path
    executed: list[Executed]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "folder": str(self.folder),
            "seconds": round(self.seconds, 1),
            "lessons": [
                {"number": one.lesson.number, "seconds": one.seconds and round(one.seconds, 2)}
                for one in self.executed
            ],
        }


def default_site() -> Path:
    """Return where the site is built unless it is said otherwise."""
    return cache_folder() / "site"


def is_site(folder: Path) -> bool:
    """Return whether a folder holds a site that was built here."""
    return (folder / _STAMP).is_file()


def is_current(site: Path, source: Path | None = None) -> bool:
    """Return whether a whole site is there, made of the lessons and the library as they are."""
    try:
        stamp = json.loads((site / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    current = site_key(source or lessons_folder())
    return bool(stamp.get("key") == current and stamp.get("execution") != "never")


def build_site(
    out: Path | None = None,
    *,
    execution: Execution = "cached",
    source: Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Built:
    """Build the site.

    Parameters
    ----------
    out : Path, optional
        Folder to build: new, empty, or one that was built before. In the cache folder where not given.
    execution : {"cached", "always", "never"}
        Whether lessons are executed: those whose outputs are not in the cache, all, or none.
    source : Path, optional
        Folder of the lessons.
    progress : function
        Called with a line for each thing that is done.

    Raises
    ------
    InputError
        When a package or MathJax is missing, or `out` holds something else.
    LessonFailedError
        When a cell of a lesson fails.
    SiteError
        When Sphinx warns of anything: a link that leads nowhere, Markdown that it doesn't understand.
    """
    began = time.perf_counter()
    require_extra()
    source = source or lessons_folder()
    target = (out or default_site()).absolute()
    _check_target(target)
    there = lessons(source)
    key = site_key(source)
    packages = mathjax_folder(progress)
    outputs = cache_folder() / "outputs" / library_key()
    executed: list[Executed] = []
    if execution != "never":
        progress(f"executing {len(there)} lessons, as far as their outputs are not there already")
        executed = execute_lessons(
            there,
            outputs,
            again=execution == "always",
            report=lambda one: progress(str(one)),
        )
        _forget_old_outputs(outputs)
    progress("writing the pages")
    with _beside(target) as name:
        work = Path(name)
        _run_sphinx(source, work, packages, None if execution == "never" else outputs)
        stamp = {"key": key, "execution": execution, "lessons": len(there)}
        (work / "site" / _STAMP).write_text(json.dumps(stamp) + "\n", encoding="utf-8")
        _replace(target, work / "site")
    return Built(target, executed, time.perf_counter() - began)


def require_extra() -> None:
    """Raise InputError unless the packages of the extra `lessons` are installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"not installed, and needed for the lessons: {', '.join(missing)}; pip install 'senumpy[lessons]'"
        )


def _check_target(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()) and not is_site(target):
        raise InputError(f"--out: {target} holds other files; wanted a new folder, or one built before")
    if target.exists() and not target.is_dir():
        raise InputError(f"--out: {target} is a file; wanted a folder")


def _beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder on the disk of `target`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise InputError(f"--out: cannot write in {target.parent}: {error.strerror}") from None


def _run_sphinx(source: Path, work: Path, packages: Path, outputs: Path | None) -> None:
    """Write the pages to work/site; a warning is an error."""
    warnings = work / "warnings.txt"
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "-E", "-w", str(warnings)]
    if outputs is not None:
        command += ["-D", "nb_execution_mode=cache", "-D", f"nb_execution_cache_path={outputs}"]
    command += ["-d", str(work / "doctrees"), str(source), str(work / "site")]
    environment = {
        **os.environ,
        "SENUMPY_MATHJAX": str(packages),
        "PYTHONPYCACHEPREFIX": str(work / "pycache"),  # the lessons' folder may be read-only
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = warnings.read_text(encoding="utf-8").splitlines() if warnings.is_file() else []
    lines = [_located(line.replace(f"{source}{os.sep}", ""), source) for line in lines if line.strip()]
    if lines:
        raise SiteError("\n".join(lines))
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if re.match(r"[\w.]*(Error|Exception)\b", line)]
        raise SiteError("Sphinx: " + (errors or said or ["no message"])[-1])


def _located(warning: str, source: Path) -> str:
    """Return a warning with the line of the script, where myst-nb gives 10,000 cells + line."""
    found = re.match(r"(?P<name>\w+\.py):(?P<cell>\d+)(?P<line>\d{4}): [A-Z]+: (?P<what>.*)", warning)
    if not found or not (source / found["name"]).is_file():
        return warning
    text = (source / found["name"]).read_text(encoding="utf-8")
    marks = [number for number, line in enumerate(text.splitlines(), start=1) if line.startswith("# %%")]
    cell = int(found["cell"]) - 1
    line = marks[cell] + int(found["line"]) - 1 if 0 <= cell < len(marks) else 1
    return f"{found['name']}, near line {line}: {found['what']}"  # of the paragraph, or the next


def _replace(target: Path, site: Path) -> None:
    """Put the finished site in the target's place."""
    shutil.rmtree(site / ".doctrees", ignore_errors=True)
    if target.exists():
        old = site.parent / "old"
        target.rename(old)
    site.rename(target)


def _forget_old_outputs(current: Path) -> None:
    """Remove outputs made with states of the library long gone."""
    current.touch()
    kept = sorted(current.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[_KEPT_OUTPUTS:]:
        shutil.rmtree(path, ignore_errors=True)
