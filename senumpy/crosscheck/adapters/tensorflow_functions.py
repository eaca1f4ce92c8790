"""A function on TensorFlow tensors; its gradients are a GradientTape's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from senumpy.crosscheck.adapters.options import Options
from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, Restriction


class TensorflowFunction:
    """A function of tensors by position and options by keyword; images are NCHW, kernels OIHW.

    Parameters
    ----------
    function : callable
        ``function(*tensors, **options)`` -> a tensor.
    """

    framework = "tensorflow"

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._options = function, Options(function)

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        return self._options.fit(call)[1]

    def restrict(self) -> Restriction | None:
        """Return None: functions take any geometry."""
        return None

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Call the function under a tape and take the gradients of all its arguments."""
        with quiet():
            self._run(call, dtype, record)

    def _run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        options, _ = self._options.fit(call)
        leaves: dict[str, Any] = {}
        args: list[Any] = []
        for name, value in zip(call.names, call.arguments(dtype), strict=True):
            if isinstance(value, tuple | list):
                parts = {f"{name}[{i}]": _tensor(part) for i, part in enumerate(value)}
                leaves |= parts
                args.append(list(parts.values()))
            elif value is None:
                args.append(None)
            else:
                args.append(_tensor(value))
                if name in call.spec.arguments:
                    leaves[name] = args[-1]
        with tf.GradientTape() as tape:
            tape.watch(list(leaves.values()))
            y = self._function(*args, **options)
        dy = record.forward(host(y))
        found = tape.gradient(
            y, leaves, output_gradients=tf.constant(dy, y.dtype), unconnected_gradients="zero"
        )
        for name, gradient in found.items():
            record.take(f"d{name}", host(gradient))
        for name, value in zip(call.names, call.args, strict=True):
            if value is None and name in call.spec.arguments:
                record.absent(f"d{name}", None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep TensorFlow's own remarks, such as on tracing, out of what the candidate prints."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def host(value: Any) -> Any:
    """Return a tensor as a NumPy array; anything else as it is."""
    return tf.convert_to_tensor(value).numpy() if tf.is_tensor(value) else value


def _tensor(array: np.ndarray[Any, Any]) -> Any:
    return tf.constant(np.ascontiguousarray(array) if array.ndim else array)
