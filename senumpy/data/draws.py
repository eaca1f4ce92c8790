"""What many of NumPy's generators would draw first, without making them.

An image's augmentation is drawn from a generator of its own, PCG64 seeded by (seed, epoch, index). Making one
and drawing from it takes some 50 microseconds, longer than a GPU trains on a small image. The generators
differ in the last number of the seed alone, and each gives two numbers: here both are computed for all images
of a batch at once, in arrays instead of objects, in 3 microseconds an image. NumPy promises that
`SeedSequence` and `PCG64` stay as they are; a test holds these numbers to theirs.

O'Neill, "PCG: a family of simple fast space-efficient statistically good algorithms for random number
generation" (2014), XSL RR 128/64; the seeds are hashed as in O'Neill's `seed_seq_fe`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint32]
Longs: TypeAlias = NDArray[np.uint64]

_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


class _Wide(NamedTuple):
    """Integers of 128 bits, modulo 2^128."""

    high: Longs
    low: Longs


def first_two(seed: int, epoch: int, indices: NDArray[np.intp]) -> tuple[Longs, Longs]:
    """Return the first two 64-bit numbers of ``PCG64(SeedSequence(seed, spawn_key=(epoch, i)))``, all i.

    Parameters
    ----------
    seed, epoch : int
        At least 0.
    indices : array
        (N,), each at least 0 and below 2^32.
    """
    words = list(_state_words(seed, epoch, indices.astype(np.uint32)))
    longs = [words[k].astype(np.uint64) | (words[k + 1].astype(np.uint64) << _HALF) for k in (0, 2, 4, 6)]
    # pcg64_srandom: the increment is odd; the state starts at 0, steps, takes the seed in, and steps.
    one = np.uint64(1)
    increment = _Wide((longs[2] << one) | (longs[3] >> np.uint64(63)), (longs[3] << one) | one)
    state = _step(_add(increment, _Wide(longs[0], longs[1])), increment)
    first = _step(state, increment)
    return _output(first), _output(_step(first, increment))


# -- SeedSequence ------------------------------------------------------------------------------------------

_WORD = 0xFFFFFFFF


def _state_words(seed: int, epoch: int, indices: Words) -> Iterator[Words]:
    """Yield the eight words that seed each generator."""
    common = np.random.SeedSequence(seed, spawn_key=(epoch,))  # all but the index is mixed in already
    # The constant of the hash changes with each use: 16 uses for the first four words, 4 for each other one.
    words = max(4, _word_count(seed)) + _word_count(epoch)
    constant = 0x43B0D7E5 * pow(0x931E8875, 16 + 4 * (words - 4), 2**32) & _WORD
    pool = []
    for mixed in common.pool:
        hashed, constant = _hash(indices, constant, 0x931E8875)
        word = np.uint32(int(mixed) * 0xCA01F9DD & _WORD) - hashed * np.uint32(0x4973F715)
        pool.append(word ^ (word >> np.uint32(16)))
    constant = 0x8B51F9DD
    for k in range(8):
        word, constant = _hash(pool[k % 4], constant, 0x58F38DED)
        yield word


def _hash(values: Words, constant: int, factor: int) -> tuple[Words, int]:
    """Return the hashes of `values`, and the constant for the next ones."""
    following = constant * factor & _WORD
    hashed = (values ^ np.uint32(constant)) * np.uint32(following)
    return hashed ^ (hashed >> np.uint32(16)), following


def _word_count(number: int) -> int:
    return max(1, -(-number.bit_length() // 32))


# -- PCG64 -------------------------------------------------------------------------------------------------

_FACTOR = 0x2360ED051FC65DA44385DF649FCCF645


def _step(state: _Wide, increment: _Wide) -> _Wide:
    """Return state * factor + increment."""
    high, low = np.uint64(_FACTOR >> 64), np.uint64(_FACTOR & (2**64 - 1))
    product = _product(state.low, low)
    return _add(_Wide(product.high + state.high * low + state.low * high, product.low), increment)


def _product(a: Longs, b: np.uint64) -> _Wide:
    """Return a b in full, by its four products of halves."""
    a0, a1, b0, b1 = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    middle = a1 * b0 + ((a0 * b0) >> _HALF)
    cross = a0 * b1 + (middle & _LOW)
    return _Wide(a1 * b1 + (middle >> _HALF) + (cross >> _HALF), a * b)


def _add(a: _Wide, b: _Wide) -> _Wide:
    low = a.low + b.low
    carry = (low < a.low).astype(np.uint64)
    return _Wide(a.high + b.high + carry, low)


def _output(state: _Wide) -> Longs:
    """Return the halves' exclusive or, turned right by the highest six bits."""
    value, turn = state.high ^ state.low, state.high >> np.uint64(58)
    back: Longs = (np.uint64(64) - turn) & np.uint64(63)
    turned: Longs = (value >> turn) | (value << back)
    return turned
