"""timm and torchvision beside PyTorch for CPUs: torchvision's compiled operators are declared, not loaded."""

from __future__ import annotations

import importlib.util

# Without PyTorch nothing here is collected, but this file is read all the same.
collect_ignore = [] if importlib.util.find_spec("timm") else ["test_twins.py"]
if importlib.util.find_spec("torch"):
    import torch

    _LIBRARY = torch.library.Library("torchvision", "DEF")  # its declarations live as long as it does
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
