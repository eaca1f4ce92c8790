from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from senumpy.data import Compose, FixedCrop, Normalize, RandomCrop, RandomFlip, load_data, train_transform

IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])))


@given(image=IMAGES, padding=st.integers(0, 12), seed=st.integers(0, 999))
def test_a_crop_is_a_window_of_the_padded_image(image, padding, seed):
    crop = RandomCrop(padding)(image, np.random.default_rng(seed))
    height, width = image.shape[:2]
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    dy, dx = np.random.default_rng(seed).integers(-padding, padding, size=2, endpoint=True) + padding
    np.testing.assert_array_equal(crop, padded[dy : dy + height, dx : dx + width])


def test_every_crop_is_equally_likely():
    image = np.zeros((9, 9, 1), np.uint8)
    image[4, 4] = 1
    rng = np.random.default_rng(3)
    counts = np.zeros((9, 9), int)
    for _ in range(8100):
        counts += RandomCrop(4)(image, rng)[..., 0]
    assert counts.sum() == 8100
    # Chi-squared with 80 degrees of freedom: mean 80, standard deviation 12.6.
    assert ((counts - 100.0) ** 2 / 100).sum() < 80 + 4 * 12.6


def test_a_flip_mirrors_left_and_right_half_of_the_time():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    rng = np.random.default_rng(0)
    flipped = 0
    for _ in range(1000):
        result = RandomFlip()(image, rng)
        if np.array_equal(result, image):
            continue
        np.testing.assert_array_equal(result, image[:, [2, 1, 0]])
        flipped += 1
    assert 500 - 4 * 16 < flipped < 500 + 4 * 16


@given(image=IMAGES)
def test_no_transform_changes_its_image(image):
    before = image.copy()
    Compose(RandomCrop(2), RandomFlip())(image, np.random.default_rng(0))
    np.testing.assert_array_equal(image, before)


@given(image=IMAGES)
def test_normalisation_is_its_formula(image):
    channels = image.shape[-1]
    mean, std = np.array([0.485, 0.456, 0.406])[:channels], np.array([0.229, 0.224, 0.225])[:channels]
    result = Normalize(mean.tolist(), std.tolist())(image)
    expected = ((image / 255 - mean) / std).transpose(2, 0, 1)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=5e-7)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="padding is -1"):
        RandomCrop(-1)
    with pytest.raises(ValueError, match="std"):
        Normalize([0.5], [0.0])
    with pytest.raises(ValueError, match="std"):
        Normalize([0.5, 0.5], [1.0])
    with pytest.raises(ValueError, match=r"image is \(2, 2, 3\), wanted \(H, W, 1\)"):
        Normalize([0.5], [1.0])(np.zeros((2, 2, 3), np.uint8))


def test_digits_are_not_augmented_unless_asked():
    train, _ = load_data("digits")
    image, rng = train.images[0], np.random.default_rng(0)
    plain = Normalize(train.mean, train.std)(image)
    for _ in range(10):
        np.testing.assert_array_equal(train_transform(train)(image, rng), plain)
    asked = train_transform(train, augment=True)
    assert any(not np.array_equal(asked(image, rng), plain) for _ in range(10))


def test_fashion_is_augmented_unless_not(shared_data):
    train, _ = load_data(shared_data / "fashion-mnist")
    image, rng = train.images[0], np.random.default_rng(0)
    plain = Normalize(train.mean, train.std)(image)
    transform = train_transform(train)
    assert any(not np.array_equal(transform(image, rng), plain) for _ in range(10))
    np.testing.assert_array_equal(train_transform(train, augment=False)(image, rng), plain)


def test_ten_fixed_crops():
    image = np.arange(20).reshape(4, 5, 1)

    def crop(index, **settings):
        return FixedCrop(index, (2, 3), **settings)(image)[..., 0]

    assert crop(0)[0].tolist() == [6, 7, 8]
    assert [crop(k)[0, 0] for k in range(1, 5)] == [0, 2, 10, 12]
    for k in range(5):
        np.testing.assert_array_equal(crop(k + 5), crop(k)[:, ::-1])
    assert crop(1, padding=1).tolist() == [[0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(FixedCrop(0, (4, 5), padding=4)(image), image)


def test_fixed_crops_refuse():
    with pytest.raises(ValueError, match="crop 10: wanted 0 to 9"):
        FixedCrop(10, (2, 2))
    with pytest.raises(ValueError, match="wanted at least"):
        FixedCrop(0, (9, 9))(np.zeros((4, 4, 1)))
