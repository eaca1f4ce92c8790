"""The loop: it learns, counts right, refuses numbers that aren't finite, and resumes exactly anywhere."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from senumpy.training import SGD, Tally, Trainer, TrainingError, constant, evaluate
from senumpy.training.evaluate import label_ranks

from .conftest import ArrayBatches, small_model


class Stop(Exception):  # noqa: N818 (not an error)
    """Raised by a callback to leave the loop."""


def test_training_lowers_the_loss_and_finds_the_classes(make_trainer):
    rows = []
    make_trainer(epochs=6).run(after_epoch=rows.append)
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.step for row in rows] == [3, 6, 9, 12, 15, 18]
    assert rows[-1].train_loss < 0.3 * rows[0].train_loss
    assert rows[-1].test_accuracy > 0.95
    assert all(row.seconds > 0 and row.images_per_second > 0 for row in rows)


def test_means_weigh_images_not_batches(batches):
    # 40 images in batches of 16, 16 and 8, evaluated on a model that doesn't change
    model = small_model()
    whole = ArrayBatches(batches.x, batches.labels, 40, shuffle=False)
    parts, one = evaluate(model, batches), evaluate(model, whole)
    assert (parts.images, parts.top1, parts.top5) == (one.images, one.top1, one.top5) == (40, one.top1, 40)
    assert parts.mean_loss == pytest.approx(one.mean_loss, rel=1e-5)


def test_one_update_is_forward_loss_backward_step(batches):
    """The trainer's first step against the same written out."""
    model, twin = small_model(dtype="float64"), small_model(dtype="float64")
    one = ArrayBatches(batches.x[:8], batches.labels[:8], 8, shuffle=False)
    sgd = SGD(twin, weight_decay=0.01)
    logits = twin.forward(batches.x[:8].astype("float64"))
    _, cache = twin.engine.softmax_cross_entropy_forward(logits, batches.labels[:8], label_smoothing=0.2)
    twin.backward(twin.engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
    sgd.step(0.3)
    Trainer(
        model, SGD(model, weight_decay=0.01), constant(0.3), one, one, epochs=1, label_smoothing=0.2
    ).run()
    for name, value in twin.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value, err_msg=name)


def test_evaluation_leaves_the_model_as_it_was(batches):
    model = small_model()
    before = model.state_dict()
    evaluate(model, batches)
    assert model.training
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 6])
def test_resuming_between_any_two_updates_is_exact(make_trainer, stop_at):
    """Steps 3 and 6 end an epoch: there the stop comes before its evaluation."""
    whole = make_trainer()
    rows = []
    whole.run(after_epoch=rows.append)

    first = make_trainer()

    def stop():
        if first.position.step == stop_at:
            raise Stop

    parts = []
    with pytest.raises(Stop):
        first.run(after_step=stop, after_epoch=parts.append)
    model = small_model(seed=99)
    model.load_state_dict(first.model.state_dict())
    second = make_trainer(model, position=copy.deepcopy(first.position))
    second.sgd.load_state_dict(first.sgd.state_dict())
    second.run(after_epoch=parts.append)

    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(second.model.state_dict()[name], value, err_msg=name)
    for name, value in whole.sgd.state_dict().items():
        np.testing.assert_array_equal(second.sgd.state_dict()[name], value, err_msg=name)
    exact = ("epoch", "step", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    assert [[getattr(row, key) for key in exact] for row in parts] == [
        [getattr(row, key) for key in exact] for row in rows
    ]


def test_label_smoothing_is_of_training_alone(make_trainer):
    plain, smooth = [], []
    make_trainer(lr=1e-12, epochs=1).run(after_epoch=plain.append)
    make_trainer(lr=1e-12, epochs=1, label_smoothing=0.5).run(after_epoch=smooth.append)
    assert smooth[0].train_loss != pytest.approx(plain[0].train_loss, rel=1e-3)
    assert smooth[0].test_loss == pytest.approx(plain[0].test_loss, rel=1e-6)


def test_a_rate_that_explodes_is_named_with_its_step(make_trainer):
    trainer = make_trainer(lr=1e30, epochs=5)
    with pytest.raises(TrainingError, match=r"the loss is nan at step [1-9].*learning rate 1e\+30"):
        trainer.run()


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_pixels_that_are_not_finite_are_told_from_a_rate_that_explodes(make_trainer, batches, value, kind):
    batches.shuffle = False
    batches.x[19, 0, 5, 2] = value
    trainer = make_trainer()
    before = trainer.model.state_dict()
    with pytest.raises(
        TrainingError,
        match=f"the input holds {kind} at image 3, channel 0, row 5, column 2 of batch 1 of epoch 1",
    ):
        trainer.run()
    assert trainer.position.step == 1  # the bad batch changed no weight
    assert not np.array_equal(trainer.model.state_dict()["fc.weight"], before["fc.weight"])


def test_bad_test_images_are_named_too(batches):
    batches.shuffle = False
    batches.x[39, 0, 0, 0] = np.nan
    with pytest.raises(TrainingError, match=r"NaN at image 7, .* of test batch 2"):
        evaluate(small_model(), batches)


def test_ranks_agree_with_a_stable_sort(rng):
    logits = rng.integers(-2, 3, size=(200, 7)).astype(np.float32)  # many ties
    labels = rng.integers(7, size=200)
    order = np.argsort(-logits, axis=1, kind="stable")
    expected = np.argmax(order == labels[:, None], axis=1)
    np.testing.assert_array_equal(label_ranks(logits, labels), expected)
    np.testing.assert_array_equal(label_ranks(logits, labels) == 0, logits.argmax(axis=1) == labels)


def test_tally_counts_top_1_and_top_5():
    tally = Tally()
    logits = np.arange(14.0).reshape(2, 7)  # both rows ascend: class 6 is first, class 2 is fifth
    tally.add(1.0, logits, np.array([6, 2]))
    tally.add(4.0, logits[:1], np.array([1]))
    assert (tally.images, tally.top1, tally.top5) == (3, 1, 2)
    assert tally.mean_loss == pytest.approx((2 * 1.0 + 4.0) / 3)
    assert tally.accuracy == pytest.approx(1 / 3)
    assert tally.top5_accuracy == pytest.approx(2 / 3)
