"""Schedules against their closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.errors import InputError
from senumpy.training.schedules import constant, cosine, make_schedule, step_decay, warm_up

RATES = st.floats(1e-4, 10.0)


@given(lr=RATES, steps=st.integers(1, 500), part=st.floats(0, 1))
def test_cosine_has_its_closed_form_and_symmetry(lr, steps, part):
    step = round(part * steps)
    schedule = cosine(lr, steps)
    assert schedule(step) == pytest.approx(lr * math.cos(0.5 * math.pi * step / steps) ** 2, abs=1e-12 * lr)
    # the curve turned round its middle is itself: lr(t) + lr(T - t) = lr
    assert schedule(step) + schedule(steps - step) == pytest.approx(lr)


def test_cosine_goes_from_the_top_to_zero_and_stays_there():
    schedule = cosine(0.4, 10)
    assert schedule(0) == 0.4
    assert schedule(5) == pytest.approx(0.2)
    assert schedule(10) == schedule(25) == 0.0


@given(lr=RATES, factor=st.floats(0.05, 0.9), milestones=st.lists(st.integers(0, 50), max_size=4))
def test_step_decay_multiplies_once_for_each_milestone(lr, factor, milestones):
    schedule = step_decay(lr, milestones, factor)
    expected = lr
    for step in range(60):
        for milestone in milestones:
            if milestone == step:
                expected *= factor
        assert schedule(step) == pytest.approx(expected)


@given(lr=RATES, steps=st.integers(1, 40))
def test_warm_up_is_a_ramp_that_meets_the_schedule(lr, steps):
    schedule = warm_up(constant(lr), steps)
    rates = [schedule(step) for step in range(steps + 5)]
    assert rates[0] == pytest.approx(lr / steps)
    assert rates[:steps] == pytest.approx([lr * (k + 1) / steps for k in range(steps)])
    assert rates[steps - 1 :] == pytest.approx([lr] * 6)


def test_warm_up_keeps_the_shape_of_what_it_wraps():
    inner = cosine(1.0, 100)
    wrapped = warm_up(inner, 10)
    assert wrapped(4) == pytest.approx(0.5 * inner(4))
    assert [wrapped(t) for t in range(10, 100)] == [inner(t) for t in range(10, 100)]


def test_no_warm_up_changes_nothing():
    assert warm_up(constant(0.3), 0)(0) == 0.3


def test_schedules_by_name():
    assert make_schedule("constant", 0.5, steps=100)(99) == 0.5
    assert make_schedule("cosine", 0.5, steps=100)(50) == pytest.approx(0.25)
    step = make_schedule("step", 0.5, steps=100, warm_up_steps=10)
    assert [step(t) for t in (0, 9, 49, 50, 74, 75)] == pytest.approx([0.05, 0.5, 0.5, 0.05, 0.05, 0.005])


def test_unknown_schedule_suggests_the_nearest():
    with pytest.raises(InputError, match=r"unknown schedule 'cosin': did you mean 'cosine'\?"):
        make_schedule("cosin", 0.1, steps=10)
