"""`senumpy lessons` from the command line: what it prints, and refusals in one line with status 2."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from senumpy.cli import main
from senumpy.lessons import build, catalogue, serve
from senumpy.lessons.build import Built
from senumpy.lessons.execute import LessonFailedError
from tests.lessons.conftest import ROOT, small_lesson


def refused(capsys, *arguments: str) -> str:
    try:
        status = main(["lessons", *arguments])
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("senumpy")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def made_site(tmp_path, monkeypatch) -> Path:
    """Return a site that was made by hand, which the commands take for current."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "senumpy-lessons.json").write_text("{}")
    (site / "index.html").write_text("<h1>Lessons</h1>")
    monkeypatch.setattr(build, "default_site", lambda: site)
    monkeypatch.setattr(build, "is_current", lambda site: True)
    return site


def test_list(capsys):
    assert main(["lessons", "list"]) == 0
    printed = capsys.readouterr().out
    assert "\n13. Scale, and the gradient's two paths (" in printed
    assert max(map(len, printed.splitlines())) <= 100
    for sign in ("$", "`", "**", "{py:"):
        assert sign not in printed
    assert main(["lessons", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["lessons"]
    assert [lesson["number"] for lesson in found] == list(range(1, 21))
    assert all(Path(lesson["script"]).is_file() for lesson in found)


def test_unknown_numbers(capsys):
    assert "no lesson 21: wanted one of 1 to 20; see senumpy lessons list" in refused(capsys, "open", "21")
    assert "no lesson 0" in refused(capsys, "open", "0", "--notebook")
    assert "invalid int value: 'scale'" in refused(capsys, "open", "scale")


def test_options_that_do_not_go_together(capsys, made_site):
    assert "--out goes with --notebook" in refused(capsys, "open", "13", "--out", "folder")
    assert "invalid choice: 'often'" in refused(capsys, "build", "--execute", "often")


def test_missing_packages(capsys, monkeypatch):
    monkeypatch.setattr(build, "_NEEDED", ("no_such_package",))
    for arguments in (["build"], ["open", "13", "--notebook"]):
        assert "pip install 'senumpy[lessons]'" in refused(capsys, *arguments)


def test_build(capsys, tmp_path, monkeypatch):
    lesson = catalogue.read(small_lesson(tmp_path, 13, "scale", "x = 1"))

    def built(out, *, execution, progress):
        assert (out, execution) == (tmp_path / "out", "always")
        progress("lesson 13, A small lesson: 1.0 s")
        return Built(out, [build.Executed(lesson, 1.0)], 2.4)

    monkeypatch.setattr(build, "build_site", built)
    arguments = ["lessons", "build", "--out", str(tmp_path / "out"), "--execute", "always"]
    assert main(arguments) == 0
    assert capsys.readouterr() == (
        f"{tmp_path / 'out' / 'index.html'} (2 s)\n", "lesson 13, A small lesson: 1.0 s\n"
    )  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["lessons"] == [{"number": 13, "seconds": 1.0}]
    assert err == ""
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_failed_lesson_is_a_check_that_did_not_hold(capsys, monkeypatch):
    def fails(*_, **__):
        raise LessonFailedError("lesson 1, code cell 2: wrong\nlesson 3, code cell 4: wrong")

    monkeypatch.setattr(build, "build_site", fails)
    assert main(["lessons", "build"]) == 1
    lines = "senumpy: lesson 1, code cell 2: wrong\nsenumpy: lesson 3, code cell 4: wrong\n"
    assert capsys.readouterr() == ("", lines)
    monkeypatch.setattr(build, "is_current", lambda site: False)
    assert main(["lessons", "open", "13"]) == 1


@pytest.mark.parametrize("there", [True, False])
def test_open(capsys, monkeypatch, made_site, there):
    asked = []
    monkeypatch.setattr(serve.webbrowser, "open", lambda address: bool(asked.append(address)) or there)
    assert main(["lessons", "open", "13"]) == 0
    page = made_site / "13_scale.html"
    assert asked == [page.resolve().as_uri()]
    printed = capsys.readouterr().out
    assert printed.startswith(f"{page}\n")
    assert ("no browser found" in printed) == (not there)


def test_open_builds_where_that_is_needed(monkeypatch, made_site, tmp_path):
    built = []
    monkeypatch.setattr(build, "is_current", lambda site: False)
    monkeypatch.setattr(
        build, "build_site", lambda out, **_: built.append(out) or Built(tmp_path / "new", [], 1.0)
    )
    asked = []
    monkeypatch.setattr(serve.webbrowser, "open", lambda address: bool(asked.append(address)))
    assert main(["lessons", "open", "13"]) == 0
    assert built == [None]
    assert asked == [(tmp_path / "new" / "13_scale.html").as_uri()]


@pytest.mark.parametrize("jupyter", [True, False])
def test_open_as_notebook(capsys, monkeypatch, tmp_path, jupyter):
    pytest.importorskip("jupytext", reason="notebooks need the extra lessons")
    monkeypatch.setattr(build, "_NEEDED", ())
    monkeypatch.setattr(serve, "has_jupyterlab", lambda: jupyter)
    started = []
    monkeypatch.setattr(serve, "start_jupyterlab", lambda notebook: bool(started.append(notebook)) + 0)
    arguments = ["lessons", "open", "13", "--notebook", "--out", str(tmp_path)]
    assert main(arguments) == 0
    notebook = tmp_path / "13_scale.ipynb"
    assert json.loads(notebook.read_text())["nbformat"] == 4
    printed = capsys.readouterr().out
    assert f"{notebook} written" in printed
    assert started == ([notebook] if jupyter else [])
    assert ("pip install jupyterlab" in printed) == (not jupyter)
    assert main(arguments) == 0
    assert "was there and is left as it is" in capsys.readouterr().out


def test_ports(capsys, made_site):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert f"--port: {port} is in use; wanted another" in refused(capsys, "serve", "--port", port)
    assert "wanted 0 to 65535" in refused(capsys, "serve", "--port", "70000")
    assert "wanted 0 to 65535" in refused(capsys, "serve", "--port", "-1")


def test_a_folder_that_is_no_site(capsys, tmp_path):
    assert "--site: " in refused(capsys, "serve", "--site", str(tmp_path), "--port", "0")


def test_serving_is_for_this_machine_alone(made_site):
    (made_site.parent / "secret").write_text("secret")
    with serve.server(made_site, 0) as running:
        assert running.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{running.server_address[1]}"
        with urllib.request.urlopen(f"{address}/index.html") as answer:
            assert answer.read() == b"<h1>Lessons</h1>"
            assert answer.headers["Cache-Control"] == "no-cache"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{address}/../secret")
        assert caught.value.code == 404
        caught.value.close()
        running.shutdown()
        thread.join()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_serving_quietly(made_site):
    command = [sys.executable, "-m", "senumpy", "lessons", "serve", "--site", str(made_site), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        line = process.stdout.readline()
        assert line.endswith("/ (Ctrl-C ends)\n")
        with urllib.request.urlopen(line.split()[0]) as answer:
            assert b"Lessons" in answer.read()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err.strip()) == (0, "")
