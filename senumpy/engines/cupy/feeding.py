"""Images to the GPU: as bytes, from pinned memory, on a stream of their own, one batch ahead."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import cupy as cp
import numpy as np

from senumpy.engines.base import DeviceMemory, Engine
from senumpy.engines.cupy.device import raise_again
from senumpy.engines.cupy.runtime import Runtime, lines
from senumpy.engines.cupy.sources import Build
from senumpy.engines.images import Factors, Flips, Images, Offsets, RawImages
from senumpy.ops.arrays import Array

_BUILD = Build("images", "float32", 1)


@contextmanager
def _completed(stream: Any) -> Iterator[None]:
    """Wait at the end for what a stream still copies: its memory goes back to the pool then."""
    try:
        yield
    finally:
        stream.synchronize()


class Slot:
    """Memory for one batch, pinned here and on the device, and when each may be used again."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._host = np.empty(0, np.uint8)
        self._bytes = cp.empty(0, "uint8")
        self._copied, self._used = (cp.cuda.Event(disable_timing=True) for _ in range(2))
        self._parts: tuple[Any, ...] = ()

    def send(self, images: Images, offsets: Offsets | None, flips: Flips | None) -> None:
        """Begin to copy a batch; returns at once unless the copy before is still under way."""
        arrays = (
            None if offsets is None else offsets.astype(np.int32),  # first: 4-byte numbers need their place
            images,
            None if flips is None else flips.astype(np.uint8),
        )
        sizes = [0 if array is None else array.nbytes for array in arrays]
        total = sum(sizes)
        self._copied.synchronize()
        if self._host.size < total:
            # CuPy's pool gives out memory that kernels of the current stream may still be reading.
            cp.cuda.get_current_stream().synchronize()
            try:
                self._host = np.frombuffer(cp.cuda.alloc_pinned_memory(total), np.uint8, total)
            except RuntimeError as error:
                raise_again(error)
            self._bytes = cp.empty(total, "uint8")
        ends = np.cumsum(sizes)
        for array, size, end in zip(arrays, sizes, ends, strict=True):
            if array is not None:
                self._host[end - size : end] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._stream.wait_event(self._used)
        self._bytes[:total].set(self._host[:total], stream=self._stream)
        self._copied.record(self._stream)
        self._parts = tuple(
            None if array is None else self._bytes[end - size : end].view(array.dtype)
            for array, size, end in zip(arrays, sizes, ends, strict=True)
        )

    def receive(self, prepare: Callable[..., Array]) -> Array:
        """Return `prepare(offsets, images, flips)`, computed on the current stream once the copy is there."""
        current = cp.cuda.get_current_stream()
        current.wait_event(self._copied)
        x = prepare(*self._parts)
        self._used.record(current)
        return x


class Feeding(Engine):
    """What concerns the device's memory."""

    prepares_images = True
    runtime: Runtime

    def prepare_images(
        self, images: Images, offsets: Offsets | None, flips: Flips | None, scale: Factors, shift: Factors
    ) -> Array:
        """See `Engine.prepare_images`."""
        factors = cp.asarray(scale), cp.asarray(shift)
        corners = None if offsets is None else cp.asarray(offsets.astype(np.int32))
        mirrored = None if flips is None else cp.asarray(flips.astype(np.uint8))
        return self._prepared(images.shape, factors, corners, cp.asarray(images), mirrored)

    def feed(
        self, batches: Generator[RawImages, None, None], scale: Factors, shift: Factors
    ) -> Generator[tuple[Array, np.ndarray[Any, Any]], None, None]:
        """See `Engine.feed`: the next batch is copied while this one is computed with."""
        factors = cp.asarray(scale), cp.asarray(shift)
        stream = cp.cuda.Stream(non_blocking=True)
        slots = Slot(stream), Slot(stream)
        waiting = None
        with closing(batches), _completed(stream):
            for number, (images, offsets, flips, labels) in enumerate(batches):
                slot = slots[number % 2]
                slot.send(images, offsets, flips)
                if waiting is not None:
                    yield self._received(*waiting, factors)
                waiting = slot, images.shape, labels
            if waiting is not None:
                yield self._received(*waiting, factors)

    def _received(self, slot: Slot, shape: Any, labels: Any, factors: Any) -> tuple[Array, Any]:
        return slot.receive(lambda *parts: self._prepared(shape, factors, *parts)), labels

    def _prepared(self, shape: Any, factors: Any, corners: Any, images: Array, mirrored: Any) -> Array:
        n, h, w, c = shape
        rows, x = self.runtime.image(n, c, h, w, np.dtype("float32"))
        self.runtime.launch(
            _BUILD,
            "prepare_images",
            *lines(rows.size),
            images,
            corners,
            mirrored,
            *factors,
            h,
            w,
            c,
            rows.size,
            rows,
        )
        return x

    def device_memory(self) -> DeviceMemory | None:
        """See `Engine.device_memory`."""
        pool = cp.get_default_memory_pool()
        free, total = cp.cuda.Device(self.runtime.device.number).mem_info
        used = pool.used_bytes()
        return DeviceMemory(used, free + pool.total_bytes() - used, total)

    def peak_memory(self, run: Callable[[], object]) -> int | None:
        """See `Engine.peak_memory`: what the pool took from the device, freed of what it held before."""
        pool = cp.get_default_memory_pool()
        pool.free_all_blocks()
        before = pool.total_bytes()
        run()
        return int(pool.total_bytes() - before)
