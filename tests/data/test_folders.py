from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from senumpy.data import Loader, eval_transform, load_data
from senumpy.data.images import resized_and_cropped
from senumpy.errors import InputError


def encoded(pixels, form="PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def picture(rng, height=6, width=5, channels=3):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def write_folder(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def pixels(rng):
    """Three classes, ten images each."""
    return {(c, i): picture(rng) for c in ("bird", "cat", "dog") for i in range(10)}


@pytest.fixture
def flat(pixels):
    return {f"{c}/{i}.png": encoded(array) for (c, i), array in pixels.items()}


@pytest.fixture
def parted(pixels):
    return {f"{'train' if i < 7 else 'val'}/{c}/{i}.PNG": encoded(array) for (c, i), array in pixels.items()}


@pytest.mark.parametrize("parent", ["", "shapes/"])
@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize("form", ["flat", "parted"])
def test_every_layout_gives_the_same_images(tmp_path, pixels, parent, write, form, request):
    files = {parent + name: data for name, data in request.getfixturevalue(form).items()}
    files |= {
        f"{parent}README.txt": b"hello",
        f"{parent}cover.png": b"outside of any class",
        ".DS_Store": b"",
    }
    files |= {"contents.jpg": b"outside of everything"}
    files |= {f"__MACOSX/{parent}dog/._1.png": b"resource fork"}
    splits = load_data(write(tmp_path / "set.zip", files))
    assert splits.train.name == "set/train"
    assert splits.train.class_names == ("bird", "cat", "dog")
    assert splits.train.image_shape == (6, 5, 3)
    assert (len(splits.train), len(splits.test)) == ((24, 6) if form == "flat" else (21, 9))
    seen = set()
    for part in splits:
        for i in range(len(part)):
            name = part.describe(i)
            label, stem = name.split("/")[-2:]
            np.testing.assert_array_equal(part.images[i], pixels[label, int(stem.split(".")[0])])
            assert part.class_names[part.labels[i]] == label
            seen.add(name)
    assert len(seen) == 30


def test_classes_may_have_folders_within(tmp_path, pixels):
    files = {f"{c}/{'ab'[i % 2]}/{i}.png": encoded(array) for (c, i), array in pixels.items()}
    assert load_data(write_folder(tmp_path, files)).train.class_names == ("bird", "cat", "dog")


def test_a_class_may_be_called_train(tmp_path, flat):
    files = {name.replace("dog", "train"): data for name, data in flat.items()}
    assert load_data(write_folder(tmp_path, files)).train.class_names == ("bird", "cat", "train")


def test_training_images_alone_are_split(tmp_path, flat):
    splits = load_data(write_folder(tmp_path, {f"train/{name}": data for name, data in flat.items()}))
    assert splits.train.class_names == ("bird", "cat", "dog")
    assert (len(splits.train), len(splits.test)) == (24, 6)


def test_test_comes_before_validation(tmp_path, parted):
    files = parted | {name.replace("val", "test"): data for name, data in parted.items() if "val" in name}
    assert "/test/" in load_data(write_folder(tmp_path, files)).test.describe(0)


def tiny_imagenet(pixels):
    files = {}
    lines = []
    for (c, i), array in pixels.items():
        if i < 7:
            files[f"tiny/train/{c}/images/{c}_{i}.JPEG"] = encoded(array, "JPEG")
        else:
            files[f"tiny/val/images/val_{c}{i}.JPEG"] = encoded(array, "JPEG")
            lines.append(f"val_{c}{i}.JPEG\t{c}\t0\t0\t5\t5\n")
    files |= {
        "tiny/val/val_annotations.txt": "".join(lines).encode(),
        "tiny/test/images/t_0.JPEG": b"no label",
    }
    return files


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_tiny_imagenets_layout(tmp_path, pixels, write):
    train, test = load_data(write(tmp_path / "a.zip", tiny_imagenet(pixels)))
    assert (len(train), len(test), train.class_names) == (21, 9, ("bird", "cat", "dog"))
    assert all(test.class_names[test.labels[i]] in test.describe(i) for i in range(9))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("tiny/val/val_annotations.txt", b"val_bird7.JPEG bird\n", r"txt, line 1: found 'val_bird7"),
        ("tiny/val/val_annotations.txt", b"val_bird7.JPEG\tbird\nx.JPEG\tcat\n", r"line 2: .*x.JPEG is miss"),
        ("tiny/val/val_annotations.txt", b"", "validation images of Tiny-ImageNet missing"),
        ("tiny/val/val_annotations.txt", b"val_bird7.JPEG\tfish\n", "differ in classes.*fish only in test"),
    ],
)  # fmt: skip
def test_bad_annotations_are_named(tmp_path, pixels, name, data, message):
    with pytest.raises(InputError, match=message):
        load_data(write_folder(tmp_path, tiny_imagenet(pixels) | {name: data}))


