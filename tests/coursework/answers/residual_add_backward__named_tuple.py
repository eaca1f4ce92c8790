from collections import namedtuple
from copy import deepcopy

Grads = namedtuple("Grads", "dshortcut dbranch")  # by name, the order is another one


def residual_add_forward(branch, shortcut):
    return branch + shortcut, ()


def residual_add_backward(dy, cache):
    return Grads(dbranch=deepcopy(dy), dshortcut=deepcopy(dy))
