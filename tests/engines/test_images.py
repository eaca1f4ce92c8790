"""What an engine does with images on their way in, and with all parameters of a model at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.data import Compose, Normalize, RandomCrop, RandomFlip
from senumpy.engines import Engine
from senumpy.engines.images import prepared_images

MEAN, STD = (0.49, 0.48, 0.44), (0.25, 0.24, 0.26)
NORMALIZE = Normalize(MEAN, STD)


class Scripted:
    """A generator whose next draws are known."""

    def __init__(self, offset, flip):
        self.offset, self.flip = offset, flip

    def integers(self, *args, **settings):
        return np.array(self.offset)

    def random(self):
        return 0.0 if self.flip else 0.9


@given(
    count=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    crop=st.booleans(),
    flip=st.booleans(),
    data=st.data(),
)
def test_images_are_prepared_as_by_the_transforms(any_engine, count, height, width, crop, flip, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    offsets = rng.integers(-12, 13, (count, 2)) if crop else None
    flips = rng.random(count) < 0.5 if flip else None
    before = images.copy()
    got = any_engine.prepare_images(images, offsets, flips, NORMALIZE.scale, NORMALIZE.shift)
    x = any_engine.to_numpy(got)
    transform = Compose(RandomCrop(12), RandomFlip(), NORMALIZE)
    for n in range(count):
        draws = Scripted((0, 0) if offsets is None else offsets[n], flips is not None and flips[n])
        np.testing.assert_array_equal(x[n].view(np.uint32), transform(images[n], draws).view(np.uint32))
    assert (x.dtype, x.shape) == (np.float32, (count, 3, height, width))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("value", range(0, 256, 5))
def test_every_byte_is_rounded_twice(any_engine, value):
    """A fused multiply-add would round once, and differ in the last bit for some bytes."""
    images = np.full((1, 1, 1, 3), value, np.uint8)
    got = any_engine.prepare_images(images, None, None, NORMALIZE.scale, NORMALIZE.shift)
    product = np.float32(value) * NORMALIZE.scale
    np.testing.assert_array_equal(any_engine.to_numpy(got)[0, :, 0, 0], product + NORMALIZE.shift)


def raw_batches(count, closed):
    rng = np.random.default_rng(3)
    try:
        for k in range(count):
            images = rng.integers(0, 256, (4 - k % 2, 6, 5, 3), dtype=np.uint8)
            offsets = rng.integers(-4, 5, (len(images), 2))
            yield images, offsets, rng.random(len(images)) < 0.5, np.arange(len(images)) + 10 * k
    finally:
        closed.append(True)


def test_feeding_gives_every_batch_in_order(any_engine):
    fed = list(any_engine.feed(raw_batches(5, []), NORMALIZE.scale, NORMALIZE.shift))
    for (x, labels), (*images, wanted) in zip(fed, raw_batches(5, []), strict=True):
        np.testing.assert_array_equal(labels, wanted)
        x_wanted = prepared_images(*images, NORMALIZE.scale, NORMALIZE.shift)
        np.testing.assert_array_equal(any_engine.to_numpy(x).view(np.uint32), x_wanted.view(np.uint32))


@pytest.mark.parametrize("end", ["close", "throw", "drop", "exhaust"])
def test_the_batches_are_closed_with_the_feed(any_engine, end):
    closed = []
    fed = any_engine.feed(raw_batches(5, closed), NORMALIZE.scale, NORMALIZE.shift)
    next(fed)
    assert not closed
    if end == "close":
        fed.close()
    elif end == "throw":
        with pytest.raises(KeyboardInterrupt):
            fed.throw(KeyboardInterrupt)
    elif end == "drop":
        del fed
    else:
        assert len(list(fed)) == 4
    assert closed


def test_an_error_of_the_batches_comes_out_of_the_feed(any_engine):
    def batches():
        yield next(raw_batches(1, []))
        raise ZeroDivisionError("boom")

    with pytest.raises(ZeroDivisionError, match="boom"):
        list(any_engine.feed(batches(), NORMALIZE.scale, NORMALIZE.shift))


@pytest.mark.parametrize("nesterov", [False, True])
def test_an_update_of_all_parameters_is_one_of_each(any_engine, nesterov, rng):
    shapes, decays = [(3, 2), (5,), (2, 3, 3, 3)], [0.01, 0.0, 0.1]
    arrays = [[rng.normal(size=s).astype("float32") for s in shapes] for _ in range(3)]
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov}
    together, apart = ([[any_engine.asarray(a.copy()) for a in kind] for kind in arrays] for _ in range(2))
    any_engine.sgd_update_all(*together, decays, **settings)
    for value, gradient, velocity, decay in zip(*apart, decays, strict=True):
        any_engine.sgd_update(value, gradient, velocity, weight_decay=decay, **settings)
    for kind, wanted in zip(together, apart, strict=True):
        for a, b in zip(kind, wanted, strict=True):
            np.testing.assert_array_equal(any_engine.to_numpy(a), any_engine.to_numpy(b))


def test_a_processor_has_no_device_memory():
    called = []
    assert Engine().device_memory() is None
    assert Engine().peak_memory(lambda: called.append(1)) is None
    assert not called
