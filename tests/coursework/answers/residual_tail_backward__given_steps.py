from senumpy.ops.activations import relu_backward
from senumpy.ops.batchnorm import batchnorm2d_backward
from senumpy.ops.squeeze_excite import squeeze_excite_backward


def residual_tail_backward(dy, cache):
    dsum = relu_backward(dy, cache.relu).dx
    answer = dict(dw1=None, db1=None, dw2=None, db2=None, dshortcut=dsum)
    dv = dsum
    if cache.se is not None:
        of_se = squeeze_excite_backward(dsum, cache.se)._asdict()
        dv = of_se.pop("du")
        answer.update(of_se)
    dc, dgamma, dbeta = batchnorm2d_backward(dv, cache.norm)
    answer.update(dc=dc, dgamma=dgamma, dbeta=dbeta)
    return answer
