"""Softmax cross-entropy: exact values, extremes, label smoothing, and its gradient's sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from senumpy.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from tests.strategies import cases


def loss(logits, labels, **options):
    return softmax_cross_entropy_forward(np.asarray(logits, float), np.asarray(labels), **options)[0]


def test_equal_logits_give_the_logarithm_of_the_number_of_classes():
    assert loss(np.full((3, 7), 4.0), [0, 3, 6]) == pytest.approx(math.log(7), rel=1e-15)


def test_two_classes_by_hand():
    assert loss([[1.0, 3.0]], [0]) == pytest.approx(math.log(1.0 + math.exp(2.0)), rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits(dtype):
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]], dtype)
    value, cache = softmax_cross_entropy_forward(logits, np.array([1, 2, 0]))
    exact = (2e4 + math.log(2.0) + math.log(3.0)) / 3.0
    assert value == pytest.approx(exact, rel=4 * float(np.finfo(dtype).eps))
    assert value.dtype == dtype
    third, half = 1.0 / 3.0, 0.5
    want = np.array([[1, -1, 0], [0, half, half - 1], [third - 1, third, third]]) / 3.0
    np.testing.assert_allclose(
        softmax_cross_entropy_backward(1.0, cache).dlogits, want, atol=np.finfo(dtype).eps
    )


def test_a_logit_of_minus_infinity_rules_a_class_out():
    logits = np.array([[0.0, 0.0, -np.inf]])
    value, cache = softmax_cross_entropy_forward(logits, np.array([0]))
    assert value == pytest.approx(math.log(2.0), rel=1e-15)
    assert np.array_equal(softmax_cross_entropy_backward(1.0, cache).dlogits, [[-0.5, 0.5, 0.0]])


@given(case=cases("softmax_cross_entropy"))
def test_label_smoothing_mixes_the_loss_of_the_label_with_that_of_all(case):
    # L(e) = (1 - e) L(label) + e mean_k L(k): linear in the target.
    (logits, labels), e = case.args, case.options["label_smoothing"]
    classes = logits.shape[1]
    everything = [loss(logits, np.full(len(labels), k)) for k in range(classes)]
    want = (1.0 - e) * loss(logits, labels) + e * np.mean(everything)
    assert loss(logits, labels, label_smoothing=e) == pytest.approx(want, rel=1e-12, abs=1e-12)


@given(case=cases("softmax_cross_entropy"))
def test_rows_of_the_gradient_sum_to_zero(case):
    # A shift of all logits of a row changes nothing.
    value, cache = softmax_cross_entropy_forward(*case.args, **case.options)
    dlogits = softmax_cross_entropy_backward(-3.0, cache).dlogits
    np.testing.assert_allclose(dlogits.sum(1), 0.0, atol=1e-14)
    logits, labels = case.args
    shift = np.arange(len(logits))[:, None] * 10.0
    assert loss(logits + shift, labels, **case.options) == pytest.approx(float(value), rel=1e-12, abs=1e-12)


@given(case=cases("softmax_cross_entropy"))
def test_the_mean_over_the_batch(case):
    (logits, labels), options = case.args, case.options
    alone = [loss(logits[n : n + 1], labels[n : n + 1], **options) for n in range(len(labels))]
    assert loss(logits, labels, **options) == pytest.approx(np.mean(alone), rel=1e-12, abs=1e-14)


def test_the_upstream_gradient_scales_the_gradient():
    _, cache = softmax_cross_entropy_forward(np.array([[1.0, 2.0]]), np.array([1]))
    once = softmax_cross_entropy_backward(1.0, cache).dlogits
    assert np.array_equal(softmax_cross_entropy_backward(np.float64(-4.0), cache).dlogits, -4.0 * once)
