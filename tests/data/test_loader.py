from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.data import Compose, Dataset, Loader, Normalize, RandomCrop, RandomFlip
from senumpy.errors import InputError


def make(count=50, size=6):
    """Images that say which they are: image i holds the value i in its first channel."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, size, size, 2), dtype=np.uint8)
    images[..., 0] = np.arange(count)[:, np.newaxis, np.newaxis]
    labels = np.arange(count, dtype=np.int64) % 7
    names = tuple("abcdefg")
    return Dataset("test/train", images, labels, names, (size, size, 2), (0.5, 0.5), (0.25, 0.25), True)


DATA = make()
PLAIN = Normalize(DATA.mean, DATA.std)
AUGMENTED = Compose(RandomCrop(2), RandomFlip(), PLAIN)


def dealt(workers=0, epoch=0, start=0, transform=AUGMENTED, **options):
    options = {"batch_size": 8, "shuffle": True, "seed": 5} | options
    size = options.pop("batch_size")
    return list(Loader(DATA, size, transform=transform, workers=workers, **options).epoch(epoch, start))


def assert_same(batches, others):
    for (x, labels), (y, other_labels) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(labels, other_labels)


def index_of(image):
    """Which image of DATA a normalised one is: by its first channel, which cropping pads with zeros."""
    return int(np.rint((image[0].max() * 0.25 + 0.5) * 255))


@given(
    batch_size=st.integers(1, 50),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**64),
    epoch=st.integers(0, 300),
    drop_last=st.booleans(),
    data=st.data(),
)
def test_the_same_whatever_the_workers_and_the_start(batch_size, shuffle, seed, epoch, drop_last, data):
    options = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed, "drop_last": drop_last}
    whole = dealt(0, epoch, **options)
    assert len(whole) == (50 // batch_size if drop_last else -(-50 // batch_size))
    for workers in (0, 1, 3):
        start = data.draw(st.integers(0, len(whole)))
        assert_same(dealt(workers, epoch, start, **options), whole[start:])


def test_an_epoch_is_every_image_once_with_its_label():
    batches = dealt(2, transform=PLAIN)
    indices = [index_of(image) for x, _ in batches for image in x]
    assert sorted(indices) == list(range(50))
    assert indices != list(range(50))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), np.array(indices) % 7)


def test_batches_are_what_a_network_wants():
    batches = dealt()
    assert [len(labels) for _, labels in batches] == [8] * 6 + [2]
    for x, labels in batches:
        assert (x.dtype, x.shape[1:], x.flags.c_contiguous) == (np.float32, (2, 6, 6), True)
        assert labels.dtype == np.int64


def test_without_shuffling_the_order_is_the_sets_own():
    x = np.concatenate([x for x, _ in dealt(1, epoch=3, shuffle=False, transform=PLAIN)])
    np.testing.assert_array_equal(x, np.stack([PLAIN(image) for image in DATA.images]))


def test_seeds_and_epochs_differ():
    orders = [
        tuple(index_of(image) for x, _ in dealt(seed=seed, epoch=epoch, transform=PLAIN) for image in x)
        for seed in (0, 1, 2**32, 2**32 + 1)
        for epoch in (0, 1, 2)
    ]
    assert len(set(orders)) == len(orders)


def drawn(seed, epoch, batch_size=8):
    """What each image's generator draws, by index."""
    draws: dict[int, float] = {}

    def transform(image, rng):
        draws[int(image[0, 0, 0])] = rng.random()
        return PLAIN(image)

    dealt(seed=seed, epoch=epoch, batch_size=batch_size, transform=transform)
    return draws


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    assert drawn(0, 0) == drawn(0, 0, batch_size=50)
    every = [value for seed in (0, 1) for epoch in (0, 1) for value in drawn(seed, epoch).values()]
    assert len(set(every)) == 200
    order = Loader(DATA, 8, transform=PLAIN, seed=0)._rng(0).random()
    assert order not in every  # the order's generator is none of the images'


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("senumpy-loader")]


@pytest.mark.parametrize("end", ["close", "throw", "break", "exhaust"])
def test_threads_end_with_the_iteration(end):
    batches = Loader(DATA, 2, transform=PLAIN, workers=3).epoch(0)
    next(batches)
    assert loader_threads()
    if end == "close":
        batches.close()
    elif end == "throw":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
    elif end == "break":
        del batches
    else:
        assert len(list(batches)) == 24
    assert not loader_threads()


def test_no_more_is_prepared_than_may_wait():
    prepared = []

    def transform(image, rng):
        prepared.append(1)
        return PLAIN(image)

    batches = Loader(DATA, 5, transform=transform, workers=2).epoch(0)
    next(batches)
    time.sleep(0.05)
    assert len(prepared) <= 3 * 5
    batches.close()


def test_a_consumer_that_stops_does_not_wait_for_whole_batches():
    prepared = []

    def transform(image, rng):
        time.sleep(0.01)
        prepared.append(1)
        return PLAIN(image)

    batches = Loader(make(60), 20, transform=transform, workers=2).epoch(0)
    next(batches)  # the second batch is nearly done now too, and the third begins
    batches.close()
    assert 20 <= len(prepared) < 60


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_in_a_worker_comes_out_and_names_the_image(workers):
    def transform(image, rng):
        if image[0, 0, 0] == 17:
            raise ZeroDivisionError("boom")
        return PLAIN(image)

    batches = Loader(DATA, 4, transform=transform, workers=workers).epoch(0)
    with pytest.raises(ZeroDivisionError, match="boom") as error:
        list(batches)
    assert error.value.__notes__ == ["while preparing test/train, image 17"]
    assert not loader_threads()


def test_an_input_error_comes_out_as_it_is():
    def transform(image, rng):
        raise InputError("cat/3.png: broken")

    with pytest.raises(InputError, match=r"^cat/3\.png: broken$"):
        next(iter(Loader(DATA, 4, transform=transform, workers=2).epoch(0)))


@pytest.mark.parametrize("batch_size", [0, -1, 51])
def test_a_batch_size_beyond_the_data(batch_size):
    with pytest.raises(
        InputError, match=f"batch size {batch_size}: wanted 1 to 50, the images of test/train"
    ):
        Loader(DATA, batch_size, transform=PLAIN)


def test_other_numbers_out_of_range():
    with pytest.raises(InputError, match="-1 workers"):
        Loader(DATA, 1, transform=PLAIN, workers=-1)
    with pytest.raises(InputError, match="seed -1"):
        Loader(DATA, 1, transform=PLAIN, seed=-1)
    for start in (-1, 8):
        with pytest.raises(InputError, match=f"start at batch {start}: wanted 0 to 7"):
            Loader(DATA, 8, transform=PLAIN).epoch(0, start)
