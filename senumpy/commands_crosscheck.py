"""What `senumpy crosscheck` and `senumpy golden` do: arguments in, a report printed, an exit status out."""

from __future__ import annotations

import argparse
import ast
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from senumpy.commands import DONE, FAILED, print_json, status_line
from senumpy.errors import InputError

MODEL = "model"
_OF_MODELS = ("torch", "onnx", "like", "input_size", "batch_size", "steps", "optimizer")
_OF_OPS = (
    "target", "backward", "framework", "option", "junit", "seconds", "accept", "max_examples", "c_order",
)  # fmt: skip


def crosscheck(arguments: argparse.Namespace) -> int:
    """Hold an operation or a whole model against the reference."""
    if arguments.op == MODEL:
        _refuse(arguments, _OF_OPS, "goes with one operation, not with a model")
        return _model(arguments)
    _refuse(arguments, _OF_MODELS, "goes with: senumpy crosscheck model")
    from senumpy.crosscheck import check
    from senumpy.crosscheck.junit import check_junit, write_junit
    from senumpy.verify import op_spec

    op_spec(arguments.op)  # a wrong name before a missing target
    if arguments.target is None:
        raise InputError(f"wanted what to check: senumpy crosscheck {arguments.op} TARGET; see --help")
    if arguments.junit is not None:
        check_junit(arguments.junit)  # before the work
    with status_line() as progress:
        report = check(
            arguments.op,
            arguments.target,
            backward=arguments.backward,
            framework=arguments.framework,
            options=_options(arguments.option or []),
            max_examples=200 if arguments.max_examples is None else arguments.max_examples,
            seconds=arguments.seconds,
            seed=arguments.seed,
            dtypes=tuple(dict.fromkeys(arguments.dtype or ("float32", "float64"))),
            accept=arguments.accept or "accurate",
            c_order=arguments.c_order,
            timeout=10.0 if arguments.timeout is None else arguments.timeout,
            isolated=True,
            progress=progress,
        )
    if arguments.junit is not None:
        write_junit(arguments.junit, [report])
    return _finish(report, arguments.json)


def _model(arguments: argparse.Namespace) -> int:
    if (arguments.torch is None) == (arguments.onnx is None):
        raise InputError("wanted one of --torch module:net and --onnx FILE")
    if arguments.like is None:
        raise InputError("wanted --like NAME, such as se_resnet50: the network that it is meant to be")
    if len(set(arguments.dtype or ())) > 1:
        raise InputError("--dtype: got both, wanted one for a model (float64 by default)")
    from senumpy.crosscheck.model.torch_side import CandidateFailedError

    side = _torch if arguments.onnx is None else _onnx
    try:
        # What the candidate prints is not the report.
        with status_line() as progress, redirect_stdout(sys.stderr), _limit(arguments.timeout):
            report = side(arguments, progress)
    except CandidateFailedError as error:  # a verdict like others
        if arguments.json:
            print_json({"ok": False, "like": arguments.like, "failed": str(error)})
        else:
            print(error)
        return FAILED
    return _finish(report, arguments.json)


@contextmanager
def _limit(seconds: float | None) -> Iterator[None]:
    """Interrupt what takes longer, where the system has alarms; compiled code is interrupted at its end."""
    from senumpy.crosscheck.model.torch_side import CandidateFailedError

    if seconds is None:
        yield
        return
    if not 0 < seconds < 1e6:
        raise InputError(f"--timeout: got {seconds:g}, wanted seconds above 0")

    def ring(number: int, frame: Any) -> None:
        raise CandidateFailedError(f"model: did not come back within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _torch(arguments: argparse.Namespace, progress: Callable[[str], None]) -> Any:
    from senumpy.crosscheck.model import check_model, check_steps
    from senumpy.crosscheck.targets import load

    settings = {
        "input_size": 64 if arguments.input_size is None else arguments.input_size,
        "batch_size": 2 if arguments.batch_size is None else arguments.batch_size,
        "dtype": (arguments.dtype or ["float64"])[0],
        "seed": arguments.seed,
        "progress": progress,
    }
    net = load(arguments.torch)
    if arguments.steps is None:
        _refuse(arguments, ("optimizer",), "goes with --steps")
        return check_model(net, arguments.like, training=not arguments.eval, **settings)
    if arguments.eval:
        raise InputError("--eval: steps are training")
    optimizer = None if arguments.optimizer is None else load(arguments.optimizer)
    return check_steps(
        net,
        arguments.like,
        steps=arguments.steps,
        optimizer=optimizer,
        lr=arguments.lr,
        momentum=arguments.momentum,
        weight_decay=arguments.weight_decay,
        nesterov=arguments.nesterov,
        **settings,
    )


def _onnx(arguments: argparse.Namespace, progress: Callable[[str], None]) -> Any:
    from senumpy.crosscheck.model import check_onnx

    _refuse(arguments, ("steps", "optimizer", "dtype"), "goes with --torch")
    return check_onnx(
        arguments.onnx,
        arguments.like,
        input_size=arguments.input_size,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        progress=progress,
    )


def golden_write(arguments: argparse.Namespace) -> int:
    """Write golden vectors."""
    from senumpy.crosscheck.golden import write_golden

    ops = "all" if arguments.ops == ["all"] else arguments.ops
    with status_line() as progress:
        summary = write_golden(arguments.out, ops, seed=arguments.seed, progress=_counted(progress))
    if arguments.json:
        print_json(summary.to_dict())
    else:
        print(summary)
    return DONE


def golden_check(arguments: argparse.Namespace) -> int:
    """Judge answers."""
    from senumpy.crosscheck.golden import check_golden

    with status_line() as progress:
        report = check_golden(
            arguments.folder,
            against=arguments.against,
            seed=arguments.seed,
            accept=arguments.accept,
            progress=_counted(progress),
        )
    return _finish(report, arguments.json)


def _counted(progress: Callable[[str], None]) -> Callable[[int, int, str], None]:
    def tell(done: int, total: int, name: str) -> None:
        progress(f"{name}, {done} of {total} operations done")

    return tell


def _finish(report: Any, as_json: bool) -> int:
    if as_json:
        print_json(report.to_dict())
    else:
        print(report)
    return DONE if report.ok else FAILED


def _refuse(arguments: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Refuse an option that would do nothing."""
    for name in names:
        if getattr(arguments, name) not in (None, False):
            shown = name.upper() if name == "target" else f"--{name.replace('_', '-')}"
            raise InputError(f"{shown} {why}")


def _options(texts: list[str]) -> dict[str, Any] | None:
    """Return NAME=VALUE pairs as a dictionary; values in Python's notation, or words."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name.isidentifier() or not equals or not value:
            raise InputError(f"--option: got {text!r}, wanted NAME=VALUE, such as stride=2")
        try:
            options[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            options[name] = value
    return options or None
