"""The oracle: every operation and unit as plain loops straight from its formula, forward and backward.

Slow on purpose, and written without a look at `senumpy.ops`: where both agree, both are right. It computes in
float64 whatever comes in. Arguments are not checked: call it with what an operation has accepted.
"""

from __future__ import annotations

from typing import Any

from senumpy.engines.base import Engine
from senumpy.engines.naive import (
    activation,
    conv,
    dense,
    loss,
    norm,
    pool,
    se_units,
    squeeze_excite,
    structure,
    units,
)


class NaiveEngine(Engine):
    """Run operations and units as loops over single numbers, in float64."""

    name = "naive"

    # Any: an engine's caches are its own, so the functions' types differ from the base class's.
    conv2d_forward: Any = staticmethod(conv.conv2d_forward)
    conv2d_backward: Any = staticmethod(conv.conv2d_backward)
    batchnorm2d_forward: Any = staticmethod(norm.batchnorm2d_forward)
    batchnorm2d_backward: Any = staticmethod(norm.batchnorm2d_backward)
    batchnorm2d_inference_forward: Any = staticmethod(norm.batchnorm2d_inference_forward)
    batchnorm2d_inference_backward: Any = staticmethod(norm.batchnorm2d_inference_backward)
    linear_forward: Any = staticmethod(dense.linear_forward)
    linear_backward: Any = staticmethod(dense.linear_backward)
    relu_forward: Any = staticmethod(activation.relu_forward)
    relu_backward: Any = staticmethod(activation.relu_backward)
    sigmoid_forward: Any = staticmethod(activation.sigmoid_forward)
    sigmoid_backward: Any = staticmethod(activation.sigmoid_backward)
    tanh_forward: Any = staticmethod(activation.tanh_forward)
    tanh_backward: Any = staticmethod(activation.tanh_backward)
    max_pool2d_forward: Any = staticmethod(pool.max_pool2d_forward)
    max_pool2d_backward: Any = staticmethod(pool.max_pool2d_backward)
    avg_pool2d_forward: Any = staticmethod(pool.avg_pool2d_forward)
    avg_pool2d_backward: Any = staticmethod(pool.avg_pool2d_backward)
    global_avg_pool_forward: Any = staticmethod(pool.global_avg_pool_forward)
    global_avg_pool_backward: Any = staticmethod(pool.global_avg_pool_backward)
    global_max_pool_forward: Any = staticmethod(pool.global_max_pool_forward)
    global_max_pool_backward: Any = staticmethod(pool.global_max_pool_backward)
    squeeze_forward: Any = staticmethod(squeeze_excite.squeeze_forward)
    squeeze_backward: Any = staticmethod(squeeze_excite.squeeze_backward)
    excitation_forward: Any = staticmethod(squeeze_excite.excitation_forward)
    excitation_backward: Any = staticmethod(squeeze_excite.excitation_backward)
    scale_forward: Any = staticmethod(squeeze_excite.scale_forward)
    scale_backward: Any = staticmethod(squeeze_excite.scale_backward)
    squeeze_excite_forward: Any = staticmethod(squeeze_excite.squeeze_excite_forward)
    squeeze_excite_backward: Any = staticmethod(squeeze_excite.squeeze_excite_backward)
    squeeze_excite_backward_paths: Any = staticmethod(squeeze_excite.squeeze_excite_backward_paths)
    residual_add_forward: Any = staticmethod(structure.residual_add_forward)
    residual_add_backward: Any = staticmethod(structure.residual_add_backward)
    pad_shortcut_forward: Any = staticmethod(structure.pad_shortcut_forward)
    pad_shortcut_backward: Any = staticmethod(structure.pad_shortcut_backward)
    concat_forward: Any = staticmethod(structure.concat_forward)
    concat_backward: Any = staticmethod(structure.concat_backward)
    channel_shuffle_forward: Any = staticmethod(structure.channel_shuffle_forward)
    channel_shuffle_backward: Any = staticmethod(structure.channel_shuffle_backward)
    shake_forward: Any = staticmethod(structure.shake_forward)
    shake_backward: Any = staticmethod(structure.shake_backward)
    dropout_forward: Any = staticmethod(structure.dropout_forward)
    dropout_backward: Any = staticmethod(structure.dropout_backward)
    softmax_cross_entropy_forward: Any = staticmethod(loss.softmax_cross_entropy_forward)
    softmax_cross_entropy_backward: Any = staticmethod(loss.softmax_cross_entropy_backward)
    conv_bn_relu_forward: Any = staticmethod(units.conv_bn_relu_forward)
    conv_bn_relu_backward: Any = staticmethod(units.conv_bn_relu_backward)
    conv_bn_relu_inference_forward: Any = staticmethod(units.conv_bn_relu_inference_forward)
    conv_bn_relu_inference_backward: Any = staticmethod(units.conv_bn_relu_inference_backward)
    residual_tail_forward: Any = staticmethod(units.residual_tail_forward)
    residual_tail_backward: Any = staticmethod(units.residual_tail_backward)
    residual_tail_inference_forward: Any = staticmethod(units.residual_tail_inference_forward)
    residual_tail_inference_backward: Any = staticmethod(units.residual_tail_inference_backward)
    bn_relu_se_forward: Any = staticmethod(se_units.bn_relu_se_forward)
    bn_relu_se_backward: Any = staticmethod(se_units.bn_relu_se_backward)
    concat_se_forward: Any = staticmethod(se_units.concat_se_forward)
    concat_se_backward: Any = staticmethod(se_units.concat_se_backward)
    se_add_forward: Any = staticmethod(se_units.se_add_forward)
    se_add_backward: Any = staticmethod(se_units.se_add_backward)
