"""ONNX's own operator test cases: the expected outputs they come with, and ONNX Runtime's, judged by ours.

Every case whose operator maps to an operation of ours is run or left out with a reason. Cases that ONNX has a
second time with the operator written out as a graph ("expanded") have the same arrays: a test holds that, so
the judgement on them is the same; ONNX Runtime runs both. Counts stand in the terminal's summary.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from senumpy.crosscheck.onnx_nodes import MAPPED, LeftOut, Node, map_node, node_of
from senumpy.verify.judgement import judge
from senumpy.verify.rounding import expect

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="not installed: pip install onnxruntime")

GOOD = ("exact", "accurate")
LEAST = 160  # cases that run with onnx 1.23 are 164; a release that drops some should be looked at

# The expected numbers of these are no full float32. How far off they may be follows from the cause.
ROUNDED = {
    # x and y were copied from a print with 4 digits: y is off by half a digit of its own, and by a ninth of
    # half a digit for each of its four pixels.
    "test_averagepool_2d_ceil_last_window_starts_on_pad": 0.5e-4 * (1 + 4 / 9) + 1e-7,
}
LEFT_OUT = (
    r"(u?int\d+|bool|float16|bfloat16): our operations compute in float32 and float64",
    r"it drops by a random generator of its own, and its mask is not among the outputs",
    r"a batch of matrices as second factor: .*",
    r"an array without entries: our operations refuse it",
    r"a sum of one array adds nothing",
)


@dataclass(frozen=True)
class Case:
    """One of ONNX's cases of an operator of ours."""

    name: str
    model: Any
    node: Node
    outputs: tuple[Any, ...]

    def given(self, outputs: Any) -> Node:
        """Return the node; a dropout in training is told which entries the outputs' mask keeps."""
        masked = self.node.op_type == "Dropout" and len(outputs) > 1
        return replace(self.node, kept=np.asarray(outputs[1], bool)) if masked else self.node


@functools.cache
def everything() -> tuple[Any, ...]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases compute their outputs with NumPy, overflows and all
        return tuple(collect_testcases(None))


@functools.cache
def suite() -> dict[str, Case]:
    """Return the cases of one node whose operator is mapped, by name."""
    found = {}
    for case in everything():
        graph = case.model.graph
        if "_expanded" in case.name or len(graph.node) != 1 or graph.node[0].domain:
            continue
        if graph.node[0].op_type not in MAPPED:
            continue
        (opset,) = (entry.version for entry in case.model.opset_import if entry.domain in ("", "ai.onnx"))
        ((inputs, outputs),) = case.data_sets
        arrays = dict(zip((i.name for i in graph.input), inputs, strict=True))
        node = node_of(graph.node[0], arrays, opset)
        found[case.name] = Case(case.name, case.model, node, tuple(outputs))
    return found


@functools.cache
def expanded() -> dict[str, tuple[Any, str]]:
    """Return the cases with the operator written out as a graph, and the name of the case they repeat."""
    repeats = (
        (case, re.sub(r"_expanded.*", "", case.name)) for case in everything() if "_expanded" in case.name
    )
    return {case.name: (case, base) for case, base in repeats if base in suite()}


@functools.cache
def expectations(name: str) -> list[Any]:
    case = suite()[name]
    return [(expect(c.call, dtype_of(case)), c) for c in map_node(case.given(case.outputs))]


def dtype_of(case: Case) -> Any:
    return np.asarray(case.outputs[0]).dtype


def judged(case: Case, outputs: Any) -> list[Any]:
    """Return the judgements on a case's outputs; raises LeftOut."""
    pairs = expectations(case.name)
    if case.node.op_type == "Dropout":  # what is kept depends on the outputs
        pairs = [(expect(c.call, dtype_of(case)), c) for c in map_node(case.given(outputs))]
    return [j for expectation, mapped in pairs for j in judge(expectation, mapped.name(outputs))]


def cases_of(operator: str) -> list[Case]:
    return [case for case in suite().values() if case.node.op_type == operator]


def test_every_case_is_run_or_left_out_with_a_reason(tell):
    run, left = Counter(), {}
    for case in suite().values():
        try:
            assert map_node(case.given(case.outputs)), case.name
        except LeftOut as reason:
            left[case.name] = str(reason)
        else:
            run[case.node.op_type] += 1
    unknown = {name: r for name, r in left.items() if not any(re.fullmatch(known, r) for known in LEFT_OUT)}
    assert not unknown
    assert run.keys() == MAPPED.keys(), "an operator without a case"
    assert run.total() + len(left) == len(suite())
    assert run.total() >= LEAST
    others = len(everything()) - len(suite()) - len(expanded())
    tell(f"ONNX {onnx.__version__}, operator test cases: {len(everything())}")
    tell(f"  of our operators: {len(suite())}; run: {run.total()}; left out: {len(left)}")
    tell("  run: " + ", ".join(f"{op} {count}" for op, count in run.most_common()))
    for reason, count in Counter(re.sub(r"^u?int\d+", "integers", r) for r in left.values()).most_common():
        tell(f"  left out: {count}: {reason}")
    tell(f"  the same again, as graphs: {len(expanded())}; other operators: {others}")


