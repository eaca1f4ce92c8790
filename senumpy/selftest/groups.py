"""The kinds of checks, in the order in which they are made, and what they leave out on which engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import senumpy
from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.selftest.agreement import PRODUCTS, float32_agreement, float64_agreement, tf32_agreement
from senumpy.selftest.contract import contract
from senumpy.selftest.gradients import gradients
from senumpy.selftest.helpers import helper_checks
from senumpy.selftest.networks import network_checks
from senumpy.selftest.outcome import Check, Outcome
from senumpy.selftest.refusals import refusals
from senumpy.selftest.samples import Sample, large_samples, small_samples
from senumpy.selftest.special import special_checks


class Settings(NamedTuple):
    """What to try: operations (and whether those are all), the first seed, how many seeds, only little."""

    ops: tuple[str, ...]
    all_ops: bool
    seed: int
    draws: int
    quick: bool

    def samples(self, draw: Callable[[str, int], list[Sample]]) -> list[Sample]:
        """Return the samples of all operations and seeds."""
        seeds = range(self.seed, self.seed + self.draws)
        return [sample for op in self.ops for seed in seeds for sample in draw(op, seed)]


class Group(NamedTuple):
    """One kind of check, and its checks as they come."""

    name: str
    checks: Iterable[Check]


class Plan:
    """All groups for one engine.

    Parameters
    ----------
    engine : Engine
    options : dict
        It was made with these.
    settings : Settings

    Attributes
    ----------
    left_out : list of str
        What is not checked, and why; complete when all groups were taken.
    """

    def __init__(self, engine: Engine, options: dict[str, Any], settings: Settings) -> None:
        self.engine, self.settings = engine, settings
        self.naive, self.numpy = senumpy.engine("naive"), senumpy.engine("numpy")
        self.is_numpy, self.is_naive = type(engine) is Engine, engine.name == "naive"
        self.left_out: list[str] = []
        self.tf32 = self._tf32(options)
        self.by_rule = _sibling(engine, options, deterministic=True)
        self.small = settings.samples(small_samples)
        self.large = [] if self.is_naive else settings.samples(self._large)

    def groups(self) -> Iterator[Group]:
        """Yield all groups."""
        yield from self._float64()
        yield from self._float32()
        samples = [*self.small, *self.large]
        yield Group("no side effects, no aliases, same bits", _each(contract, samples, self.engine))
        oracle = self.naive if self.is_numpy else self.numpy
        special = special_checks(self.engine, oracle, self.settings.ops, self.settings.seed)
        yield Group("NaN, infinity, zeros, ties, large means", special)
        yield Group("bad input is refused", _each(refusals, self._first_cases(), self.engine))
        yield from self._gradients()
        yield from self._whole()
        self.left_out.append("speed and memory: senumpy bench measures them")

    def _float64(self) -> Iterator[Group]:
        if self.is_naive:
            self.left_out.append("float64: these loops are what other engines are held to")
            return
        loops = _each(float64_agreement, self.small, self.engine, self.naive)
        yield Group("float64, small cases, against loops", loops)
        if self.is_numpy:
            self.left_out.append("larger cases in float64: they are held to the engine numpy itself")
            return
        larger = _each(float64_agreement, self.large, self.engine, self.numpy)
        yield Group("float64, larger cases, against numpy", larger)

    def _float32(self) -> Iterator[Group]:
        samples = [*self.small, *self.large]
        products = [sample for sample in samples if sample.op in PRODUCTS]
        if self.tf32 is self.engine:
            samples = [sample for sample in samples if sample.op not in PRODUCTS]
        plain = _each(float32_agreement, samples, self.engine, self.numpy)
        yield Group("float32, against float64", plain)
        if self.tf32 is not None:
            in_tf32 = _each(tf32_agreement, products, self.tf32, self.numpy)
            yield Group("TF32 matrix products, against float64", in_tf32)
        if self.by_rule is not None:
            # An engine that measures which way is fastest may never take the others: this one doesn't choose.
            agreement = float32_agreement if self.tf32 is not self.engine else tf32_agreement
            convolutions = [sample for sample in self.large if "conv" in sample.op]
            by_rule = _each(agreement, convolutions, self.by_rule, self.numpy)
            yield Group("the same, convolutions' ways by rule", by_rule)

    def _gradients(self) -> Iterator[Group]:
        if not self.is_numpy:
            self.left_out.append(
                "complex step: NumPy's code would run complex arrays, not the engine's; its gradients are "
                "held to central differences of its own forwards"
            )
        cases = self.settings._replace(draws=1).samples(small_samples)
        if self.settings.quick:
            self.left_out.append("gradient checks but for the first case of each operation: --quick")
            cases = self._first_cases()
        yield Group("gradients, against differences", _each(gradients, cases, self.engine))

    def _whole(self) -> Iterator[Group]:
        seed, quick = self.settings.seed, self.settings.quick
        if not self.settings.all_ops:
            self.left_out.append("networks and array helpers: only some operations were asked for")
            return
        yield Group("array helpers, inference helpers", helper_checks(self.engine, self.numpy, seed))
        if self.is_naive:
            self.left_out.append("larger cases, networks: plain loops would take hours")
            return
        if self.tf32 not in (None, self.engine):
            self.left_out.append("networks in TF32: --precision tf32 trains one")
        if quick:
            self.left_out.append("most larger convolutions, all networks but the smallest: --quick")
        yield Group("networks", network_checks(self.engine, self.numpy, seed, quick=quick))

    def _large(self, op: str, seed: int) -> list[Sample]:
        samples = large_samples(op, seed)
        return samples[::4] if self.settings.quick else samples

    def _first_cases(self) -> list[Sample]:
        return [small_samples(op, self.settings.seed)[0] for op in self.settings.ops]

    def _tf32(self, options: dict[str, Any]) -> Engine | None:
        """Return the engine to check in TF32, if there is any, or say why there is none."""
        precision = getattr(self.engine, "precision", None)
        if precision == "tf32":
            self.left_out.append("matrix products in float32: --precision tf32 was asked for")
            return self.engine
        if precision is None:
            self.left_out.append(f"TF32: the engine {self.engine.name} has no such mode")
            return None
        if "precision" in options:
            self.left_out.append("TF32: --precision float32 was asked for")
            return None
        sibling = _sibling(self.engine, options, precision="tf32")
        if sibling is None:
            self.left_out.append("TF32: not to be had on this device")
        return sibling


def _sibling(engine: Engine, options: dict[str, Any], **changed: Any) -> Engine | None:
    """Return an engine like `engine` with other options, or None where it doesn't have them."""
    try:
        return senumpy.engine(engine.name, **{**options, **changed})
    except InputError:
        return None


def _each(
    check: Callable[..., Iterator[Outcome]], samples: Iterable[Sample], *engines: Engine
) -> Iterator[Check]:
    """Yield a check of every sample, its arrays in one memory order or another."""
    for sample in samples:
        run = partial(check, *engines, sample.shuffled())
        yield Check(sample.op, sample.name, sample.seed, run)
