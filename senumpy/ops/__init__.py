"""The mathematics: one file per operation, each a pair of pure functions.

`forward(...)` returns the result and a small named cache; `backward(dy, cache)` returns a named tuple of
gradients in the order of forward's array arguments (None for one that was None). Images are (N, C, H, W);
float32 stays float32 and float64 stays float64. A cache may share memory with the arguments and the result:
don't change those in place between forward and backward. The functions themselves never do.
"""

from __future__ import annotations

from senumpy.ops.activations import (
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from senumpy.ops.avg_pool import avg_pool2d_backward, avg_pool2d_forward
from senumpy.ops.batchnorm import batchnorm2d_backward, batchnorm2d_forward
from senumpy.ops.batchnorm_inference import batchnorm2d_inference_backward, batchnorm2d_inference_forward
from senumpy.ops.bn_relu_se import bn_relu_se_backward, bn_relu_se_forward
from senumpy.ops.channel_shuffle import channel_shuffle_backward, channel_shuffle_forward
from senumpy.ops.concat import concat_backward, concat_forward
from senumpy.ops.concat_se import concat_se_backward, concat_se_forward
from senumpy.ops.conv2d import conv2d_backward, conv2d_forward
from senumpy.ops.conv_bn_relu import (
    conv_bn_relu_backward,
    conv_bn_relu_forward,
    conv_bn_relu_inference_backward,
    conv_bn_relu_inference_forward,
)
from senumpy.ops.dropout import dropout_backward, dropout_forward
from senumpy.ops.excitation import excitation_backward, excitation_forward
from senumpy.ops.global_pooling import (
    global_avg_pool_backward,
    global_avg_pool_forward,
    global_max_pool_backward,
    global_max_pool_forward,
)
from senumpy.ops.linear import linear_backward, linear_forward
from senumpy.ops.loss import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from senumpy.ops.max_pool import max_pool2d_backward, max_pool2d_forward
from senumpy.ops.residual_add import residual_add_backward, residual_add_forward
from senumpy.ops.residual_tail import (
    residual_tail_backward,
    residual_tail_forward,
    residual_tail_inference_backward,
    residual_tail_inference_forward,
)
from senumpy.ops.scale import scale_backward, scale_forward
from senumpy.ops.se_add import se_add_backward, se_add_forward
from senumpy.ops.shake import shake_backward, shake_forward
from senumpy.ops.shortcut import pad_shortcut_backward, pad_shortcut_forward
from senumpy.ops.squeeze import squeeze_backward, squeeze_forward
from senumpy.ops.squeeze_excite import (
    squeeze_excite_backward,
    squeeze_excite_backward_paths,
    squeeze_excite_forward,
)

__all__ = [
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batchnorm2d_backward",
    "batchnorm2d_forward",
    "batchnorm2d_inference_backward",
    "batchnorm2d_inference_forward",
    "bn_relu_se_backward",
    "bn_relu_se_forward",
    "channel_shuffle_backward",
    "channel_shuffle_forward",
    "concat_backward",
    "concat_forward",
    "concat_se_backward",
    "concat_se_forward",
    "conv2d_backward",
    "conv2d_forward",
    "conv_bn_relu_backward",
    "conv_bn_relu_forward",
    "conv_bn_relu_inference_backward",
    "conv_bn_relu_inference_forward",
    "dropout_backward",
    "dropout_forward",
    "excitation_backward",
    "excitation_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "global_max_pool_backward",
    "global_max_pool_forward",
    "linear_backward",
    "linear_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "pad_shortcut_backward",
    "pad_shortcut_forward",
    "relu_backward",
    "relu_forward",
    "residual_add_backward",
    "residual_add_forward",
    "residual_tail_backward",
    "residual_tail_forward",
    "residual_tail_inference_backward",
    "residual_tail_inference_forward",
    "scale_backward",
    "scale_forward",
    "se_add_backward",
    "se_add_forward",
    "shake_backward",
    "shake_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "squeeze_backward",
    "squeeze_excite_backward",
    "squeeze_excite_backward_paths",
    "squeeze_excite_forward",
    "squeeze_forward",
    "tanh_backward",
    "tanh_forward",
]
