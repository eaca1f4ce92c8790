"""What is handed in is read without trust, and every oddity is one clear line for one exercise."""

from __future__ import annotations

import io
import os
import stat
import unicodedata
import zipfile

import pytest

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course.answers import find_answers
from senumpy.coursework.course.settings import Course
from senumpy.coursework.course.submissions import Submission, file_name, read_submissions
from senumpy.errors import InputError

NAMES = ("relu_backward", "conv2d_forward", "conv2d_backward")
COURSE = Course("Test", dict.fromkeys(NAMES, 1), 0)
KNOWN = {name: exercises()[name] for name in NAMES}
BLANK = dict.fromkeys(NAMES, b"blank")
RIGHT = b"def relu_backward(dy, cache):\n    pass\n"


def answers_of(folder, course=COURSE):
    (submission,), _ = read_submissions(folder)
    found = find_answers(submission, course, KNOWN, BLANK)
    return {answer.exercise: answer for answer in found}


def put(folder, files):
    for name, data in files.items():
        path = folder / "ada" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def archive(path, files, **how):
    with zipfile.ZipFile(path, "w", **how) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def test_files_are_found_at_the_top_and_deeper_down(tmp_path):
    found = answers_of(put(tmp_path, {"relu_backward.py": RIGHT, "week/conv2d_forward.py": b"x"}))
    assert found["relu_backward"].data == RIGHT
    assert found["conv2d_forward"].data == b"x"
    assert found["conv2d_backward"].data is None
    assert found["conv2d_backward"].problem == "no file conv2d_backward.py was handed in"
    assert found["conv2d_backward"].absent


def test_an_archive_is_read_like_a_folder(tmp_path):
    archive(tmp_path / "ada.zip", {"hw/relu_backward.py": RIGHT, "__MACOSX/._conv2d_forward.py": b"x"})
    found = answers_of(tmp_path)
    assert found["relu_backward"].data == RIGHT
    assert found["conv2d_forward"].data is None


def test_an_archive_inside_a_student_folder_is_read(tmp_path):
    (tmp_path / "ada").mkdir()
    archive(tmp_path / "ada" / "upload.zip", {"relu_backward.py": RIGHT})
    assert answers_of(tmp_path)["relu_backward"].data == RIGHT


WRONG_NAMES = {
    "conv2d_bakward.py": "conv2d_backward",
    "Conv2d_backward (1).py": "conv2d_backward",
    "conv2d_backward - Copy.py": "conv2d_backward",
    "conv2d-backward.py": "conv2d_backward",
    "ada_123_conv2d_backward_final.py": "conv2d_backward",
    "conv2d_forwards.py": "conv2d_forward",
    "CONV2D_FORWARD.PY.py": "conv2d_forward",
    "relubackward.py": "relu_backward",
    "CONV2D_FORWARD.PY": "conv2d_forward",
    "conv2d_forward.txt": "conv2d_forward",
    "conv2d_forward.py.txt": "conv2d_forward",
    "Conv2d_Forward.IPYNB": "conv2d_forward",
}


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_a_wrong_name_is_recognised_and_gets_one_line(tmp_path, name):
    meant = WRONG_NAMES[name]
    found = answers_of(put(tmp_path, {name: b"x"}))
    assert found[meant].data is None
    assert not found[meant].absent
    assert (
        found[meant].problem
        == f"found {name}, wanted {meant}.py: give the file that name and hand it in again"
    )
    others = [found[other] for other in NAMES if other != meant]
    assert all(other.absent and "no file" in other.problem for other in others)


def test_other_files_are_named_where_one_is_missing(tmp_path):
    found = answers_of(put(tmp_path, {"notes.py": b"x", "relu_backward.py": RIGHT}))
    assert found["conv2d_forward"].problem.endswith("was handed in; other files are notes.py")
    assert found["relu_backward"].data == RIGHT


def test_a_file_is_meant_for_one_exercise_only(tmp_path):
    found = answers_of(put(tmp_path, {"conv2d_forwad.py": b"x"}))
    assert "found conv2d_forwad.py" in found["conv2d_forward"].problem
    assert "found" not in found["conv2d_backward"].problem


