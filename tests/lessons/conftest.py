"""What the tests of lessons share: the real lessons, and small ones in folders of their own."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "lessons").glob("[0-9]*_*.py"))

SMALL = """\
# ---
# jupyter:
#   jupytext:
#     text_representation: {{extension: .py, format_name: percent}}
#   kernelspec: {{display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # {number}. A small lesson
#
# **Question.** What is $x_{{nc}}$, and `why`
# not {{py:func}}`senumpy.ops.scale_forward`?
#
# *Paper: section 3.2, equation 4; figure 1.*  Reading time: 12 minutes.

# %%
{code}
"""


def small_lesson(folder: Path, number: int, name: str, code: str) -> Path:
    path = folder / f"{number:02}_{name}.py"
    path.write_text(SMALL.format(number=number, code=code), encoding="utf-8")
    return path


@pytest.fixture
def small_site(tmp_path, monkeypatch) -> Path:
    """Return the source of a site of two small lessons and a page; skip without what Sphinx needs."""
    from senumpy.errors import InputError
    from senumpy.lessons.build import require_extra
    from senumpy.lessons.mathjax import mathjax_folder

    try:
        require_extra()
        packages = mathjax_folder()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("SENUMPY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SENUMPY_MATHJAX", str(packages))
    source = tmp_path / "lessons"
    source.mkdir()
    for name in ("conf.py", "_ext", "_static"):
        copy = shutil.copytree if (ROOT / "lessons" / name).is_dir() else shutil.copyfile
        copy(ROOT / "lessons" / name, source / name)
    small_lesson(source, 1, "first", "print(6 * 7)")
    small_lesson(source, 13, "second", "from senumpy import lessons, ops\n\nlessons.show(ops.scale_backward)")
    (source / "index.md").write_text(
        "# Small\n\n:::{lesson-part} 1-20\nAll\n:::\n\n:::{op-module} scale\n:::\n", encoding="utf-8"
    )
    return source


def has(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)
