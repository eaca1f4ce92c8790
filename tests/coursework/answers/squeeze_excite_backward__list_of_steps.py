import numpy as np

from senumpy.ops.excitation import excitation_backward
from senumpy.ops.scale import scale_backward
from senumpy.ops.squeeze import squeeze_backward


def squeeze_excite_backward(dy, cache):
    paths = []
    u_grad, s_grad = scale_backward(dy, cache.scale)
    paths.append(u_grad)
    z_grad, *weights = excitation_backward(s_grad, cache.excitation)
    paths.append(squeeze_backward(z_grad, cache.squeeze).du)
    print("both paths:", [float(np.abs(p).max()) for p in paths])
    return [np.sum(paths, axis=0), *weights]
