"""Subjects: the reference and other right answers pass, every mistake is failed and named."""

from __future__ import annotations

import copy
import inspect
import math

import numpy as np
import pytest

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.subjects import SUBJECTS, AnswerError
from senumpy.coursework.subjects.winograd import RESULT
from senumpy.ops.winograd import A_T, B_T, G
from senumpy.verify import OPS
from tests.coursework.right_answers import RIGHT

SEEDS = range(21)
every_subject = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)


def judgements(subject, functions, cases):
    for case in cases:
        yield case, subject.judge(subject.run(functions, case), subject.want(case), case)


def assert_passes(subject, functions, cases):
    for case, judged in judgements(subject, functions, cases):
        assert judged.ok, f"{case.text}: {judged.text}"
        assert not judged.text
        assert judged.right


@every_subject
def test_a_subject_is_its_exercise(subject):
    exercise = exercises()[subject.name]
    assert subject.functions == exercise.targets
    for name, function in subject.reference.items():
        assert inspect.getsourcefile(function) == str(exercise.source)
        assert function.__name__ == name


def test_what_is_no_operation_has_a_subject():
    ops = {f"{op}_{side}" for op in OPS for side in ("forward", "backward")}
    assert {name for name in exercises() if name not in ops} == set(SUBJECTS)


@every_subject
def test_the_reference_passes(subject):
    for seed in SEEDS:
        assert_passes(subject, subject.reference, subject.cases(seed))


@pytest.mark.parametrize(("name", "functions"), RIGHT)
def test_right_answers_written_differently_pass(name, functions):
    for seed in range(5):
        assert_passes(SUBJECTS[name], {**SUBJECTS[name].reference, **functions}, SUBJECTS[name].cases(seed))


@every_subject
def test_there_are_other_right_answers(subject):
    assert sum(name == subject.name for name, _ in (p.values for p in RIGHT)) >= 2


@every_subject
def test_every_mistake_is_failed_and_named_at_every_seed(subject):
    """On the cases of a seed alone, without those that everybody knows."""
    for seed in SEEDS:
        cases = subject.drawn(seed)
        wants = [subject.want(case) for case in cases]
        limits = list(map(subject.bounds, cases, wants))
        for mistake in subject.mistakes:
            answers = [subject.wrong(mistake, case) for case in cases]
            judged = [
                subject.judge(got, want, case, limit)
                for case, got, want, limit in zip(cases, answers, wants, limits, strict=True)
                if got is not None
            ]
            assert not all(j.ok for j in judged), f"seed {seed}: {mistake.name} gives what is right"
            named = subject.diagnose(cases, answers)
            assert [m.name for m in named] == [mistake.name], f"seed {seed}"


@every_subject
def test_mistakes_are_far_from_what_rounding_explains(subject):
    """No mistake hides at the edge of the tolerance: its worst entry is off by 1,000 bounds and more."""
    for mistake in subject.mistakes:
        far = False
        for case in subject.drawn(1):
            got, want = subject.wrong(mistake, case), subject.want(case)
            if got is not None:
                wider = {name: 1e3 * limit for name, limit in subject.bounds(case, want).items()}
                far |= not subject.judge(got, want, case, wider).ok
        assert far, mistake.name


@every_subject
def test_what_is_right_is_no_mistake(subject):
    cases = subject.cases(3)
    assert not subject.diagnose(cases, [subject.run(subject.reference, case) for case in cases])


@every_subject
def test_an_unknown_mistake_has_no_name(subject):
    cases = subject.cases(3)
    answers = [
        {name: value + 0.37 if value.dtype.kind == "f" else value + 7 for name, value in got.items()}
        for got in (subject.run(subject.reference, case) for case in cases)
    ]
    assert not subject.diagnose(cases, answers)
    assert not subject.judge(answers[0], subject.want(cases[0]), cases[0]).ok


def half_missing(lr, steps):
    return lambda t: 2 * lr * math.cos(math.pi * min(t, steps) / (2 * steps)) ** 2


def biased(running_mean, running_var, mean, var, *, count, momentum=0.1):
    return running_mean + momentum * (mean - running_mean), running_var + momentum * (var - running_var)


