"""The README's examples run and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import senumpy
from senumpy.models import model_names

README = (Path(__file__).parent.parent / "README.md").read_text()


def run(code, capsys):
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    return capsys.readouterr().out


def test_examples(capsys):
    one_operation, one_run, inference = re.findall(r"```python\n(.*?)```", README, re.S)
    printed = run(one_operation, capsys)
    assert "(2, 8, 5, 5) (4, 8) (8, 4)\nTrue\n" in printed
    assert "passed" in printed
    assert "failed" not in printed

    *_, last = run(one_run, capsys).splitlines()
    assert float(re.fullmatch(r"epoch 4: test accuracy (0\.\d+)", last)[1]) >= 0.95

    assert run(inference, capsys) == "(4, 10)\n"


def test_names_and_numbers():
    for name, parameters in re.findall(r"\| `(\w+)` \| ([\d,]+) \|", README):
        model = senumpy.create_model(name)
        assert model.num_parameters() == int(parameters.replace(",", ""))
    for name in re.findall(r"`((?:se_)?resnet\d+\w*)`", README):
        assert name in model_names()


def test_links_resolve():
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
