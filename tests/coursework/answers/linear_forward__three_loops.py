def linear_forward(x, w, b=None):
    import numpy as np

    N, I = x.shape
    O = len(w)
    y = np.zeros((N, O), x.dtype)
    for n in range(N):
        for o in range(O):
            total = 0
            for i in range(I):
                total = total + x[n, i] * w[o, i]
            if b is not None:
                total = total + b[o]
            y[n, o] = total
    return y, None
