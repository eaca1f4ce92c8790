"""Arrays and lines on disk: the one safetensors reader and writer, atomic files, the metrics log."""

from __future__ import annotations

from senumpy.storage.atomic import write_atomic
from senumpy.storage.lazy import LazyTensor, TensorFile
from senumpy.storage.lines import Lines, append_line, read_lines
from senumpy.storage.tensors import load_tensors, require_library, save_tensors

__all__ = [
    "LazyTensor",
    "Lines",
    "TensorFile",
    "append_line",
    "load_tensors",
    "read_lines",
    "require_library",
    "save_tensors",
    "write_atomic",
]
