from functools import reduce

from senumpy.ops.activations import relu_backward
from senumpy.ops.batchnorm import batchnorm2d_backward
from senumpy.ops.conv2d import conv2d_backward

STEPS = [
    ("relu", relu_backward, ["dx"]),
    ("norm", batchnorm2d_backward, ["dx", "dgamma", "dbeta"]),
    ("conv", conv2d_backward, ["dx", "dw"]),
]


def conv_bn_relu_backward(dy, cache, *, need_dx=True):
    found = {}

    def one(upstream, step):
        name, function, names = step
        grads = function(upstream, getattr(cache, name))
        found.update({key: getattr(grads, key) for key in names})
        return grads.dx

    reduce(one, STEPS, dy)
    return found
