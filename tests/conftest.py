"""What every test shares: Hypothesis profiles, the data folder, and a word on what is left out."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Three profiles: `dev` is quick and repeatable, `ci` draws 500 examples a test, `random` explores with a
# fresh seed at each run. Choose by HYPOTHESIS_PROFILE.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=25, derandomize=True, **_COMMON)
settings.register_profile("ci", max_examples=500, derandomize=True, **_COMMON)
settings.register_profile("random", max_examples=500, print_blob=True, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HAS_TORCH = importlib.util.find_spec("torch") is not None
collect_ignore_glob = [] if HAS_TORCH else ["oracles/*"]


def pytest_report_header() -> list[str]:
    lines = []
    if not HAS_TORCH:
        lines.append("left out: tests/oracles (PyTorch is not installed: pip install torch==2.13.0)")
    if not os.environ.get("SENUMPY_DATA"):
        lines.append("left out: tests on real data (set SENUMPY_DATA to the folder that holds them)")
    return lines


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20190516)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data sets, or skip where there is none."""
    folder = os.environ.get("SENUMPY_DATA")
    if not folder:
        pytest.skip("SENUMPY_DATA is not set: no folder of real data sets")
    return Path(folder)
