"""The README's examples run and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

from senumpy.analysis import complexity
from senumpy.models import model_names

README = (Path(__file__).parent.parent / "README.md").read_text()


def run(code, capsys):
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    return capsys.readouterr().out


def test_examples(capsys):
    one_operation, one_run, yours, variant, inference = re.findall(r"```python\n(.*?)```", README, re.S)
    printed = run(one_operation, capsys)
    assert "(2, 8, 5, 5) (4, 8) (8, 4)\nTrue\n" in printed
    assert "passed" in printed
    assert "failed" not in printed

    *_, last = run(one_run, capsys).splitlines()
    assert float(re.fullmatch(r"epoch 4: test accuracy (0\.\d+)", last)[1]) >= 0.95

    assert f"# {run(yours, capsys)}" in yours
    assert run(variant, capsys) == "27,525,618\n"
    assert run(inference, capsys) == "(4, 10)\n"


def test_names_and_numbers():
    rows = re.findall(r"\| `(\w+)` \| ([\d,]+|-) / ([\d,]+) \|[^|]*\| ([\d.]+|-) / ([\d.]+) \|", README)
    assert len(rows) == 24
    for name, *figures in rows:
        for full, parameters, work in zip((name, f"se_{name}"), figures[:2], figures[2:], strict=True):
            if parameters != "-":
                cost = complexity(name if name == "senet154" else full)
                assert cost.total("parameters") == int(parameters.replace(",", ""))
                assert f"{cost.total('multiply_adds') / 1e9:.3f}" == work
    for name in re.findall(r"`((?:se_)?resnet\d+\w*)`", README):
        assert name in model_names()


def test_links_resolve():
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
