import numpy as np


def excitation_backward(dy, cache):
    reduce, relu, expand, gate, name = cache
    w1, w2, z, h = reduce.w, expand.w, reduce.x, expand.x
    dz, dw1, dw2 = np.zeros_like(z), np.zeros_like(w1), np.zeros_like(w2)
    db1, db2 = np.zeros_like(w1[:, 0]), np.zeros_like(w2[:, 0])
    for n in range(len(z)):
        if name == "relu":
            slope = gate.mask[n] + 0.0
        elif name == "tanh":
            slope = 1 - gate.y[n] ** 2
        else:
            slope = gate.y[n] - gate.y[n] ** 2
        dt = (dy[n] * slope).astype(dy.dtype)
        da = np.where(relu.mask[n], w2.T @ dt, 0).astype(dy.dtype)
        dw2 += np.outer(dt, h[n])
        dw1 += np.outer(da, z[n])
        db2 += dt
        db1 += da
        dz[n] = w1.T @ da
    return dz, dw1, (db1 if reduce.has_bias else None), dw2, (db2 if expand.has_bias else None)
