"""Where the site and what belongs to it is kept between calls, and what a kept thing was made of."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import tempfile
from pathlib import Path

from senumpy.errors import InputError

# Packages whose version shows in the lessons' outputs or in the site.
_OUTPUTS = ("numpy", "matplotlib", "scikit-learn", "numba", "ipykernel", "nbclient")
_SITE = ("sphinx", "myst-nb", "myst-parser", "furo", "jupytext")


def cache_folder() -> Path:
    """Return the folder for what can be made again: $SENUMPY_CACHE_DIR, $XDG_CACHE_HOME or ~/.cache.

    Raises
    ------
    InputError
        When it cannot be written.
    """
    base = os.environ.get("SENUMPY_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "senumpy" / "lessons"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (RuntimeError, OSError) as error:  # no home directory; no permission
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot write the cache folder of the lessons ({reason}): set SENUMPY_CACHE_DIR to another"
        ) from None


def library_key() -> str:
    """Return a hash of what the lessons' outputs depend on: the library's sources and its versions."""
    package = Path(__file__).parent.parent
    hashed = hashlib.sha256()
    # The lessons use everything but the command line and what builds their own site.
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".cu", ".h")):
        folder, *rest = path.relative_to(package).parts
        if (not rest and folder.startswith(("cli", "commands"))) or folder == "coursework":
            continue
        if folder == "lessons" and rest not in (["display.py"], ["timing.py"]):
            continue
        hashed.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    hashed.update(" ".join([platform.python_version(), *_versions(_OUTPUTS)]).encode())
    return hashed.hexdigest()[:16]


def site_key(folder: Path) -> str:
    """Return a hash of everything that the site is made of."""
    hashed = hashlib.sha256(library_key().encode())
    builders = [*Path(__file__).parent.glob("*.py")]
    sources = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in sorted([*builders, *sources]):
        hashed.update(path.name.encode() + b"\0" + path.read_bytes())
    hashed.update(" ".join(_versions(_SITE)).encode())
    return hashed.hexdigest()[:16]


def _versions(packages: tuple[str, ...]) -> list[str]:
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    return versions
