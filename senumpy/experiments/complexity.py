"""The paper's tables of parameters and multiply-adds (2, 3, 10, 13, 15, 16) beside what is counted here.

The paper's parameters include batch norm's running statistics (that explains every row), its "FLOPs" are
multiply-adds, rounded; how element-wise additions were counted is not stated, hence differences of up to
0.02 G.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from senumpy.analysis import Complexity, complexity
from senumpy.engines.shapes import ShapeEngine
from senumpy.layers import SEConfig
from senumpy.models import create_model
from senumpy.storage import write_atomic

M, G = 1e6, 1e9
# Widths of SE's blocks in ResNet-50 (Table 1) for the formula of sec. 4.
_STAGES = ((3, 256), (4, 512), (6, 1024), (3, 2048))


@dataclass(frozen=True)
class Row:
    """One figure of the paper: its table, whose it is, what is counted, and both numbers in one unit."""

    table: str
    network: str
    quantity: str
    unit: str
    paper: float
    ours: float
    remark: str = ""

    @property
    def difference(self) -> float:
        """Ours less the paper's."""
        return self.ours - self.paper

    @property
    def rounded(self) -> str:
        """The difference with two digits, zero without a minus."""
        return f"{round(self.difference, 2) + 0.0:+.2f}"

    @property
    def printed(self) -> str:
        """The paper's figure with the digits that it has there."""
        return f"{self.paper:.2f}" if self.unit == "G" else f"{self.paper:g}"


@dataclass(frozen=True)
class Formula:
    """(2/r) sum N_s C_s^2 (paper eq. 5) for one reduction, and the weights that SE has here."""

    reduction: int
    formula: int
    counted: int


@dataclass(frozen=True)
class ComplexityTables:
    """All rows, and the formula held to the networks."""

    rows: tuple[Row, ...]
    formulas: tuple[Formula, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)

    def to_csv(self) -> str:
        """Return the rows as CSV with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["table", "network", "quantity", "unit", "paper", "senumpy", "difference", "remark"])
        for r in self.rows:
            figures = (f"{r.paper:g}", f"{r.ours:.4f}", f"{r.difference:+.4f}")
            writer.writerow([r.table, r.network, r.quantity, r.unit, *figures, r.remark])
        return text.getvalue()

    def to_markdown(self) -> str:
        """Return the rows as a Markdown table, and the formula's check below."""
        return "\n".join(self._markdown()) + "\n"

    def _markdown(self) -> Iterator[str]:
        yield "| Table | network | quantity | paper | senumpy | difference | |"
        yield "|---|---|---|--:|--:|--:|---|"
        for r in self.rows:
            yield (
                f"| {r.table} | {r.network} | {r.quantity} | {r.printed} {r.unit} | {r.ours:.2f} {r.unit} "
                f"| {r.rounded} | {r.remark} |"
            )
        yield ""
        yield "| r | (2/r) sum N C^2 | weights of SE in SE-ResNet-50 |"
        yield "|--:|--:|--:|"
        for f in self.formulas:
            yield f"| {f.reduction} | {f.formula:,} | {f.counted:,} |"

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write `complexity.md` and `complexity.csv`; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "complexity.md", folder / "complexity.csv"
        for path, text in zip(paths, (self.to_markdown(), self.to_csv()), strict=True):
            write_atomic(path, text.encode())
        return paths

    def __str__(self) -> str:
        lines = [f"{'table':<6}{'network':<34}{'quantity':<15}{'paper':>9}{'senumpy':>9}{'':>7}", "-" * 80]
        for r in self.rows:
            lines.append(
                f"{r.table:<6}{r.network:<34}{r.quantity:<15}{r.printed:>7} {r.unit}{r.ours:>7.2f} {r.unit}"
                f"{r.rounded:>7}"
            )
        lines += [
            "-" * 80,
            "parameters: with batch norm's statistics, as in the paper; Table 3 without",
            f"inception_resnet_v2: {_UNPUBLISHED}",
            "-" * 80,
            "(2/r) sum N C^2 (eq. 5) and the weights of SE in SE-ResNet-50:",
        ]
        lines += [f"  r = {f.reduction:<3}{f.formula:>12,}{f.counted:>12,}" for f in self.formulas]
        return "\n".join(lines)


