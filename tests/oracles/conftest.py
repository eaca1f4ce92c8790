"""timm and torchvision beside PyTorch for CPUs: torchvision's compiled operators are declared, not loaded."""

from __future__ import annotations

import importlib.util

import torch

collect_ignore = [] if importlib.util.find_spec("timm") else ["test_twins.py"]

_LIBRARY = torch.library.Library("torchvision", "DEF")  # its declarations live as long as it does
for _name in ("nms", "qnms"):
    _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
