"""What came of it, written: `grades.csv`, a student's feedback, a summary."""

from __future__ import annotations

import csv
import io
import textwrap
from pathlib import Path

from senumpy.coursework.course.outcome import Graded, Grades
from senumpy.coursework.course.submissions import file_name
from senumpy.coursework.exercise import points_text

STATUSES = ("passed", "failed", "not begun", "refused", "error")
_WIDTH = 79
_MOST = 12  # rows of a list
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


def grades_csv(grades: Grades) -> bytes:
    """Return a table with a row a student: points by exercise, total, out of.

    A cell is empty where an answer was not graded yet, and so is the total.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    names = list(grades.course.points)
    table.writerow(["student", *names, "total", "out of"])
    for graded in grades.students:
        cells = [f"{graded.verdicts[name].points:g}" if name in graded.verdicts else "" for name in names]
        total = f"{graded.total:g}" if all(cells) else ""
        student = f"'{graded.student}" if graded.student.startswith(_FORMULA) else graded.student
        table.writerow([student, *cells, total, f"{grades.course.out_of:g}"])
    return text.getvalue().encode()


def feedback_files(folder: Path, grades: Grades) -> list[tuple[Path, bytes]]:
    """Return a Markdown file for each student whose exercises are all graded."""
    return [
        (folder / f"{file_name(graded.student)}.md", feedback(graded, grades).encode())
        for graded in grades.complete
    ]


def feedback(graded: Graded, grades: Grades) -> str:
    """Return what a student gets to read, as Markdown."""
    course = grades.course
    lines = [f"# {course.title}: {graded.student}", ""]
    lines += [f"{graded.total:g} of {points_text(course.out_of)}.", ""]
    lines += ["| exercise | result | points |", "|---|---|---:|"]
    for name, worth in course.points.items():
        verdict = graded.verdicts[name]
        lines.append(f"| {name} | {verdict.status} | {verdict.points:g} of {worth:g} |")
    for name in course.points:
        verdict = graded.verdicts[name]
        lines += ["", f"## {name}", "", *_fenced(verdict.feedback)]
        if name in graded.notes:
            lines += ["", graded.note(name)]
    return "\n".join(lines) + "\n"


def summary(grades: Grades) -> str:
    """Return what a teacher wants to know, in lines of 79 columns."""
    course = grades.course
    students, count = len(grades.students), len(course.points)
    size = f"{_some(students, 'submission')}, {_some(count, 'exercise')}, {points_text(course.out_of)}"
    lines = [*_wrapped(f"{course.title}: {size}", 0), ""]
    if grades.interrupted:
        lines += _wrapped(
            f"Stopped before the end: all exercises of {len(grades.complete)} of {students} are graded.", 0
        )
    lines += _table(grades)
    lines += _mean(grades)
    mistakes = grades.mistakes()
    if mistakes:
        lines += ["", "Most common mistakes"]
        width = max(len(name) for name, _, _ in mistakes[:_MOST])
        for name, mistake, number in mistakes[:_MOST]:
            lines += _wrapped(f"{number:>4}  {name:<{width}}  {mistake}", 8 + width)
    lines += _alike(grades)
    lines += _by_hand(grades)
    if grades.besides:
        lines += ["", "Left out, for they lie beside the submissions:"]
        lines += _wrapped("  " + ", ".join(grades.besides[:_MOST]), 2)
    checked = f"{_some(grades.different, 'different answer')} checked in {_clock(grades.seconds)}"
    lines += ["", *_wrapped(f"{checked}. Around them: {grades.walls}.", 0)]
    return "\n".join(lines)


def summary_markdown(grades: Grades) -> str:
    """Return the summary as a Markdown page."""
    return f"# {grades.course.title}: summary of grading\n\n```text\n{summary(grades)}\n```\n"


def _table(grades: Grades) -> list[str]:
    names = list(grades.course.points)
    width = max(8, *(len(name) for name in names))
    lines = ["exercise".ljust(width) + "".join(status.rjust(11) for status in STATUSES)]
    for name in names:
        counts = grades.counts(name)
        lines.append(name.ljust(width) + "".join(str(counts[status]).rjust(11) for status in STATUSES))
    if len(lines[0]) > _WIDTH:  # long names: on lines of their own
        numbers = [line[width:] for line in lines]
        lines = [numbers[0].lstrip().rjust(_WIDTH)]
        for name, row in zip(names, numbers[1:], strict=True):
            lines += [name, row.rjust(_WIDTH)]
    return lines


def _mean(grades: Grades) -> list[str]:
    totals = sorted(graded.total for graded in grades.complete)
    if not totals:
        return []
    middle = (totals[(len(totals) - 1) // 2] + totals[len(totals) // 2]) / 2
    return [
        "",
        f"Points: mean {sum(totals) / len(totals):.1f}, median {middle:g}, of {grades.course.out_of:g}",
    ]


def _alike(grades: Grades) -> list[str]:
    if not grades.alike:
        return []
    lines = ["", "The same answer, but for names, comments and layout"]
    for group in sorted(grades.alike, key=lambda group: (-len(group.students), group.exercise))[:_MOST]:
        who = ", ".join(group.students[:8]) + (", ..." if len(group.students) > 8 else "")
        how = "passed" if group.passed else "not passed"
        text = f"  {group.exercise} ({group.lines} lines, {how}): {len(group.students)} students: {who}"
        lines += _wrapped(text, 4)
    if len(grades.alike) > _MOST:
        lines.append(f"  and {len(grades.alike) - _MOST} more groups")
    return lines


def _by_hand(grades: Grades) -> list[str]:
    rows = [
        f"  {graded.student}: {verdict.line}"
        for graded in grades.students
        for verdict in graded.verdicts.values()
        if verdict.status in ("error", "refused") and "a teacher has to look" in verdict.line
    ]
    return (
        ["", "To be looked at", *(line for row in rows[:_MOST] for line in _wrapped(row, 4))] if rows else []
    )


def _fenced(text: str) -> list[str]:
    """Return text as a block that Markdown leaves alone, whatever is in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [f"{fence}text", text, fence]


def _wrapped(text: str, indent: int) -> list[str]:
    begin = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.lstrip(), _WIDTH, initial_indent=begin, subsequent_indent=" " * indent, break_long_words=True,
        break_on_hyphens=False, drop_whitespace=True, replace_whitespace=True, fix_sentence_endings=False,
    )  # fmt: skip


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
