"""What all oracles share: a summary of what was compared; timm and torchvision beside PyTorch for CPUs.

torchvision's compiled operators are declared, not loaded.
"""

from __future__ import annotations

import importlib.util

import pytest

# Without PyTorch nothing here is collected, but this file is read all the same.
collect_ignore = (
    []
    if importlib.util.find_spec("timm")
    else ["test_twins.py", "test_crosscheck_model.py", "test_crosscheck_onnx.py"]
)
if importlib.util.find_spec("torch"):
    import torch

    _LIBRARY = torch.library.Library("torchvision", "DEF")  # its declarations live as long as it does
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

_TOLD = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def tell(request):
    """Return a function that takes a line for the summary at the end of the run: how much was compared."""
    return request.config.stash.setdefault(_TOLD, []).append


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash.get(_TOLD, [])
    if lines:
        terminalreporter.section("compared with others")
        for line in lines:
            terminalreporter.write_line(line)
