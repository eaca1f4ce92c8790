"""What a candidate did besides computing, and what it gave: `Conduct`, `Answer`, `Restriction`, `Record`.

A `Record` takes a candidate's results one by one as they come and holds each against what an array in its
place has to be: type, shape, dtype, finite numbers. What doesn't fit becomes a `Conduct`, a verdict of its
own, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.verify.calls import OpCall, Results, result_names, results
from senumpy.verify.slots import text_of

Array = NDArray[Any]
_FATAL = ("raised", "timeout", "exited", "crashed")
_CPU = (1, 3)  # DLPack's numbers of memory that the processor reads
# Vectors over channels: (N, C, 1, 1) is taken for (N, C), as frameworks return either.
_POOLED = ("global_avg_pool", "global_max_pool", "squeeze")


@dataclass(frozen=True)
class Conduct:
    """One thing that a candidate should not have done.

    Attributes
    ----------
    kind : str
        "raised", "timeout", "exited", "crashed", "printed", "shape", "dtype", "type", "not finite", "alias",
        "changed input" or "not repeatable".
    message : str
        What was found and what was wanted, one line.
    result : str
        The result that it belongs to, such as ``"dx"``; empty where it belongs to none.
    """

    kind: str
    message: str
    result: str = ""

    def __post_init__(self) -> None:
        # What a candidate says may hold anything; reports go to terminals and XML.
        plain = self.message.encode("utf-8", "backslashreplace").decode("utf-8")
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
        object.__setattr__(self, "message", shown)

    @property
    def fatal(self) -> bool:
        """Whether the call ended here: results that came before are all there is."""
        return self.kind in _FATAL


@dataclass
class Answer:
    """What a candidate gave for a call.

    Attributes
    ----------
    results : dict
        Arrays by name, of the right shapes; only those that the candidate has.
    misshapen : dict
        Arrays of other shapes: they can't be judged, but tell which mistake was made.
    conduct : list of Conduct
        Empty for one that behaved.
    """

    results: Results = field(default_factory=dict)
    misshapen: Results = field(default_factory=dict)
    conduct: list[Conduct] = field(default_factory=list)


@dataclass(frozen=True)
class Restriction:
    """What calls have to look like for a candidate of fixed geometry.

    Attributes
    ----------
    shapes : dict
        By argument, its only shape; None stands for a size that is free.
    absent : tuple of str
        Arguments that have to be None.
    present : tuple of str
        Arguments that must not be None.
    options : dict
        Values that options have to have; an option that a call leaves out has the operation's default.
    dtypes : tuple of str
        Of "float32" and "float64", those that it computes in.
    """

    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float32", "float64")


class StopCallError(Exception):
    """The rest of a call makes no sense: what went before is all there is. The conduct says why."""


class Record:
    """The results of one call as they come.

    Parameters
    ----------
    call : OpCall
    dtype : dtype
        What results have to be.
    """

    def __init__(self, call: OpCall, dtype: DTypeLike) -> None:
        self.call, self.dtype = call, np.dtype(dtype)
        self.answer = Answer()
        self._shapes = _shapes(call)

    def note(self, kind: str, message: str, result: str = "") -> None:
        """Add a conduct."""
        self.answer.conduct.append(Conduct(kind, message, result))

    def forward(self, value: Any) -> Array:
        """Take forward's result and return the upstream gradient, of its own shape.

        Raises
        ------
        StopCallError
            It is no array or has another shape: there are no gradients to ask for.
        """
        shape = self._shapes["y"]
        array = self._array("y", value)
        if array is None:
            raise StopCallError
        given = array.shape
        if self.call.op in _POOLED and given == (*shape, 1, 1):
            array = array.reshape(shape)
        if array.shape != shape:
            swapped = array.ndim == 4 and array.transpose(0, 3, 1, 2).shape == shape
            self.note("shape", f"y has shape {array.shape}, wanted {shape}"
                      f"{' (channels last?)' if swapped else _transposed(array, shape)}", "y")  # fmt: skip
            self.answer.misshapen["y"] = array
            raise StopCallError
        self.answer.results["y"] = array
        return self.call.upstream(given, self.dtype)

    def take(self, name: str, value: Any) -> None:
        """Take another result: a gradient or a running statistic, by its name."""
        wanted = self._shapes[name]
        array = self._array(name, value)
        if array is None:
            return
        if array.shape != wanted:
            self.note(
                "shape", f"{name} has shape {array.shape}, wanted {wanted}{_transposed(array, wanted)}", name
            )
            self.answer.misshapen[name] = array
            return
        self.answer.results[name] = array

    def absent(self, name: str, value: Any) -> None:
        """Take the gradient of an argument that is None."""
        if value is None:
            self.answer.results[name] = None
        else:
            what = text_of(value)
            self.note("type", f"{name} is {what}, wanted None: the argument {name[1:]} is None", name)

    def finish(self) -> None:
        """Look for numbers that are not finite where the reference's are."""
        reference: Results = {}
        for name, array in self.answer.results.items():
            if array is None or np.isfinite(array).all():
                continue
            if not reference:
                with np.errstate(all="ignore"):
                    reference = results(self.call, self.dtype)
            want = reference[name]
            bad = ~np.isfinite(array) if want is None else ~np.isfinite(array) & np.isfinite(want)
            if bad.any():
                index = tuple(int(i) for i in np.argwhere(bad)[0])
                place = f"[{', '.join(map(str, index))}]" if index else ""
                self.note(
                    "not finite",
                    f"{name}{place} is {array[index]}, and {bad.sum()} of {bad.size} numbers are not "
                    "finite where the reference's are",
                    name,
                )

    def _array(self, name: str, value: Any) -> Array | None:
        """Return a value as an array of real numbers, or note why that can't be."""
        try:
            array = host_array(value)
        except Exception as error:  # whatever a foreign array type raises
            self.note("type", f"{name} can't be read as an array: {one_line(error)}", name)
            return None
        if array is None:
            what = "None" if value is None else f"a {type(value).__name__}"
            self.note("type", f"{name} is {what}, wanted an array", name)
            return None
        if array.dtype.kind not in "fiu":
            self.note("dtype", f"{name} has dtype {array.dtype}, wanted {self.dtype}", name)
            return None
        if array.dtype != self.dtype and not isinstance(value, float):
            self.note("dtype", f"{name} has dtype {array.dtype}, wanted {self.dtype}, as the arguments", name)
        # A copy: the candidate may keep what it returned, and write into it again.
        return np.array(array, dtype=array.dtype if array.dtype.kind == "f" else self.dtype)


