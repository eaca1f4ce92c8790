"""`senumpy selftest --engine cupy`, as someone with a GPU runs it, on emulated kernels."""

from __future__ import annotations

import json

from senumpy.cli import main


def test_the_engine_holds_its_contract(cupy, tmp_path, capsys):
    status = main(["selftest", "--engine", "cupy", "--quick", "--out", str(tmp_path / "report.json")])
    printed = capsys.readouterr().out
    assert status == 0, printed
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["describe"].startswith("cupy (device 0: Emulated GPU")
    assert report["ok"]
    assert report["checks"] > 3000
    assert max(map(len, printed.splitlines())) <= 80


def test_a_wrong_kernel_is_found(cupy, capsys, monkeypatch):
    """Batch norm's gradient without its second mean: exact for no upstream gradient but special ones."""
    from senumpy.engines.cupy import runtime, sources

    real = sources.source
    right, wrong = "(dv - k0.v[j] - xhat * k1.v[j])", "(dv - k0.v[j])"

    def broken(file):
        text = real(file)
        assert file != "normalise" or right in text
        return text.replace(right, wrong)

    monkeypatch.setattr(runtime, "source", broken)
    assert main(["selftest", "batchnorm2d", "--engine", "cupy", "--quick"]) == 1
    printed = capsys.readouterr().out
    assert "batchnorm2d" in printed
    assert "dx" in printed
