"""A Keras 3 layer as an operation, on any backend: an instance, a class, or a factory ``make(call)``.

Keras keeps channels last unless told otherwise: images and kernels are turned from and to our order, NCHW and
OIHW, here. Its names differ too: padding is "valid" or "same" (which is ours only where it is even), a batch
norm's momentum is what is kept of the old value, and what it keeps of a variance is the biased one.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from senumpy.crosscheck.adapters.base import Adapter
from senumpy.crosscheck.adapters.construct import Constructor
from senumpy.crosscheck.adapters.keras_backends import backend_call, precision
from senumpy.crosscheck.adapters.keras_shapes import (
    channels_last,
    fixed_options,
    padding_mode,
    padding_reason,
    to_last,
    to_layer,
    to_ours,
)
from senumpy.crosscheck.adapters.options import takes_anything
from senumpy.crosscheck.adapters.parameters import Parameter, inputs_of, match, parameters_of
from senumpy.crosscheck.exchange import all_options
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, Restriction, named_leaves, one_line

_MOVING = {"moving_mean": "running_mean", "moving_variance": "running_var"}
_STATISTICS = {"moving_mean": "mean", "moving_variance": "var"}


def keras_adapter(op: str, target: Any) -> Adapter:
    """Return the adapter of a layer, or of a function on whatever Keras computes with."""
    known = inspect.signature(target).parameters.values() if not isinstance(target, keras.Layer) else ()
    factory = [p.name for p in known if p.default is p.empty] == ["call"]
    if isinstance(target, keras.Layer) or inspect.isclass(target) or factory:
        return KerasLayer(op, target)
    backend = keras.backend.backend()
    if backend == "torch":
        from senumpy.crosscheck.adapters.torch_functions import TorchFunction

        return TorchFunction(target)
    if backend == "jax":
        from senumpy.crosscheck.adapters.jax_functions import JaxFunction

        return JaxFunction(target)
    if backend == "tensorflow":
        from senumpy.crosscheck.adapters.tensorflow_functions import TensorflowFunction

        return TensorflowFunction(target)
    raise InputError(f"Keras computes with {backend!r}, wanted KERAS_BACKEND=torch, jax or tensorflow")


class KerasLayer:
    """A layer built anew for each call, with the call's weights.

    Parameters
    ----------
    op : str
    target : keras.Layer, class of layers, or function
        Of an instance only the configuration is used (`get_config`): it stays as it was.

    Raises
    ------
    InputError
        A class that nothing is known to build with, or a layer whose configuration doesn't build it again.
    """

    framework = "keras"

    def __init__(self, op: str, target: Any) -> None:
        self._op = op
        self._fixed = target if isinstance(target, keras.Layer) else None
        if self._fixed is None:
            self._make = Constructor(op, target, momentum=0.9, handled=("count_include_pad",))
            return
        try:
            self._config = self._fixed.get_config()
            type(self._fixed).from_config(dict(self._config))
        except Exception as error:
            name = type(self._fixed).__name__
            raise InputError(
                f"{name} can't be built from its get_config() ({error}): give its class"
            ) from None

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        reason = "" if self._fixed is not None else self._make.fill(call)[1]
        mode = padding_mode(call) if self._fixed is None else getattr(self._fixed, "padding", None)
        reason = reason or (padding_reason(call, mode) if "padding" in all_options(call) else "")
        if reason or not parameters_of(self._op):
            return reason
        dtype = np.dtype(np.float32)
        with precision(dtype):
            try:
                layer, _ = self._built(call, dtype)
                self._placed(layer, call, dtype)
            except InputError as error:
                return str(error)
            except Exception as error:
                if self._fixed is None:
                    raise
                return f"it can't be built for these shapes: {one_line(error, 120)}"
        return ""

    def restrict(self) -> Restriction | None:
        """Return the options of an instance, and the sizes that it tells before it is built."""
        # Keras promotes float64 to float32 in means, products and norms, except on TensorFlow
        # (keras/src/backend/common/dtypes.py): there is no float64 to be had.
        dtypes = ("float32", "float64") if keras.backend.backend() == "tensorflow" else ("float32",)
        if self._fixed is None:
            return Restriction(options=self._make.fixed(self._op), dtypes=dtypes)
        layer, shapes = self._fixed, {}
        outputs = getattr(layer, "filters", None) or getattr(layer, "units", None)
        if outputs and "w" in parameters_of(self._op):
            shapes["w"] = (outputs, None, *(getattr(layer, "kernel_size", None) or ()))
        absent = (
            ("b",) if getattr(layer, "use_bias", True) is False and self._op in ("conv2d", "linear") else ()
        )
        return Restriction(shapes, absent, (), fixed_options(self._op, layer), dtypes)

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Build the layer, set its weights, call it, take the gradients of inputs and weights."""
        with precision(dtype):
            self._run(call, dtype, record)

    def _run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        layer, inputs = self._built(call, dtype)
        placed = self._placed(layer, call, dtype)
        named = dict(zip(call.names, call.arguments(dtype), strict=True))
        for name, (variable, owner) in placed.items():
            shape = tuple(variable.shape)
            array = named[name]
            variable.assign(np.zeros(shape, dtype) if array is None else to_layer(array, shape, owner))
        start = call.running(dtype)
        if start is not None:
            named |= {"mean": start.mean, "var": start.var}
        for variable in layer.non_trainable_variables:
            if variable.name in _STATISTICS and named.get(_STATISTICS[variable.name]) is not None:
                variable.assign(named[_STATISTICS[variable.name]].reshape(variable.shape))
        last = channels_last(call.op, layer)
        y, after, pull = backend_call(layer, inputs, training=not call.op.endswith("_inference"))
        dy = record.forward(to_ours(y) if last else y)
        for variable, value in zip(layer.non_trainable_variables, after, strict=True):
            if start is not None and variable.name in _MOVING:
                record.take(_MOVING[variable.name], value.reshape(-1))
        gradients, weights = pull(to_last(dy) if last else dy)
        self._take_inputs(call, [to_ours(g) if last else g for g in gradients], record)
        index = {id(variable): i for i, variable in enumerate(layer.trainable_variables)}
        for name, (variable, owner) in placed.items():
            if named[name] is not None:
                gradient = weights[index[id(variable)]]
                record.take(f"d{name}", to_ours(gradient, owner).reshape(named[name].shape))
        for name in call.spec.arguments:
            if named[name] is None:
                record.absent(f"d{name}", None)

    def _take_inputs(self, call: OpCall, gradients: list[Any], record: Record) -> None:
        kept = [n for n in inputs_of(call.op) if n in call.spec.arguments]
        leaves = [leaf for leaf in named_leaves(call) if leaf.partition("[")[0] in kept]
        for leaf, gradient in zip(leaves, gradients, strict=True):
            record.take(f"d{leaf}", gradient)

    def _built(self, call: OpCall, dtype: np.dtype[np.floating]) -> tuple[Any, list[Any]]:
        """Return a built layer and what it is called with, in its own order of axes."""
        named = dict(zip(call.names, call.arguments(dtype), strict=True))
        layer = self._layer(call, dtype)
        if not isinstance(layer, keras.Layer):
            raise TypeError(f"the factory returned a {type(layer).__name__}, wanted a keras.Layer")
        inputs = [named[name] for name in inputs_of(call.op)]
        if channels_last(call.op, layer):
            inputs = [[to_last(a) for a in v] if isinstance(v, tuple | list) else to_last(v) for v in inputs]
        if not layer.built:
            backend_call(layer, inputs, training=True, gradients=False)
        return layer, inputs

    def _layer(self, call: OpCall, dtype: np.dtype[np.floating]) -> Any:
        if self._fixed is not None:
            config = dict(self._config)
            if "dtype" in config:
                config["dtype"] = dtype.name
            return type(self._fixed).from_config(config)
        if self._make.factory:
            return self._make(call)
        arguments, _ = self._make.fill(call)
        if "padding" in arguments:
            arguments["padding"] = padding_mode(call)
        if "dtype" in self._make.known or takes_anything(inspect.signature(self._make.make).parameters):
            arguments["dtype"] = dtype.name
        return self._make.build(arguments)

    def _placed(self, layer: Any, call: OpCall, dtype: np.dtype[np.floating]) -> dict[str, tuple[Any, Any]]:
        """Return the variable of each argument, and the layer that holds it."""
        owners = {id(v): part for part in layer._flatten_layers() for v in part._trainable_variables}
        variables = list(layer.trainable_variables)
        paths = [v.path.replace("/", ".") for v in variables]
        found = [Parameter(path, tuple(v.shape)) for path, v in zip(paths, variables, strict=True)]
        named = dict(zip(call.names, call.args, strict=True))
        placed = match(call.op, found, [name for name, value in named.items() if value is None])
        result = {}
        for name, path in placed.items():
            variable = variables[paths.index(path)]
            array = named[name]
            if (
                array is not None
                and to_ours(np.zeros(variable.shape), owners[id(variable)]).size != array.size
            ):
                raise InputError(
                    f"its {path} has shape {tuple(variable.shape)}, and {name} {array.shape} here"
                )
            result[name] = (variable, owners[id(variable)])
        missing = [
            n for n in parameters_of(call.op) if named[n] is not None and n not in (*placed, "mean", "var")
        ]
        if missing:
            raise InputError(f"it has no {missing[0]}")
        return result
