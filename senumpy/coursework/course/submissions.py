"""What students handed in: a folder or a ZIP file each, read as something that nobody has looked at yet.

Only regular files of modest size that end in .py or .ipynb, in any case, are read. Links are not followed,
paths that lead out of an archive are refused, an archive is never unpacked to disk, and no more than a limit
of bytes is taken out of it, whatever it says of itself.
"""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from senumpy.coursework.sandbox.outcome import clean
from senumpy.errors import InputError

ENDINGS = (".py", ".ipynb")
READ_OR_NAMED = (*ENDINGS, ".txt")  # text files are not read, but may be an answer misnamed
LIMITS = {".py": 1_000_000, ".ipynb": 20_000_000}  # bytes; notebooks hold figures
_TEXT = "is a text file, wanted Python or a notebook"
_ENTRIES = 2000  # files of one student
_ARCHIVE = 50_000_000  # bytes of a ZIP file
_IGNORED = ("__MACOSX", "__pycache__", ".ipynb_checkpoints", ".git", ".venv", "node_modules")


@dataclass(frozen=True)
class Handed:
    """One file of a student.

    Attributes
    ----------
    path : str
        Within the submission, with slashes.
    data : bytes
        Empty where `problem` says why it isn't read.
    problem : str
        One line, without the file's name; empty for a file that was read.
    """

    path: str
    data: bytes = b""
    problem: str = ""

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Submission:
    """What one student handed in: a name, files, and what is wrong with all of it, if anything is."""

    student: str
    files: list[Handed] = field(default_factory=list)
    problem: str = ""


def read_submissions(folder: Path, *, one: bool = False) -> tuple[list[Submission], list[str]]:
    """Find the submissions in a folder; return them, and the names of what lies there besides.

    Parameters
    ----------
    folder : Path
        With a folder or a ZIP file for each student.
    one : bool
        The folder, or .zip, is one student's.

    Raises
    ------
    InputError
        No such folder, or nothing in it.
    """
    if one and _is_archive(folder) and folder.is_file():
        return [_submission(folder, _shown(folder.stem), archive=True)], []
    if not folder.is_dir():
        lies = "a file" if folder.exists() else "nothing"
        raise InputError(f"{folder}: found {lies}, wanted a folder with a folder or .zip for each student")
    if one:
        return [_of_folder(folder, folder.resolve().name)], []
    found: dict[str, Submission] = {}  # by the name of a file, which has to be a student's alone
    besides: list[str] = []
    for path in sorted(folder.iterdir(), key=lambda path: (_is_archive(path), path.name)):
        archive = _is_archive(path)
        if path.name.startswith("."):
            if path.is_dir() and path.name not in _IGNORED:
                besides.append(f"{clean(path.name, lines=False)} (begins with a dot)")
            continue
        if path.name in _IGNORED:
            continue
        if not archive and not path.is_dir():
            besides.append(clean(path.name, lines=False))
            continue
        student = _shown(path.stem if archive else path.name)
        if _key(student) in found:  # a folder and an archive of one name
            student = _shown(path.name)
        plain, number = student, 1
        while _key(student) in found:
            number += 1
            student = f"{plain}-{number}"
        found[_key(student)] = _submission(path, student, archive)
    if not found:
        hint = f"; {besides[0]} lies there: is it one student's? Then add --one" if besides else ""
        raise InputError(f"{folder}: no submissions, wanted a folder or .zip for each student{hint}")
    return sorted(found.values(), key=lambda given: given.student), besides


def file_name(student: str) -> str:
    """Return a name for a student's file that every system accepts."""
    return "".join("_" if c in '/\\:*?"<>|' else c for c in student).strip(". ") or "_"


