"""Judging a folder of answers: what a program made of the calls of a golden set."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from senumpy.crosscheck.golden.cases import DTYPES, GoldenCase, check_seed, golden_cases
from senumpy.crosscheck.golden.manifest import MANIFEST, UNFINISHED
from senumpy.crosscheck.golden.read import GoldenSet, load_golden
from senumpy.crosscheck.golden.report import Finding, GoldenReport, Group, Judged
from senumpy.errors import InputError
from senumpy.storage import load_tensors, require_library
from senumpy.verify.calls import Results
from senumpy.verify.cases import OPS
from senumpy.verify.judgement import judge, verdict_of, within

Progress = Callable[[int, int, str], None]
_NAME = re.compile(rf"(?P<op>{'|'.join(OPS)})-\d+-(?P<dtype>{'|'.join(DTYPES)})")
_EVIDENCE = 16  # cases that a diagnosis sees: small ones say as much as large ones


def check_golden(
    folder: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    seed: int = 0,
    accept: str = "accurate",
    progress: Progress | None = None,
) -> GoldenReport:
    """Judge the answers in a folder, ``NAME.safetensors`` for each case; or a golden set itself.

    Parameters
    ----------
    folder : path
        Answers to all cases or some; or a golden folder, whose files are then held against its manifest, and
        its results judged as answers.
    against : path, optional
        The golden folder that was answered. Where it is not given, its calls are made again from `seed`.
    seed : int
        Of the set that was answered.
    accept : {"accurate", "lossy"}
        The worst level that is no failure.
    progress : callable, optional
        ``progress(done, total, name)`` before each operation.

    Returns
    -------
    GoldenReport
        `ok` is False where a result is beyond `accept`, a file is broken, or something is missing: a case of
        an operation that was begun, a result that other cases of it have.

    Raises
    ------
    InputError
        There is nothing to judge: no folder, no files, a manifest that can't be read; or `against` is broken.
    """
    if accept not in ("accurate", "lossy"):
        raise InputError(f'accept: got {accept!r}, wanted "accurate" or "lossy"')
    check_seed(seed)
    require_library()  # before every file is called broken
    path = Path(folder)
    own = _own_set(path)
    answers = _answers(path if own is None else path / "results", empty=own is not None)
    if against is not None:
        reference: GoldenSet | None = _sound(load_golden(against))
    else:
        reference = own
    report = GoldenReport(str(folder), _source(reference, own, seed), accept)
    if own is not None:
        report.findings += [Finding(name, "", text) for name, text in own.problems()]
    _judge_all(report, answers, reference, seed, progress, complete=own is not None and against is None)
    return report


def _own_set(path: Path) -> GoldenSet | None:
    """Return the set that a folder is, None where it is one of answers."""
    if not path.exists():
        raise InputError(f"{path}: no such folder, wanted one of answers or a golden set")
    if not path.is_dir():
        raise InputError(f"{path}: a file, wanted a folder of answers or a golden set")
    is_set = any((path / name).exists() for name in (MANIFEST, UNFINISHED))
    return load_golden(path) if is_set else None


def _answers(folder: Path, *, empty: bool) -> dict[str, Path]:
    try:
        files = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    if not files and not empty:
        raise InputError(f"{folder}: holds no answers, wanted files such as conv2d-00-float32.safetensors")
    return files


def _sound(reference: GoldenSet) -> GoldenSet:
    """Return a set whose files are those of its manifest; raise at the first that is not."""
    for _, problem in reference.problems():
        raise InputError(f"{problem}; write the set again with `senumpy golden write`")
    return reference


def _source(reference: GoldenSet | None, own: GoldenSet | None, seed: int) -> str:
    if reference is None:
        return f"the set of seed {seed}, made again"
    return "its own manifest" if reference is own else str(reference.folder)


def _judge_all(
    report: GoldenReport,
    answers: Mapping[str, Path],
    reference: GoldenSet | None,
    seed: int,
    progress: Progress | None,
    *,
    complete: bool,
) -> None:
    names = set(answers) | (set(reference) if complete and reference else set())
    groups = _groups(names)
    ops = [op for op in OPS if any(op == group for group, _ in groups)]
    known: set[str] = set()
    for done, op in enumerate(ops):
        if progress is not None:
            progress(done, len(ops), op)
        cases = _reference_cases(report, op, reference, seed)
        known |= set(cases)
        for dtype in DTYPES:
            if (op, dtype) in groups:
                mine = {name: case for name, case in cases.items() if name.endswith(f"-{dtype}")}
                _judge_group(report, op, dtype, mine, answers, complete=complete)
    for name in sorted(set(answers) - known):
        if reference is None or name not in reference:
            report.findings.append(Finding(name, "", f"{answers[name]}: no case has this name"))
    report.untouched = _untouched(reference, groups)
    if progress is not None:
        progress(len(ops), len(ops), "")


def _groups(names: set[str]) -> set[tuple[str, str]]:
    matches = (_NAME.fullmatch(name) for name in names)
    return {(match["op"], match["dtype"]) for match in matches if match}


def _untouched(reference: GoldenSet | None, groups: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return operations and dtypes that have cases and no answers."""
    every = _groups(set(reference)) if reference else {(op, dtype) for op in OPS for dtype in DTYPES}
    return [(op, dtype) for op in OPS for dtype in DTYPES if (op, dtype) in every - groups]


