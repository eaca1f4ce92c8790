"""The lessons that there are: numbers, titles, questions, taken from the scripts themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from senumpy.errors import InputError

_CELL = re.compile(r"^# %%(?P<rest>.*)$")
_TITLE = re.compile(r"^# (?P<number>\d+)\. (?P<title>.+)$")
_QUESTION = re.compile(r"^\*\*Question\.\*\*\s+(?P<question>.+)$")
_READING = re.compile(r"Reading time: (?P<minutes>\d+) minutes")
_PAPER = re.compile(r"\*Paper: (?P<paper>.+?)\.?\*")

# Lessons whose subject is time are executed when nothing else runs.
TIMED = (17, 18, 19)


@dataclass(frozen=True)
class Lesson:
    """One lesson, as its first cell describes it.

    Attributes
    ----------
    number : int
    title : str
        Without the number.
    question : str
        The question that the lesson answers, as MyST Markdown on one line.
    paper : str
        Sections, equations and figures of the paper.
    minutes : int
        Reading time.
    path : Path
        The script.
    """

    number: int
    title: str
    question: str
    paper: str
    minutes: int
    path: Path

    @property
    def name(self) -> str:
        """Name of script and page without suffix, such as 13_scale."""
        return self.path.stem

    def to_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        return {
            "number": self.number,
            "title": self.title,
            "question": plain(self.question),
            "minutes": self.minutes,
            "script": str(self.path),
        }


def lessons_folder() -> Path:
    """Return the folder of the lessons: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent
    for folder in (package.parent.parent / "lessons", package / "source"):
        if (folder / "conf.py").is_file():
            return folder
    raise InputError(
        f"no lessons beside or in {package.parent}; wanted the folder lessons/ of the repository: "
        "install senumpy again, from a checkout"
    )


def lessons(folder: Path | None = None) -> list[Lesson]:
    """Return all lessons in order."""
    folder = folder or lessons_folder()
    return sorted((read(path) for path in folder.glob("[0-9]*_*.py")), key=lambda lesson: lesson.number)


def find(number: int, folder: Path | None = None) -> Lesson:
    """Return a lesson by its number."""
    known = {lesson.number: lesson for lesson in lessons(folder)}
    if number not in known:
        there = f"wanted one of 1 to {max(known)}" if known else "there are no lessons"
        raise InputError(f"no lesson {number}: {there}; see senumpy lessons list")
    return known[number]


def read(path: Path) -> Lesson:
    """Return what a lesson's first cell of text says."""
    paragraphs = _paragraphs(first_cell(path.read_text(encoding="utf-8")))
    title = _match(_TITLE, paragraphs, path, "a heading '# N. Title'")
    question = _match(_QUESTION, paragraphs, path, "a paragraph '**Question.** ...'")
    paper = _match(_PAPER, paragraphs, path, "a paragraph '*Paper: ...*'")
    minutes = _match(_READING, paragraphs, path, "'Reading time: N minutes'")
    return Lesson(
        number=int(title["number"]),
        title=title["title"].strip(),
        question=question["question"],
        paper=paper["paper"],
        minutes=int(minutes["minutes"]),
        path=path,
    )


def first_cell(text: str) -> str:
    """Return the Markdown of the first cell of text."""
    markdown: list[str] | None = None
    for line in text.splitlines():
        cell = _CELL.match(line)
        if cell and markdown is not None:
            break
        if cell:
            markdown = [] if cell["rest"].strip().startswith("[markdown]") else None
        elif markdown is not None:
            markdown.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(markdown or [])


def plain(markdown: str) -> str:
    """Return a line of Markdown as a terminal shows it best: without marks around code and formulas."""
    text = re.sub(r"\{py:\w+\}`~?(?:[\w.]+\.)?(\w+)`", r"\1", markdown)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    text = re.sub(r"\*\*?([^*]+)\*\*?", r"\1", text)
    text = text.replace(r"\times", "x")
    return re.sub(r"[`$]", "", text)


def _paragraphs(markdown: str) -> list[str]:
    return [" ".join(block.split()) for block in re.split(r"\n\s*\n", markdown) if block.strip()]


def _match(pattern: re.Pattern[str], paragraphs: list[str], path: Path, wanted: str) -> re.Match[str]:
    for paragraph in paragraphs:
        found = pattern.search(paragraph)
        if found:
            return found
    raise InputError(f"{path}: wanted {wanted} in its first cell of text, found none")
