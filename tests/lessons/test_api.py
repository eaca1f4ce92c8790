"""The reference has every operation on one page, with formulas."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from senumpy import ops
from tests.lessons.conftest import ROOT

PAGES = sorted(path for path in (ROOT / "lessons" / "api").glob("*.md") if path.name != "index.md")


def test_every_operation_is_on_one_page():
    modules = Counter(name for page in PAGES for name in re.findall(r"\{op-module\} (\w+)", page.read_text()))
    assert set(modules.values()) == {1}
    for name in ops.__all__:
        assert getattr(ops, name).__module__.removeprefix("senumpy.ops.") in modules


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_have_formulas_and_are_listed(page):
    text = page.read_text()
    if "{op-module}" in text:
        assert text.count("$$") >= 2
    assert f"\n{page.stem}\n" in (page.parent / "index.md").read_text()
