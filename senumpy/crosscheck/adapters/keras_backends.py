"""A Keras layer called and differentiated on Keras's backend, whichever it is: NumPy arrays in and out."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from senumpy.errors import InputError

Arrays = list[Any]
Pull = Callable[[Any], tuple[Arrays, Arrays]]


@contextlib.contextmanager
def precision(dtype: np.dtype[np.floating]) -> Iterator[None]:
    """Let Keras, and JAX below it, compute in a dtype; as before afterwards."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(bool(dtype == np.float64)))
        if keras.backend.backend() == "tensorflow":
            from senumpy.crosscheck.adapters.tensorflow_functions import quiet

            stack.enter_context(quiet())
        try:
            keras.config.set_floatx(dtype.name)
            keras.config.set_dtype_policy(dtype.name)
            yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)


def backend_call(
    layer: Any, inputs: list[Any], *, training: bool, gradients: bool = True
) -> tuple[Any, Arrays, Pull]:
    """Call a layer and return y, its non-trainable variables afterwards, and what pulls a gradient back.

    Parameters
    ----------
    layer : keras.Layer
    inputs : list
        NumPy arrays, or lists of them.
    training : bool
    gradients : bool
        False to build the layer and no more.

    Returns
    -------
    y : array
    after : list of arrays
    pull : callable
        ``pull(dy)`` -> gradients of the float inputs, and of the layer's trainable variables.
    """
    backend = keras.backend.backend()
    if not gradients:
        layer(*_packed(layer, [_converted(value) for value in inputs]), **_mode(layer, training))
        return None, [], lambda dy: ([], [])
    known = {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow}
    if backend not in known:
        raise InputError(f"Keras computes with {backend!r}, wanted KERAS_BACKEND=torch, jax or tensorflow")
    return known[backend](layer, inputs, training)


def _mode(layer: Any, training: bool) -> dict[str, bool]:
    return {"training": training} if "training" in inspect.signature(layer.call).parameters else {}


def _packed(layer: Any, values: list[Any]) -> list[Any]:
    """Return one list of values for a layer that takes a list."""
    known = [n for n in inspect.signature(layer.call).parameters if n not in ("training", "mask")]
    return [values] if len(values) > 1 and len(known) == 1 else values


def _converted(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_converted(part) for part in value]
    return keras.ops.convert_to_tensor(np.ascontiguousarray(value), dtype=value.dtype.name)


def _floats(values: list[Any]) -> list[Any]:
    """Return the arrays of numbers among inputs and lists of inputs."""
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return [v for v in flat if "float" in str(v.dtype)]


def _torch(layer: Any, inputs: list[Any], training: bool) -> tuple[Any, Arrays, Pull]:
    import torch

    values = [_converted(value) for value in inputs]
    leaves = [leaf.requires_grad_() for leaf in _floats(values)]
    y = layer(*_packed(layer, values), **_mode(layer, training))
    weights = [variable.value for variable in layer.trainable_variables]
    after = [np.array(variable.value.detach()) for variable in layer.non_trainable_variables]

    def pull(dy: Any) -> tuple[Arrays, Arrays]:
        upstream = torch.from_numpy(np.ascontiguousarray(dy) if dy.ndim else dy)
        found = torch.autograd.grad(y, [*leaves, *weights], upstream, allow_unused=True)
        arrays = [
            np.zeros(of.shape, dy.dtype) if g is None else np.array(g)
            for g, of in zip(found, [*leaves, *weights], strict=True)
        ]
        return arrays[: len(leaves)], arrays[len(leaves) :]

    return np.array(y.detach()), after, pull


def _jax(layer: Any, inputs: list[Any], training: bool) -> tuple[Any, Arrays, Pull]:
    import jax

    values = [_converted(value) for value in inputs]
    leaves = _floats(values)
    trainable = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    def forward(leaves: Any, trainable: Any) -> tuple[Any, Any]:
        rest = iter(leaves)

        def put(value: Any) -> Any:
            if isinstance(value, list):
                return [put(part) for part in value]
            return next(rest) if "float" in str(value.dtype) else value

        arguments = _packed(layer, [put(value) for value in values])
        return layer.stateless_call(trainable, others, *arguments, **_mode(layer, training))

    y, pull_back, after = jax.vjp(forward, leaves, trainable, has_aux=True)

    def pull(dy: Any) -> tuple[Arrays, Arrays]:
        first, second = pull_back(jax.numpy.asarray(np.ascontiguousarray(dy), dtype=y.dtype))
        return [np.asarray(g) for g in first], [np.asarray(g) for g in second]

    return np.asarray(y), [np.asarray(value) for value in after], pull


def _tensorflow(layer: Any, inputs: list[Any], training: bool) -> tuple[Any, Arrays, Pull]:
    import tensorflow as tf

    values = [_converted(value) for value in inputs]
    leaves = _floats(values)
    weights = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        y = layer(*_packed(layer, values), **_mode(layer, training))

    def pull(dy: Any) -> tuple[Arrays, Arrays]:
        upstream = tf.constant(np.ascontiguousarray(dy), y.dtype)
        found = tape.gradient(y, [leaves, weights], output_gradients=upstream, unconnected_gradients="zero")
        return [g.numpy() for g in found[0]], [g.numpy() for g in found[1]]

    after = [variable.value.numpy() for variable in layer.non_trainable_variables]
    return y.numpy(), after, pull