def _reference_cases(
    report: GoldenReport, op: str, reference: GoldenSet | None, seed: int
) -> dict[str, GoldenCase | None]:
    """Return an operation's cases by name; None for one whose files are broken."""
    if reference is None:
        return {case.name: case for case in golden_cases([op], seed=seed)}
    cases: dict[str, GoldenCase | None] = {}
    for name, stored in reference.items():
        if stored.op == op:
            try:
                cases[name] = stored.case
            except InputError as error:
                cases[name] = None
                report.find(Finding(name, "", str(error)))
    return cases


def _judge_group(
    report: GoldenReport,
    op: str,
    dtype: str,
    cases: Mapping[str, GoldenCase | None],
    answers: Mapping[str, Path],
    *,
    complete: bool,
) -> None:
    """Judge the answers to all cases of an operation in a dtype."""
    got: dict[str, Results] = {}
    for name in cases:
        if name in answers:
            found = _read(report, name, answers[name])
            if found is not None:
                got[name] = found
    missing = [name for name in cases if name not in answers]
    group = Group(op, dtype, len(cases), len(cases) - len(missing), missing)
    report.groups.append(group)

    sound = {name: case for name, case in cases.items() if case is not None}
    begun = {_base(result) for name in got for result in got[name]}
    wanted = {_base(result) for case in sound.values() for result in case.results}
    begun, group.absent = (wanted, []) if complete else (begun & wanted, sorted(wanted - begun))
    evidence = []
    for name, results in got.items():
        if name in sound:
            usable = _usable(report, sound[name], results, answers[name], begun)
            evidence.append((sound[name], usable))
            _judge_case(group, sound[name], usable, list(sound.values()))
    if any(map(group.of_level, ("lossy", "wrong"))) or group.misshapen:
        report.diagnoses.update(_diagnosis(op, dtype, evidence, group))


def _read(report: GoldenReport, name: str, path: Path) -> Results | None:
    try:
        return dict(load_tensors(path)[0])
    except InputError as error:
        report.find(Finding(name, "", str(error)))
        return None


def _usable(report: GoldenReport, case: GoldenCase, got: Results, path: Path, begun: set[str]) -> Results:
    """Return the tensors that can be judged; all else, and those of another shape, becomes findings."""
    want = case.results
    usable: Results = {}
    for result, array in got.items():
        assert array is not None
        if result not in want:
            text = f"no result of {case.op} here, wanted {', '.join(want)}"
        elif array.dtype != case.dtype:
            text = f"has dtype {array.dtype}, wanted {case.dtype}"
        else:
            usable[result] = array
            if array.shape == want[result].shape:
                continue
            text = f"has shape {array.shape}, wanted {want[result].shape}"
        report.find(Finding(case.name, result, f"{path}: tensor {result!r} {text}"))
    absent = [result for result in want if result not in got and (not got or _base(result) in begun)]
    for result in absent:
        report.find(Finding(case.name, result, f"{path}: tensor {result!r} is missing"))
    return usable


def _judge_case(group: Group, case: GoldenCase, got: Results, siblings: Sequence[GoldenCase]) -> None:
    want = case.results
    shaped: Results = {
        name: array for name, array in got.items() if array is not None and array.shape == want[name].shape
    }
    judgements = judge(case.expectation, shaped)
    group.judged += [Judged(case.name, judgement) for judgement in judgements]
    if len(shaped) < len(got):
        group.misshapen.append(case.name)
    if len(shaped) < len(got) or verdict_of(judgements) == "wrong":
        other = next((c.name for c in siblings if c is not case and _answers_to(c, got)), None)
        if other:
            group.mixed_up[case.name] = other


def _answers_to(case: GoldenCase, got: Results) -> bool:
    """Whether these are the results of this case."""
    want = case.expectation.want
    return all(
        name in want and within(case.expectation, name, array, want[name]) for name, array in got.items()
    )


def _diagnosis(
    op: str, dtype: str, evidence: Sequence[tuple[GoldenCase, Results]], group: Group
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what explains the wrong results of an operation; of lossy ones, where a mistake does."""
    from senumpy.verify.diagnosis import diagnose

    wrong = set(group.misshapen) | {
        judged.case for level in ("wrong", "lossy") for judged in group.of_level(level)
    }

    def order(pair: tuple[GoldenCase, Results]) -> tuple[bool, int]:
        case, _ = pair
        return case.name not in wrong, sum(array.size for array in case.call.floats())

    chosen = [pair for pair in sorted(evidence, key=order) if pair[0].name not in group.mixed_up]
    if any(case.name in wrong for case, _ in chosen):
        shown = [(case.expectation, got) for case, got in chosen[:_EVIDENCE]]
        diagnosis = diagnose(op, shown)
        if diagnosis.mistakes or group.of_level("wrong") or group.misshapen:
            yield (op, dtype), diagnosis.text


def _base(result: str) -> str:
    """Return the name without a position: the gradients of a list are begun together."""
    return result.partition("[")[0]