def plus_for_minus(value, gradient, velocity, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = weight_decay * value + gradient
    velocity[:] = g + velocity * momentum
    value += g * lr + momentum * (velocity * lr) if nesterov else velocity * lr


@pytest.mark.parametrize(
    ("name", "function", "mistake"),
    [
        (
            "central_difference",
            lambda f, x, v, h: ((f(x + v * h) - f(x - v * h)) * (1 / h)).ravel(),
            "divided-by-h",
        ),
        ("complex_step", lambda f, x, v, h=1e-30: f(x + v * (h * 1j)).ravel().imag / h / 2, "halved"),
        ("running_statistics", biased, "biased-variance"),
        ("sgd_update", plus_for_minus, "uphill"),
        ("cosine", half_missing, "half-missing"),
    ],
)
def test_mistakes_are_named_however_they_are_rounded(name, function, mistake):
    subject = SUBJECTS[name]
    cases = subject.cases(0)
    answers = [subject.run({name: function}, case) for case in cases]
    assert [m.name for m in subject.diagnose(cases, answers)] == [mistake]


@every_subject
def test_a_mistake_is_named_from_the_cases_in_which_it_gave_results(subject):
    mistake = subject.mistakes[0]
    cases = subject.cases(2)
    answers = [subject.wrong(mistake, case) for case in cases]
    answers[0] = None
    assert mistake in subject.diagnose(cases, answers)
    assert not subject.diagnose(cases, [None] * len(cases))


@every_subject
def test_cases_come_from_the_seed(subject):
    first, again, other = (subject.cases(seed) for seed in (4, 4, 5))
    fixed = len(subject.fixed())
    assert fixed
    assert len(first) > fixed

    def same(a, b):
        return a.text == b.text and repr(a.data) == repr(b.data)

    assert all(map(same, first, again))
    assert all(map(same, first[:fixed], other[:fixed]))
    assert not all(map(same, first[fixed:], other[fixed:]))


@every_subject
def test_running_changes_no_case(subject):
    cases = subject.cases(6)
    before = copy.deepcopy([case.data for case in cases])
    for case in cases:
        subject.run(subject.reference, case)
        for mistake in subject.mistakes:
            subject.wrong(mistake, case)
    for case, data in zip(cases, before, strict=True):
        np.testing.assert_equal(_plain(case.data), _plain(data))


def _plain(value):
    """Return a case's data with the calls in it as dictionaries."""
    return {key: vars(entry) if hasattr(entry, "layouts") else entry for key, entry in value.items()}


@every_subject
def test_texts(subject):
    names = [mistake.name for mistake in subject.mistakes]
    assert len(set(names)) == len(names) >= 6
    for mistake in subject.mistakes:
        assert mistake.explanation.endswith(".")
        assert "\n" not in mistake.explanation
        assert len(mistake.explanation) < 200
    for case in subject.cases(0):
        assert case.text
        assert "\n" not in case.text
        assert len(case.text) < 220


# -- what is said ------------------------------------------------------------------------------------------


def judge_with(name, change, number=0):
    subject = SUBJECTS[name]
    case = subject.cases(0)[number]
    want = subject.want(case)
    return subject.judge(change(subject.run(subject.reference, case)), want, case)


def test_the_worst_entry_is_named():
    def change(got):
        got["running_var"][1] += 0.25
        got["running_var"][0] += 1e-6
        return got

    judged = judge_with("running_statistics", change)
    assert judged.wrong == ("running_var",)
    assert "running_mean" in judged.right
    assert judged.text == "running_var[1]: got 1.683333333, wanted 1.433333333"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a[:-1], ["derivative", "got the shape (1,)", "wanted (2,)"]),
        (lambda a: a * np.nan, ["derivative[0]: got nan, wanted 1.1"]),
        (lambda a: a * 1j, ["derivative", "j"]),
        (lambda a: a > 0, ["derivative", "got 1, wanted 0.5"]),
        (lambda a: a + np.inf, ["derivative[0]: got inf"]),
        (lambda a: None, ["derivative: there is none"]),
    ],
)
def test_whatever_comes_is_judged(change, words):
    def changed(got):
        value = change(got["derivative"])
        return {} if value is None else {"derivative": value}

    judged = judge_with("complex_step", changed)
    assert not judged.ok
    assert all(word in judged.text for word in words), judged.text


def test_codes_are_said_in_words():
    subject = SUBJECTS["train_epoch"]
    mistake = next(m for m in subject.mistakes if m.name == "step-before-backward")
    case = subject.fixed()[0]
    judged = subject.judge(subject.wrong(mistake, case), subject.want(case), case)
    assert "the calls" in judged.wrong
    texts = {
        name: subject.judge(
            {**subject.want(case), name: subject.wrong(mistake, case)[name]}, subject.want(case), case
        ).text
        for name in judged.wrong
    }
    assert texts["the calls"] == "the calls[1]: got step, wanted backward"


# -- what is returned --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "functions", "words"),
    [
        ("complex_step", {"complex_step": lambda *a: None}, "complex_step: got None"),
        ("output_size", {"output_size": lambda *a, **o: 3}, "got 3, wanted two ints"),
        ("output_size", {"output_size": lambda *a, **o: (3.0, 2.0)}, r"got \(3.0, 2.0\), wanted two ints"),
        ("conv2d_loops", {"conv2d_loops": lambda *a, **o: "y"}, "conv2d_loops: got str"),
        ("running_statistics", {"running_statistics": lambda *a, **o: None}, "got None, wanted a pair"),
        ("running_statistics", {"running_statistics": lambda *a, **o: (1.0, None)}, "running_var: got None"),
        ("cosine", {"cosine": lambda lr, steps: 0.1}, "got float, wanted a function of the step"),
        ("cosine", {"cosine": lambda lr, steps: lambda t: [lr, lr]}, r"the shape \(2,\), wanted one number"),
        ("train_epoch", {"train_epoch": lambda *a: None}, "train_epoch: got None"),
        ("winograd_transforms", {"kernel_transform": lambda w: [w, None]}, "kernel_transform: got 2 values"),
        ("winograd_conv2d", {"winograd_conv2d": lambda *a, **o: None}, "winograd_conv2d: got None"),
    ],
)
def test_no_result_at_all_is_said(name, functions, words):
    subject = SUBJECTS[name]
    with pytest.raises(AnswerError, match=words):
        subject.run({**subject.reference, **functions}, subject.fixed()[0])


