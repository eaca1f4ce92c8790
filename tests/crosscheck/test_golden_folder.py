"""Where golden vectors are written: nothing of others is touched, nothing is left half done."""

from __future__ import annotations

import re

import pytest

from senumpy.crosscheck.golden import check_golden, load_golden, write_golden
from senumpy.errors import InputError


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("hello")
    with pytest.raises(InputError, match=r"holds 'thesis.tex' and is no golden folder: give a new folder"):
        write_golden(tmp_path, "relu")
    (tmp_path / "manifest.json").write_text('{"name": "my web page"}')
    with pytest.raises(InputError, match=r"manifest.json: field format: found None, wanted 'senumpy golden'"):
        write_golden(tmp_path, "relu")
    assert (tmp_path / "thesis.tex").read_text() == "hello"
    with pytest.raises(InputError, match="cannot be a golden folder: Not a directory"):
        write_golden(tmp_path / "thesis.tex", "relu")


def test_a_golden_folder_is_replaced_whole(tmp_path):
    write_golden(tmp_path / "a", "relu,linear")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    write_golden(tmp_path / "a", ["relu"])
    write_golden(tmp_path / "b", "relu")
    mine = files_of(tmp_path / "a")
    assert mine.pop("notes.txt") == b"mine"
    assert mine == files_of(tmp_path / "b")


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError("cannot save: No space left on device")])
def test_broken_off_leaves_nothing_or_an_unfinished_set(tmp_path, monkeypatch, error):
    from senumpy.crosscheck.golden import write

    real, count = write.save_tensors, [0]

    def fails(path, tensors, metadata=None):
        count[0] += 1
        if count[0] == 7:
            raise error
        real(path, tensors, metadata)

    new, old, empty = tmp_path / "new", tmp_path / "old", tmp_path / "empty"
    write_golden(old, "relu")
    empty.mkdir()
    monkeypatch.setattr(write, "save_tensors", fails)
    for folder in (new, old, empty):
        count[0] = 0
        with pytest.raises((KeyboardInterrupt, InputError)):
            write_golden(folder, "relu")
    assert not new.exists()
    assert list(empty.iterdir()) == []
    assert not (old / "manifest.json").exists()
    for call in (load_golden, check_golden):
        with pytest.raises(
            InputError, match="writing this set was broken off: run `senumpy golden write` once more"
        ):
            call(old)
    monkeypatch.setattr(write, "save_tensors", real)
    write_golden(old, "relu")
    assert check_golden(old).ok


def test_bad_arguments(tmp_path):
    for arguments, message in [
        ({"ops": "conv3d"}, "unknown operation 'conv3d': did you mean 'conv2d'"),
        ({"ops": " , "}, 'got no operation, wanted "all" or names'),
        ({"ops": "relu", "seed": -1}, "seed: got -1"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            write_golden(tmp_path / "a", **arguments)
    assert not (tmp_path / "a").exists()
    write_golden(tmp_path / "a", "relu")
    cases = load_golden(tmp_path / "a")
    with pytest.raises(InputError, match="unknown case 'relu-99'"):
        cases["relu-99"]


def test_progress_is_told(tmp_path):
    told = []
    write_golden(tmp_path, ["relu,tanh"], progress=lambda *at: told.append(at))
    assert told == [(0, 2, "relu"), (1, 2, "tanh"), (2, 2, "")]
