"""The bench measures the same operation in PyTorch as in ours, and both live in one process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import senumpy
from senumpy.bench import torch_peer
from senumpy.bench.ours import random_arrays
from senumpy.bench.workloads import OpWork, conv

SE = ((4, 8), (4,), (8, 4), (8,))
WORKS = [
    conv(2, 8, 4, 9, 3, stride=2),
    conv(2, 8, 8, 9, 3, groups=4),
    OpWork("batchnorm2d", ((2, 8, 5, 5), (8,), (8,))),
    OpWork("relu", ((2, 8, 5, 5),)),
    OpWork("max_pool2d", ((2, 8, 9, 9),), (("kernel", 3), ("stride", 2), ("padding", 1))),
    OpWork("global_avg_pool", ((2, 8, 5, 5),)),
    OpWork("squeeze_excite", ((2, 8, 5, 5), *SE)),
    OpWork("residual_tail", ((2, 8, 5, 5), (8,), (8,), *SE, (2, 8, 5, 5))),
    OpWork("linear", ((3, 8), (5, 8), (5,))),
]


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("work", WORKS, ids=lambda work: f"{work.op} {dict(work.settings).get('groups', '')}")
def test_the_same_operation_is_measured(work, engine):
    made = senumpy.engine(engine)
    arrays, settings = random_arrays(work), dict(work.settings)
    y, cache = getattr(made, f"{work.op}_forward")(*arrays, **settings)
    dy = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    got = [y, *(g for g in getattr(made, f"{work.op}_backward")(dy, cache) if g is not None)]

    tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
    want = torch_peer._FORWARDS[work.op](tensors, settings)
    wanted = [want.detach(), *torch.autograd.grad(want, tensors, torch.from_numpy(dy))]
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-4)
