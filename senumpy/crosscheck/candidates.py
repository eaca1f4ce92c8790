"""Somebody's implementation of an operation, whatever it is written in: `candidate` makes it answer calls.

| target | is |
|---|---|
| a function, with ``backward=`` | a pair on NumPy arrays (or any with ``__dlpack__``), like `senumpy.ops` |
| a function | of the framework that it names or its module imports; else NumPy, forward only |
| a `torch.nn.Module` or a Keras layer | of fixed geometry and options; its parameters get drawn numbers |
| a class of either | built for each call, by the names of its constructor's parameters |
| a function ``make(call)`` | builds a Module or layer for each call |
| ``"module:name"``, ``"file.py:name"`` | any of these, imported |
| ``"model.onnx"`` | an ONNX file, forward through ONNX Runtime |
| ``"cmd:PROGRAM ARG..."`` | a program that reads and writes files: `senumpy.crosscheck.exchange` |
"""

from __future__ import annotations

import dis
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from senumpy.crosscheck.adapters.base import Adapter
from senumpy.crosscheck.adapters.options import same_option
from senumpy.crosscheck.exchange import all_options
from senumpy.crosscheck.targets import COMMAND, ONNX, is_text, load
from senumpy.errors import InputError, unknown_name
from senumpy.verify.calls import OpCall
from senumpy.verify.cases import op_spec
from senumpy.verify.conduct import Answer, Conduct, Record, Restriction, differences
from senumpy.verify.guard import guarded

__all__ = ["FRAMEWORKS", "Answer", "Candidate", "Conduct", "Restriction", "candidate", "close"]

FRAMEWORKS = ("numpy", "torch", "jax", "tensorflow", "keras", "onnx", "command")
_MODULES = ("keras", "torch", "jax", "tensorflow")
_LIBRARIES = {"flax": "jax", "jaxlib": "jax", "torchvision": "torch", "timm": "torch"}
_BRIEF = 0.2  # seconds: calls that take longer are repeated only now and then
_SELDOM = 5


