"""What is a matter of choice in an operation, in words for the manifest: which way the numbers follow."""

from __future__ import annotations

TEXTS = {
    "gradients": "d + NAME is the derivative of sum(dy * y) with respect to the argument NAME",
    "layout": (
        "images are (N, C, H, W), weights of convolutions (O, C / groups, kh, kw), weights of linear layers "
        "(outputs, inputs); in C order, the last axis fastest; pairs are (vertical, horizontal)"
    ),
    "cross-correlation": (
        "the kernel is not flipped: y[n,o,i,j] = b[o] + sum over c, p, q of "
        "w[o,c,p,q] x[n, c, i stride + p dilation - padding, j stride + q dilation - padding]"
    ),
    "symmetric padding": "the same padding at both ends of an axis; what is left over at the far end is cut",
    "groups": "output channel o sees input channels of group floor(o / (O / groups)) alone",
    "biased variance": "normalised by the variance over N, H, W with divisor M = N H W",
    "unbiased running variance": "the running variance takes the batch's variance with divisor M - 1",
    "momentum": "running = (1 - momentum) running + momentum batch: momentum is the weight of the batch",
    "eps inside": "eps is added to the variance, inside the root",
    "statistics are constants of the layer": "mean and var are arguments: dmean and dvar are their gradients",
    "ReLU at 0": "relu(0) = 0 and its derivative at 0 is 0",
    "first maximum": "among equal maxima the first in row-major order takes the whole gradient",
    "padding never wins": "padding of a maximum counts as minus infinity, not as 0",
    "ceil mode": (
        "with ceil_mode a last, partial window is kept, unless it would start beyond the image and its "
        "leading padding; without, it is dropped"
    ),
    "count_include_pad": (
        "the divisor of an average counts the padding where count_include_pad is true; what hangs over the "
        "padded image (ceil_mode) never counts"
    ),
    "squeeze": 'the squeeze is the mean over H and W ("avg") or their maximum ("max")',
    "excitation": "gates are g(w2 relu(w1 z + b1) + b2), with g sigmoid, tanh or relu; a bias may be absent",
    "both paths": "du has two parts, through the scale and through the gates",
    "order of the tail": "batch norm, then SE on the branch, then the shortcut is added, then ReLU",
    "order of bn_relu_se": "batch norm, then ReLU, then SE",
    "shortcut after SE": "SE acts on u alone; the shortcut is added to its result, and no ReLU follows",
    "zero channels": "(channels - C) // 2 channels of zeros before those of x, the rest of them behind",
    "order of shuffle": "channels as a (groups, C / groups) table, transposed",
    "shake": "y[n] = alpha[n] a[n] + (1 - alpha[n]) b[n]; on the way back beta stands in place of alpha",
    "inverted dropout": "y = kept x / (1 - p): survivors are scaled; kept is given, nothing is drawn",
    "mean over the batch": "the loss is the mean over the N samples, in natural logarithms",
    "label smoothing": "targets are (1 - e) [k = label] + e / K, with e = label_smoothing",
}

_ALL = ("gradients", "layout")
_CONV = ("cross-correlation", "symmetric padding", "groups")
_BN = ("biased variance", "eps inside")
_GIVEN = ("eps inside", "statistics are constants of the layer")
_SE = ("squeeze", "excitation", "both paths", "ReLU at 0", "first maximum")

_OF = {
    "conv2d": _CONV,
    "batchnorm2d": (*_BN, "unbiased running variance", "momentum"),
    "batchnorm2d_inference": _GIVEN,
    "relu": ("ReLU at 0",),
    "max_pool2d": ("symmetric padding", "padding never wins", "first maximum", "ceil mode"),
    "avg_pool2d": ("symmetric padding", "count_include_pad", "ceil mode"),
    "global_max_pool": ("first maximum",),
    "squeeze": ("squeeze", "first maximum"),
    "excitation": ("excitation", "ReLU at 0"),
    "squeeze_excite": _SE,
    "pad_shortcut": ("zero channels",),
    "channel_shuffle": ("order of shuffle",),
    "shake": ("shake",),
    "dropout": ("inverted dropout",),
    "softmax_cross_entropy": ("mean over the batch", "label smoothing"),
    "conv_bn_relu": (*_CONV, *_BN, "ReLU at 0"),
    "conv_bn_relu_inference": (*_CONV, *_GIVEN, "ReLU at 0"),
    "residual_tail": (*_BN, *_SE, "order of the tail"),
    "residual_tail_inference": (*_GIVEN, *_SE, "order of the tail"),
    "bn_relu_se": (*_BN, *_SE, "order of bn_relu_se"),
    "concat_se": _SE,
    "se_add": (*_SE, "shortcut after SE"),
}


def conventions(op: str) -> list[str]:
    """Return the names, in `TEXTS`, of the conventions that an operation's numbers follow."""
    return [*_ALL, *_OF.get(op, ())]
