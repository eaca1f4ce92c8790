"""Whole networks: published weights classify real images; a PyTorch twin agrees, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from senumpy import create_model
from senumpy.bench.torch_peer import TorchResNet
from senumpy.layers import BatchNorm2d, SEConfig


def published(path):
    """Return akamaster's ResNet weights under this project's names."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {
        name.removeprefix("module.").replace("linear.", "fc."): tensor.numpy()
        for name, tensor in state.items()
    }


@pytest.mark.parametrize(
    ("name", "file", "parameters"),
    [
        ("resnet20_cifar", "resnet20-12fca82f.th", 269_722),
        ("resnet32_cifar", "resnet32-d509ac18.th", 464_154),
    ],
)
def test_published_weights_classify_real_images(name, file, parameters, shared_data):
    model = create_model(name, shortcut="pad")
    assert model.num_parameters() == parameters
    model.load_state_dict(published(shared_data.parent / "weights" / file))
    with np.load(shared_data / "cifar10-lossless-4000.npz") as data:
        images, labels = data["x"], data["y"]
    x = (images / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)
    with model.inference():
        logits = np.concatenate([model.forward(x[k : k + 250]) for k in range(0, len(x), 250)])
    accuracy = np.mean(np.argmax(logits, axis=1) == labels)
    # 99.8 % for ResNet-20 as recorded; the deeper one is no worse
    assert accuracy >= 0.998


TWINS = [
    ("se_resnet8_cifar", {}),
    ("se_resnet20_cifar", {"se": SEConfig(reduction=4, bias=False, squeeze="max", gate="tanh")}),
    ("resnet32_cifar", {}),
    ("resnet44_cifar", {}),
    ("se_resnet56_cifar", {}),
    ("se_resnet110_cifar", {}),
    ("resnet18", {"pool": "padded"}),
    ("se_resnet18", {"se": SEConfig(stages=(3, 5))}),
    ("se_resnet50", {}),
    ("se_resnet50", {"stride_in": "3x3", "pool": "padded"}),
]


@pytest.mark.parametrize(("name", "variant"), TWINS)
def test_a_twin_agrees_forward_backward_and_in_running_statistics(name, variant, rng):
    model = create_model(name, num_classes=5, in_channels=2, dtype="float64", **variant)
    for parameter_name, parameter in model.named_parameters():
        if "bn" in parameter_name or "bias" in parameter_name:
            parameter.value += 0.2 * rng.normal(size=parameter.value.shape)
    twin = TorchResNet(model.config, 2, 5).double()
    state = {n: torch.tensor(a) for n, a in model.state_dict().items()}
    problems = twin.load_state_dict(state, strict=False)
    assert not problems.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in problems.missing_keys)

    x, labels = rng.normal(size=(4, 2, 37, 40)), rng.integers(5, size=4)
    torch_x = torch.tensor(x, requires_grad=True)
    torch_logits = twin(torch_x)
    torch_loss = nn.functional.cross_entropy(torch_logits, torch.tensor(labels), label_smoothing=0.1)
    torch_loss.backward()

    logits = model.forward(x)
    loss, cache = model.engine.softmax_cross_entropy_forward(logits, labels, label_smoothing=0.1)
    dx = model.backward(model.engine.softmax_cross_entropy_backward(1.0, cache).dlogits)

    def close(got, want, what):
        scale = np.abs(want).max()
        assert np.abs(got - want).max() <= 1e-8 * scale + 1e-12, what

    close(logits, torch_logits.detach().numpy(), "logits")
    close(float(loss), float(torch_loss.detach()), "loss")
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


@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_batch_norm_buffers_follow_pytorch_over_steps(momentum, rng):
    ours = BatchNorm2d(3, momentum=momentum, eps=1e-3, dtype="float64")
    theirs = nn.BatchNorm2d(3, momentum=momentum, eps=1e-3).double()
    for _ in range(4):
        x = rng.normal(1.0, 2.0, size=(2, 3, 2, 3))
        np.testing.assert_allclose(ours.forward(x), theirs(torch.tensor(x)).detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(ours.running_mean.value, theirs.running_mean.numpy(), atol=1e-13)
    np.testing.assert_allclose(ours.running_var.value, theirs.running_var.numpy(), atol=1e-13)
