"""2-D convolution with stride, padding, dilation and groups, as one matrix product a group.

Every framework's "convolution" is a cross-correlation (the kernel is not flipped); paper eq. 1 without bias.

    y[n, o, i, j] = b[o] + sum_{c, p, q} w[o, c, p, q] * x[n, g*C/G + c, i*s + p*d - pad, j*s + q*d - pad]

where x is zero outside the image, and g = o // (O/G) is the group of output channel o.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import (
    Array,
    check_array,
    check_same_dtype,
    check_upstream,
    contiguous,
    namespace,
    per_channel,
    zeros,
)
from senumpy.ops.windows import IntOrPair, Pair, Window, output_size, pad, padded_size, pair, taps, unpad


class Conv2dCache(NamedTuple):
    """What `conv2d_backward` needs."""

    x: Array
    w: Array
    has_bias: bool
    window: Window
    groups: int
    out: Pair


class Conv2dGradients(NamedTuple):
    """Gradients in the order of the forward's arguments; None for what was not asked for or is not there."""

    dx: Array | None
    dw: Array
    db: Array | None


def conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """Convolve a batch of images with a bank of kernels.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64
    w : (O, C/groups, kh, kw) array
    b : (O,) array, optional
    stride, padding, dilation : int or pair
        For both axes, or (vertical, horizontal).
    groups : int
        Divides C and O; each group sees its own C/groups channels. groups = C is a depthwise convolution.

    Returns
    -------
    y : (N, O, H', W') array
        H' = floor((H + 2 padding - dilation (kh - 1) - 1) / stride) + 1, likewise W'.
    cache : Conv2dCache

    Raises
    ------
    TypeError, ValueError
        Wrong dtype, rank, channels or geometry; the message names the argument.
    """
    window, out = check_conv_arguments(x, w, b, stride, padding, dilation, groups)
    n, o = x.shape[0], w.shape[0]
    # exercise conv2d_forward: 3 points, level 2, lesson 5 "One matrix product"; given: pad, taps, zeros
    columns = _im2col(x, window, groups, out)
    y = _kernel_matrix(w, groups) @ columns  # (G, O/G, K) @ (G, K, N*H'*W') -> (G, O/G, N*H'*W')
    y = _swap(namespace(x).reshape(y, (o, n, *out)))
    if b is not None:
        y = y + per_channel(b)
    return y, Conv2dCache(x, w, b is not None, window, groups, out)
    # end of exercise


# With the K = C/G*kh*kw entries that a window sees as a column of a matrix X (im2col), one column for each
# window of each image, the forward is Y = W X in each group. So for an upstream gradient dY = dL/dY
#     dL/dW = dY X^T      every weight meets every window,
#     dL/dX = W^T dY      for each window; an entry of the image collects from all windows that saw it.
# im2col copies entries, so its adjoint (col2im) adds them up where windows overlap. X is built again instead
# of cached: it is kh*kw times as large as the image.
def conv2d_backward(dy: Array, cache: Conv2dCache, *, need_dx: bool = True) -> Conv2dGradients:
    """Return the gradients of `conv2d_forward` for an upstream gradient `dy` (N, O, H', W').

    A network's first layer can do without dx: nobody asks for the gradient of the images.
    """
    x, w, has_bias, window, groups, out = cache
    n, o = x.shape[0], w.shape[0]
    check_upstream(dy, (n, o, *out), x.dtype)
    # exercise conv2d_backward: 4 points, level 3, lesson 6 "By adjoint";
    #   given: _im2col, _kernel_matrix, _swap, padded_size, taps, unpad, zeros
    xp = namespace(x)
    dy_matrix = xp.reshape(_swap(dy), (groups, o // groups, -1))  # (G, O/G, N*H'*W')

    columns = _im2col(x, window, groups, out)
    dw = dy_matrix @ xp.matrix_transpose(columns)  # (G, O/G, N*H'*W') @ (G, N*H'*W', K) -> (G, O/G, K)
    dx = None
    if need_dx:
        dcolumns = xp.matrix_transpose(_kernel_matrix(w, groups)) @ dy_matrix  # -> (G, K, N*H'*W')
        dx = _col2im(dcolumns, x, window, out)
    db = xp.sum(dy, axis=(0, 2, 3)) if has_bias else None
    return Conv2dGradients(dx, xp.reshape(dw, w.shape), db)
    # end of exercise


def check_conv_arguments(
    x: Array,
    w: Array,
    b: Array | None,
    stride: IntOrPair,
    padding: IntOrPair,
    dilation: IntOrPair,
    groups: int,
) -> tuple[Window, Pair]:
    """Raise unless the arguments make a convolution; return its window and the output's height and width."""
    check_array("x", x, ("N", "C", "H", "W"))
    check_array("w", w, ("O", "C/groups", "kh", "kw"))
    (_, c, h, width), (o, c_group, kh, kw) = x.shape, w.shape
    if not hasattr(groups, "__index__") or isinstance(groups, bool):
        raise TypeError(f"groups: got {groups!r}, wanted an int")
    if groups < 1 or c % groups or o % groups:
        raise ValueError(f"groups: got {groups}, wanted a divisor of C = {c} (x) and of O = {o} (w)")
    if c_group != c // groups:
        raise ValueError(
            f"w: got shape {w.shape}, wanted ({o}, {c // groups}, {kh}, {kw}) "
            f"for x {x.shape} and groups {groups}"
        )
    if b is not None:
        check_array("b", b, (o,))
    check_same_dtype(x=x, w=w, b=b)
    window = Window(
        (kh, kw), pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
    )
    return window, output_size((h, width), window)


# exercise conv2d_forward
def _kernel_matrix(w: Array, groups: int) -> Array:
    """Return the kernels as rows: (G, O/G, K) with K = C/G*kh*kw."""
    return namespace(w).reshape(w, (groups, w.shape[0] // groups, -1))


def _im2col(x: Array, window: Window, groups: int, out: Pair) -> Array:
    """Return what each window of each image sees as a column: (G, K, N*H'*W')."""
    xp = namespace(x)
    n, c = x.shape[:2]
    padded = xp.permute_dims(pad(x, window, out), (1, 0, 2, 3))  # (C, N, H+2p, W+2p)
    columns = zeros((c, *window.kernel, n, *out), x)
    for p, q, (rows, cols) in taps(window, out):
        columns[:, p, q] = padded[:, :, rows, cols]
    return xp.reshape(columns, (groups, -1, n * out[0] * out[1]))


# end of exercise


# exercise conv2d_backward
def _col2im(columns: Array, x: Array, window: Window, out: Pair) -> Array:
    """Add the columns back to where `_im2col` took them from; shape and dtype of `x`."""
    n, c, h, w = x.shape
    columns = namespace(x).reshape(columns, (c, *window.kernel, n, *out))
    padded = zeros((c, n, *padded_size((h, w), window, out)), x)
    for p, q, (rows, cols) in taps(window, out):
        padded[:, :, rows, cols] += columns[:, p, q]
    return _swap(unpad(padded, window, (h, w)))


# end of exercise


def _swap(x: Array) -> Array:
    """Return a copy with the first two axes swapped: images and channels."""
    return contiguous(namespace(x).permute_dims(x, (1, 0, 2, 3)))
