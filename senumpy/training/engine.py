"""The engine of a run, from its settings."""

from __future__ import annotations

from typing import Any

from senumpy.engines import Engine, engine
from senumpy.training.config import TrainConfig

ENGINE_SETTINGS = ("engine", "threads", "device", "precision", "deterministic")


def make_engine(
    name: str,
    *,
    threads: int | None = None,
    device: int | None = None,
    precision: str | None = None,
    deterministic: bool = False,
) -> Engine:
    """Return an engine with what is set of its options.

    Parameters
    ----------
    name : str
    threads : int or None
        Of `numba`, which has threads of its own; those of NumPy are BLAS's, see `limited_threads`.
    device, precision, deterministic
        Of engines for a GPU.

    Raises
    ------
    InputError
        No such engine, or not here, or it has no such option; says which one has.
    """
    options: dict[str, Any] = {"device": device, "precision": precision}
    if name not in ("numpy", "naive"):
        options["threads"] = threads
    if deterministic:
        options["deterministic"] = True
    return engine(name, **{option: value for option, value in options.items() if value is not None})


def engine_of_run(config: TrainConfig) -> Engine:
    """Return the engine that a run trains on."""
    return make_engine(config.engine, **_options(config))


def engine_for_run(
    config: TrainConfig, name: str | None = None, *, device: int | None = None, precision: str | None = None
) -> Engine:
    """Return the engine for what is done with a run later, maybe elsewhere.

    The run's own with its settings, but for the device, which may be another here; or the one called `name`,
    of whose options the run's settings say nothing.
    """
    if name is not None and name != config.engine:
        return make_engine(name, device=device, precision=precision)
    options = _options(config) | {"device": device}
    if precision is not None:
        options["precision"] = precision
    return make_engine(config.engine, **options)


def _options(config: TrainConfig) -> dict[str, Any]:
    return {field: getattr(config, field) for field in ENGINE_SETTINGS[1:]}
