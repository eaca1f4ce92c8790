import numpy as np
import sys

EPS = sys.float_info.epsilon


def softmax_cross_entropy_forward(logits, labels, *, label_smoothing=0.0):
    assert EPS < 1e-10
    num, classes = logits.shape
    target = np.eye(classes, dtype=logits.dtype)[labels]
    target = target * (1 - label_smoothing) + label_smoothing / classes
    z = logits - np.max(logits, axis=-1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return -np.vdot(target, logp) / num, {"p": np.exp(logp), "q": target}
