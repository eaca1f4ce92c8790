"""Whole models held against the reference, layer by layer, with the first mistake found and named.

| file | what |
|---|---|
| `run.py` | `check_model`: a PyTorch network |
| `onnx_run.py`, `onnx_side.py` | `check_onnx`: every tensor inside an ONNX file |
| `steps.py`, `optimisers.py` | `check_steps`: training, step by step |
| `names.py`, `prepare.py`, `align.py` | whose parameter is whose; which module is which layer |
| `tape.py`, `sequence.py`, `recording.py` | the reference's run, every operation written down |
| `torch_side.py` | the candidate's run, by hooks |
| `beside.py` | both runs compared; the first layer that parts |
| `blame.py`, `replay.py`, `single.py`, `between.py`, `running.py` | that layer alone, judged |
| `trials.py`, `twisted.py` | which mistake gives its numbers |
| `report.py` | the table, the findings |
"""

from __future__ import annotations

from typing import Any

from senumpy.crosscheck.model.onnx_run import check_onnx
from senumpy.crosscheck.model.report import Finding, Gap, ModelReport, Row
from senumpy.crosscheck.model.run import check_model
from senumpy.crosscheck.model.steps import StepsReport, check_steps

__all__ = [
    "Finding", "Gap", "ModelReport", "Row", "StepsReport", "check_model", "check_onnx", "check_steps",
    "load_target",
]  # fmt: skip


def load_target(text: str) -> Any:
    """Return what ``module:name`` or ``file.py:name`` names: a module instance, a class, or a function.

    Raises
    ------
    InputError
        There is no such file, module or name, or importing it fails.
    """
    from senumpy.crosscheck.targets import load

    return load(text)
