"""Every lesson runs as a script: no warning, and no file left behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.lessons.conftest import LESSONS, has

pytestmark = pytest.mark.skipif(
    not has("matplotlib", "sklearn", "numba"), reason="lessons need the extra train"
)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
@pytest.mark.timeout(280)
def test_runs(path, tmp_path):
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=270
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    assert done.stdout.strip()
    assert list(tmp_path.iterdir()) == []