def test_what_a_function_raises_passes_through():
    def broken(*arguments, **options):
        raise ZeroDivisionError("own")

    for subject in SUBJECTS.values():
        with pytest.raises(ZeroDivisionError, match="own"):
            subject.run({**subject.reference, subject.functions[0]: broken}, subject.fixed()[0])


# -- tolerances --------------------------------------------------------------------------------------------


def single(value):
    return np.asarray(value, np.float32).astype(np.float64)


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name != "output_size"])
def test_single_precision_is_no_right_answer(name):
    """Tolerances are of double precision: they are not wide enough for float32."""
    subject = SUBJECTS[name]
    failed = 0
    for case, _ in judgements(subject, subject.reference, subject.drawn(0)):
        want = subject.want(case)
        got = {key: single(v) if v.dtype.kind == "f" else v for key, v in want.items()}
        failed += not subject.judge(got, want, case).ok
    assert failed


def test_the_bound_of_a_difference_grows_with_what_cancels():
    subject = SUBJECTS["central_difference"]
    case = subject.drawn(0)[0]
    limits = []
    for h in (1e-2, 1e-6):
        smaller = type(case)(case.text, {**case.data, "h": h})
        limits.append(subject.bounds(smaller, subject.want(smaller))["derivative"].max())
    assert 1e3 < limits[1] / limits[0] < 1e5


# -- Winograd ----------------------------------------------------------------------------------------------


def test_transforms_may_be_scaled_otherwise():
    """3 G and B^T / 3 are no mistake; 3 G alone is one."""
    g, b = np.array(G), np.array(B_T)
    subject = SUBJECTS["winograd_transforms"]
    scaled = {
        **subject.reference,
        "kernel_transform": lambda w: (3 * g) @ w @ (3 * g).T,
        "input_transform": lambda d: (b / 3) @ d @ (b / 3).T,
    }
    assert_passes(subject, scaled, subject.cases(0))
    alone = {**subject.reference, "kernel_transform": scaled["kernel_transform"]}
    for _, judged in judgements(subject, alone, subject.cases(0)):
        assert set(judged.wrong) == {"kernel_transform", RESULT}


def test_transforms_by_other_points_pass():
    """0, 1, -1, 1/2, -1/2 and infinity, without divisors' signs in G."""
    points = [0, 1, -1, 0.5, -0.5]
    kernel, tile, result = np.zeros((6, 3)), np.zeros((6, 6)), np.zeros((4, 6))
    for i, p in enumerate(points):
        others = points[:i] + points[i + 1 :]
        kernel[i] = [1, p, p * p]
        tile[i, :5] = np.poly(others)[::-1] / np.prod([p - q for q in others])
        result[:, i] = [p**k for k in range(4)]
    kernel[5, 2] = result[3, 5] = 1
    tile[5] = np.poly(points)[::-1]
    subject = SUBJECTS["winograd_transforms"]
    other = {
        "kernel_transform": lambda w: kernel @ w @ kernel.T,
        "input_transform": lambda d: tile @ d @ tile.T,
        "output_transform": lambda m: result @ m @ result.T,
    }
    assert_passes(subject, other, subject.cases(0))


def test_transforms_of_another_shape_are_failed():
    subject = SUBJECTS["winograd_transforms"]
    rows = {**subject.reference, "output_transform": lambda m: np.array(A_T) @ m}
    for _, judged in judgements(subject, rows, subject.cases(0)):
        assert "shape" in judged.text


def test_one_pixel_tells_tiles_from_sums():
    subject = SUBJECTS["winograd_conv2d"]
    probes = [case for case in subject.cases(0) if case.data["probe"]]
    assert len(probes) == 2
    direct = next(m for m in subject.mistakes if m.name == "direct-sums")
    for case in probes:
        got = subject.wrong(direct, case)
        assert subject.judge(got, subject.want(case), case).text == "algorithm: got direct sums, wanted tiles"
    others = [case for case in subject.cases(0) if not case.data["probe"]]
    assert_passes(subject, direct.functions, others)


def test_the_recording_model_is_used_up_in_one_pass():
    """Batches come from a generator: whoever asks for their number or a second pass hears of it."""

    def counts(model, batches, sgd, lr):
        return len(batches)

    subject = SUBJECTS["train_epoch"]
    with pytest.raises(TypeError, match="generator"):
        subject.run({"train_epoch": counts}, subject.fixed()[0])
    assert math.isfinite(float(subject.want(subject.fixed()[0])["the loss returned"]))
