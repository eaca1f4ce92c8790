from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from senumpy.data import load_data
from senumpy.data.unpickle import unpickle_arrays
from senumpy.errors import InputError

BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def pickled(fields: dict, protocol: int = 2) -> bytes:
    """Write a dictionary with bytes as keys, as Python 2 wrote the official files."""
    return pickle.dumps({key.encode(): value for key, value in fields.items()}, protocol=protocol)


@pytest.fixture
def batches(rng):
    """Pixels (N, 3072), red plane first, and labels, for five training batches and the test batch."""
    return {
        name: (
            rng.integers(0, 256, (20, 3072), dtype=np.uint8),
            [int(label) for label in rng.permutation(20) % 10],
        )
        for name in [*BATCHES, "test_batch"]
    }


def python10(batches) -> dict[str, bytes]:
    return {name: pickled({"data": x, "labels": y}) for name, (x, y) in batches.items()}


def binary10(batches) -> dict[str, bytes]:
    return {
        f"{name}.bin": b"".join(bytes([label]) + row.tobytes() for row, label in zip(x, y, strict=True))
        for name, (x, y) in batches.items()
    }


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def check_cifar10(splits, batches):
    assert splits.train.name == "cifar10/train"
    assert splits.train.class_names[:2] == ("airplane", "automobile")
    assert splits.train.image_shape == (32, 32, 3)
    pixels = np.concatenate([batches[name][0] for name in BATCHES])
    np.testing.assert_array_equal(splits.train.labels, np.concatenate([batches[name][1] for name in BATCHES]))
    # Element by element: channel c, row h, column w of an image stands at 1024 c + 32 h + w.
    for n, c, h, w in [(0, 0, 0, 0), (7, 1, 3, 31), (99, 2, 31, 5)]:
        assert splits.train.images[n][h, w, c] == pixels[n, 1024 * c + 32 * h + w]
    expected = batches["test_batch"][0].reshape(20, 3, 32, 32)
    np.testing.assert_array_equal(splits.test.images.transpose(0, 3, 1, 2), expected)


@pytest.mark.parametrize("form", [python10, binary10])
def test_reads_a_folder(tmp_path, batches, form):
    check_cifar10(load_data(write(tmp_path / "cifar", form(batches))), batches)
    check_cifar10(load_data(write(tmp_path / "cifar", form(batches)).parent), batches)


@pytest.mark.parametrize("form", [python10, binary10])
def test_reads_archives(tmp_path, batches, form):
    files = form(batches)
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(tmp_path / "cifar.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(f"cifar-10-batches-py/{name}", data)
    check_cifar10(load_data(tmp_path / "cifar.tar.gz"), batches)
    check_cifar10(load_data(tmp_path / "cifar.zip"), batches)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_truncated_archive(tmp_path, batches, keep):
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(write(tmp_path / "cifar", python10(batches)), "cifar")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match=r"cifar\.tar\.gz: not a whole tar file"):
        load_data(path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_every_protocol_of_pickle(protocol):
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    fields = unpickle_arrays(
        pickled({"data": x, "t": np.asfortranarray(x), "big": x.astype(">i4")}, protocol), "a"
    )
    for key in (b"data", b"t", b"big"):
        np.testing.assert_array_equal(fields[key], x)


def test_a_pickle_written_by_python_2():
    """Protocol 2 of Python 2, as in the official files: keys and pixels are its byte strings."""
    pixels = bytes(range(6))
    official = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        b"U\x01b\x87Rq\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06"
        + pixels
        + b"tbU\x06labelsq\x08]q\x09(K\x06K\x09eu."
    )
    fields = unpickle_arrays(official, "data_batch_1")
    assert fields[b"labels"] == [6, 9]
    np.testing.assert_array_equal(fields[b"data"], np.arange(6).reshape(2, 3))
    assert fields[b"data"].dtype == np.uint8


