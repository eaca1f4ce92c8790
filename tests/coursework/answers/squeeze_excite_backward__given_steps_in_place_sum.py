from senumpy.ops.excitation import excitation_backward
from senumpy.ops.scale import scale_backward
from senumpy.ops.squeeze import squeeze_backward


def squeeze_excite_backward(dy, cache):
    direct = scale_backward(dy, cache.scale)
    grads = excitation_backward(direct.ds, cache.excitation)
    du = direct.du
    du += squeeze_backward(grads.dz, cache.squeeze)[0]
    return du, *grads[1:]