def _key(student: str) -> str:
    """Return the same for names that some system takes for the same file's."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", file_name(student)).casefold())


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _submission(path: Path, student: str, archive: bool) -> Submission:
    if path.is_symlink():
        return Submission(student, problem=f"{path.name} is a link, wanted a folder or a ZIP file")
    if not archive or path.is_dir():
        return _of_folder(path, student)
    files, problem = _of_archive(path)
    return Submission(student, files, problem)


def _of_folder(folder: Path, student: str) -> Submission:
    files: list[Handed] = []
    archives: list[Path] = []
    count = 0

    def unreadable(error: OSError) -> None:
        files.append(Handed(_relative(Path(error.filename), folder), problem="can't be opened"))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if name not in _IGNORED)
        for name in sorted([*names, *folders]):
            count += 1
            if count > _ENTRIES:
                return Submission(student, problem=f"more than {_ENTRIES} files were handed in")
            path = Path(place, name)
            if path.suffix.lower() in READ_OR_NAMED:
                files.append(_read(path, _relative(path, folder)))
            elif _is_archive(path) and name in names:
                archives.append(path)
    if (
        not any(file.name.lower().endswith(ENDINGS) for file in files) and archives
    ):  # as learning platforms deliver it
        files, problem = _of_archive(archives[0])
        return Submission(student, files, problem)
    return Submission(student, sorted(files, key=_depth))


def _read(path: Path, name: str) -> Handed:
    limit = LIMITS.get(path.suffix.lower())
    if limit is None:
        return Handed(name, problem=_TEXT)
    try:
        # Not followed if a link, not waited for if a pipe.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        kind = path.lstat().st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "a link" if stat.S_ISLNK(kind) else "no plain file"
            return Handed(name, problem=f"is {what}, wanted a file")
        with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                return Handed(name, problem=_too_large(size, limit))
            return Handed(name, file.read(limit))
    except OSError as error:
        return Handed(name, problem=f"can't be read: {error.strerror}")


def _of_archive(path: Path) -> tuple[list[Handed], str]:
    """Return the files in a ZIP file, and what is wrong with the whole of it."""
    name = clean(path.name, lines=False)
    files: list[Handed] = []
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return [], f"{name} is no plain file, wanted a ZIP file"
        if path.stat().st_size > _ARCHIVE:
            return [], f"{name}: {_too_large(path.stat().st_size, _ARCHIVE)}"
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > _ENTRIES:
                return [], f"{name} holds more than {_ENTRIES} files"
            for entry in entries:
                inner = _inner(entry)
                if inner is None:
                    return [], f"{name} holds the path {_shown(entry.filename)!r}, which leads out of it"
                if inner.suffix.lower() in READ_OR_NAMED and not set(inner.parts) & set(_IGNORED):
                    files.append(_extract(archive, entry, str(inner)))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        return [], f"{name} can't be read as a ZIP file: {' '.join(str(error).split())[:100]}"
    return sorted(files, key=_depth), ""


def _inner(entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """Return the path of an entry; None for one that leads out of the archive."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        return None
    return PurePosixPath(_shown(str(path)))


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Handed:
    limit = LIMITS.get(PurePosixPath(name).suffix.lower())
    if limit is None:
        return Handed(name, problem=_TEXT)
    if stat.S_ISLNK(entry.external_attr >> 16):
        return Handed(name, problem="is a link, wanted a file")
    if entry.is_dir():
        return Handed(name, problem="is a folder, wanted a file")
    if entry.flag_bits & 1:
        return Handed(name, problem="is encrypted, wanted a file that can be read")
    if entry.file_size > limit:
        return Handed(name, problem=_too_large(entry.file_size, limit))
    try:
        with archive.open(entry) as file:
            data = file.read(limit + 1)  # the size that it gives of itself may be wrong
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return Handed(name, problem="is damaged in the ZIP file")
    return Handed(name, problem=_too_large(len(data), limit)) if len(data) > limit else Handed(name, data)


def _too_large(size: int, limit: int) -> str:
    return f"{size / 1e6:.1f} MB, wanted at most {limit / 1e6:g} MB: is it the right file?"


def _relative(path: Path, folder: Path) -> str:
    return _shown(path.relative_to(folder).as_posix())


def _depth(file: Handed) -> tuple[int, str]:
    return file.path.count("/"), file.path


def _shown(name: str) -> str:
    """Return a name that can be printed, stored as UTF-8, and used for a file."""
    plain = clean(name.encode(errors="replace").decode(), lines=False)
    return plain.encode()[:200].decode(errors="ignore") or "?"
