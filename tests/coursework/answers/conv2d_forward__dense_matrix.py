"""A convolution is a (very sparse) linear map: its matrix is built entry by entry, then y = A x."""
import numpy as np

from senumpy.ops.windows import Window, output_size, pair


def conv2d_forward(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    N, C, H, W = x.shape
    O, Cg, kh, kw = w.shape
    st, pa, di = pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
    Ho, Wo = output_size((H, W), Window((kh, kw), st, pa, di))
    A = np.zeros((O, Ho, Wo, C, H, W), dtype=w.dtype)
    for o, i, j, c, p, q in np.ndindex(O, Ho, Wo, Cg, kh, kw):
        row, col = i * st[0] + p * di[0] - pa[0], j * st[1] + q * di[1] - pa[1]
        if 0 <= row < H and 0 <= col < W:
            A[o, i, j, o // (O // groups) * Cg + c, row, col] += w[o, c, p, q]
    y = x.reshape(N, -1) @ A.reshape(O * Ho * Wo, -1).T
    y = y.reshape(N, O, Ho, Wo)
    if b is not None:
        y = y + np.repeat(b, Ho * Wo).reshape(O, Ho, Wo)
    return y, A