def host_array(value: Any) -> Array | None:
    """Return a NumPy array of a number, an array, or anything with ``__dlpack__``; None for other things.

    Arrays on a device are copied to the host, PyTorch's are taken off their graph first.
    """
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if isinstance(value, np.generic | float | int | complex):
        return np.asarray(value)
    if not hasattr(value, "__dlpack__"):
        return None
    if hasattr(value, "detach"):
        value = value.detach()
    if value.__dlpack_device__()[0] in _CPU:
        return np.from_dlpack(value)
    for method in ("get", "cpu"):  # CuPy's and PyTorch's own way to the host
        if hasattr(value, method):
            return host_array(getattr(value, method)())
    return np.from_dlpack(value, device="cpu", copy=True)


def differences(first: Answer, second: Answer) -> Iterable[Conduct]:
    """Yield a "not repeatable" for each result that differs between two calls with equal arguments.

    A hundred units of rounding of the largest number are let pass: sums whose order threads decide.
    """
    for name, a in first.results.items():
        b = second.results.get(name)
        if a is None and b is None:
            continue
        if a is None or b is None or a.shape != b.shape:
            yield Conduct("not repeatable", f"a second equal call gives another kind of {name}", name)
            continue
        if np.array_equal(a, b, equal_nan=True):
            continue
        with np.errstate(all="ignore"):
            off = float(np.nanmax(np.abs(np.asarray(a, np.float64) - b), initial=0.0))
            size = float(np.nanmax(np.abs(a), initial=0.0))
        same_places = np.array_equal(np.isfinite(a), np.isfinite(b))
        if not same_places or off > 100 * float(np.finfo(a.dtype).eps) * size:
            yield Conduct(
                "not repeatable",
                f"a second equal call gives another {name}: up to {off:.3g} apart, where the "
                f"largest number is {size:.3g}",
                name,
            )


def sharing(name: str, array: Any, others: Mapping[str, Any]) -> Conduct | None:
    """Return an "alias" when a result shares memory with one of the named others."""
    if not isinstance(array, np.ndarray):
        return None
    for other, theirs in others.items():
        # The exact question can be very hard for strided arrays: it is asked only where the ranges overlap.
        near = isinstance(theirs, np.ndarray) and array.size and np.may_share_memory(array, theirs)
        if near and np.shares_memory(array, theirs):
            return Conduct("alias", f"{name} shares memory with {other}, wanted memory of its own", name)
    return None


def changed(given: Mapping[str, Any], before: Mapping[str, Any], where: str) -> list[Conduct]:
    """Return a "changed input" for each array that is not what it was before."""
    return [
        Conduct("changed input", f"{where} changes {name}, wanted it left as it was", "")
        for name, array in given.items()
        if not np.array_equal(array, before[name], equal_nan=before[name].dtype.kind == "f")
    ]


def one_line(error: object, limit: int = 300) -> str:
    """Return a message as one line of at most `limit` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _transposed(array: Array, shape: tuple[int, ...]) -> str:
    return " (the transpose?)" if array.ndim > 1 and array.shape == shape[::-1] else ""


def _shapes(call: OpCall) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all results."""
    with np.errstate(all="ignore"):
        y, _ = call.spec.forward(*call.arguments(np.float64), **call.keywords())
    found: dict[str, tuple[int, ...]] = {"y": np.shape(y)}
    for name, value in named_leaves(call).items():
        found[f"d{name}"] = value.shape
    if call.op == "batchnorm2d":
        found |= dict.fromkeys(("running_mean", "running_var"), (call.args[0].shape[1],))
    return {name: shape for name, shape in found.items() if name in result_names(call)}


def named_leaves(call: OpCall, args: tuple[Any, ...] | None = None) -> dict[str, Array]:
    """Return the arrays of a call by name, ``x`` or ``xs[0]``; of other arguments in its places if given."""
    found: dict[str, Array] = {}
    for name, value in zip(call.names, call.args if args is None else args, strict=True):
        if isinstance(value, tuple | list):
            found |= {f"{name}[{i}]": part for i, part in enumerate(value)}
        elif value is not None:
            found[name] = value
    return found
