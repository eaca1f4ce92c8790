"""A function on JAX arrays; its gradients are `jax.vjp`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from senumpy.crosscheck.adapters.options import Options
from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, Restriction, named_leaves

_STATISTICS = ("running_mean", "running_var")


class JaxFunction:
    """A function of arrays by position and options by keyword.

    float64 is switched on for float64 calls alone (`jax.enable_x64`), and only while they last. Labels are
    handed over as they are.

    Parameters
    ----------
    function : callable
        ``function(*arrays, **options)`` -> an array. One with parameters ``running_mean`` and ``running_var``
        returns ``(y, new_mean, new_var)`` or ``(y, (new_mean, new_var))``.
    """

    framework = "jax"

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._options = function, Options(function)

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        return self._options.fit(call)[1]

    def restrict(self) -> Restriction | None:
        """Return None: functions take any geometry."""
        return None

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Call the function and pull the upstream gradient back."""
        with jax.enable_x64(bool(dtype == np.float64)):
            self._run(call, dtype, record)

    def _run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        options, _ = self._options.fit(call)
        start = call.running(dtype)
        has_running = start is not None and self._options.has(*_STATISTICS)
        if start is not None and has_running:
            options |= {"running_mean": jnp.asarray(start.mean), "running_var": jnp.asarray(start.var)}
            options |= {"momentum": start.momentum} if self._options.has("momentum") else {}
            options |= {"training": True} if self._options.has("training") else {}
        named = dict(zip(call.names, call.arguments(dtype), strict=True))
        fixed = {name: value for name, value in named.items() if name not in call.spec.arguments}
        arrays = {name: _jax(value) for name, value in named.items() if name not in fixed}

        def forward(arrays: dict[str, Any]) -> tuple[Any, Any]:
            everything = {**arrays, **fixed}
            result = self._function(*(everything[name] for name in call.names), **options)
            return _split(result) if has_running else (result, ())

        y, pull, statistics = jax.vjp(forward, arrays, has_aux=True)
        dy = record.forward(y)
        for name, value in zip(_STATISTICS, statistics, strict=False):
            record.take(name, value)
        (gradients,) = pull(jnp.asarray(dy, dtype=y.dtype))
        found = tuple(gradients.get(name) for name in call.names)
        for name, value in named_leaves(call, found).items():
            record.take(f"d{name}", value)
        for name in call.spec.arguments:
            if named[name] is None:
                record.absent(f"d{name}", gradients[name])


def _jax(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_jax(part) for part in value]
    return None if value is None else jnp.asarray(np.ascontiguousarray(value))


def _split(result: Any) -> tuple[Any, tuple[Any, ...]]:
    y, *statistics = result
    if len(statistics) == 1 and isinstance(statistics[0], tuple | list):
        statistics = list(statistics[0])
    return y, tuple(statistics)
