"""Every result and gradient against an oracle: to rounding in float64, to bounds in float32 and TF32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array
from senumpy.selftest.calls import Results, results
from senumpy.selftest.outcome import Outcome, holds, largest, within
from senumpy.selftest.samples import Sample, arrays_in

EPS32 = float(np.finfo(np.float32).eps)

# Operations that multiply matrices, or may: their inputs are what TF32 rounds.
PRODUCTS = frozenset(
    (
        "conv2d", "linear", "excitation", "squeeze_excite", "conv_bn_relu", "conv_bn_relu_inference",
        "residual_tail", "residual_tail_inference", "bn_relu_se", "concat_se", "se_add",
    )
)  # fmt: skip


def float64_agreement(engine: Engine, oracle: Engine, sample: Sample) -> Iterator[Outcome]:
    """Hold every result to the oracle's: |got - want| <= 1e-12 (1 + max |want|)."""
    got = results(engine, sample, np.float64)
    for name, want in results(oracle, sample, np.float64).items():
        limit = 0.0 if want is None else 1e-12 * (1.0 + largest(want))
        yield within(name, got.get(name), want, limit)
    yield from _dtypes(got, np.float64)


def float32_agreement(engine: Engine, oracle: Engine, sample: Sample) -> Iterator[Outcome]:
    """Hold float32 results to float64 ones, to what rounding may do."""
    yield from _rounded_agreement(engine, oracle, sample, rounding(sample), 3)


def tf32_agreement(engine: Engine, oracle: Engine, sample: Sample) -> Iterator[Outcome]:
    """Hold results whose matrix products have inputs in TF32 to float64 ones."""
    yield from _rounded_agreement(engine, oracle, sample, rounding(sample) + TF32, 6)


# Rounding, in relative terms. What float32 sums give is the exact result of inputs that are off a little: of
# L numbers by L eps / 2 at most (Higham 2002, sec. 4.2), by sqrt(L) eps / 2 or so where roundings are as
# independent as random ones (Higham & Mary 2019, "A new approach to probabilistic rounding error analysis").
# A unit has a handful of sums in a row, which eight times that covers; 16 leaves room for operations that
# have no sum at all, and for the transforms of Winograd's convolution.
def rounding(sample: Sample) -> float:
    """Return by how much, relatively, inputs may be off so that float32's results are exact ones of them."""
    return 8 * EPS32 * max(16.0, _longest_sum(sample) ** 0.5)


# TF32 keeps 11 binary digits of each factor of a product: its unit roundoff is u = 2^-11. Both factors
# rounded, a product is off by 2 u at most; where hardware cuts digits off instead, each factor is off by u on
# average, always towards zero, and the product by 2 u again. So the inputs of the references are off by 2 u,
# every entry: three times as much as roundings are on average. Sums are float32's, which `rounding` covers.
# What a unit rounds between its operations, BN's gradient say, is as the upstream gradient's being off.
TF32 = 2 * 2.0**-11


def _longest_sum(sample: Sample) -> int:
    """Return how many terms the longest sum of the operation or its gradients has, about."""
    terms = [1]
    for position, array in enumerate(arrays_in(sample.args)):
        if array.ndim == 4:
            terms.append(array.size // array.shape[1])  # over a batch of images, or over outputs
            if position == 1 and "conv" in sample.op:
                terms.append(array.size // array.shape[0])  # what a window sees
        elif array.ndim == 2:
            terms += array.shape
    return max(terms)


# A result is as close to the exact one as results of inputs that are off by `delta` are. So the bound has
# large room exactly where the operation is ill-conditioned or at a kink, and next to none elsewhere.
def _rounded_agreement(
    engine: Engine, oracle: Engine, sample: Sample, delta: float, references: int
) -> Iterator[Outcome]:
    got, exact = results(engine, sample, np.float32), results(oracle, sample, np.float64)
    noise = np.random.default_rng([sample.seed, 5])

    def off(array: Array) -> Array:
        return array * (1.0 + delta * noise.choice([-1.0, 1.0], array.shape))

    others = [results(oracle, sample.map(off), np.float64, off) for _ in range(references)]
    for name, want in exact.items():
        limit = 0.0 if want is None else delta * (1.0 + largest(want)) + 3.0 * _spread(others, name, want)
        yield within(name, got.get(name), want, limit)
    yield from _dtypes(got, np.float32)


def _spread(others: list[Results], name: str, want: Array) -> float:
    found = [other[name] for other in others]
    return max(largest(array - want) for array in found if array is not None)


def _dtypes(got: Results, dtype: type[np.floating]) -> Iterator[Outcome]:
    """Yield whether every result has the dtype of the arguments."""
    wrong = {name: str(a.dtype) for name, a in got.items() if a is not None and a.dtype != dtype}
    wanted = np.dtype(dtype).name
    listed = ", ".join(f"{name} is {found}" for name, found in wrong.items())
    yield holds("dtype", not wrong, f"{listed}; wanted {wanted} like the arguments")
