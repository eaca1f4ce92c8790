"""`senumpy crosscheck` on PyTorch and ONNX from outside, and what the page about it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import senumpy.crosscheck
from senumpy.cli import main

PAGE = (Path(senumpy.crosscheck.__file__).parent / "README.md").read_text()

NETS = """
import torch
from torch.nn import functional as F

from senumpy.bench.torch_peer import TorchResNet
from senumpy.models import model_config

def net():
    torch.manual_seed(0)
    return TorchResNet(model_config("se_resnet8_cifar"), 3, 10)

def other_momentum():
    model = net()
    model.layer2[0].bn1.momentum = 0.9
    return model

def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "nets_of_mine.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments, status):
    assert main(["crosscheck", *arguments]) == status
    return capsys.readouterr().out


MODEL = ("model", "--like", "se_resnet8_cifar", "--input-size", "16")


def test_models(folder, capsys):
    out = run(capsys, *MODEL, "--torch", "nets_of_mine.py:net", status=0)
    assert "right: " in out
    assert max(map(len, out.splitlines())) <= 80
    record = json.loads(run(capsys, *MODEL, "--torch", "nets_of_mine.py:other_momentum", "--json", status=1))
    assert record["findings"][0]["layer"] == "layer2.0.bn1"


def test_steps(folder, capsys):
    steps = (*MODEL, "--torch", "nets_of_mine.py:net", "--steps", "3", "--weight-decay", "0")
    run(capsys, *steps, status=0)
    out = run(capsys, *steps, "--optimizer", "nets_of_mine.py:sgd", status=1)
    assert "nesterov" in out.lower()


def test_onnx(folder, capsys):
    from senumpy.interop import save_weights
    from senumpy.models import create_model

    save_weights(folder / "net.safetensors", create_model("se_resnet8_cifar", seed=1))
    assert main(["export", "net.safetensors", "--to", "net.onnx", "--input-size", "16"]) == 0
    capsys.readouterr()
    out = run(capsys, "model", "--onnx", "net.onnx", "--like", "se_resnet8_cifar", status=0)
    assert "right: " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--eval", "--steps", "2"), "--eval: steps are training"),
        (("--optimizer", "nets_of_mine.py:sgd"), "--optimizer goes with --steps"),
        (("--dtype", "float32", "--dtype", "float64"), "wanted one for a model"),
        (("--input-size", "0"), "input_size: got 0"),
    ],
)
def test_bad_usage_of_models(folder, capsys, arguments, message):
    assert main(["crosscheck", *MODEL, "--torch", "nets_of_mine.py:net", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def blocks(kind):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.S | re.M)
    return [text for name, text in found if name == kind]


def test_the_page_shows_what_the_commands_print(tmp_path, monkeypatch, capsys):
    """The finds on the page: the code is run, and the mistake and every line of a diagnosis are as shown."""
    monkeypatch.chdir(tmp_path)
    _, se_block, batch_norm = blocks("python")
    (tmp_path / "se_block.py").write_text(se_block)
    (tmp_path / "bn.py").write_text(batch_norm)
    out = run(capsys, "squeeze_excite", "se_block:SEBlock", status=1)
    shown = next(text for text in blocks("") if "se_block:SEBlock (torch)" in text)
    for line in re.findall(r"^  - .*$|^    .*$", shown, re.M):
        assert line in out
    (tmp_path / "se_block.py").write_text(se_block.replace(".detach()", ""))
    assert "accurate" in run(capsys, "squeeze_excite", "se_block:SEBlock", status=0).splitlines()[0]
    if torch.__version__.startswith("2.13.0"):
        out = run(capsys, "batchnorm2d", "bn:batch_norm", status=1)
        assert "The same numbers in C order come out right" in " ".join(out.split())


FAILING = """
import sys
import time

from nets_of_mine import net

class Talks(net().__class__):
    pass

def talks():
    model = net()
    model.register_forward_hook(lambda *_: print("HELLO"))
    return model

def leaves():
    model = net()
    model.layer2[0].register_forward_hook(lambda *_: sys.exit(0))
    return model

def sleeps():
    model = net()
    model.layer2[0].register_forward_hook(lambda *_: time.sleep(30))
    return model
"""


@pytest.mark.parametrize(
    ("target", "options", "status", "words"),
    [
        ("leaves", (), 1, "it raised SystemExit"),
        ("sleeps", ("--timeout", "0.5"), 1, "did not come back within 0.5 s"),
        ("talks", (), 0, ""),
    ],
)
def test_models_that_misbehave(folder, capsys, target, options, status, words):
    (folder / "failing_nets.py").write_text(FAILING)
    out = run(capsys, *MODEL, "--torch", f"failing_nets.py:{target}", *options, "--json", status=status)
    record = json.loads(out)
    assert words in record.get("failed", "")


def test_options_that_would_do_nothing_are_refused(folder, capsys):
    for option in (("--accept", "lossy"), ("--max-examples", "3"), ("--option", "stride=2"), ("--c-order",)):
        assert main(["crosscheck", *MODEL, "--torch", "nets_of_mine.py:net", *option]) == 2
        assert "goes with one operation" in capsys.readouterr().err