def complexity_tables() -> ComplexityTables:
    """Count every network of the paper's tables."""
    rows = tuple(_rows())
    return ComplexityTables(rows, tuple(_formula(r) for r in (2, 4, 8, 16, 32)))


# Table 2: GFLOPs of the plain network and of the one with SE.
_TABLE_2 = (
    ("resnet50", 3.86, 3.87),
    ("resnet101", 7.58, 7.60),
    ("resnet152", 11.30, 11.32),
    ("resnext50_32x4d", 4.24, 4.25),
    ("resnext101_32x4d", 7.99, 8.00),
    ("vgg16_bn", 15.47, 15.48),
    ("bn_inception", 2.03, 2.04),
    ("inception_resnet_v2", 11.75, 11.76),
)
# Table 3: MFLOPs and millions of parameters, plain and with SE.
_TABLE_3 = (("mobilenet", (569, 4.2), (572, 4.7)), ("shufflenet", (140, 1.8), (142, 2.4)))
# Tables 10, 13, 15, 16: SE-ResNet-50; GFLOPs (0: not given) and millions of parameters.
_ABLATIONS: tuple[tuple[str, str, dict[str, Any], float, float], ...] = (
    ("10", "r = 2", {"reduction": 2}, 0, 45.7),
    ("10", "r = 4", {"reduction": 4}, 0, 35.7),
    ("10", "r = 8", {"reduction": 8}, 0, 30.7),
    ("10", "r = 16", {}, 0, 28.1),
    ("10", "r = 32", {"reduction": 32}, 0, 26.9),
    ("13", "SE in stage 2", {"stages": (2,)}, 3.86, 25.6),
    ("13", "SE in stage 3", {"stages": (3,)}, 3.86, 25.7),
    ("13", "SE in stage 4", {"stages": (4,)}, 3.86, 26.4),
    ("13", "SE in all", {}, 3.87, 28.1),
    ("15", "SE 3x3", {"placement": "3x3"}, 3.86, 25.8),
    ("16", "NoSqueeze", {"squeeze": "none"}, 4.27, 28.1),
)
_UNPUBLISHED = "not the paper's graph, but the published weights'"


def _rows() -> Iterator[Row]:
    for name, *figures in _TABLE_2:
        remark = _UNPUBLISHED if "inception_resnet" in name else ""
        for full, paper in zip((name, f"se_{name}"), figures, strict=True):
            yield Row("2", full, "multiply-adds", "G", paper, _work(complexity(full)) / G, remark)
    for name, *pairs in _TABLE_3:
        for full, (work, parameters) in zip((name, f"se_{name}"), pairs, strict=True):
            cost = complexity(full)
            yield Row("3", full, "multiply-adds", "M", work, _work(cost) / M)
            yield Row("3", full, "parameters", "M", parameters, cost.total("parameters") / M)
    plain = complexity("resnet50")
    yield Row("10", "resnet50", "parameters", "M", 25.6, _with_statistics(plain) / M)
    for table, label, settings, giga, parameters in _ABLATIONS:
        cost = complexity("se_resnet50", se=SEConfig(**settings))
        name = f"se_resnet50, {label}"
        if giga:
            yield Row(table, name, "multiply-adds", "G", giga, _work(cost) / G)
        yield Row(table, name, "parameters", "M", parameters, _with_statistics(cost) / M)


def _work(cost: Complexity) -> int:
    return cost.total("multiply_adds")


def _with_statistics(cost: Complexity) -> int:
    return cost.total("parameters") + cost.statistics


def _formula(reduction: int) -> Formula:
    se = SEConfig(reduction=reduction, bias=False)
    model = create_model("se_resnet50", num_classes=1, se=se, engine=ShapeEngine())
    counted = sum(p.value.size for name, p in model.named_parameters() if ".se." in name)
    return Formula(reduction, sum(2 * n * c * c // reduction for n, c in _STAGES), counted)
