"""Weights in and out: the layouts of other projects, safetensors, PyTorch's files, ONNX."""

from __future__ import annotations

from senumpy.interop.layouts import Preprocessing
from senumpy.interop.onnx_export import save_onnx, to_onnx
from senumpy.interop.weights import Imported, import_weights, load_model, save_foreign, save_weights

__all__ = [
    "Imported",
    "Preprocessing",
    "import_weights",
    "load_model",
    "save_foreign",
    "save_onnx",
    "save_weights",
    "to_onnx",
]
