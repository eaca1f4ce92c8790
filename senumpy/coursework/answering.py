"""What happens in a student's process: the answer is loaded, called, and its results handed over.

The judge is elsewhere: this process gets arguments and gives arrays. Before the answer is loaded, the
reference's own functions of the exercise are taken out of the library's modules, so that nobody calls them by
some way around an import.
"""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy.verify.calls import OpCall
from senumpy.verify.cases import op_spec
from senumpy.verify.conduct import Answer, Conduct, Record
from senumpy.verify.guard import guarded
from senumpy.verify.pairs import run_pair

MODULE = "answer"
SLOW = ("timeout", "exited")  # after one of these the other calls are not tried


def answer_op(job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Answer calls of an operation by a student's functions.

    Parameters
    ----------
    job : dict
        ``op``, ``text``, ``label``, ``targets`` (the exercise's functions), ``backward`` (whether gradients
        are asked for), ``calls`` (a list of `OpCall` and dtype), ``timeout`` (seconds a call).

    Returns
    -------
    arrays : dict
        ``"3/dx"``: a result of call 3; ``"3?dx"``: one of a wrong shape.
    notes : list of dict
        For each call ``conduct`` (kind, message, result) and ``absent`` (gradients that are None).
    """
    spec = op_spec(job["op"])
    reference = spec.forward, spec.backward
    records = [Record(call, dtype) for call, dtype in job["calls"]]
    take_out(job["targets"])
    functions, fault = load(job["text"], job["label"], job["targets"])
    if functions is None:
        assert fault is not None
        return {}, [_note(Answer(conduct=[fault]))]
    forward = functions.get(f"{job['op']}_forward", reference[0])
    backward = functions.get(f"{job['op']}_backward", reference[1]) if job["backward"] else None
    arrays: dict[str, Any] = {}
    notes = []
    for number, record in enumerate(records):
        _run(record, forward, backward, job["timeout"])
        answer = record.answer
        arrays |= {f"{number}/{name}": value for name, value in answer.results.items() if value is not None}
        arrays |= {f"{number}?{name}": value for name, value in answer.misshapen.items() if value is not None}
        notes.append(_note(answer))
        if any(entry.kind in SLOW for entry in answer.conduct):
            break
    return arrays, notes


def answer_subject(job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Answer the cases of a subject (`senumpy.coursework.subjects`) by a student's functions.

    Parameters
    ----------
    job : dict
        ``subject``, ``text``, ``label``, ``targets``, ``seed``, ``timeout``.

    Returns
    -------
    arrays : dict
        ``"3/name"``: a result of case 3.
    notes : list of dict
        For each case ``conduct``.
    """
    from senumpy.coursework.subjects import SUBJECTS, AnswerError

    subject = SUBJECTS[job["subject"]]
    cases = subject.cases(job["seed"])
    take_out(job["targets"])
    functions, fault = load(job["text"], job["label"], job["targets"])
    if functions is None:
        assert fault is not None
        return {}, [_note(Answer(conduct=[fault]))]
    arrays: dict[str, Any] = {}
    notes = []
    for number, case in enumerate(cases):
        answer, found = Answer(), dict[str, Any]()

        def work(case: Any = case, answer: Answer = answer, found: dict[str, Any] = found) -> None:
            try:
                found.update(subject.run(functions, case))
            except AnswerError as error:
                answer.conduct.append(Conduct("type", str(error)))

        guarded(work, answer.conduct.append, timeout=job["timeout"])
        arrays |= {f"{number}/{name}": np.asarray(value) for name, value in found.items()}
        notes.append(_note(answer))
        if any(entry.kind in SLOW for entry in answer.conduct):
            break
    return arrays, notes


def load(
    text: str, label: str, targets: tuple[str, ...] = ()
) -> tuple[dict[str, Callable[..., Any]] | None, Conduct | None]:
    """Run a student's file as a module; return its functions, or what went wrong."""
    module = types.ModuleType(MODULE)
    module.__file__ = label
    sys.modules[MODULE] = module  # dataclasses in the file look their module up
    linecache.cache[label] = (len(text), None, text.splitlines(keepends=True), label)
    faults: list[Conduct] = []

    def work() -> None:
        exec(compile(text, label, "exec"), module.__dict__)

    guarded(work, faults.append, timeout=10.0)
    fatal = [fault for fault in faults if fault.fatal]
    if fatal:
        return None, Conduct(fatal[0].kind, f"running the file: {fatal[0].message}")
    for name in targets:
        if not callable(vars(module).get(name)):
            there = name in vars(module)
            what = f"of type {type(vars(module)[name]).__name__}" if there else "missing"
            return None, Conduct("unusable", f"after running the file {name} is {what}, wanted a function")
    return {name: value for name, value in vars(module).items() if callable(value)}, None


def take_out(names: tuple[str, ...]) -> None:
    """Make the reference's functions of these names unusable, whoever holds them by now."""
    modules = [module for key, module in list(sys.modules.items()) if key.partition(".")[0] == "senumpy"]
    for module in modules:
        for name in names:
            function = getattr(module, name, None)
            if isinstance(function, types.FunctionType):
                # The function itself changes, not a module's name for it: tables and classes hold it, too.
                function.__code__ = _gone.__code__
                function.__defaults__ = function.__kwdefaults__ = None


def _gone(*args: Any, **options: Any) -> Any:
    raise RuntimeError("this is the reference's own function: an answer may not call it")


def _run(
    record: Record, forward: Callable[..., Any], backward: Callable[..., Any] | None, timeout: float
) -> None:
    call: OpCall = record.call
    overflows: list[str] = []

    def work() -> None:
        with np.errstate(over="call", call=lambda kind, flag: overflows.append(kind)):
            run_pair(call, record, forward, backward, call.keywords())

    guarded(work, record.answer.conduct.append, timeout=timeout)
    if overflows:
        record.note("overflow", "a number overflows to infinity on the way, and NumPy warns of it")


def _note(answer: Answer) -> dict[str, Any]:
    return {
        "conduct": [[entry.kind, entry.message, entry.result] for entry in answer.conduct],
        "absent": [name for name, value in answer.results.items() if value is None],
    }