@pytest.mark.parametrize("operator", MAPPED)
def test_expected_outputs_are_ours(operator):
    bad = []
    for case in cases_of(operator):
        try:
            judgements = judged(case, case.outputs)
        except LeftOut:
            continue
        assert judgements, case.name
        for j in judgements:
            if case.name in ROUNDED:
                assert j.level == "wrong", f"{case.name}: no exception any more"
                assert j.max_error <= ROUNDED[case.name]
            elif j.level not in GOOD:
                bad.append(f"{case.name}: {j}")
    assert not bad, "\n".join(bad)


def test_cases_written_out_as_graphs_have_the_same_arrays():
    assert len(expanded()) >= 60
    for case, base in expanded().values():
        ((inputs, outputs),) = case.data_sets
        for array, own in zip(outputs, suite()[base].outputs, strict=True):
            np.testing.assert_array_equal(array, own)
        for array, own in zip(inputs, (a for a in suite()[base].node.inputs if a is not None), strict=True):
            np.testing.assert_array_equal(array, own)


def runtime_outputs(model: Any, inputs: Any) -> list[Any] | str:
    """Return what ONNX Runtime gives, or why it doesn't run the model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [i.name for i in session.get_inputs()]
        return session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))
    except Exception as error:
        # Only that it hasn't the operator may be a reason; what fails otherwise fails the test.
        if "NOT_IMPLEMENTED" in str(error) or "NotImplemented" in type(error).__name__:
            return "ONNX Runtime has no kernel for it"
        raise


def models_of(operator: str) -> list[tuple[str, Any, Case]]:
    """Return the models of an operator's cases, as one node and as graphs, with their cases."""
    own = [(case.name, case.model, case) for case in cases_of(operator)]
    graphs = [(name, case.model, suite()[base]) for name, (case, base) in expanded().items()]
    return own + [(name, model, case) for name, model, case in graphs if case.node.op_type == operator]


@pytest.mark.parametrize("operator", MAPPED)
def test_onnx_runtime_is_accurate(operator, tell):
    run, bad = 0, []
    refused: Counter[str] = Counter()
    for name, model, case in models_of(operator):
        inputs = [a for a in case.node.inputs if a is not None]
        try:
            map_node(case.given(case.outputs))
        except LeftOut:
            continue
        outputs = runtime_outputs(model, inputs)
        if isinstance(outputs, str):
            refused[outputs] += 1
            continue
        run += 1
        bad += [f"{name}: {j}" for j in judged(case, outputs) if j.level not in GOOD]
    assert not bad, "\n".join(bad)
    assert run or refused
    reasons = "".join(f"; left out: {count}, {reason}" for reason, count in refused.items())
    tell(f"ONNX Runtime {onnxruntime.__version__}, {operator}: {run} cases and graphs run{reasons}")


def test_running_variances_of_batch_norm_follow_another_convention():
    for case in cases_of("BatchNormalization"):
        if len(case.outputs) == 1:
            continue
        ((expectation, mapped),) = expectations(case.name)
        unconverted = {**mapped.name(case.outputs), "running_var": case.outputs[2]}
        levels = {j.result: j.level for j in judge(expectation, unconverted)}
        assert levels.pop("running_var") == "wrong"
        assert set(levels.values()) <= set(GOOD)
        assert "biased" in mapped.note


def test_broken_outputs_are_seen():
    for case in suite().values():
        try:
            pairs = expectations(case.name)
        except LeftOut:
            continue
        if case.node.op_type == "Dropout":
            continue  # one that keeps other entries is another dropout
        outputs = [np.array(output, copy=True) for output in case.outputs]
        # Where logits are 10,000, so are the numbers that rounding is relative to.
        largest = max(float(np.abs(a).max()) for a in case.node.inputs if np.size(a) and a is not None)
        outputs[0][(0,) * outputs[0].ndim] += 0.01 * max(1.0, largest / 100)
        levels = [j.level for expectation, mapped in pairs for j in judge(expectation, mapped.name(outputs))]
        assert "wrong" in levels or "lossy" in levels, case.name
