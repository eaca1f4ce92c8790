"""An engine: a namespace with the functions of `senumpy.ops` and the few array helpers that layers need.

`Engine` itself runs the operations as they stand. A faster engine is a subclass that overrides what it does
faster and inherits the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import numpy as np

from senumpy import ops
from senumpy.engines.images import Factors, Flips, Images, Offsets, RawImages, prepared_images
from senumpy.ops.arrays import Array
from senumpy.ops.running import running_statistics
from senumpy.ops.sgd import sgd_update


class DeviceMemory(NamedTuple):
    """Memory of a device, in bytes.

    Attributes
    ----------
    used : int
        Held by arrays of this engine that are alive.
    free : int
        What arrays could still take: free on the device, or kept by the engine for its next arrays.
    total : int
        Of the device.
    """

    used: int
    free: int
    total: int


class Engine:
    """Run operations and units on NumPy arrays, exactly as `senumpy.ops` defines them."""

    name = "numpy"
    defers_gates = False  # whether a depthwise convolution takes SE's gates of the layer before along
    must_compile = False  # whether the first calls take some seconds more
    prepares_images = False  # whether images are better sent as bytes, and cropped and normalised here

    def compile_ahead(self) -> None:
        """Begin with what the first calls would have to wait for, if there is anything."""

    def describe(self) -> str:
        """Return the engine's name and what matters about how it runs here."""
        return self.name

    def notes(self) -> list[str]:
        """Return what a user should know after the first epoch of a training, a line each."""
        return []

    conv2d_forward = staticmethod(ops.conv2d_forward)
    conv2d_backward = staticmethod(ops.conv2d_backward)
    batchnorm2d_forward = staticmethod(ops.batchnorm2d_forward)
    batchnorm2d_backward = staticmethod(ops.batchnorm2d_backward)
    batchnorm2d_inference_forward = staticmethod(ops.batchnorm2d_inference_forward)
    batchnorm2d_inference_backward = staticmethod(ops.batchnorm2d_inference_backward)
    linear_forward = staticmethod(ops.linear_forward)
    linear_backward = staticmethod(ops.linear_backward)
    relu_forward = staticmethod(ops.relu_forward)
    relu_backward = staticmethod(ops.relu_backward)
    sigmoid_forward = staticmethod(ops.sigmoid_forward)
    sigmoid_backward = staticmethod(ops.sigmoid_backward)
    tanh_forward = staticmethod(ops.tanh_forward)
    tanh_backward = staticmethod(ops.tanh_backward)
    max_pool2d_forward = staticmethod(ops.max_pool2d_forward)
    max_pool2d_backward = staticmethod(ops.max_pool2d_backward)
    avg_pool2d_forward = staticmethod(ops.avg_pool2d_forward)
    avg_pool2d_backward = staticmethod(ops.avg_pool2d_backward)
    global_avg_pool_forward = staticmethod(ops.global_avg_pool_forward)
    global_avg_pool_backward = staticmethod(ops.global_avg_pool_backward)
    global_max_pool_forward = staticmethod(ops.global_max_pool_forward)
    global_max_pool_backward = staticmethod(ops.global_max_pool_backward)
    squeeze_forward = staticmethod(ops.squeeze_forward)
    squeeze_backward = staticmethod(ops.squeeze_backward)
    excitation_forward = staticmethod(ops.excitation_forward)
    excitation_backward = staticmethod(ops.excitation_backward)
    scale_forward = staticmethod(ops.scale_forward)
    scale_backward = staticmethod(ops.scale_backward)
    squeeze_excite_forward = staticmethod(ops.squeeze_excite_forward)
    squeeze_excite_backward = staticmethod(ops.squeeze_excite_backward)
    squeeze_excite_backward_paths = staticmethod(ops.squeeze_excite_backward_paths)
    residual_add_forward = staticmethod(ops.residual_add_forward)
    residual_add_backward = staticmethod(ops.residual_add_backward)
    shake_forward = staticmethod(ops.shake_forward)
    shake_backward = staticmethod(ops.shake_backward)
    pad_shortcut_forward = staticmethod(ops.pad_shortcut_forward)
    pad_shortcut_backward = staticmethod(ops.pad_shortcut_backward)
    concat_forward = staticmethod(ops.concat_forward)
    concat_backward = staticmethod(ops.concat_backward)
    channel_shuffle_forward = staticmethod(ops.channel_shuffle_forward)
    channel_shuffle_backward = staticmethod(ops.channel_shuffle_backward)
    dropout_forward = staticmethod(ops.dropout_forward)
    dropout_backward = staticmethod(ops.dropout_backward)
    softmax_cross_entropy_forward = staticmethod(ops.softmax_cross_entropy_forward)
    softmax_cross_entropy_backward = staticmethod(ops.softmax_cross_entropy_backward)
    # Units: compositions of the above, for an engine to run in one go.
    conv_bn_relu_forward = staticmethod(ops.conv_bn_relu_forward)
    conv_bn_relu_backward = staticmethod(ops.conv_bn_relu_backward)
    conv_bn_relu_inference_forward = staticmethod(ops.conv_bn_relu_inference_forward)
    conv_bn_relu_inference_backward = staticmethod(ops.conv_bn_relu_inference_backward)
    residual_tail_forward = staticmethod(ops.residual_tail_forward)
    residual_tail_backward = staticmethod(ops.residual_tail_backward)
    residual_tail_inference_forward = staticmethod(ops.residual_tail_inference_forward)
    residual_tail_inference_backward = staticmethod(ops.residual_tail_inference_backward)
    bn_relu_se_forward = staticmethod(ops.bn_relu_se_forward)
    bn_relu_se_backward = staticmethod(ops.bn_relu_se_backward)
    concat_se_forward = staticmethod(ops.concat_se_forward)
    concat_se_backward = staticmethod(ops.concat_se_backward)
    se_add_forward = staticmethod(ops.se_add_forward)
    se_add_backward = staticmethod(ops.se_add_backward)

    # What layers call in inference, where nothing is kept for a backward.

    def conv_bn_inference(
        self,
        x: Array,
        w: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        *,
        eps: float = 1e-5,
        **settings: Any,
    ) -> Array:
        """Return BN(conv2d(x, w, **settings)) with given statistics."""
        c, _ = self.conv2d_forward(x, w, **settings)
        return self.batchnorm2d_inference_forward(c, gamma, beta, mean, var, eps=eps)[0]

    def residual_end_inference(
        self,
        x: Array,
        w: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        w1: Array | None,
        b1: Array | None,
        w2: Array | None,
        b2: Array | None,
        shortcut: Array,
        *,
        eps: float = 1e-5,
        squeeze: str = "avg",
        gate: str = "sigmoid",
        **settings: Any,
    ) -> Array:
        """Return the end of a residual unit, relu(SE(BN(conv2d(x, w, **settings))) + shortcut)."""
        c, _ = self.conv2d_forward(x, w, **settings)
        return self.residual_tail_inference_forward(
            c, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, eps=eps, squeeze=squeeze, gate=gate
        )[0]

    def squeeze_excite_inference(
        self,
        u: Array,
        w1: Array,
        b1: Array | None,
        w2: Array,
        b2: Array | None,
        *,
        squeeze: str = "avg",
        gate: str = "sigmoid",
    ) -> Array:
        """Return SE(u); `u` is given up, its memory may be used for the result."""
        return self.squeeze_excite_forward(u, w1, b1, w2, b2, squeeze=squeeze, gate=gate)[0]

    def squeeze_excite_gates(
        self,
        u: Array,
        w1: Array,
        b1: Array | None,
        w2: Array,
        b2: Array | None,
        *,
        squeeze: str = "avg",
        gate: str = "sigmoid",
    ) -> Array:
        """Return SE's gates for u, (N, C)."""
        z, _ = self.squeeze_forward(u, operator=squeeze)
        return self.excitation_forward(z, w1, b1, w2, b2, gate=gate)[0]

    def gated_conv_bn_relu_inference(
        self,
        x: Array,
        gates: Array,
        w: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        *,
        eps: float = 1e-5,
        **settings: Any,
    ) -> Array:
        """Return relu(BN(conv2d(gates x, w, **settings))) with given statistics; gates is (N, C)."""
        x, _ = self.scale_forward(x, gates)
        return self.conv_bn_relu_inference_forward(x, w, gamma, beta, mean, var, eps=eps, **settings)[0]

    @contextmanager
    def frozen_weights(self) -> Iterator[None]:
        """Promise that read-only arrays don't change inside: an engine may keep what it makes of them."""
        yield

    @staticmethod
    def asarray(array: Any, dtype: Any = None) -> Array:
        """Return `array` as one of this engine's arrays; shares memory where it can."""
        return np.asarray(array, dtype=dtype)

    @staticmethod
    def to_numpy(array: Array) -> np.ndarray[Any, Any]:
        """Return an array of this engine as a NumPy array; shares memory where it can."""
        return np.asarray(array)

    @staticmethod
    def zeros(shape: Iterable[int], dtype: Any) -> Array:
        """Return zeros."""
        return np.zeros(tuple(shape), dtype)

    def normal(self, shape: Iterable[int], scale: float, rng: np.random.Generator, dtype: Any) -> Array:
        """Return draws from N(0, scale^2), the same whatever the dtype: they are float32."""
        draws = rng.standard_normal(tuple(shape), dtype=np.float32)
        draws *= scale
        return self.asarray(draws, dtype=dtype)

    def shifted(self, x: Array, by: int) -> Array:
        """Return the images moved `by` pixels down and right (up and left if negative), zeros at the edge."""
        y = self.zeros(x.shape, x.dtype)
        to, start = (slice(by, None), slice(None, -by)) if by > 0 else (slice(None, by), slice(-by, None))
        y[:, :, to, to] = x[:, :, start, start]
        return y

    def times(self, x: Array, factor: float) -> Array:
        """Return factor x."""
        return factor * x

    def add_gradients(self, total: Array, part: Array) -> Array:
        """Return total + part, of the same shape; `total` is given up, its memory may be used for the sum."""
        total += part
        return total

    def move_running(
        self,
        running_mean: Array,
        running_var: Array,
        mean: Array,
        var: Array,
        *,
        count: int,
        momentum: float,
    ) -> None:
        """Move batch norm's running statistics in place, as `running_statistics` says.

        `mean` and `var` are the batch's, of `count` values a channel; `var` is the biased variance.
        """
        running_mean[...], running_var[...] = running_statistics(
            running_mean, running_var, mean, var, count=count, momentum=momentum
        )

    def sgd_update(
        self,
        value: Array,
        gradient: Array,
        velocity: Array,
        *,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        """Update `value` and `velocity` in place by one step of SGD, as `senumpy.ops.sgd` says."""
        sgd_update(
            value, gradient, velocity,
            lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay,
        )  # fmt: skip

    def sgd_update_all(
        self,
        values: Sequence[Array],
        gradients: Sequence[Array],
        velocities: Sequence[Array],
        decays: Sequence[float],
        *,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        """Do `sgd_update` for all parameters of a model, each with its weight decay."""
        for value, gradient, velocity, weight_decay in zip(
            values, gradients, velocities, decays, strict=True
        ):
            self.sgd_update(
                value,
                gradient,
                velocity,
                lr=lr,
                momentum=momentum,
                nesterov=nesterov,
                weight_decay=weight_decay,
            )

    # For engines on a device of its own: how images get there, and how much memory it has.

    def prepare_images(
        self, images: Images, offsets: Offsets | None, flips: Flips | None, scale: Factors, shift: Factors
    ) -> Array:
        """Return NumPy images as x (N, C, H, W) float32 of this engine; see `prepared_images`."""
        return self.asarray(prepared_images(images, offsets, flips, scale, shift))

    def feed(
        self, batches: Generator[RawImages, None, None], scale: Factors, shift: Factors
    ) -> Generator[tuple[Array, np.ndarray[Any, Any]], None, None]:
        """Yield (x, labels) for each batch: x prepared on this engine, labels (N,) still in NumPy.

        A device may fetch the next batch while it computes with this one. Closing the generator closes
        `batches`.
        """
        with closing(batches):
            for images, offsets, flips, labels in batches:
                yield self.prepare_images(images, offsets, flips, scale, shift), labels

    def device_memory(self) -> DeviceMemory | None:
        """Return the memory of the device, or None where there is none but the computer's own."""
        return None

    def peak_memory(self, run: Callable[[], object]) -> int | None:
        """Return how many bytes more than before `run()` held at once; None, without a run, where unknown."""
        return None