def cifar100_fields(rng, count):
    fine = [int(label) for label in rng.permutation(count) % 100]
    return {
        "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
        "fine_labels": fine,
        "coarse_labels": [label // 5 for label in fine],
    }


def test_cifar100(tmp_path, rng):
    train, test = cifar100_fields(rng, 200), cifar100_fields(rng, 100)
    names = [f"thing_{i}" for i in range(100)]
    python = {
        "train": pickled(train),
        "test": pickled(test),
        "meta": pickled({"fine_label_names": [name.encode() for name in names]}),
    }
    binary = {"fine_label_names.txt": "\n".join(names).encode()}
    for part, fields in (("train.bin", train), ("test.bin", test)):
        rows = zip(fields["coarse_labels"], fields["fine_labels"], fields["data"], strict=True)
        binary[part] = b"".join(bytes([coarse, fine]) + row.tobytes() for coarse, fine, row in rows)
    for form, files in (("python", python), ("binary", binary)):
        splits = load_data(write(tmp_path / form, files))
        assert splits.train.name == "cifar100/train"
        assert splits.train.class_names == tuple(names)
        assert splits.train.augmentable
        np.testing.assert_array_equal(splits.train.labels, train["fine_labels"])
        np.testing.assert_array_equal(splits.test.labels, test["fine_labels"])
        np.testing.assert_array_equal(splits.test.images[3].transpose(2, 0, 1).ravel(), test["data"][3])


class Opens:
    """What an attacker would pickle: unpickling it in full creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_malicious_pickle_is_refused_before_it_acts(tmp_path, batches):
    victim = tmp_path / "created"
    files = python10(batches)
    files["data_batch_3"] = pickled({"data": Opens(victim), "labels": []})
    folder = write(tmp_path / "cifar", files)
    with pytest.raises(InputError, match=r"data_batch_3: refused, the pickle names (io|_io)\.open"):
        load_data(folder)
    assert not victim.exists()
    pickle.loads(files["data_batch_3"])[b"data"].close()  # the attack itself is real
    assert victim.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (os.system, r"posix\.system"),
        (eval, r"(builtins|__builtin__)\.eval"),
        (getattr, r"(builtins|__builtin__)\.getattr"),
        (np.load, "numpy"),
        (np.float64(1.0), r"numpy.*scalar"),
        ({1, 2}, r"(builtins|__builtin__)\.set"),
    ],
)
def test_only_arrays_are_admitted(value, name):
    with pytest.raises(InputError, match=f"a: refused, the pickle names {name}"):
        unpickle_arrays(pickled({"data": value}), "a")


@pytest.mark.parametrize("dtype", [np.float64, object, "S3", "M8[s]"])
def test_only_integer_arrays_are_admitted(dtype):
    with pytest.raises(InputError, match=r"a: (broken pickle|refused)"):
        unpickle_arrays(pickled({"data": np.zeros(2, dtype=dtype)}), "a")


def test_pickles_cut_anywhere():
    data = pickled({"data": np.arange(200, dtype=np.uint8), "labels": [1, 2]})
    for size in range(len(data)):
        with pytest.raises(InputError, match="a: broken pickle"):
            unpickle_arrays(data[:size], "a")


GOOD = np.zeros((20, 3072), np.uint8)
LABELS = [i % 10 for i in range(20)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([1]), "holds a pickled list, wanted a dictionary"),
        (b"\x89PNG", "broken pickle of 4 bytes"),
        (pickled({"labels": LABELS}), "field 'data' is missing: found labels"),
        (pickled({"data": GOOD}), "field 'labels' is missing: found data"),
        (pickled({"data": GOOD[:, 1:], "labels": LABELS}), r"field 'data' is \(20, 3071\) uint8, wanted"),
        (pickled({"data": GOOD.astype(np.int32), "labels": LABELS}), r"field 'data' is \(20, 3072\) int32"),
        (pickled({"data": [1], "labels": LABELS}), "field 'data' is list"),
        (pickled({"data": GOOD, "labels": LABELS[1:]}), "field 'labels' holds 19 labels, wanted 20"),
        (pickled({"data": GOOD, "labels": ["a"] * 20}), "field 'labels' holds 20 labels, wanted 20 integers"),
        (pickled({"data": GOOD, "labels": 3}), "field 'labels' holds int labels"),
        (pickled({"data": GOOD, "labels": [*LABELS[1:], 10]}), "label 10 at index 19 .*: wanted 0 to 9"),
        (pickled({"data": GOOD, "labels": [*LABELS[1:], -1]}), "label -1 at index 19"),
        (pickled({"data": GOOD, "labels": [*LABELS[1:], 2**70]}), "label 1180591620717411303424 at index 19"),
        (pickled({"data": GOOD[:0], "labels": []}, 3), "holds no images"),
    ],
)  # fmt: skip
def test_a_bad_batch_is_named(tmp_path, batches, content, message):
    folder = write(tmp_path / "cifar", python10(batches) | {"data_batch_2": content})
    with pytest.raises(InputError, match=f"data_batch_2: {message}") as error:
        load_data(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-100], r"data_batch_4\.bin: cut short: .*the one at byte 58387 has 2973"),
        (lambda d: d[:3073], "training batches hold 1, 20 images"),
        (lambda d: b"\x0a" + d[1:], r"data_batch_4\.bin: label 10 at index 0 is out of range"),
        (lambda d: b"", r"data_batch_4\.bin: holds no images"),
    ],
)
def test_a_bad_binary_batch_is_named(tmp_path, batches, change, message):
    files = binary10(batches)
    files["data_batch_4.bin"] = change(files["data_batch_4.bin"])
    with pytest.raises(InputError, match=message):
        load_data(write(tmp_path / "cifar", files))


def test_a_missing_batch_is_named(tmp_path, batches):
    files = python10(batches)
    del files["data_batch_5"], files["test_batch"]
    with pytest.raises(InputError, match="incomplete cifar10: data_batch_5, test_batch missing"):
        load_data(write(tmp_path / "cifar", files))


def test_two_sets_in_one_folder_are_not_guessed_between(tmp_path, batches):
    write(tmp_path / "a", python10(batches))
    write(tmp_path / "b", python10(batches))
    with pytest.raises(InputError, match="holds several data sets, in a, b: give one of them"):
        load_data(tmp_path)