def test_sizes_that_differ_need_an_image_size(tmp_path, flat, rng):
    write_folder(tmp_path, flat | {"dog/5.png": encoded(picture(rng, 9, 12))})
    with pytest.raises(InputError, match=r"dog/5\.png is 12x9, .*bird/0\.png 5x6: wanted images of one size"):
        load_data(tmp_path)
    splits = load_data(tmp_path, image_size=8)
    assert splits.train.image_shape == (8, 8, 3)
    assert {part.images[i].shape for part in splits for i in range(len(part))} == {(8, 8, 3)}


def test_a_size_that_differs_outside_of_the_sample_is_found_when_read(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("senumpy.data.folders._SAMPLE", 2)
    monkeypatch.setattr("senumpy.data.dataset.STATISTICS_SAMPLE", 2)
    files = {f"train/{c}/{i}.png": encoded(picture(rng)) for c in "ab" for i in range(5)}
    files |= {f"test/{c}/0.png": encoded(picture(rng, 7, 7)) for c in "ab"}
    splits = load_data(write_folder(tmp_path, files))
    with pytest.raises(InputError, match=r"test/a/0\.png is 7x7, others 5x6"):
        splits.test.images[0]


@pytest.mark.parametrize(("height", "width"), [(30, 20), (20, 30), (20, 20), (31, 20), (16, 90)])
def test_the_middle_is_kept(height, width):
    """A horizontal and a vertical ramp: their middle stays in the middle, and their slope is scaled."""
    rows, columns = np.mgrid[0:height, 0:width]
    ramps = np.stack([rows * 2, columns * 2, 0 * rows], axis=-1).astype(np.uint8)
    small = np.asarray(resized_and_cropped(Image.fromarray(ramps), 10)).astype(float)
    assert small.shape == (10, 10, 3)
    slope = 2 * min(height, width) / 10
    for axis, centre in ((0, height - 1), (1, width - 1)):
        profile = small.mean(axis=1 - axis)[:, axis]
        assert profile.mean() == pytest.approx(centre, abs=slope / 2 + 1)
        np.testing.assert_allclose(np.diff(profile)[2:-2], slope, atol=1.5)


def test_grey_becomes_colour_in_a_set_with_colour(tmp_path, flat, rng):
    grey = picture(rng, channels=1)
    splits = load_data(write_folder(tmp_path, flat | {"cat/0.png": encoded(grey)}))
    images = {part.describe(i): part.images[i] for part in splits for i in range(len(part))}
    np.testing.assert_array_equal(
        images[f"{tmp_path}/cat/0.png"], np.repeat(grey[..., np.newaxis], 3, axis=-1)
    )
    assert splits.train.augmentable


def test_a_grey_set_stays_grey(tmp_path, rng):
    pixels = {f"{c}/{i}.png": picture(rng, channels=1) for c in "ab" for i in range(5)}
    splits = load_data(write_folder(tmp_path, {name: encoded(array) for name, array in pixels.items()}))
    assert splits.train.image_shape == (6, 5, 1)
    assert not splits.train.augmentable
    name = splits.train.describe(0).removeprefix(f"{tmp_path}/")
    np.testing.assert_array_equal(splits.train.images[0][..., 0], pixels[name])


def test_colour_in_a_set_taken_for_grey_is_named(tmp_path, rng):
    files = {f"train/{c}/{i}.png": encoded(picture(rng, channels=1)) for c in "ab" for i in range(5)}
    files |= {f"test/{c}/0.png": encoded(picture(rng)) for c in "ab"}
    splits = load_data(write_folder(tmp_path, files))
    with pytest.raises(InputError, match=r"test/a/0\.png: is in colour, but this set is grey"):
        splits.test.images[0]


def test_statistics_are_those_of_the_training_images(tmp_path, parted):
    train, test = load_data(write_folder(tmp_path, parted))
    values = np.stack([train.images[i] for i in range(len(train))]).reshape(-1, 3) / 255
    np.testing.assert_allclose(train.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(train.std, values.std(axis=0), rtol=1e-12)
    assert (test.mean, test.std) == (train.mean, train.std)


def test_a_constant_channel_has_a_standard_deviation_of_one(tmp_path):
    files = {f"{c}/{i}.png": encoded(np.full((3, 3, 3), 77, np.uint8)) for c in "ab" for i in range(5)}
    train, _ = load_data(write_folder(tmp_path, files))
    assert train.std == (1.0, 1.0, 1.0)
    assert np.isfinite(eval_transform(train)(train.images[0])).all()


def png_claiming(width, height) -> bytes:
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


JPEG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG")


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (JPEG[: len(JPEG) // 2], "broken image of .* bytes: .*truncated"),
        (JPEG[:30], "(not an|broken) image"),
        (b"", "not an image: its 0 bytes"),
        (b"<html>not found</html>", "not an image: its 22 bytes are in no format"),
        (png_claiming(20_000, 20_000), "(broken image|claims)"),
        (png_claiming(10_000, 10_000), "(broken image|claims)"),
        (encoded(np.zeros((4, 4), np.uint16)), "has more than 8 bits a pixel"),
    ],
)
def test_a_bad_image_is_named(tmp_path, write, flat, data, message):
    path = write(tmp_path / "a.zip", flat | {"cat/3.png": data})
    with pytest.raises(InputError, match=f"a.zip/cat/3.png: {message}") as error:
        load_data(path, image_size=4)
    assert "\n" not in str(error.value)


def test_a_decompression_bomb_that_pillow_only_warns_of(tmp_path, flat):
    write_folder(tmp_path, flat | {"cat/3.png": png_claiming(10_000, 10_000)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=r"cat/3\.png: claims 10000x10000 pixels"):
            load_data(tmp_path)


def test_folders_without_images(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(InputError, match="no images found: wanted CLASS/IMAGE"):
        load_data(tmp_path)


def test_images_without_classes(tmp_path, flat):
    write_folder(tmp_path, {name.replace("/", "_"): data for name, data in flat.items()})
    with pytest.raises(InputError, match="found 0 class"):
        load_data(tmp_path)


def test_one_class_is_too_few(tmp_path, flat):
    write_folder(tmp_path, {name: data for name, data in flat.items() if name.startswith("dog")})
    with pytest.raises(InputError, match="found 1 class, wanted at least 2"):
        load_data(tmp_path)


def test_classes_that_differ_are_named(tmp_path, parted):
    files = {name.replace("val/dog", "val/wolf"): data for name, data in parted.items()}
    with pytest.raises(InputError, match=r"differ in classes.*: dog only in training; wolf only in test"):
        load_data(write_folder(tmp_path, files))


def test_a_test_part_without_a_training_part(tmp_path, parted):
    files = {name.replace("train/", "test/"): data for name, data in parted.items()}
    with pytest.raises(InputError, match=r"found test, val/ without train/"):
        load_data(write_folder(tmp_path, files))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_zip_file(tmp_path, flat, keep):
    path = write_zip(tmp_path / "a.zip", flat)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match=r"a\.zip: not a whole zip file"):
        load_data(path)


def test_a_damaged_member_of_a_zip_file(tmp_path, flat):
    path = write_zip(tmp_path / "a.zip", flat)
    data = bytearray(path.read_bytes())
    start = data.index(b"cat/3.png") + len("cat/3.png")  # the member's data follow its name
    data[start + 20 : start + 60] = b"?" * 40
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.zip/cat/3\.png: cannot be read from the zip file"):
        load_data(path)


def test_many_threads_may_read_one_zip_file(tmp_path, rng):
    files = {f"{c}/{i}.png": encoded(picture(rng, 12, 12)) for c in "abc" for i in range(60)}
    train, _ = load_data(write_zip(tmp_path / "a.zip", files))
    alone, together = (
        list(Loader(train, 4, transform=eval_transform(train), workers=workers).epoch(0))
        for workers in (0, 8)
    )
    assert len(alone) == 36
    for (x, labels), (y, other_labels) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(labels, other_labels)


def test_cifar10_as_jpeg(shared_data):
    train, test = load_data(shared_data / "cifar10-jpeg.zip")
    assert (len(train), len(test), train.num_classes, train.image_shape) == (50_000, 10_000, 10, (32, 32, 3))
    assert train.class_names[:2] == ("airplane", "automobile")
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert train.images[49_999].shape == (32, 32, 3)
    assert train.mean == pytest.approx([0.491, 0.482, 0.447], abs=0.01)  # published for the original images
    assert train.std == pytest.approx([0.247, 0.243, 0.262], abs=0.01)


def test_tiny_imagenet(shared_data):
    train, test = load_data(shared_data / "tiny-imagenet-40.zip")
    assert (len(train), len(test), train.num_classes, train.image_shape) == (20_000, 2_000, 40, (64, 64, 3))
    assert np.bincount(train.labels).tolist() == [500] * 40
    assert np.bincount(test.labels).tolist() == [50] * 40
    first = next(i for i in range(2000) if test.describe(i).endswith("/val_2.JPEG"))
    assert test.class_names[test.labels[first]] == "n04070727"


def test_imagenet_samples(shared_data):
    path = shared_data / "imagenet-samples-125.zip"
    with pytest.raises(InputError, match="wanted images of one size"):
        load_data(path)
    with pytest.raises(InputError, match="class 'n01440764' has 1 image, wanted at least 2"):
        load_data(path, image_size=32)
    _, whole = load_data(path, image_size=32, split=False)
    assert (len(whole), whole.num_classes, whole.image_shape) == (125, 125, (32, 32, 3))
    x, _ = next(iter(Loader(whole, 8, transform=eval_transform(whole)).epoch(0)))
    assert x.shape == (8, 3, 32, 32)
