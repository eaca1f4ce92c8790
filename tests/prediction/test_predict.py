"""Predictions: the paper's preprocessing, labels, gates, and images that are not what they should be."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import Image

from senumpy import InputError, create_model
from senumpy.interop import save_weights
from senumpy.layers import SEConfig, SqueezeExcite
from senumpy.prediction import predict


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_weights(path, create_model("se_resnet18", num_classes=6))
    return path


def _image(path, size=(300, 260), mode="RGB", **settings):
    pixels = np.random.default_rng(0).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **settings)
    return path


def test_five_guesses_and_every_block_s_gates(weights, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\ndog\nemu\nfox\n")
    (found,) = predict(weights, [_image(tmp_path / "a.png")], labels=labels)
    assert len(found.guesses) == 5
    assert {g.label for g in found.guesses} < {"ant", "bee", "cat", "dog", "emu", "fox"}
    probabilities = [g.probability for g in found.guesses]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) < 1
    assert [b.block for b in found.gates] == [f"layer{k}.{b}.se" for k in (1, 2, 3, 4) for b in (0, 1)]
    for block in found.gates:
        assert 0 <= block.weakest[0][1] <= block.mean <= block.strongest[0][1] <= 1
    assert max(len(line) for line in str(found).splitlines()[1:]) <= 80


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("se_resnet8_cifar", {"se": SEConfig(placement="identity")}),
        ("se_preact_resnet110_cifar", {"blocks": (1, 1, 1)}),
        ("se_shake_shake26_2x96d_cifar", {"blocks": (1, 1, 1), "se": SEConfig(placement="3x3")}),
        ("se_vgg16_bn", {"widths": (8, 8, 8, 8, 8), "hidden": 8, "image_size": 64}),
        ("se_mobilenet", {}),
        ("se_shufflenet", {}),
        ("se_bn_inception", {}),
    ],
)
def test_gates_stand_beside_their_block_in_every_family(name, settings, tmp_path):
    model = create_model(name, num_classes=2, **settings)
    blocks = {n: layer for n, layer in model.named_layers() if isinstance(layer, SqueezeExcite)}
    for k, layer in enumerate(blocks.values(), start=1):  # constant gates, another value in each block
        layer.fc2.weight.value[...] = 0
        layer.fc2.bias.value[...] = np.log(k / (len(blocks) + 1 - k))
    save_weights(tmp_path / "w.safetensors", model)
    (found,) = predict(tmp_path / "w.safetensors", [_image(tmp_path / "a.png")], size=64)
    wanted = {n: k / (len(blocks) + 1) for k, n in enumerate(blocks, start=1)}
    assert {b.block: b.mean for b in found.gates} == pytest.approx(wanted)


def test_another_engine_sees_the_same(weights, tmp_path):
    pytest.importorskip("numba")
    path = _image(tmp_path / "a.png")
    (wanted,), (found,) = (predict(weights, [path], size=64, engine=name) for name in ("numpy", "numba"))
    assert wanted.engine == "numpy"
    assert found.engine.startswith("numba")
    assert found.to_dict()["engine"] == found.engine
    for ours, theirs in zip(found.guesses, wanted.guesses, strict=True):
        assert ours.label == theirs.label
        assert ours.probability == pytest.approx(theirs.probability, rel=1e-3)
    for ours, theirs in zip(found.gates, wanted.gates, strict=True):
        assert (ours.block, ours.mean) == (theirs.block, pytest.approx(theirs.mean, rel=1e-3))


def test_the_preprocessing_is_the_paper_s(weights, tmp_path):
    path = _image(tmp_path / "a.png", size=(512, 256))
    (found,) = predict(weights, [path])
    # Shorter side 256 already: the middle 224x224, by hand.
    pixels = np.asarray(Image.open(path))[16:240, 144:368].astype("float32") / 255
    x = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    model = create_model("se_resnet18", num_classes=6)
    with model.inference():
        logits = model.forward(x.transpose(2, 0, 1)[None].astype("float32"))[0]
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert found.guesses[0].probability == pytest.approx(probabilities.max(), rel=1e-4)
    assert found.guesses[0].label == f"class {probabilities.argmax()}"


@pytest.mark.parametrize(
    ("name", "size", "mode", "settings"),
    [
        ("one_pixel.png", (1, 1), "RGB", {}),
        ("cmyk.jpg", (300, 200), "CMYK", {}),
        ("grey.png", (300, 200), "L", {}),
        ("palette.gif", (40, 30), "P", {}),
        ("alpha.png", (40, 30), "RGBA", {}),
    ],
)
def test_images_of_other_kinds_are_converted(name, size, mode, settings, weights, tmp_path):
    (found,) = predict(weights, [_image(tmp_path / name, size, mode, **settings)], size=64)
    assert np.isfinite([g.probability for g in found.guesses]).all()


def test_of_an_animation_the_first_picture_counts(weights, tmp_path):
    pictures = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    pictures[0].save(tmp_path / "two.gif", save_all=True, append_images=pictures[1:])
    pictures[0].save(tmp_path / "one.gif")
    two, one = predict(weights, [tmp_path / "two.gif", tmp_path / "one.gif"], size=64)
    assert two.guesses == one.guesses


def _write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d / "none.png", "cannot read"),
        (lambda d: _write(d / "text.png", b"not an image"), "not an image"),
        (lambda d: _write(d / "cut.png", _image(d / "whole.png").read_bytes()[:2000]), "broken image"),
        (lambda d: _image(d / "deep.png", mode="I;16"), "more than 8 bits"),
        (lambda d: _image(d / "long.png", size=(200_000, 1)), "too long for its width"),
    ],
)
def test_images_that_cannot_be_used_are_named(make, message, weights, tmp_path):
    path = make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        predict(weights, [path])
    assert path.name in str(caught.value)


@pytest.mark.parametrize("side", [12_000, 20_000])
def test_an_enormous_image_is_refused_before_it_is_decoded(side, weights, tmp_path, recwarn):
    # A PNG header of too many pixels with nothing behind it.
    whole = _image(tmp_path / "small.png", size=(8, 8)).read_bytes()
    at = whole.index(b"IHDR") + 4
    ihdr = b"IHDR" + side.to_bytes(4, "big") * 2 + whole[at + 8 : at + 13]
    data = whole[: at - 4] + ihdr + zlib.crc32(ihdr).to_bytes(4, "big") + whole[at + 17 :]
    with pytest.raises(InputError, match=r"large\.png: claims .* pixels, wanted at most 89478485"):
        predict(weights, [_write(tmp_path / "large.png", data)])
    assert not recwarn.list  # Pillow's own word on it would be a second line


def test_labels_have_to_be_as_many_as_classes(weights, tmp_path):
    labels = _write(tmp_path / "labels.txt", b"one\ntwo\n")
    with pytest.raises(InputError, match="has 2 lines, wanted 6"):
        predict(weights, [_image(tmp_path / "a.png")], labels=labels)
