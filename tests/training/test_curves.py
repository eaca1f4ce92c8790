"""The picture of a run is a PNG that shows the numbers it was given."""

from __future__ import annotations

import io

import numpy as np
import pytest

from senumpy.training import draw_curves


def rows(count: int, *, accuracy: float = 0.5) -> list[dict[str, float]]:
    return [
        {
            "epoch": k + 1,
            "train_loss": 2.0 / (k + 1),
            "train_accuracy": accuracy + 0.2,
            "test_loss": 2.5 / (k + 1),
            "test_accuracy": accuracy,
        }
        for k in range(count)
    ]


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.mark.parametrize("half", [slice(0, 750), slice(750, 1500)], ids=["loss", "accuracy"])
@pytest.mark.parametrize("colour", [(0xE6, 0x9F, 0x00), (0x00, 0x72, 0xB2)], ids=["training", "test"])
@pytest.mark.parametrize("count", [2, 100])
def test_both_curves_run_through_the_whole_picture(count, colour, half):
    image = pixels(draw_curves(rows(count), "a title"))
    assert image.shape == (600, 1500, 3)
    columns = np.flatnonzero((np.abs(image[:, half] - colour).sum(axis=2) < 60).any(axis=0))
    assert columns.min() < 150
    assert columns.max() > 600
    assert len(columns) > 300  # dashes have gaps


def test_one_epoch_is_enough_for_a_picture():
    assert pixels(draw_curves(rows(1), "a title")).shape == (600, 1500, 3)


def test_the_picture_depends_on_the_numbers():
    assert draw_curves(rows(5), "t") != draw_curves(rows(5, accuracy=0.75), "t")
    assert draw_curves(rows(5), "t") == draw_curves(rows(5), "t")
