"""The paper's tables of sizes: every row within the paper's rounding, but the one whose graph is unknown."""

from __future__ import annotations

import csv
import io

import pytest

from senumpy.experiments import complexity_tables


@pytest.fixture(scope="module")
def tables():
    return complexity_tables()


def test_every_row_meets_the_paper(tables):
    assert {row.table for row in tables.rows} == {"2", "3", "10", "13", "15", "16"}
    for row in tables.rows:
        if row.remark:
            assert "inception_resnet_v2" in row.network
            assert abs(row.ours - 13.18) < 0.03  # facts: timm counts 13.18 G
            continue
        tolerance = {"G": 0.0201, "M": 3 if row.quantity == "multiply-adds" else 0.1}[row.unit]
        assert abs(row.difference) <= tolerance, row


def test_the_formula_counts_the_weights_of_se(tables):
    assert [f.reduction for f in tables.formulas] == [2, 4, 8, 16, 32]
    for formula in tables.formulas:
        assert formula.formula == formula.counted
    assert tables.formulas[3].counted == 2_514_944


def test_files_and_terminal(tables, tmp_path):
    markdown, table = tables.save(tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert len(rows) == len(tables.rows)
    assert float(rows[0]["paper"]) == tables.rows[0].paper
    assert markdown.read_text().count("\n") == len(rows) + 10
    assert "-0.00" not in markdown.read_text() + str(tables)
    assert max(len(line) for line in str(tables).splitlines()) <= 80
