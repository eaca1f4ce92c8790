"""The same networks as ONNX graphs, for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from senumpy.bench.workloads import ModelWork, Work
from senumpy.interop import to_onnx
from senumpy.models import create_model


def prepare(work: Work, threads: int) -> Callable[[], Any]:
    """Return a function that runs the network once."""
    if not isinstance(work, ModelWork) or work.train:
        raise TypeError("ONNX Runtime is measured in inference of networks")
    model = create_model(work.model, num_classes=work.classes, in_channels=work.channels)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    graph = to_onnx(model, (work.size, work.size), batch=work.batch).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((work.batch, work.channels, work.size, work.size), dtype=np.float32)
    return lambda: session.run(None, {"x": x})
