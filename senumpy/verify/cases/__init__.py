"""The table of all operations and units: what each differentiates, small cases, its kinks.

`OPS` maps a name to its `OpSpec`. `senumpy gradcheck` walks through it, `--like NAME` holds a stranger's
code against one entry, and the bank of known mistakes is tried against it. A new operation is one draw
function and one line here.
"""

from __future__ import annotations

from senumpy.errors import unknown_name
from senumpy.verify.cases import basic, blocks, patterns, se_units
from senumpy.verify.cases.spec import Case, Draw, OpSpec

__all__ = ["OPS", "Case", "Draw", "OpSpec", "op_names", "op_spec"]

_BN = ("gamma", "beta")
_STATISTICS = ("gamma", "beta", "mean", "var")
_GATE = ("w1", "b1", "w2", "b2")

_TABLE = (
    OpSpec("conv2d", ("x", "w", "b"), basic.conv2d, batched=("x",)),
    OpSpec("batchnorm2d", ("x", *_BN), basic.batchnorm2d),
    OpSpec("batchnorm2d_inference", ("x", *_STATISTICS), basic.batchnorm2d_inference, batched=("x",)),
    OpSpec("linear", ("x", "w", "b"), basic.linear, batched=("x",)),
    OpSpec("relu", ("x",), basic.relu, pattern=patterns.relu, batched=("x",)),
    OpSpec("sigmoid", ("x",), basic.smooth_activation, batched=("x",)),
    OpSpec("tanh", ("x",), basic.smooth_activation, batched=("x",)),
    OpSpec("max_pool2d", ("x",), basic.max_pool2d, pattern=patterns.max_pool2d, batched=("x",)),
    OpSpec("avg_pool2d", ("x",), basic.avg_pool2d, batched=("x",)),
    OpSpec("global_avg_pool", ("x",), basic.global_avg_pool, batched=("x",)),
    OpSpec(
        "global_max_pool", ("x",), basic.global_max_pool, pattern=patterns.global_max_pool, batched=("x",)
    ),
    OpSpec("squeeze", ("u",), blocks.squeeze, pattern=patterns.squeeze, batched=("u",)),
    OpSpec("excitation", ("z", *_GATE), blocks.excitation, pattern=patterns.excitation, batched=("z",)),
    OpSpec("scale", ("u", "s"), blocks.scale, batched=("u", "s")),
    OpSpec(
        "squeeze_excite",
        ("u", *_GATE),
        blocks.squeeze_excite,
        pattern=patterns.squeeze_excite,
        batched=("u",),
    ),
    OpSpec("residual_add", ("branch", "shortcut"), basic.residual_add, batched=("branch", "shortcut")),
    OpSpec("pad_shortcut", ("x",), basic.pad_shortcut, batched=("x",)),
    OpSpec("concat", ("xs",), basic.concat),
    OpSpec("channel_shuffle", ("x",), basic.channel_shuffle, batched=("x",)),
    OpSpec("shake", ("a", "b"), basic.shake),
    OpSpec("dropout", ("x",), basic.dropout, batched=("x",)),
    OpSpec(
        "softmax_cross_entropy",
        ("logits",),
        basic.softmax_cross_entropy,
        ("labels",),
        batched=("logits", "labels"),
    ),
    OpSpec("conv_bn_relu", ("x", "w", *_BN), blocks.conv_bn_relu, pattern=patterns.conv_bn_relu),
    OpSpec(
        "conv_bn_relu_inference",
        ("x", "w", *_STATISTICS),
        blocks.conv_bn_relu_inference,
        pattern=patterns.conv_bn_relu,
        batched=("x",),
    ),
    OpSpec(
        "residual_tail", ("c", *_BN, *_GATE, "shortcut"), blocks.residual_tail, pattern=patterns.residual_tail
    ),
    OpSpec(
        "residual_tail_inference",
        ("c", *_STATISTICS, *_GATE, "shortcut"),
        blocks.residual_tail_inference,
        pattern=patterns.residual_tail,
        batched=("c", "shortcut"),
    ),
    OpSpec("bn_relu_se", ("c", *_BN, *_GATE), se_units.bn_relu_se, pattern=patterns.bn_relu_se),
    OpSpec("concat_se", ("xs", *_GATE), se_units.concat_se, pattern=patterns.concat_se),
    OpSpec(
        "se_add",
        ("u", *_GATE, "shortcut"),
        se_units.se_add,
        pattern=patterns.se_add,
        batched=("u", "shortcut"),
    ),
)
OPS: dict[str, OpSpec] = {spec.name: spec for spec in _TABLE}


def op_names() -> list[str]:
    """Return the names of all operations and units, in the order of the table."""
    return list(OPS)


def op_spec(name: str) -> OpSpec:
    """Return the entry of the operation `name`.

    Raises
    ------
    InputError
        There is no such operation; the message suggests the nearest name.
    """
    if name not in OPS:
        raise unknown_name("operation", name, OPS)
    return OPS[name]
