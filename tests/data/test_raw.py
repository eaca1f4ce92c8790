"""Raw batches hold what the plain loader's transforms draw and take, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from senumpy.data import Augmentation, Compose, Dataset, Loader, Normalize, RawLoader, load_data
from senumpy.data.draws import first_two
from senumpy.engines.images import prepared_images
from senumpy.errors import InputError

SEEDS = st.integers(0, 2**140)


@given(
    seed=SEEDS,
    epoch=st.integers(0, 2**40),
    indices=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9),
)
@example(seed=0, epoch=0, indices=[0])
def test_the_first_two_numbers_are_those_of_numpy(seed, epoch, indices):
    wanted = [
        np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(epoch, index))).random_raw(2)
        for index in indices
    ]
    np.testing.assert_array_equal(np.stack(first_two(seed, epoch, np.array(indices)), axis=1), wanted)


def make(count=50, size=6):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % 7
    shape, mean, std = (size, size, 3), (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)
    return Dataset("test/train", images, labels, tuple("abcdefg"), shape, mean, std, True)


DATA = make()


@given(seed=SEEDS, epoch=st.integers(0, 300), padding=st.integers(0, 12) | st.integers(2**29, 2**31 - 2))
def test_draws_are_those_of_the_transforms(seed, epoch, padding):
    """With billions of offsets a generator draws again and again, with nine as good as never."""
    augmentation = Augmentation(padding)
    (batch,) = RawLoader(DATA, 50, augmentation=augmentation, seed=seed).epoch(epoch)
    plain = Loader(DATA, 50, transform=Normalize(DATA.mean, DATA.std), seed=seed)
    draws = [augmentation.draw(plain._rng(epoch, index)) for index in range(50)]
    np.testing.assert_array_equal(batch.offsets, [draw[:2] for draw in draws])
    np.testing.assert_array_equal(batch.flips, [draw[2] for draw in draws])


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("augmentation", [None, Augmentation(4), Augmentation(9)])
def test_the_same_images_as_the_plain_loader(augmentation, workers):
    normalize = Normalize(DATA.mean, DATA.std)
    transform = Compose(augmentation.transform(), normalize) if augmentation else normalize
    options = {"shuffle": True, "seed": 5, "workers": workers}
    plain = list(Loader(DATA, 8, transform=transform, **options).epoch(2, 3))
    raw = list(RawLoader(DATA, 8, augmentation=augmentation, **options).epoch(2, 3))
    assert len(plain) == len(raw) == 4
    for (x, labels), (*images, raw_labels) in zip(plain, raw, strict=True):
        got = prepared_images(*images, normalize.scale, normalize.shift)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got.view(np.uint32), x.view(np.uint32))
        np.testing.assert_array_equal(raw_labels, labels)


def test_images_in_files(tmp_path, rng):
    for index in range(10):
        folder = tmp_path / "set" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    train = load_data(tmp_path / "set").train
    batch, *_ = RawLoader(train, 3).epoch(0)
    np.testing.assert_array_equal(batch.images, np.stack([train.images[i] for i in range(3)]))
    assert (batch.offsets, batch.flips) == (None, None)
    broken = tmp_path / "set" / train.images.names[1]
    broken.write_bytes(b"no image")
    with pytest.raises(InputError, match=f"{broken.name}.*not an image"):
        list(RawLoader(train, 3, workers=1).epoch(0))
