"""The paper's networks without a twin elsewhere, held against PyTorch models written for this test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from senumpy import create_model
from senumpy.analysis import complexity
from senumpy.bench import torch_networks as networks
from senumpy.bench.cases import MODEL_CASES
from senumpy.bench.torch_peer import TorchResNet
from senumpy.layers import ShakeShake
from senumpy.models import model_config


def _mixtures(model, n):
    """Yield alpha and beta as the model's Shake-Shake units will draw them, unit after unit."""
    for _, layer in model.named_layers():
        if isinstance(layer, ShakeShake):
            yield layer._mixtures(n)


def _shake(basic, mode):
    widths = (32, 64, 128)

    def build(model):
        model.seed_draws(5)
        drawn = list(_mixtures(model, 3))
        model.seed_draws(5)
        return networks.ShakeNet(5, 2, widths, basic=basic, se=True, alphas=iter(drawn))

    return {"blocks": (2, 2, 2), "widths": widths, "backward_mode": mode}, build


PRE = {
    "se_preact_resnet110_cifar": (
        {}, lambda _: networks.PreActNet(5, 18, (16, 32, 64), bottleneck=False, se=True),
    ),
    "se_preact_resnet164_cifar": (
        {"blocks": (2, 2, 2)}, lambda _: networks.PreActNet(5, 2, (16, 32, 64), bottleneck=True, se=True),
    ),
    "se_wrn16_8_cifar": ({}, lambda _: networks.PreActNet(5, 2, (128, 256, 512), bottleneck=False, se=True)),
}  # fmt: skip
NETWORKS = {
    "se_bn_inception": ({}, lambda _: networks.BNInception(5, True)),
    "se_mobilenet": ({}, lambda _: networks.MobileNet(5, True)),
    "se_shufflenet": ({}, lambda _: networks.ShuffleNet(5, True)),
    **PRE,
    "se_shake_shake26_2x96d_cifar": _shake(True, "shake"),
    "se_shake_even29_2x4x64d_cifar": _shake(False, "even"),
}


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_gradients_statistics_and_evaluation(name, engine, rng):
    settings, build = NETWORKS[name]
    model = create_model(name, num_classes=5, dtype="float64", engine=engine, **settings)
    for _, parameter in model.named_parameters():
        if parameter.value.ndim == 1:
            parameter.value += 0.2 * rng.normal(size=parameter.value.shape)
    twin = build(model).double()
    problems = twin.load_state_dict({n: torch.tensor(a) for n, a in model.state_dict().items()}, strict=False)
    assert not problems.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in problems.missing_keys)

    size = 16 if name.endswith("cifar") else 64
    x, labels = rng.normal(size=(3, 3, size, size)), rng.integers(5, size=3)
    torch_x = torch.tensor(x, requires_grad=True)
    torch_logits = twin(torch_x)
    nn.functional.cross_entropy(torch_logits, torch.tensor(labels)).backward()
    logits = model.forward(x)
    _, cache = model.engine.softmax_cross_entropy_forward(logits, labels)
    dx = model.backward(model.engine.softmax_cross_entropy_backward(1.0, cache).dlogits)

    def close(got, want, what):
        assert np.abs(got - want).max() <= 1e-8 * np.abs(want).max() + 1e-12, what

    close(logits, torch_logits.detach().numpy(), "logits")
    close(dx, torch_x.grad.numpy(), "dx")
    gradients = {n: p.grad.numpy() for n, p in twin.named_parameters()}
    for n, p in model.named_parameters():
        close(p.grad, gradients[n], n)
    buffers = dict(twin.named_buffers())
    for n, b in model.named_buffers():
        close(b.value, buffers[n].numpy(), n)
    twin.eval()
    with model.inference():
        close(model.forward(x), twin(torch.tensor(x)).detach().numpy(), "logits in evaluation")


@pytest.mark.parametrize("case", MODEL_CASES, ids=lambda case: case.name)
def test_both_sides_of_the_bench_have_the_same_size(case):
    # the convolutions, linear layers and batch norms of both; biases before batch norm are nobody's
    for contender in case.contenders:
        work = contender.work
        if contender.library == "pytorch" and work.train:
            twin = networks.torch_network(work.model, work.classes)
            if twin is None:
                twin = TorchResNet(model_config(work.model), work.channels, work.classes)
            ours = complexity(work.model, num_classes=work.classes).total("parameters")
            assert sum(p.numel() for p in twin.parameters()) == ours
