from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from senumpy.data import load_data
from senumpy.data.idx import parse_idx
from senumpy.errors import InputError

NAMES = {
    "train_x": "train-images-idx3-ubyte",
    "train_y": "train-labels-idx1-ubyte",
    "test_x": "t10k-images-idx3-ubyte",
    "test_y": "t10k-labels-idx1-ubyte",
}


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small(tmp_path, rng):
    """A set of 40 + 20 images, 5x4, three classes, in the plain official files."""
    folder = tmp_path / "letters"
    folder.mkdir()
    arrays = {
        "train_x": rng.integers(0, 256, (40, 5, 4)),
        "train_y": np.arange(40) % 3,
        "test_x": rng.integers(0, 256, (20, 5, 4)),
        "test_y": np.arange(20) % 3,
    }
    for key, array in arrays.items():
        (folder / NAMES[key]).write_bytes(idx(array))
    return folder, arrays


@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)),
    packed=st.booleans(),
)
def test_round_trip(array, packed):
    data = gzip.compress(idx(array)) if packed else idx(array)
    np.testing.assert_array_equal(parse_idx(data, 3, "x"), array)


@given(data=st.data())
def test_a_damaged_file_is_never_another_error(data):
    raw = idx(np.arange(24).reshape(2, 3, 4))
    raw = data.draw(st.sampled_from([raw, gzip.compress(raw)]))
    position = data.draw(st.integers(0, len(raw) - 1))
    damaged = raw[:position] + bytes([data.draw(st.integers(0, 255))]) + raw[position + 1 :]
    try:
        array = parse_idx(damaged, 3, "x")
    except InputError:
        return
    assert array.size == 24


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("spelling", ["-idx", ".idx"])
def test_reads_the_official_files(small, packed, spelling):
    folder, arrays = small
    for name in NAMES.values():
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        new = name.replace("-idx", spelling) + (".gz" if packed else "")
        (folder / new).write_bytes(gzip.compress(data) if packed else data)
    splits = load_data(folder)
    for part, which in ((splits.train, "train"), (splits.test, "test")):
        np.testing.assert_array_equal(part.images, arrays[f"{which}_x"][..., np.newaxis])
        np.testing.assert_array_equal(part.labels, arrays[f"{which}_y"])
        assert part.labels.dtype == np.int64
        assert part.image_shape == (5, 4, 1)
    assert splits.train.class_names == ("0", "1", "2")
    assert splits.train.name == "letters/train"
    assert not splits.train.augmentable


def test_the_plain_file_comes_before_the_packed_one(small):
    folder, arrays = small
    for name in NAMES.values():
        (folder / f"{name}.gz").write_bytes(b"\x1f\x8b not read")
    np.testing.assert_array_equal(load_data(folder).train.labels, arrays["train_y"])


def test_without_a_test_part_it_is_split(small):
    folder, _ = small
    for key in ("test_x", "test_y"):
        (folder / NAMES[key]).unlink()
    splits = load_data(folder)
    assert (len(splits.train), len(splits.test)) == (32, 8)
    whole = load_data(folder, split=False)
    assert (len(whole.train), len(whole.test)) == (40, 40)


@pytest.mark.parametrize(
    ("first_labels", "name", "augmentable"),
    [("5041921314", "mnist", False), ("9003027255", "fashion-mnist", True)],
)
def test_the_two_sets_of_the_same_file_names_are_told_apart(small, first_labels, name, augmentable):
    folder, arrays = small
    labels = arrays["train_y"].copy()
    labels[:10] = [int(digit) for digit in first_labels]
    (folder / NAMES["train_y"]).write_bytes(idx(labels))
    train = load_data(folder).train
    assert (train.name, train.num_classes, train.augmentable) == (f"{name}/train", 10, augmentable)


def damage(folder, key, change):
    path = folder / NAMES[key]
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("train_x", lambda d: d[:100], r"train-images.*cut short: holds 100 bytes, .*\(40x5x4\) wants 816"),
        ("train_x", lambda d: d[:6], r"train-images.*cut short: holds 6 bytes"),
        ("train_x", lambda d: b"", "train-images.*magic number 0x at byte 0"),
        ("train_x", lambda d: d + b"0", "train-images.*too long: holds 817 bytes"),
        ("test_y", lambda d: b"\0\0\x0d\x01" + d[4:], "t10k.*magic number 0x00000d01 .*wanted 0x00000801"),
        ("test_x", lambda d: gzip.compress(d)[:-20], "t10k-images.*broken gzip"),
        ("test_x", lambda d: gzip.compress(d)[:40] + b"?" * 40, "t10k-images.*broken gzip file of 80 bytes"),
        ("test_x", lambda d: gzip.compress(d[:4] + b"\xff" * 12), "announces 792281.* bytes, wanted less"),
        ("train_y", lambda d: idx(np.arange(39) % 3), "train-labels.*holds 39 labels, wanted 40"),
        ("test_y", lambda d: idx(np.full(20, 3)), "t10k.*label 3 at index 0 is out of range: wanted 0 to 2"),
        ("train_y", lambda d: d[:-1] + b"\xc8", "label 200 at index 39 is out of range: label 3 never"),
        ("test_x", lambda d: idx(np.zeros((20, 4, 5))), r"test images are \(4, 5, 1\), training"),
    ],
)  # fmt: skip
def test_bad_files_are_named(small, key, change, message):
    folder, _ = small
    damage(folder, key, change)
    with pytest.raises(InputError, match=message) as error:
        load_data(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", NAMES)
def test_a_missing_file_is_named(small, key):
    folder, _ = small
    (folder / NAMES[key]).unlink()
    with pytest.raises(InputError, match=f"{NAMES[key]}: missing"):
        load_data(folder)


def test_no_images_at_all(small):
    folder, _ = small
    damage(folder, "train_x", lambda d: idx(np.zeros((0, 5, 4))))
    damage(folder, "train_y", lambda d: idx(np.zeros(0)))
    with pytest.raises(InputError, match=r"train-images.*holds no images"):
        load_data(folder)


def test_fashion_mnist(shared_data):
    train, test = load_data(shared_data / "fashion-mnist")
    assert (len(train), len(test), train.image_shape, train.num_classes) == (60_000, 10_000, (28, 28, 1), 10)
    assert train.class_names[9] == "Ankle boot"
    assert train.augmentable
    official = idx(train.images[..., 0])
    assert hashlib.md5(official, usedforsecurity=False).hexdigest() == "f4a8712d7a061bf5bd6d2ca38dc4d50a"
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert train.mean == pytest.approx([0.2860406], abs=1e-7)
    assert train.std == pytest.approx([0.3530242], abs=1e-7)
    assert test.mean == train.mean