class Candidate(Protocol):
    """An implementation bound to an operation.

    Attributes
    ----------
    label : str
        What the user calls it: ``my_module:my_conv``.
    framework : str
        One of `FRAMEWORKS`.
    """

    label: str
    framework: str

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it, such as a fixed geometry; empty where it is."""

    def restrict(self) -> Restriction | None:
        """Return what calls have to look like for it; None where anything goes that `accepts` takes."""

    def run(self, call: OpCall, dtype: DTypeLike) -> Answer:
        """Make a call in float32 or float64; whatever the candidate does comes back as an answer."""


def candidate(
    op: str,
    target: Any,
    *,
    backward: Any = None,
    framework: str | None = None,
    options: Mapping[str, Any] | None = None,
    isolated: bool = False,
    timeout: float = 10.0,
) -> Candidate:
    """Make an implementation answer calls of an operation.

    Parameters
    ----------
    op : str
        The operation of `senumpy.verify.OPS` that it is meant to do.
    target : object, str or path
        See the table at the top of this file.
    backward : callable or str, optional
        The second function of a pair on NumPy arrays: ``backward(dy, cache)``.
    framework : str, optional
        One of `FRAMEWORKS`; found out where it is None.
    options : dict, optional
        Options that the candidate has and that can't be seen from outside, such as the stride that a function
        has built in: only calls with these are for it.
    isolated : bool
        Run it in a process of its own, which is killed when the time is over and started again for the next
        call. Needs a target that is text. A command always is a process of its own.
    timeout : float
        Seconds for a call.

    Raises
    ------
    InputError
        No such operation, framework, module, file or name; something that can't be called; a target that is
        an object where a process of its own is asked for.
    """
    op_spec(op)
    if framework is not None and framework not in FRAMEWORKS:
        raise unknown_name("framework", framework, FRAMEWORKS)
    if timeout <= 0:
        raise InputError(f"timeout: got {timeout:g}, wanted seconds above 0")
    text = str(target) if is_text(target) else ""
    if isolated and not text.startswith(COMMAND):
        from senumpy.crosscheck.worker import WorkerCandidate

        if not text or not (backward is None or is_text(backward)):
            raise InputError(
                "isolated: wanted the target as text, such as 'module:name', to import it elsewhere"
            )
        return WorkerCandidate(op, text, backward, framework, dict(options or {}), timeout)
    adapter = adapter_for(op, target, backward, framework, timeout)
    return LocalCandidate(text or label_of(target), adapter, dict(options or {}), timeout)


def close(candidate: Candidate) -> None:
    """End the process that a candidate runs in, if it has one. Closing twice does no harm."""
    end = getattr(candidate, "close", None)
    if end is not None:
        end()


class LocalCandidate:
    """An adapter in this process: guarded, repeated, and held to its restriction.

    Each call is made twice, with equal arguments; calls that take longer than 0.2 s only every fifth time.

    Parameters
    ----------
    label : str
    adapter : Adapter
    options : dict
        What the calls' options have to be.
    timeout : float
        Seconds for a call; `senumpy.verify.guard` says what can't be interrupted.
    capture : bool
        Whether to look at what is printed.
    """

    def __init__(
        self, label: str, adapter: Adapter, options: dict[str, Any], timeout: float, capture: bool = True
    ) -> None:
        self.label, self.framework = label, adapter.framework
        self._adapter, self._options, self._capture = adapter, options, capture
        # A command is killed by its own clock: the alarm is there in case that fails.
        self._timeout = timeout + 5.0 if adapter.framework == "command" else timeout
        self._calls = 0
        self.before_repeat: Callable[[], None] = lambda: (
            None
        )  # the worker tells its parent that time starts anew

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        restriction = self.restrict()
        reasons = [mismatch(restriction, call)] if restriction else []
        conduct: list[Conduct] = []

        def ask() -> None:
            reasons.append(self._adapter.accepts(self._told(call)))

        if not any(reasons):
            # A constructor may run here. What goes wrong in it shows again, with its verdict, when the call
            # is made.
            guarded(ask, conduct.append, timeout=self._timeout, capture=self._capture)
        return next(filter(None, reasons), "")

    def _told(self, call: OpCall) -> OpCall:
        """Return the call without options that are built in, where the candidate can't be told them."""
        if not self._options or not self._adapter.accepts(call):
            return call
        return replace(call, options={n: v for n, v in call.options.items() if n not in self._options})

    def restrict(self) -> Restriction | None:
        """Return what calls have to look like, or None."""
        own = self._adapter.restrict()
        if not self._options:
            return own
        own = own or Restriction()
        return Restriction(own.shapes, own.absent, own.present, {**own.options, **self._options}, own.dtypes)

    def run(self, call: OpCall, dtype: DTypeLike) -> Answer:
        """Make a call, and a second one to compare it with."""
        start = time.perf_counter()
        answer = self._once(call, dtype)
        self._calls += 1
        brief = time.perf_counter() - start < _BRIEF
        if (brief or self._calls % _SELDOM == 1) and not any(entry.fatal for entry in answer.conduct):
            self.before_repeat()
            again = self._once(call, dtype)
            fatal = [entry for entry in again.conduct if entry.fatal]
            if fatal:
                message = f"a second equal call {fatal[0].kind}: {fatal[0].message}"
                answer.conduct.append(Conduct("not repeatable", message))
            else:
                answer.conduct += differences(answer, again)
        return answer

    def _once(self, call: OpCall, dtype: DTypeLike) -> Answer:
        record = Record(call, dtype)

        def work() -> None:
            self._adapter.run(self._told(call), np.dtype(dtype), record)  # type: ignore[arg-type]

        note = record.answer.conduct.append
        guarded(work, note, timeout=self._timeout, capture=self._capture)
        record.finish()
        return record.answer


def mismatch(restriction: Restriction, call: OpCall) -> str:
    """Return how a call differs from what a candidate's geometry asks for; empty where it doesn't."""
    for name, value in zip(call.names, call.args, strict=True):
        if name in restriction.absent and value is not None:
            return f"it has no {name}"
        if name in restriction.present and value is None:
            return f"it has {name}, which is None here"
        wanted = restriction.shapes.get(name)
        if wanted is None or value is None:
            continue
        same = len(wanted) == value.ndim and all(
            a in (None, b) for a, b in zip(wanted, value.shape, strict=True)
        )
        if not same:
            return f"its {name} has shape {tuple(wanted)}, and {value.shape} here"
    options = all_options(call)
    for name, value in restriction.options.items():
        if name in options and not same_option(options[name], value):
            return f"its {name} is {value!r}, and {options[name]!r} here"
    return ""


def label_of(target: Any) -> str:
    """Return a name for an object: ``module:name``."""
    kind = target if inspect.isclass(target) or inspect.isroutine(target) else type(target)
    return f"{getattr(kind, '__module__', '?')}:{getattr(kind, '__qualname__', type(target).__name__)}"


