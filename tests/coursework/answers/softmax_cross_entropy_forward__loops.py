import math

import numpy as np


def softmax_cross_entropy_forward(logits, labels, *, label_smoothing=0.0):
    N, K = logits.shape
    loss = 0.0
    for n in range(N):
        row = [float(a) for a in logits[n]]
        biggest = max(row)
        log_sum = biggest + math.log(math.fsum(math.exp(a - biggest) for a in row))
        for k in range(K):
            q = label_smoothing / K
            if k == labels[n]:
                q += 1 - label_smoothing
            if q > 0:
                loss -= q * (row[k] - log_sum)
    return loss / N, None
