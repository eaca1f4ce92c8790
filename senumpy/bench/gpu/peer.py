"""PyTorch on the same device, in the same process. Imports PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from senumpy.bench import torch_peer
from senumpy.bench.gpu.session import Prepared, Run
from senumpy.bench.gpu.settings import Settings
from senumpy.bench.workloads import ModelWork
from senumpy.errors import InputError

_WARM_UPS = 3  # cuDNN measures its algorithms in the first one
_TRIALS = 3


def find_peer(settings: Settings) -> tuple[TorchPeer | None, str]:
    """Return PyTorch on the device, or None and why not."""
    if settings.torch_device is not None:
        return TorchPeer(torch.device(settings.torch_device)), ""
    if not torch.cuda.is_available():
        return None, f"PyTorch {torch.__version__} sees no GPU (torch.cuda.is_available() is False)"
    torch.cuda.set_device(settings.device)
    return TorchPeer(torch.device("cuda", settings.device)), ""


class TorchPeer:
    """PyTorch, eager, with cuDNN's choice by measurement.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self.on_gpu = device.type == "cuda"

    def versions(self) -> dict[str, Any]:
        """Return what its figures depend on."""
        return {
            "torch": torch.__version__,
            "torch_device": str(self.device),
            "torch_cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }

    @contextmanager
    def precision(self, name: str) -> Iterator[None]:
        """Set TF32 on or off everywhere, and let cuDNN measure; what was set before comes back."""
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, name == "tf32", name == "tf32"
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before

    def prepare(self, work: ModelWork, *, graph: bool = False) -> Prepared:
        """Return a run in the memory format that is the faster one here; with `graph` as a CUDA graph."""

        def make(name: str) -> Run:
            run = torch_peer.model_run(work, torch_peer.FORMATS[name], self.device)
            return self._graphed(run) if graph else run

        def trial(name: str) -> float:
            run = make(name)
            for _ in range(_WARM_UPS):
                run()
            return min(self._seconds(run) for _ in range(_TRIALS))

        times = {}
        for name in torch_peer.FORMATS:
            times[name] = trial(name)
            self.clean()
        best = min(times, key=lambda name: times[name])
        return Prepared(make(best), best)

    def peaks(self, work: ModelWork) -> tuple[int, int, str]:
        """Return bytes taken from the device and bytes in use at the peak of a run, and the memory format."""
        if not self.on_gpu:
            raise InputError(f"PyTorch counts no memory on {self.device}")
        prepared = self.prepare(work)
        for _ in range(_WARM_UPS):
            prepared.run()
        self.clean()
        torch.cuda.reset_peak_memory_stats(self.device)
        prepared.run()
        self._synchronize()
        return (
            torch.cuda.max_memory_reserved(self.device),
            torch.cuda.max_memory_allocated(self.device),
            prepared.note or "",
        )

    def clean(self) -> None:
        """Give free memory back to the device."""
        if self.on_gpu:
            self._synchronize()
            torch.cuda.empty_cache()

    def _graphed(self, run: Run) -> Callable[[], None]:
        """Return the run as a CUDA graph, which is launched as a whole."""
        if not self.on_gpu:
            raise InputError(f"CUDA graphs are for GPUs, not for {self.device}")
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                run()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = run()

        def replay(_keeps_network_and_result: Any = (run, result)) -> None:
            graph.replay()

        return replay

    def _seconds(self, run: Run) -> float:
        self._synchronize()
        start = time.perf_counter()
        run()
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)
