"""Files by name from a folder, a zip or a tar archive, without unpacking, from any thread."""

from __future__ import annotations

import os
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from threading import Lock

from senumpy.data.messages import one_line
from senumpy.errors import InputError

_DEEPEST = 6  # levels of folders searched: no data set is deeper, and a whole disk is never walked
_LARGEST = 2 << 30  # bytes taken from one archive member (all members of a tar): no zip bombs


class Tree(ABC):
    """The files below `root`, named by relative paths with slashes, sorted; hidden ones left out."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        self.names = tuple(sorted(name for name in names if not _is_hidden(name)))

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return a file's bytes; InputError when they cannot be had."""

    def where(self, name: str) -> str:
        """Return a file's name for messages."""
        return f"{self.root}/{name}"

    def folder_with(self, file_names: Iterable[str]) -> str | None:
        """Return the one folder that holds any of `file_names` ("" for the root), or None.

        Raises
        ------
        InputError
            When several folders do.
        """
        wanted = set(file_names)
        paths = (PurePosixPath(name) for name in self.names)
        folders = sorted({str(path.parent) for path in paths if path.name in wanted})
        if len(folders) > 1:
            raise InputError(
                f"{self.root}: holds several data sets, in {', '.join(folders)}: give one of them"
            )
        return None if not folders else "" if folders[0] == "." else f"{folders[0]}/"


class Folder(Tree):
    """A folder on disk."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, _walk(root))

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {self.where(name)}: {error.strerror or error}") from error


class ZipArchive(Tree):
    """A zip file. Threads share one handle, so one at a time reads; decoding, the longer part, is outside."""

    def __init__(self, root: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(root)
        except Exception as error:  # a damaged directory raises nearly anything
            raise InputError(f"{root}: not a whole zip file: {one_line(error)}") from error
        self._lock = Lock()
        super().__init__(root, (info.filename for info in self._zip.infolist() if not info.is_dir()))

    def read(self, name: str) -> bytes:
        """Return a file's bytes, unpacked and checked against its checksum."""
        if (size := self._zip.getinfo(name).file_size) > _LARGEST:
            raise InputError(f"{self.where(name)}: unpacks to {size} bytes, wanted at most {_LARGEST}")
        try:
            with self._lock:
                return self._zip.read(name)
        except Exception as error:  # bad checksum, end of file, zlib, encryption, unknown compression, ...
            raise InputError(
                f"{self.where(name)}: cannot be read from the zip file: {one_line(error)}"
            ) from error


class TarArchive(Tree):
    """A tar file, plain or compressed. It has no directory to jump by, so it is read once, into memory."""

    def __init__(self, root: Path) -> None:
        self._files: dict[str, bytes] = {}
        try:
            with tarfile.open(root) as archive:
                for name, data in _members(archive, root):
                    self._files[name] = data
        except InputError:
            raise
        except Exception as error:  # gzip, bz2, lzma and tar each have their own errors
            raise InputError(f"{root}: not a whole tar file: {one_line(error)}") from error
        super().__init__(root, self._files)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return self._files[name]


def open_tree(path: Path) -> Tree:
    """Open a folder or an archive.

    Raises
    ------
    InputError
        For a file that is neither zip nor tar.
    """
    if path.is_dir():
        return Folder(path)
    if path.suffix.lower() == ".zip":
        return ZipArchive(path)
    if path.name.lower().endswith((".tar", ".tar.gz", ".tgz")):
        return TarArchive(path)
    raise InputError(f"{path}: not a data set: wanted a folder, a .zip, a .tar.gz or an .npz file")


def _walk(root: Path) -> Iterator[str]:
    base = os.fspath(root)
    for folder, subfolders, files in os.walk(base, followlinks=True):
        relative = Path(folder).relative_to(root)
        if len(relative.parts) >= _DEEPEST:
            subfolders.clear()
        yield from ((relative / file).as_posix() for file in files)


def _members(archive: tarfile.TarFile, root: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    for member in archive:
        if not member.isreg():
            continue
        total += member.size
        if total > _LARGEST:
            raise InputError(f"{root}: unpacks to more than {_LARGEST} bytes: unpack it and give the folder")
        file = archive.extractfile(member)
        data = file.read() if file else b""
        if len(data) != member.size:
            raise InputError(f"{root}/{member.name}: cut short: {len(data)} bytes, wanted {member.size}")
        yield member.name.removeprefix("./"), data


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
