"""The engine `cupy`, and the operations as they stand on a device's arrays, against the loops of `naive`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.test_agreement import assert_close, test_float32, test_float64  # noqa: F401
from tests.strategies import OPS, cases, results

few = settings(max_examples=min(settings().max_examples, 25))


@pytest.mark.parametrize("op", OPS)
@few
@given(data=st.data())
def test_operations_as_they_stand(ops_on_device, naive, op, data):
    case = data.draw(cases(op))
    assert_close(results(ops_on_device, case), results(naive, case), 1e-12)


@pytest.mark.parametrize("op", OPS)
@few
@given(data=st.data())
def test_operations_as_they_stand_keep_float32(ops_on_device, op, data):
    case = data.draw(cases(op)).astype(np.float32)
    found = results(ops_on_device, case)
    assert {name: a.dtype for name, a in found.items() if a is not None and a.dtype != np.float32} == {}
