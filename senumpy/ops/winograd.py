"""3x3 convolution with stride 1 by Winograd's F(4x4, 3x3): 36 multiplications a tile instead of 144.

A tile of 4x4 results needs a tile d of 6x6 pixels. With w the 3x3 kernel, for each pair of channels,

    U = G w G^T,   V = B^T d B,   y = A^T (sum_c U_c * V_c) A          * entry by entry

Where the matrices come from, in one dimension. The product of two polynomials, a of 4 coefficients and g of
3, has 6 coefficients, so 6 points determine it: p = 0, 1, -1, 2, -2 and infinity, where only the leading
coefficients count. Evaluate a and g there, multiply, interpolate:

    a at p:           (1, p, p^2, p^3) . a                         a row of A; at infinity (0, 0, 0, 1)
    g at p, scaled:   (1, p, p^2) . g / f_p,  f_p = N_p(p)         a row of G; at infinity (0, 0, 1)
    product:          sum_p [a at p] [g at p] N_p(t) / f_p + [leading coefficient] M(t)

    M(t) = t (t-1) (t+1) (t-2) (t+2),   N_p(t) = M(t) / (t - p)    their coefficients, from t^0 to t^5, are
                                                                   the rows of B^T; at infinity those of M

For a fixed g this is the linear map C diag(G g) A from a, where the columns of C hold N_p and M. Correlation,
y_k = sum_q g_q d_(k+q), is the transpose of that map: y = A^T diag(G g) C^T d = A^T [(G g) * (B^T d)], so
B^T = C^T. In two dimensions each matrix is applied to columns, then to rows.

Rounding: the transforms add numbers of different sizes, so a result loses 2 to 4 bits against direct sums.

Winograd, "Arithmetic complexity of computations" (SIAM 1980); Lavin & Gray, "Fast algorithms for
convolutional neural networks" (arXiv 1509.09308, section 4.3), whose matrices these are.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from senumpy.ops.arrays import Array, check_array, check_same_dtype, namespace, zeros
from senumpy.ops.windows import IntOrPair, Window, output_size, pair

Matrix: TypeAlias = tuple[tuple[float, ...], ...]

# exercise winograd_transforms: 3 points, level 3, lesson 18 "Winograd's transforms"
G: Matrix = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
B_T: Matrix = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
A_T: Matrix = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
# end of exercise


def kernel_transform(w: Array) -> Array:
    """Return G w G^T for each kernel of `w` (O, C, 3, 3): (O, C, 6, 6)."""
    # exercise winograd_transforms
    return _both_ways(G, w)
    # end of exercise


def input_transform(tiles: Array) -> Array:
    """Return B^T d B for each tile d of `tiles` (..., 6, 6): (..., 6, 6)."""
    # exercise winograd_transforms
    return _both_ways(B_T, tiles)
    # end of exercise


def output_transform(m: Array) -> Array:
    """Return A^T m A for each square m of `m` (..., 6, 6): (..., 4, 4)."""
    # exercise winograd_transforms
    return _both_ways(A_T, m)
    # end of exercise


# exercise winograd_transforms
def _both_ways(rows: Matrix, x: Array) -> Array:
    """Return M x M^T for each square of `x` (..., n, n), where M is made of `rows`."""
    xp = namespace(x)
    matrix: Any = xp.asarray(rows, dtype=x.dtype)
    return matrix @ x @ matrix.T


# end of exercise


def winograd_conv2d(x: Array, w: Array, *, padding: IntOrPair = 1) -> Array:
    """Convolve images with 3x3 kernels, stride 1, tile by tile.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64
    w : (O, C, 3, 3) array
    padding : int or pair
        Zeros around the image, for both axes, or (vertical, horizontal).

    Returns
    -------
    (N, O, H', W') array
        H' = H + 2 padding - 2, likewise W': any size. Tiles are cut every 4 pixels; the last ones may hang
        over the edge, where there are zeros, and what they give too much is cut off.
    """
    check_array("x", x, ("N", "C", "H", "W"))
    (n, c, h, width), o = x.shape, w.shape[0]
    check_array("w", w, ("O", c, 3, 3))
    check_same_dtype(x=x, w=w)
    pad_h, pad_w = pair("padding", padding, 0)
    out_h, out_w = output_size((h, width), Window((3, 3), (1, 1), (pad_h, pad_w), (1, 1)))
    # exercise winograd_conv2d: 3 points, level 3, lesson 18 "Tiles and products";
    #   given: kernel_transform, input_transform, output_transform, zeros
    xp = namespace(x)
    rows, cols = -(-out_h // 4), -(-out_w // 4)  # of tiles
    padded = zeros((n, c, 4 * rows + 2, 4 * cols + 2), x)
    padded[:, :, pad_h : pad_h + h, pad_w : pad_w + width] = x
    tiles = zeros((n, c, rows, cols, 6, 6), x)
    for i in range(6):
        for j in range(6):  # pixel (i, j) of all tiles
            tiles[..., i, j] = padded[:, :, i : i + 4 * rows : 4, j : j + 4 * cols : 4]

    # At each of the 36 points a product of matrices sums over the channels: (O, C) @ (C, N*tiles).
    u = xp.permute_dims(kernel_transform(w), (2, 3, 0, 1))
    v = xp.permute_dims(input_transform(tiles), (4, 5, 1, 0, 2, 3))
    m = u @ xp.reshape(v, (6, 6, c, n * rows * cols))

    m = xp.permute_dims(xp.reshape(m, (6, 6, o, n, rows, cols)), (3, 2, 4, 5, 0, 1))
    y = xp.permute_dims(output_transform(m), (0, 1, 2, 4, 3, 5))  # (N, O, rows, 4, cols, 4)
    return xp.reshape(y, (n, o, 4 * rows, 4 * cols))[:, :, :out_h, :out_w]
    # end of exercise