def adapter_for(op: str, target: Any, backward: Any, framework: str | None, timeout: float) -> Adapter:
    """Return the adapter of a target, imported here."""
    if is_text(target):
        text = str(target)
        if text.startswith(COMMAND) or framework == "command":
            from senumpy.crosscheck.adapters.commands import Command

            return Command(text.removeprefix(COMMAND), timeout)
        if text.endswith(ONNX) or framework == "onnx":
            from senumpy.crosscheck.adapters.onnx_files import OnnxFile

            return OnnxFile(op, Path(text))
        target = load(text)
    if is_text(backward):
        backward = load(str(backward))
    if not callable(target):
        raise InputError(f"a {type(target).__name__} can't be called: wanted a function, a Module or a layer")
    if backward is not None and not callable(backward):
        raise InputError(f"backward: a {type(backward).__name__} can't be called, wanted backward(dy, cache)")
    framework = framework or framework_of(target, backward)
    if backward is not None and framework != "numpy":
        raise InputError(
            f"backward: a candidate in {framework} has its gradients from {framework}; leave it out"
        )
    try:
        return _BUILD[framework](op, target, backward)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("senumpy"):
            raise
        raise InputError(
            f"a candidate in {framework} needs {error.name}, which isn't installed: pip install {error.name}"
        ) from None


def framework_of(target: Any, backward: Any) -> str:
    """Find out what a candidate is written in: by its class, a backward, or what its module imports."""
    kinds = inspect.getmro(target if inspect.isclass(target) else type(target))
    for framework, base in (("torch", "torch.nn.modules.module"), ("keras", "keras.src.layers.layer")):
        if any(kind.__module__ == base for kind in kinds):
            # A Keras layer on PyTorch is a Module as well.
            return (
                "keras" if any(kind.__module__ == "keras.src.layers.layer" for kind in kinds) else framework
            )
    if backward is not None:
        return "numpy"
    return _imports_of(target)


def _imports_of(target: Any) -> str:
    """Return the framework that a function names, else the one that its module imports, else NumPy."""
    function = inspect.unwrap(target)
    function = getattr(function, "func", function)  # functools.partial
    own = str(getattr(function, "__module__", None) or "").partition(".")[0]
    own = _LIBRARIES.get(own, own)
    if own in _MODULES:
        return own
    if not inspect.isfunction(function):
        function = getattr(type(function), "__call__", function)  # noqa: B004  (its code is wanted)
    space, names = dict(getattr(function, "__globals__", {})), set()
    if inspect.isfunction(function):
        # Not co_names: attributes are among those, and `jax.nn` would be taken for a global `nn`.
        loads = ("LOAD_GLOBAL", "LOAD_DEREF")
        names = {step.argval for step in dis.get_instructions(function) if step.opname in loads}
        space |= inspect.getclosurevars(function).nonlocals
    for seen in ({_root(space[name]) for name in names if name in space}, set(map(_root, space.values()))):
        for framework in (*_MODULES, "numpy"):
            if framework in seen:
                return framework
    return "numpy"


def _root(value: Any) -> str:
    """Return the package that something comes from."""
    name = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
    root = str(name or "").partition(".")[0]
    return _LIBRARIES.get(root, root)


def _numpy(op: str, target: Any, backward: Any) -> Adapter:
    from senumpy.crosscheck.adapters.numpy_functions import NumpyFunctions

    return NumpyFunctions(target, backward)


def _torch(op: str, target: Any, backward: Any) -> Adapter:
    from senumpy.crosscheck.adapters.torch_functions import TorchFunction
    from senumpy.crosscheck.adapters.torch_modules import TorchModule, is_module_target

    return TorchModule(op, target) if is_module_target(target) else TorchFunction(target)


def _jax(op: str, target: Any, backward: Any) -> Adapter:
    from senumpy.crosscheck.adapters.jax_functions import JaxFunction

    return JaxFunction(target)


def _tensorflow(op: str, target: Any, backward: Any) -> Adapter:
    from senumpy.crosscheck.adapters.tensorflow_functions import TensorflowFunction

    return TensorflowFunction(target)


def _keras(op: str, target: Any, backward: Any) -> Adapter:
    from senumpy.crosscheck.adapters.keras_layers import keras_adapter

    return keras_adapter(op, target)


def _no_text(op: str, target: Any, backward: Any) -> Adapter:
    raise InputError(f"a {type(target).__name__} is no ONNX file and no command: wanted text")


_BUILD: dict[str, Callable[[str, Any, Any], Adapter]] = {
    "numpy": _numpy,
    "torch": _torch,
    "jax": _jax,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "onnx": _no_text,
    "command": _no_text,
}
