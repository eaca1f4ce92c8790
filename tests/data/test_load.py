from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.data import load_data
from senumpy.data.dataset import stratified_split
from senumpy.errors import InputError


def test_digits():
    train, test = load_data("digits")
    assert (len(train), len(test), train.image_shape, train.num_classes) == (1437, 360, (8, 8, 1), 10)
    assert train.images.dtype == np.uint8
    assert (train.images.min(), train.images.max()) == (0, 255)
    assert not train.augmentable
    pixels = train.images / 255
    assert train.mean == pytest.approx([pixels.mean()])
    assert train.std == pytest.approx([pixels.std()])
    counts = np.bincount(train.labels) / np.bincount(test.labels)
    assert ((counts > 3.7) & (counts < 4.2)).all()


def test_digits_are_split_the_same_each_time():
    """Pinned: runs on different machines and days are compared on the same test images."""
    train, test = load_data("digits")
    again, _ = load_data("digits")
    np.testing.assert_array_equal(train.images, again.images)
    assert test.labels[:12].tolist() == [5, 9, 2, 4, 6, 7, 9, 3, 4, 6, 8, 5]
    assert int(test.images.astype(np.int64).sum()) == 1_787_379


def test_digits_can_be_resized():
    train, _ = load_data("digits", image_size=12)
    assert train.images.shape == (1437, 12, 12, 1)
    original, _ = load_data("digits")
    assert train.images.mean() == pytest.approx(original.images.mean(), rel=0.02)


@given(counts=st.lists(st.integers(2, 40), min_size=2, max_size=8), seed=st.integers(0, 99))
def test_a_split_is_four_to_one_in_every_class(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    names = [str(c) for c in range(len(counts))]
    train, test = stratified_split(labels, names, "set")
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert len(test) == -(-len(labels) // 5)
    shares = np.bincount(labels[test], minlength=len(counts))
    assert (np.abs(shares - np.array(counts) / 5) < 1).all()
    np.testing.assert_array_equal(test, stratified_split(labels, names, "set")[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digitz", r"unknown data set 'digitz': did you mean 'digits'\?"),
        ("imagenet", "unknown data set 'imagenet': known are digits; no file or folder has this name either"),
        ("missing/folder", "no data at missing/folder: no such file or folder"),
        ("missing.zip", "no data at missing.zip: no such file or folder"),
    ],
)
def test_unknown_names_and_paths(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        load_data(name)


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.txt: not a data set: wanted a folder, a \.zip"):
        load_data(tmp_path / "notes.txt")


def test_a_size_that_is_none():
    with pytest.raises(InputError, match="image size 0: wanted at least 1"):
        load_data("digits", image_size=0)


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("sklearn", "load_data('digits')"),
        ("PIL", "load_data('digits', image_size=4)"),
        ("safetensors", "save_tensors('x', {})"),
    ],
)
def test_a_package_that_is_not_installed_is_named(tmp_path, module, call):
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from senumpy.data import load_data\nfrom senumpy.storage import save_tensors\n"
        f"try:\n    {call}\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.startswith("InputError")
    assert result.stdout.endswith('pip install "senumpy[train]"\n')


def test_importing_needs_numpy_alone():
    code = (
        "import sys, senumpy.data, senumpy.storage\n"
        "print(sorted({'sklearn', 'PIL', 'safetensors', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "[]\n"