def test_a_file_that_was_begun_goes_before_an_untouched_one(tmp_path):
    found = answers_of(put(tmp_path, {"relu_backward.py": b"blank\n", "deeper/relu_backward.py": RIGHT}))
    assert found["relu_backward"].data == RIGHT
    assert found["relu_backward"].note == ""


def test_of_two_different_files_the_upper_one_is_graded_and_that_is_said(tmp_path):
    found = answers_of(put(tmp_path, {"relu_backward.py": RIGHT, "old/relu_backward.py": b"x"}))
    assert found["relu_backward"].data == RIGHT
    assert "relu_backward.py was graded, not old/relu_backward.py" in found["relu_backward"].note


def test_a_folder_a_link_a_pipe_in_place_of_a_file(tmp_path):
    (tmp_path / "secret").write_text("secret")
    submissions = tmp_path / "in"
    (submissions / "ada" / "relu_backward.py").mkdir(parents=True)
    (submissions / "ada" / "conv2d_forward.py").symlink_to(tmp_path / "secret")
    os.mkfifo(submissions / "ada" / "conv2d_backward.py")
    found = answers_of(submissions)
    assert found["relu_backward"].problem == "relu_backward.py is a folder, wanted a file"
    assert found["conv2d_forward"].problem == "conv2d_forward.py is a link, wanted a file"
    assert found["conv2d_backward"].problem == "conv2d_backward.py is no plain file, wanted a file"


def test_a_link_for_a_whole_submission_is_refused(tmp_path):
    (tmp_path / "eve").symlink_to("/etc")
    submissions, _ = read_submissions(tmp_path)
    assert submissions == [Submission("eve", problem="eve is a link, wanted a folder or a ZIP file")]


def test_a_file_of_100_megabytes_is_not_read(tmp_path):
    put(tmp_path, {"relu_backward.py": b"", "conv2d_forward.py": b"x"})
    with (tmp_path / "ada" / "relu_backward.py").open("wb") as file:
        file.truncate(100_000_000)
    found = answers_of(tmp_path)
    line = "relu_backward.py: 100.0 MB, wanted at most 1 MB: is it the right file?"
    assert found["relu_backward"].problem == line
    assert found["conv2d_forward"].data == b"x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path):
    put(tmp_path, {"relu_backward.py": RIGHT})
    (tmp_path / "ada" / "relu_backward.py").chmod(0)
    assert "can't be read: Permission denied" in answers_of(tmp_path)["relu_backward"].problem


def test_a_bomb_of_an_archive_costs_no_memory(tmp_path):
    bomb = {"relu_backward.py": bytes(300_000_000), "conv2d_forward.py": b"x"}
    archive(tmp_path / "ada.zip", bomb, compression=zipfile.ZIP_DEFLATED)
    found = answers_of(tmp_path)
    assert "300.0 MB, wanted at most 1 MB" in found["relu_backward"].problem
    assert found["conv2d_forward"].data == b"x"


