from senumpy.ops.activations import relu_backward
from senumpy.ops.batchnorm import batchnorm2d_backward
from senumpy.ops.conv2d import conv2d_backward


def conv_bn_relu_backward(dy, cache, *, need_dx=True):
    (d,) = relu_backward(dy, cache.relu)
    d, *of_norm = batchnorm2d_backward(d, cache.norm)
    dx, dw, _ = conv2d_backward(d, cache.conv, need_dx=need_dx)
    return (dx, dw, *of_norm)
