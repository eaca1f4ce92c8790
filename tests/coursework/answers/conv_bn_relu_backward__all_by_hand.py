import numpy as np


def conv_bn_relu_backward(dy, cache, *, need_dx=True):
    # ReLU
    g = np.where(cache.relu.mask, dy, 0).astype(dy.dtype)
    # batch norm
    xhat, gamma, rstd = cache.norm.xhat, cache.norm.gamma.reshape(-1, 1, 1), cache.norm.rstd.reshape(-1, 1, 1)
    dbeta = np.sum(g, (0, 2, 3))
    dgamma = np.sum(g * xhat, (0, 2, 3))
    M = g.size / g.shape[1]
    dc = gamma * rstd * (g - (dbeta / M).astype(g.dtype)[:, None, None] - xhat * (dgamma / M)[:, None, None].astype(g.dtype))
    # convolution
    x, w = cache.conv.x, cache.conv.w
    window, G = cache.conv.window, cache.conv.groups
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    O, Cg = w.shape[:2]
    for n, o, i, j in np.ndindex(dc.shape):
        c0 = (o * G // O) * Cg
        for p, q in np.ndindex(*window.kernel):
            r = i * window.stride[0] + p * window.dilation[0] - window.padding[0]
            s = j * window.stride[1] + q * window.dilation[1] - window.padding[1]
            if r in range(x.shape[2]) and s in range(x.shape[3]):
                dx[n, c0 : c0 + Cg, r, s] += w[o, :, p, q] * dc[n, o, i, j]
                dw[o, :, p, q] += x[n, c0 : c0 + Cg, r, s] * dc[n, o, i, j]
    return {"dx": dx, "dw": dw, "dgamma": dgamma, "dbeta": dbeta}
