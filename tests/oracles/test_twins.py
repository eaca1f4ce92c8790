"""Networks of timm and torchvision: their random weights, loaded here, give the same logits and gradients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from senumpy import InputError, create_model
from senumpy.interop import load_model, save_foreign
from senumpy.interop.layouts import recognise
from senumpy.layers import SEConfig
from senumpy.prediction import evaluate_file


def _timm(name):
    return lambda: timm.create_model(name, num_classes=7, drop_rate=0.0)


# (their network, ours, image size, whether gradients are held too)
TWINS = {
    "seresnet18": (None, "se_resnet18", 64, True),
    "seresnet34": (None, "se_resnet34", 64, False),
    "seresnet50": (None, "se_resnet50", 64, True),
    "seresnet101": (None, "se_resnet101", 64, False),
    "seresnet152": (None, "se_resnet152", 64, False),
    "legacy_seresnet50": (None, "se_resnet50", 71, True),
    "legacy_seresnet101": (None, "se_resnet101", 64, False),
    "legacy_seresnet152": (None, "se_resnet152", 64, False),
    "seresnext50_32x4d": (None, "se_resnext50_32x4d", 64, True),
    "seresnext101_32x4d": (None, "se_resnext101_32x4d", 64, False),
    "legacy_seresnext50_32x4d": (None, "se_resnext50_32x4d", 71, True),
    "legacy_seresnext101_32x4d": (None, "se_resnext101_32x4d", 64, False),
    "senet154": (None, "senet154", 64, True),
    "legacy_senet154": (None, "senet154", 64, False),
    "resnet50": (None, "resnet50", 75, True),
    "resnet34": (None, "resnet34", 64, False),
    "resnet101": (None, "resnet101", 64, False),
    "resnet152": (None, "resnet152", 64, False),
    "resnext50_32x4d": (None, "resnext50_32x4d", 64, False),
    "resnext101_32x4d": (None, "resnext101_32x4d", 64, False),
    "mobilenetv1_100": (None, "mobilenet", 64, True),
    "inception_resnet_v2": (None, "inception_resnet_v2", 139, True),
    "vgg16_bn": (None, "vgg16_bn", 224, False),
    "torchvision resnet18": (lambda: torchvision.models.resnet18(num_classes=7), "resnet18", 64, True),
    "torchvision resnet50": (lambda: torchvision.models.resnet50(num_classes=7), "resnet50", 64, False),
    "torchvision vgg16_bn": (
        lambda: torchvision.models.vgg16_bn(num_classes=7, dropout=0.0), "vgg16_bn", 224, True,
    ),
}  # fmt: skip


def _theirs(name):
    """Return their network in float64 with affine parameters and statistics that are not trivial.

    The statistics are near those of some images: with any others activations would grow from unit to unit,
    and rounding errors with them.
    """
    torch.manual_seed(1)
    build, _, size, _ = TWINS[name]
    model = (build or _timm(name))().double()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.uniform_(-0.3, 0.3)
        norm.momentum = 1.0
    for unit in model.modules():
        if hasattr(unit, "bn3"):  # the end of a branch: units near the identity, as in trained networks
            unit.bn3.weight.data *= 0.2
    with torch.no_grad():
        model(torch.randn(4, 3, size, size, dtype=torch.float64))
    for norm in norms:
        norm.momentum = 0.1
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean)
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.25)
    return model


def _close(got, want, tolerance, what):
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max() + 1e-13, what


@pytest.mark.parametrize("name", TWINS)
def test_logits_and_gradients(name, tmp_path, rng):
    theirs = _theirs(name)
    _, ours, size, with_gradients = TWINS[name]
    path = tmp_path / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, path)
    x = rng.normal(size=(2, 3, size, size))

    model = load_model(path, engine="numba", dtype="float64")
    assert model.name == ours
    theirs.eval()
    with torch.no_grad():
        want = theirs(torch.tensor(x)).numpy()
    with model.inference():
        _close(model.forward(x), want, 1e-10, "logits in float64")
    single = load_model(path, engine="numba")
    with single.inference():
        _close(single.forward(x.astype("float32")), want, 1e-4, "logits in float32")
    if with_gradients:
        _hold_gradients(model, theirs, x, rng)


def _hold_gradients(model, theirs, x, rng):
    """Compare the gradients of all parameters in training mode, with dropout off."""
    for _, layer in model.named_layers():
        if hasattr(layer, "p"):
            layer.p = 0.0
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    theirs.train()
    model.train()
    # Enough values in each channel, so that batch norm doesn't magnify rounding errors.
    dy = rng.normal(size=(2, 7))
    logits = theirs(torch.tensor(x))
    logits.backward(torch.tensor(dy))
    _close(model.forward(x), logits.detach().numpy(), 1e-8, "logits in training")
    model.backward(dy)
    gradients = {k: p.grad for k, p in theirs.named_parameters()}
    shapes = {k: tuple(a.shape) for k, a in theirs.state_dict().items()}
    sources = recognise(shapes, "").sources
    for name, parameter in model.named_parameters():
        want = gradients[sources[name]].numpy().reshape(parameter.value.shape)
        _close(parameter.grad, want, 1e-8, name)


OUT = [
    ("se_resnet18", {"pool": "padded", "se": SEConfig(rounding="timm")}, "timm seresnet18"),
    ("se_resnet50", {"pool": "padded", "stride_in": "3x3"}, "timm seresnet50"),
    ("se_resnet50", {}, "timm legacy_seresnet50"),
    ("se_resnext50_32x4d", {}, "timm legacy_seresnext50_32x4d"),
    ("se_resnext50_32x4d", {"pool": "padded"}, "timm seresnext50_32x4d"),
    ("senet154", {}, "timm legacy_senet154"),
    ("senet154", {"pool": "padded"}, "timm senet154"),
    ("resnet18", {"pool": "padded"}, "torchvision resnet18"),
    ("resnet50", {"pool": "padded", "stride_in": "3x3"}, "torchvision resnet50"),
    ("mobilenet", {"activation": "relu6"}, "timm mobilenetv1_100"),
    ("inception_resnet_v2", {}, "timm inception_resnet_v2"),
    ("vgg16_bn", {}, "torchvision vgg16_bn"),
]


@pytest.mark.parametrize(("name", "settings", "twin"), OUT)
def test_their_loaders_take_our_weights(name, settings, twin, tmp_path, rng):
    model = create_model(name, num_classes=7, engine="numba", **settings)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("bn3.weight"):
            parameter.value *= 0.2  # units near the identity, see _theirs
    path = tmp_path / "weights.safetensors"
    assert save_foreign(path, model) == twin
    library, their_name = twin.split()
    build = torchvision.models.get_model if library == "torchvision" else timm.create_model
    theirs = build(their_name, num_classes=7)
    theirs.load_state_dict(load_file(path), strict=True)
    theirs.eval()
    size = 224 if "vgg" in name else 96
    x = rng.normal(size=(1, 3, size, size)).astype("float32")
    with torch.no_grad(), model.inference():
        _close(model.forward(x), theirs(torch.tensor(x)).numpy(), 1e-4, "logits")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet50", {}, "strides in the 1x1 and the max pool 'ceil'"),
        ("se_resnet18", {"pool": "padded"}, "rounds SE's hidden widths to multiples of 8"),
        ("se_resnet50", {"se": SEConfig(gate="tanh")}, "this network a variant: SEConfig"),
        ("se_resnet20_cifar", {}, "neither timm nor torchvision has CIFAR's ResNets"),
        ("mobilenet", {}, "timm's MobileNet has ReLU6"),
        ("se_shufflenet", {}, "neither timm nor torchvision has a network that computes this"),
    ],
)
def test_a_network_without_a_twin_is_not_given_its_names(name, settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        save_foreign(tmp_path / "w.safetensors", create_model(name, num_classes=2, **settings))


def test_a_legacy_network_with_a_relu_before_se_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model("legacy_seresnet18").state_dict(), path)
    with pytest.raises(InputError, match="ReLU between the last batch norm and SE"):
        load_model(path)


def test_a_pickle_that_runs_code_does_not_run_it(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    for name in ("w.pth", "w.bin"):
        path = tmp_path / name
        torch.save({"state_dict": Evil()}, path)
        with pytest.raises(InputError, match="PyTorch refuses it as a file of weights alone"):
            load_model(path)
    assert not (tmp_path / "touched").exists()


def test_files_of_pytorch_are_read(tmp_path, rng):
    theirs = torchvision.models.resnet18(num_classes=3).eval()
    x = rng.normal(size=(1, 3, 64, 64)).astype("float32")
    for name, content in (
        ("plain.pth", theirs.state_dict()),
        ("nested.th", {"epoch": 3, "state_dict": theirs.state_dict()}),
        ("deeper.pt", {"model": {"state_dict": theirs.state_dict()}, "optimizer": None}),
        ("half.bin", {k: v.to(torch.bfloat16) for k, v in theirs.state_dict().items()}),
    ):
        torch.save(content, tmp_path / name)
        model = load_model(tmp_path / name)
        tolerance = 5e-2 if "half" in name else 1e-4
        with model.inference(), torch.no_grad():
            _close(model.forward(x), theirs(torch.tensor(x)).numpy(), tolerance, name)
    (tmp_path / "list.pt").write_bytes((tmp_path / "plain.pth").read_bytes()[:5000])
    with pytest.raises(InputError, match="PyTorch refuses it"):
        load_model(tmp_path / "list.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="wanted a dictionary of tensors by name, found list"):
        load_model(tmp_path / "list.pt")


def test_bfloat16_in_safetensors_is_what_pytorch_reads(tmp_path):
    state = {
        k: v.to(torch.bfloat16) for k, v in torchvision.models.resnet18(num_classes=3).state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    ours = load_model(tmp_path / "w.safetensors").state_dict()
    for name, array in ours.items():
        assert np.array_equal(array, state[name].float().numpy()), name


def test_a_tensor_that_repeats_one_number_is_no_weight(tmp_path):
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    state["fc.weight"] = torch.zeros(1).expand(1_000_000, 512)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"'fc.weight' claims \(1000000, 512\), but its storage holds 1 num"):
        load_model(tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_pytorch_is_held_once_in_memory(zipped, tmp_path):
    path = tmp_path / "w.pth"
    state = torchvision.models.resnet101().state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    code = (
        "import resource, sys, torch; from senumpy.interop import load_model\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak(); load_model(sys.argv[1]); print(peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert int(run.stdout) <= 1.3 * path.stat().st_size


def test_published_cifar_weights_are_recognised(shared_data):
    model = load_model(shared_data.parent / "weights" / "resnet20-12fca82f.th")
    assert (model.name, model.config.shortcut, model.num_classes) == ("resnet20_cifar", "pad", 10)
    found = evaluate_file(
        shared_data.parent / "weights" / "resnet20-12fca82f.th", data=str(shared_data / "cifar10-jpeg.zip")
    )
    assert found.images == 10_000
    assert abs(found.top1 - 0.810) < 0.001  # as recorded for these lossy images
