"""The engine's module `sources`, loaded by itself: the package around it can't be imported without CuPy."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "senumpy" / "engines" / "cupy"

_spec = importlib.util.spec_from_file_location("tests.cuda.loaded_sources", FOLDER / "sources.py")
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)

FILES, MACROS, THREADS, WIDTHS = _module.FILES, _module.MACROS, _module.THREADS, _module.WIDTHS
Build, every_build = _module.Build, _module.every_build