def test_an_archive_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path):
    data = io.BytesIO()
    archive(data, {"relu_backward.py": bytes(5_000_000)}, compression=zipfile.ZIP_DEFLATED)
    raw = data.getvalue().replace((5_000_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    (tmp_path / "ada.zip").write_bytes(raw)
    assert answers_of(tmp_path)["relu_backward"].problem == "relu_backward.py is damaged in the ZIP file"


@pytest.mark.parametrize("name", ["../relu_backward.py", "/etc/x.py", "a/../../x.py", "..\\x.py", "C:\\x.py"])
def test_an_archive_with_a_path_out_of_it_is_refused(tmp_path, name):
    archive(tmp_path / "ada.zip", {name: b"x", "relu_backward.py": RIGHT})
    found = answers_of(tmp_path)
    assert all("which leads out of it" in answer.problem for answer in found.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ada.zip"]


def test_a_link_in_an_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "ada.zip", "w") as file:
        entry = zipfile.ZipInfo("relu_backward.py")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    assert answers_of(tmp_path)["relu_backward"].problem == "relu_backward.py is a link, wanted a file"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and more", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_or_empty_archive(tmp_path, data):
    (tmp_path / "ada.zip").write_bytes(data)
    for answer in answers_of(tmp_path).values():
        assert answer.data is None
        assert "ada.zip can't be read as a ZIP file" in answer.problem or "no file" in answer.problem


def test_an_encrypted_archive(tmp_path):
    archive(tmp_path / "ada.zip", {"relu_backward.py": RIGHT})
    raw = bytearray((tmp_path / "ada.zip").read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + at] |= 1
    (tmp_path / "ada.zip").write_bytes(raw)
    assert "relu_backward.py is encrypted" in answers_of(tmp_path)["relu_backward"].problem


def test_too_many_files(tmp_path):
    archive(tmp_path / "ada.zip", {f"{i}.py": b"" for i in range(2001)})
    assert "holds more than 2000 files" in answers_of(tmp_path)["relu_backward"].problem


def test_names_cannot_move_the_terminal(tmp_path):
    (tmp_path / "a\033[2Jb\n").mkdir()
    (submission,), _ = read_submissions(tmp_path)
    assert submission.student == "a?[2Jb "


def test_a_folder_and_an_archive_of_one_name_are_two(tmp_path):
    (tmp_path / "ada").mkdir()
    archive(tmp_path / "ada.zip", {"relu_backward.py": RIGHT})
    submissions, _ = read_submissions(tmp_path)
    assert [given.student for given in submissions] == ["ada", "ada.zip"]


def test_what_lies_besides_is_named(tmp_path):
    put(tmp_path, {"relu_backward.py": RIGHT})
    (tmp_path / "roster.csv").touch()
    (tmp_path / ".DS_Store").touch()
    assert read_submissions(tmp_path)[1] == ["roster.csv"]


def test_one_folder_of_one_student(tmp_path):
    put(tmp_path, {"relu_backward.py": RIGHT})
    (submission,), _ = read_submissions(tmp_path / "ada", one=True)
    assert submission.student == "ada"
    assert [file.name for file in submission.files] == ["relu_backward.py"]


@pytest.mark.parametrize(
    ("names", "students"),
    [
        (["new\nline", "new line"], ["new line", "new line-2"]),
        (["Ann", "Ann."], ["Ann", "Ann.-2"]),
        (["a:b", "a?b"], ["a:b", "a?b-2"]),
        (["Bo", "bo", "BO"], ["BO", "Bo-2", "bo-3"]),
        (["e\u0301va", "\u00e9va"], ["e\u0301va", "\u00e9va-2"]),
        (["x", "x-2", "X"], ["X", "x-2", "x-2-2"]),
        (["\u00fc" * 120, "\u00fc" * 121], None),
    ],
)
def test_students_of_nearly_the_same_name_are_as_many(tmp_path, names, students):
    try:
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "relu_backward.py").write_text(name)
    except OSError:
        pytest.skip("this file system takes them for the same")
    found, _ = read_submissions(tmp_path)
    assert students is None or [given.student for given in found] == students
    assert {given.files[0].data.decode() for given in found} == set(names)
    files = [file_name(given.student) for given in found]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in files}) == len(names)
    assert max(len(name.encode()) for name in files) < 240


def test_folders_that_begin_with_a_dot_are_named(tmp_path):
    put(tmp_path, {"relu_backward.py": RIGHT})
    (tmp_path / ".bob").mkdir()
    (tmp_path / ".git").mkdir()
    assert read_submissions(tmp_path)[1] == [".bob (begins with a dot)"]


def test_one_archive_of_one_student(tmp_path):
    archive(tmp_path / "ada.zip", {"relu_backward.py": RIGHT})
    (submission,), _ = read_submissions(tmp_path / "ada.zip", one=True)
    assert submission.student == "ada"
    assert [file.data for file in submission.files] == [RIGHT]


def test_a_text_beside_an_archive_does_not_hide_it(tmp_path):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "readme.txt").write_text("see the archive")
    archive(tmp_path / "ada" / "upload.zip", {"relu_backward.py": RIGHT})
    assert answers_of(tmp_path)["relu_backward"].data == RIGHT


def test_no_submissions_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no submissions"):
        read_submissions(tmp_path)
    (tmp_path / "relu_backward.py").touch()
    with pytest.raises(
        InputError, match=r"relu_backward\.py lies there: is it one student's\? Then add --one"
    ):
        read_submissions(tmp_path)
    with pytest.raises(InputError, match="found a file, wanted a folder"):
        read_submissions(tmp_path / "relu_backward.py")
    with pytest.raises(InputError, match="found nothing, wanted a folder"):
        read_submissions(tmp_path / "no")
