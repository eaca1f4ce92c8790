"""Grades as a JUnit file: one suite a student, one test an exercise."""

from __future__ import annotations

from typing import Any

from senumpy.coursework.course.outcome import Grades
from senumpy.coursework.verdict import Verdict
from senumpy.errors import InputError


def check_junit() -> None:
    """Raise InputError where junitparser isn't installed: to be asked before the work."""
    _library()


def junit_file(grades: Grades) -> bytes:
    """Return one suite a student, with one test an exercise.

    Raises
    ------
    InputError
        junitparser isn't installed.
    """
    junit = _library()
    xml = junit.JUnitXml(_plain(grades.course.title))
    for graded in grades.students:
        suite = junit.TestSuite(_plain(graded.student))
        for verdict in graded.verdicts.values():
            suite.add_testcase(_case(junit, verdict))
        xml.add_testsuite(suite)
    data: bytes = xml.tostring()
    return data


def _case(junit: Any, verdict: Verdict) -> Any:
    case = junit.TestCase(verdict.exercise, classname="senumpy.course")
    case.time = round(verdict.seconds, 3)
    if verdict.status == "not begun":
        case.result = [junit.Skipped(_plain(verdict.line))]
    elif not verdict.ok:
        kind = junit.Error if verdict.status == "error" else junit.Failure
        result = kind(_plain(verdict.line))
        result.text = _plain(verdict.feedback)
        case.result = [result]
    return case


def _plain(text: str) -> str:
    """Return text without characters that XML can't hold."""
    return "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and not 0xD800 <= ord(c) < 0xE000))


def _library() -> Any:
    try:
        import junitparser
    except ImportError:
        raise InputError('JUnit files need junitparser: pip install "senumpy[coursework]"') from None
    return junitparser
