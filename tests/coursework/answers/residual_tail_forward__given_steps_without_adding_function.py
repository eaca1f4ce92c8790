import numpy as np

from senumpy.ops.activations import relu_forward
from senumpy.ops.batchnorm import batchnorm2d_forward
from senumpy.ops.squeeze_excite import squeeze_excite_forward


def residual_tail_forward(
    c, gamma, beta, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg", gate="sigmoid"
):
    caches = {}
    v, caches["norm"] = batchnorm2d_forward(c, gamma, beta, eps=eps)
    if w1 is None:
        caches["se"] = None
    else:
        v, caches["se"] = squeeze_excite_forward(v, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
    y, caches["relu"] = relu_forward(np.add(v, shortcut))
    return y, caches
