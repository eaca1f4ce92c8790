"""What `senumpy exercise` does: arguments in, feedback printed, an exit status out."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from senumpy.commands import DONE, FAILED, print_json, status_line
from senumpy.errors import InputError


def list_(arguments: argparse.Namespace) -> int:
    """Show the exercises."""
    from senumpy.coursework import Workspace, exercises
    from senumpy.coursework.exercise import LEVELS

    workspace = Workspace(arguments.dir)
    chosen = [e for e in exercises().values() if arguments.lesson in (None, e.lesson)]
    if not chosen:
        lessons = sorted({e.lesson for e in exercises().values()})
        raise InputError(
            f"--lesson: got {arguments.lesson}, which has none; lessons with exercises are "
            f"{', '.join(map(str, lessons))}"
        )
    rows: list[dict[str, Any]] = [
        {
            "name": e.name,
            "points": e.points,
            "level": e.level,
            "lesson": e.lesson,
            "section": e.section,
            "status": workspace.status(e),
        }
        for e in chosen
    ]
    if arguments.json:
        print_json(rows)
        return DONE
    width = max(len(e.name) for e in chosen)
    print(f"{'lesson':>6}  {'exercise':{width}}  {'points':>6}  level  status")
    for row in rows:
        front = f"{row['lesson']:>6}  {row['name']:{width}}  {row['points']:>6}  {row['level']:>5}"
        print(f"{front}  {row['status']}".rstrip())
    passed = sum(row["points"] for row in rows if row["status"] == "passed")
    print(f"\n{len(rows)} exercises; {passed} of {sum(row['points'] for row in rows)} points.")
    print("Levels: " + ", ".join(f"{level} {text}" for level, text in LEVELS.items()) + ".")
    return DONE


def start(arguments: argparse.Namespace) -> int:
    """Write files to begin with."""
    from senumpy.coursework import Workspace, exercise_named
    from senumpy.coursework.catalogue import named_exercises

    workspace = Workspace(arguments.dir)
    names = named_exercises(arguments.names)
    written = []
    for exercise in [exercise_named(name) for name in names]:  # all are known before one is written
        path = workspace.path(exercise)
        if len(names) > 1 and path.exists():
            print(f"{path} is there already, and was left as it is", file=sys.stderr)
            continue
        workspace.start(exercise.name)
        written.append({"exercise": exercise.name, "file": str(path)})
        if not arguments.json:
            print(f"{path} ({exercise.worth}, level {exercise.level})")
            print(f'  read:   senumpy lessons open {exercise.lesson}, "{exercise.section}"')
            print(f"  check:  senumpy exercise check {exercise.name}{_folder(arguments.dir)}")
    if arguments.json:
        print_json(written)
    return DONE


def check(arguments: argparse.Namespace) -> int:
    """Check answers."""
    from senumpy.coursework import Checker, Sandbox, Workspace, exercise_named
    from senumpy.coursework.catalogue import named_exercises

    if arguments.seed < 0:
        raise InputError(f"--seed: got {arguments.seed}, wanted a whole number of at least 0")
    workspace = Workspace(arguments.dir)
    chosen = [exercise_named(name) for name in named_exercises(arguments.names)] or workspace.begun()
    if not chosen:
        raise InputError(f"no exercise is begun in {arguments.dir}: senumpy exercise start NAME")
    if arguments.save is not None and arguments.save.suffix != ".npz":
        raise InputError(f"--save: got {arguments.save}, wanted a name that ends in .npz")
    files = [(exercise, workspace.read(exercise)) for exercise in chosen]
    verdicts = []
    with Sandbox() as sandbox:
        checker = Checker([exercise.name for exercise in chosen], seed=arguments.seed, sandbox=sandbox)
        for exercise, data in files:
            with status_line() as progress:
                progress(f"{exercise.name}: checking")
                verdict = checker.check(exercise.name, data, label=str(workspace.path(exercise)))
            verdicts.append(verdict)
            workspace.remember(exercise, data, verdict)
            if not arguments.json:
                print(
                    verdict if len(chosen) == 1 or not verdict.ok else f"{exercise.name}: passed", end="\n\n"
                )
    if arguments.json:
        print_json([verdict.to_dict() for verdict in verdicts])
    elif len(verdicts) > 1:
        won, all_ = sum(v.points for v in verdicts), sum(e.points for e in chosen)
        print(f"{sum(v.ok for v in verdicts)} of {len(verdicts)} exercises, {won:g} of {all_} points.")
    if arguments.save is not None:
        _save(arguments.save, verdicts)
    elif len(verdicts) == 1 and verdicts[0].example and not arguments.json:
        print("The example as a file, input, got and wanted: add --save case.npz")
    return DONE if all(verdict.ok for verdict in verdicts) else FAILED


def watch(arguments: argparse.Namespace) -> int:
    """Check again whenever a file is saved, until Ctrl-C."""
    from senumpy.coursework.catalogue import named_exercises
    from senumpy.coursework.watch import watch_files

    verdicts = watch_files(arguments.dir, named_exercises(arguments.names))
    print(f"watching {arguments.dir}: save a file to have it checked; Ctrl-C ends", file=sys.stderr)
    for verdict in verdicts:
        if arguments.json:
            print(json.dumps(verdict.to_dict()), flush=True)  # one line each: a stream
        else:
            print(verdict, end="\n\n", flush=True)
    return DONE


def hint(arguments: argparse.Namespace) -> int:
    """Give a hint."""
    from senumpy.coursework import Workspace

    number, count, text = Workspace(arguments.dir).hint(arguments.name)
    if arguments.json:
        print_json({"hint": number, "of": count, "text": text})
    else:
        import textwrap

        print(textwrap.fill(f"Hint {number} of {count}: {text}", 79))
    return DONE


def reset(arguments: argparse.Namespace) -> int:
    """Begin anew."""
    from senumpy.coursework import Workspace

    path, kept = Workspace(arguments.dir).reset(arguments.name)
    if arguments.json:
        print_json({"file": str(path), "kept": None if kept is None else str(kept)})
    else:
        print(f"{path} is as at the beginning" + (f"; yours is {kept}" if kept else ""))
    return DONE


def solution(arguments: argparse.Namespace) -> int:
    """Show the library's own code."""
    from senumpy.coursework import exercise_named
    from senumpy.coursework.strip import solution_text

    text = solution_text(exercise_named(arguments.name))
    if arguments.json:
        print_json({"exercise": arguments.name, "text": text})
    else:
        print(text, end="")
    return DONE


def _folder(folder: Path) -> str:
    return "" if folder == Path("exercises") else f" --dir {shlex.quote(str(folder))}"


def _save(path: Path, verdicts: list[Any]) -> None:
    import io

    import numpy as np

    from senumpy.storage.atomic import write_atomic

    example = next((verdict for verdict in verdicts if verdict.example), None)
    if example is None:
        print(f"{path} is not written: no answer gave wrong numbers", file=sys.stderr)
        return
    buffer = io.BytesIO()
    np.savez(buffer, **example.example)
    write_atomic(path, buffer.getvalue())
    print(f"{path}: input, got and wanted of {example.exercise}: numpy.load({str(path)!r})", file=sys.stderr)
