"""SGD against PyTorch's, in float64, over several steps with a changing learning rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from senumpy.layers import Layer, Parameter
from senumpy.training import SGD, cosine


class Weights(Layer):
    def __init__(self, *values: np.ndarray):
        super().__init__()
        for k, value in enumerate(values):
            setattr(self, f"weight{k}", Parameter(value.copy()))


@given(
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    nesterov=st.booleans(),
    weight_decay=st.sampled_from([0.0, 1e-4, 0.1]),
    lr=st.floats(1e-3, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_same_path_as_pytorch(momentum, nesterov, weight_decay, lr, seed):
    nesterov = nesterov and momentum > 0
    rng = np.random.default_rng(seed)
    shapes = [(3, 2, 3, 3), (4,)]
    start = [rng.standard_normal(shape) for shape in shapes]
    ours = Weights(*start)
    sgd = SGD(ours, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    theirs = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    torch_sgd = torch.optim.SGD(
        theirs, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )
    schedule = cosine(lr, 8)
    for step in range(6):
        torch_sgd.param_groups[0]["lr"] = schedule(step)
        for (_, parameter), weight in zip(ours.named_parameters(), theirs, strict=True):
            parameter.grad = rng.standard_normal(parameter.value.shape)
            weight.grad = torch.tensor(parameter.grad)
        sgd.step(schedule(step))
        torch_sgd.step()
    for (_, parameter), weight in zip(ours.named_parameters(), theirs, strict=True):
        np.testing.assert_allclose(parameter.value, weight.detach().numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("warm", [1, 7])
def test_warm_up_and_cosine_like_pytorch(warm):
    from senumpy.training import warm_up

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    schedule = warm_up(cosine(0.3, 40), warm)
    for step in range(40):
        expected = optimizer.param_groups[0]["lr"] * min(1, (step + 1) / warm)
        assert schedule(step) == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        theirs.step()
