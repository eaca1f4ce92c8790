from __future__ import annotations

import zipfile

import numpy as np
import pytest

from senumpy.data import load_data
from senumpy.errors import InputError


@pytest.fixture
def arrays(rng):
    return {"x": rng.integers(0, 256, (50, 6, 5, 3), dtype=np.uint8), "y": np.arange(50) % 4}


def test_without_a_test_part_it_is_split(tmp_path, arrays):
    np.savez(tmp_path / "shapes.npz", **arrays)
    train, test = load_data(tmp_path / "shapes.npz")
    assert (train.name, len(train), len(test), train.image_shape) == ("shapes/train", 40, 10, (6, 5, 3))
    # Both parts together are the whole, with its labels.
    rows = np.concatenate([train.images, test.images]).reshape(50, -1)
    order = np.lexsort(rows.T)
    expected = arrays["x"].reshape(50, -1)
    np.testing.assert_array_equal(rows[order], expected[np.lexsort(expected.T)])
    np.testing.assert_array_equal(
        np.concatenate([train.labels, test.labels])[order], arrays["y"][np.lexsort(expected.T)]
    )


def test_with_a_test_part_in_grey(tmp_path, arrays):
    grey = {"x_train": arrays["x"][..., 0], "y_train": arrays["y"]}
    np.savez_compressed(tmp_path / "a.npz", **grey, x_test=arrays["x"][:8, ..., 1], y_test=arrays["y"][:8])
    train, test = load_data(tmp_path / "a.npz")
    np.testing.assert_array_equal(train.images, arrays["x"][..., :1])
    np.testing.assert_array_equal(test.images, arrays["x"][:8, ..., 1:2])
    assert not train.augmentable


def test_images_are_resized(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    train, test = load_data(tmp_path / "a.npz", image_size=10)
    assert train.images.shape == (40, 10, 10, 3)
    assert test.image_shape == (10, 10, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "field x is missing: found y"),
        ({"y": None}, "field y is missing: found x"),
        ({"x": np.zeros((50, 6, 5, 3))}, r"field x is \(50, 6, 5, 3\) float64, wanted \(N, H, W, C\) uint8"),
        ({"x": np.zeros((50, 6, 5, 2), np.uint8)}, "field x is .*C = 1 or 3"),
        ({"x": np.zeros((0, 6, 5, 3), np.uint8), "y": np.zeros(0, int)}, "field x is"),
        ({"y": np.zeros(49, int)}, r"field y is \(49,\) int64, wanted \(50,\) integers"),
        ({"y": np.zeros(50)}, "field y is .* float64"),
        ({"y": np.arange(50) % 4 - 1}, "field y: label -1 at index 0 is out of range"),
        (
            {"y": np.where(np.arange(50) == 7, 9, np.arange(50) % 4)},
            "label 9 at index 7 .* label 4 never occurs",
        ),
        ({"y": np.zeros(50, int)}, "found 1 class, wanted at least 2"),
        ({"y": np.array([3] + [0, 1, 2] * 16 + [0])}, "class '3' has 1 image, wanted at least 2"),
        ({"x_test": np.zeros((2, 6, 5, 3), np.uint8)}, "field y_test is missing"),
        ({"x_test": np.zeros((2, 6, 6, 3), np.uint8), "y_test": [0, 1]}, "test images are"),
        ({"x_test": np.zeros((2, 6, 5, 3), np.uint8), "y_test": [0, 4]}, "y_test: label 4 at index 1"),
        ({"x": np.array([object()] * 50)}, "not a whole .npz file of plain arrays: .*pickle"),
    ],
)
def test_bad_fields_are_named(tmp_path, arrays, change, message):
    fields = {name: value for name, value in (arrays | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **fields)
    with pytest.raises(InputError, match=message) as error:
        load_data(tmp_path / "a.npz")
    assert "\n" not in str(error.value)


def test_a_damaged_file(tmp_path, arrays):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **arrays)
    data = path.read_bytes()
    for damaged in (b"", data[:50], data[:-30], data[:200] + b"?" * 40 + data[240:], b"PK\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.npz: not a whole \.npz file"):
            load_data(path)


def test_a_header_that_promises_too_much(tmp_path):
    header = (
        b"\x93NUMPY\x01\x00\x76\x00"
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 9, 9, 3)}"
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.ljust(127) + b"\n")
    with pytest.raises(InputError, match=r"a\.npz: not a whole \.npz file"):
        load_data(tmp_path / "a.npz")


def test_lossless_cifar(shared_data):
    train, test = load_data(shared_data / "cifar10-lossless-4000.npz")
    assert (len(train), len(test), train.num_classes) == (3200, 800, 10)
    assert train.augmentable
    _, whole = load_data(shared_data / "cifar10-lossless-4000.npz", split=False)
    assert np.bincount(whole.labels).tolist() == [396, 366, 420, 384, 422, 393, 414, 385, 407, 413]
