from senumpy.ops.activations import relu_backward, sigmoid_backward, tanh_backward
from senumpy.ops.linear import linear_backward


def excitation_backward(dy, cache):
    """Backwards through expand and reduce; returns a dict because I forget the order."""
    back = {"sigmoid": sigmoid_backward, "tanh": tanh_backward, "relu": relu_backward}[cache.gate_name]
    expand = linear_backward(back(dy, cache.gate).dx, cache.expand)
    reduce = linear_backward(relu_backward(expand.dx, cache.relu).dx, cache.reduce)
    grads = {"dz": reduce.dx, "dw1": reduce.dw, "dw2": expand.dw}
    if reduce.db is not None:
        grads["db1"] = reduce.db
    if expand.db is not None:
        grads["db2"] = expand.db
    return grads
