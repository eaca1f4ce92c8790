"""One sandbox for all tests of answers: starting it takes longer than an answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from senumpy.coursework import Checker, Sandbox, exercises


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Give a sandbox."""
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def checker(sandbox: Sandbox) -> Checker:
    """Give a checker of all exercises."""
    return Checker(list(exercises()), sandbox=sandbox)
