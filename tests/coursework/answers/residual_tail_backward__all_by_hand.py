import numpy as np

NHW = 0, 2, 3


def residual_tail_forward(
    c, gamma, beta, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg", gate="sigmoid"
):
    k = {"w1": w1, "b1": b1, "w2": w2, "b2": b2, "squeeze": squeeze, "gate": gate, "gamma": gamma}
    mu = c.mean(NHW, keepdims=True)
    k["std"] = np.sqrt(c.var(NHW, keepdims=True) + eps)
    k["xhat"] = (c - mu) / k["std"]
    k["v"] = v = gamma[:, None, None] * k["xhat"] + beta[:, None, None]
    if w1 is not None:
        k["z"] = v.mean((2, 3)) if squeeze == "avg" else v.max((2, 3))
        k["a"] = k["z"] @ w1.T
        if b1 is not None:
            k["a"] = k["a"] + b1
        k["h"] = np.maximum(k["a"], 0)
        t = k["h"] @ w2.T
        if b2 is not None:
            t = t + b2
        if gate == "sigmoid":
            k["s"] = 1 / (1 + np.exp(-t))
            k["slope"] = k["s"] * (1 - k["s"])
        elif gate == "tanh":
            k["s"] = np.tanh(t)
            k["slope"] = 1 - k["s"] ** 2
        else:
            k["s"] = np.maximum(t, 0)
            k["slope"] = np.sign(k["s"])
        v = k["s"][:, :, None, None] * v
    k["y"] = np.maximum(v + shortcut, 0)
    return k["y"], k


def residual_tail_backward(dy, k):
    d = dy * (k["y"] > 0)
    dw1 = db1 = dw2 = db2 = None
    dv = d
    if k["w1"] is not None:
        v = k["v"]
        dt = (d * v).sum((2, 3)) * k["slope"]
        da = (dt @ k["w2"]) * (k["a"] > 0)
        dw1, dw2 = da.T @ k["z"], dt.T @ k["h"]
        db1 = da.sum(0) if k["b1"] is not None else None
        db2 = dt.sum(0) if k["b2"] is not None else None
        dz = (da @ k["w1"])[:, :, None, None]
        dv = d * k["s"][:, :, None, None]
        if k["squeeze"] == "avg":
            dv = dv + dz / (v.shape[2] * v.shape[3])
        else:
            first = np.zeros(v.shape[:2] + (v.shape[2] * v.shape[3],), bool)
            np.put_along_axis(first, v.reshape(first.shape).argmax(2)[..., None], True, 2)
            dv = dv + dz * first.reshape(v.shape)
    dgamma, dbeta = (dv * k["xhat"]).sum(NHW), dv.sum(NHW)
    g = dv * k["gamma"][:, None, None]
    dc = (g - g.mean(NHW, keepdims=True) - k["xhat"] * (g * k["xhat"]).mean(NHW, keepdims=True)) / k["std"]
    return dc, dgamma, dbeta, dw1, db1, dw2, db2, d
