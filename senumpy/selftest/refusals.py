"""Bad arguments of every operation: each has to be refused by an error that names the argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array
from senumpy.selftest.calls import run
from senumpy.selftest.outcome import Outcome
from senumpy.selftest.samples import Sample, named_arguments

ANY_RANK = ("relu", "sigmoid", "tanh", "dropout", "concat")

OPTIONS: dict[str, list[tuple[str, Any]]] = {
    "conv2d": [("groups", 0), ("stride", 0), ("stride", 1.5), ("padding", -1), ("dilation", 0)],
    "conv_bn_relu": [("groups", 0), ("eps", -1.0)],
    "batchnorm2d": [("eps", -1.0), ("eps", float("nan"))],
    "batchnorm2d_inference": [("eps", -1.0)],
    "max_pool2d": [("kernel", 0), ("kernel", 99), ("stride", 0), ("padding", -1), ("padding", 5)],
    "avg_pool2d": [("kernel", 0), ("kernel", 99), ("stride", 0), ("padding", -1), ("padding", 5)],
    "squeeze": [("operator", "mean")],
    "excitation": [("gate", "softmax")],
    "squeeze_excite": [("squeeze", "sum"), ("gate", "Sigmoid")],
    "residual_tail": [("squeeze", "sum"), ("gate", "")],
    "residual_tail_inference": [("squeeze", "sum"), ("gate", "")],
    "bn_relu_se": [("squeeze", "sum"), ("gate", "")],
    "concat_se": [("squeeze", "sum"), ("gate", "")],
    "se_add": [("squeeze", "sum"), ("gate", "")],
    "pad_shortcut": [("channels", 1), ("stride", 0)],
    "concat": [("axis", 9)],
    "channel_shuffle": [("groups", 0), ("groups", 4)],
    "shake": [("alpha", (0.5,))],
    "dropout": [("p", 1.0), ("p", -0.1)],
    "softmax_cross_entropy": [("label_smoothing", 1.1), ("label_smoothing", -0.1)],
}


def refusals(engine: Engine, sample: Sample) -> Iterator[Outcome]:
    """Yield whether arguments, options and upstream gradients that can't be right are refused."""
    for name, value in named_arguments(sample, sample.args):
        if name in sample.spec.others:
            yield from _labels(engine, sample, name)
        elif value is not None:
            yield from _argument(engine, sample, name, value)
    for option, value in OPTIONS.get(sample.op, []):
        options = {**sample.options, option: value}
        call = partial(_call, engine, sample, sample.on(engine, np.float64), options)
        yield refused(f"{option}={value!r}", option, call, other=(f"got {value!r}",))
    yield from _upstream(engine, sample)


def _argument(engine: Engine, sample: Sample, name: str, value: Any) -> Iterator[Outcome]:
    """Yield refusals of one float argument: int64, no array, another rank, another dtype than the others'."""
    listed = isinstance(value, tuple | list)
    word = f"{name}[0]" if listed else name
    first = value[0] if listed else value

    def with_changed(changed: Callable[[Array], Any]) -> Callable[[], Any]:
        new = [changed(first), *value[1:]] if listed else changed(first)
        args = [new if n == name else v for n, v in named_arguments(sample, sample.args)]
        return partial(_call, engine, sample, _placed(engine, args), sample.options)

    yield refused(f"{name} of int64", word, with_changed(lambda a: a.astype(np.int64)), TypeError)
    yield refused(f"{name} as a list", "list", with_changed(lambda a: a.tolist()))
    if sample.op not in ANY_RANK:
        other = (f"{name}[1]",) if listed and len(value) > 1 else ()
        yield refused(
            f"{name} with one more axis", word, with_changed(lambda a: a[None]), ValueError, other=other
        )
    count = len([v for n, v in named_arguments(sample, sample.args) if v is not None])
    if (count > 1 and not sample.spec.others) or (listed and len(value) > 1):
        yield refused(
            f"{name} alone of float32", "float32", with_changed(lambda a: a.astype(np.float32)), TypeError
        )


def _labels(engine: Engine, sample: Sample, name: str) -> Iterator[Outcome]:
    logits, labels = sample.args
    classes = logits.shape[1]
    wrong = {
        "too large": np.full_like(labels, classes),
        "negative": np.full_like(labels, -1),
        "of float64": labels.astype(np.float64),
        "of another length": np.concatenate([labels, labels]),
    }
    for what, bad in wrong.items():
        args = _placed(engine, [logits, bad])
        yield refused(f"{name} {what}", name, partial(_call, engine, sample, args, sample.options))


def _upstream(engine: Engine, sample: Sample) -> Iterator[Outcome]:
    """Yield refusals of upstream gradients of another shape or dtype."""
    made = run(engine, sample, np.float64)
    shape = tuple(made.y.shape)
    loss = not shape
    bad: dict[str, Array] = {"dy with one more axis": np.ones((*shape, 2))}
    if not loss:
        bad |= {"dy of float32": np.ones(shape, np.float32), "dy of int64": np.ones(shape, np.int64)}
    for what, dy in bad.items():
        call = partial(sample.backward, engine, engine.asarray(dy), made.cache)
        yield refused(what, "dloss" if loss else "dy", call)


def refused(
    what: str,
    word: str,
    call: Callable[[], Any],
    errors: type[Exception] | tuple[type[Exception], ...] = (TypeError, ValueError),
    other: tuple[str, ...] = (),
) -> Outcome:
    """Return whether `call` raises one of `errors`, in one line with `word` or one of `other` in it."""
    wanted = getattr(errors, "__name__", "TypeError or ValueError")
    try:
        call()
    except errors as error:
        message = str(error)
        if any(each in message for each in (word, *other)) and "\n" not in message:
            return Outcome(what)
        return Outcome(what, f"found the message {message!r}, wanted one line that names {word}")
    except Exception as error:
        return Outcome(what, f"found {type(error).__name__}: {error}, wanted {wanted}")
    return Outcome(what, f"it was taken, wanted {wanted} that names {word}")


def _placed(engine: Engine, args: list[Any]) -> tuple[Any, ...]:
    """Return arguments as arrays of the engine; what is no array stays what it is."""
    return tuple(
        [_place(engine, item) for item in value] if _is_list_of_arrays(value) else _place(engine, value)
        for value in args
    )


def _is_list_of_arrays(value: Any) -> bool:
    return isinstance(value, tuple | list) and any(isinstance(item, np.ndarray) for item in value)


def _place(engine: Engine, value: Any) -> Any:
    return engine.asarray(value.copy()) if isinstance(value, np.ndarray) else value


def _call(engine: Engine, sample: Sample, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return getattr(engine, f"{sample.op}_forward")(*args, **options)
