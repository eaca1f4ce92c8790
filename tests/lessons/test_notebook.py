"""Lessons as notebooks that JupyterLab shows as they are meant."""

from __future__ import annotations

import json

import pytest

from senumpy.errors import InputError
from senumpy.lessons.catalogue import read
from senumpy.lessons.notebook import for_jupyter, write_notebook
from tests.lessons.conftest import LESSONS, small_lesson

pytest.importorskip("jupytext", reason="notebooks need the extra lessons")


def test_markdown_for_jupyter():
    assert for_jupyter("See {py:func}`senumpy.ops.scale_backward`.") == "See `senumpy.ops.scale_backward`."
    assert for_jupyter("See {py:func}`the gradient <senumpy.ops.x>`.") == "See `the gradient`."
    assert for_jupyter("[see](12_excitation.py#the-gate)") == "[see](12_excitation.ipynb#the-gate)"
    answer = "1. Why?\n\n   :::{admonition} Answer\n   :class: dropdown\n   So, $x$.\n   :::\n"
    shown = for_jupyter(answer)
    assert "<details><summary>Answer</summary>" in shown
    assert "So, $x$." in shown
    assert ":::" not in shown


def test_a_notebook_is_written_once(tmp_path):
    lesson = read(small_lesson(tmp_path, 13, "scale", "x = 1"))
    path = write_notebook(lesson, tmp_path / "new" / "folder")
    notebook = json.loads(path.read_text())
    assert [cell["cell_type"] for cell in notebook["cells"]] == ["markdown", "code"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    path.write_text("a reader's work")
    assert write_notebook(lesson, path.parent) == path
    assert path.read_text() == "a reader's work"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out: cannot write"):
        write_notebook(lesson, tmp_path / "file")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_no_lesson_shows_myst_to_jupyter(path, tmp_path):
    notebook = json.loads(write_notebook(read(path), tmp_path).read_text())
    text = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    for sign in (":::", "{py:", ":class:", ".py)"):
        assert sign not in text
