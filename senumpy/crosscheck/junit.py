"""A cross-check as a JUnit file, which CI systems show as a table of tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from senumpy.crosscheck.report import OpReport, ResultRow
from senumpy.errors import InputError
from senumpy.storage import write_atomic
from senumpy.verify.judgement import LEVELS


def check_junit(path: Path) -> None:
    """Raise InputError where a JUnit file could not be written: to be asked before the work."""
    _library()
    if not path.parent.is_dir():
        raise InputError(f"--junit: no folder {path.parent}")


def write_junit(path: str | Path, reports: list[OpReport]) -> None:
    """Write one suite an operation, with one test a result, and one for each thing it did besides.

    Raises
    ------
    InputError
        junitparser isn't installed, or the file can't be written.
    """
    junit = _library()
    xml = junit.JUnitXml("senumpy crosscheck")
    for report in reports:
        suite = junit.TestSuite(f"{report.op} against {report.label}")
        cases = [_result_case(junit, report, row) for row in report.rows]
        cases += [
            _case(junit, report, b.conduct.kind, f"in {b.count} calls: {b.conduct.message}")
            for b in report.behaviour
        ]
        for case in cases:
            case.time = report.seconds / len(cases)
            suite.add_testcase(case)
        xml.add_testsuite(suite)
    path = Path(path).resolve()  # a link's file, not the link
    if path.exists() and not path.is_file():  # a pipe or a device is written through, not replaced
        path.write_bytes(xml.tostring())
    else:
        write_atomic(path, xml.tostring())


def _result_case(junit: Any, report: OpReport, row: ResultRow) -> Any:
    limit = LEVELS.index("lossy" if report.accept == "lossy" else "accurate")
    name = f"{row.result} ({row.dtype})"
    if LEVELS.index(row.level) <= limit:
        return _case(junit, report, name, "")
    diagnosis = f"{report.diagnosis.text}\n\n" if report.diagnosis is not None else ""
    message = f"{row.level}: the largest error is {row.ratio:.3g} times what rounding explains; {row.call}"
    return _case(junit, report, name, message, f"{diagnosis}{report.script}")


def _case(junit: Any, report: OpReport, name: str, message: str, text: str = "") -> Any:
    case = junit.TestCase(name, classname=f"senumpy.crosscheck.{report.op}")
    if message:
        failure = junit.Failure(message)
        failure.text = text or str(report)
        case.result = [failure]
    return case


def _library() -> Any:
    try:
        import junitparser
    except ImportError:
        raise InputError('JUnit files need junitparser: pip install "senumpy[crosscheck]"') from None
    return junitparser
