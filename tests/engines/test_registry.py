"""`senumpy.engine(name)` and the helpers that layers use."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys

import numpy as np
import pytest

import senumpy
from senumpy.engines import _REGISTRY, Engine, engine_names


def test_an_engine_by_name():
    assert senumpy.engine("numpy").name == "numpy"
    assert senumpy.engine("naive").name == "naive"
    assert {"naive", "numpy"} <= set(engine_names())


def test_an_engine_is_returned_as_it_is():
    made = senumpy.engine("numpy")
    assert senumpy.engine(made) is made


@pytest.mark.parametrize(("wrong", "near"), [("numpi", "numpy"), ("niave", "naive"), ("cuppy", "cupy")])
def test_an_unknown_name_suggests_the_nearest(wrong, near):
    with pytest.raises(senumpy.InputError, match=f"unknown engine '{wrong}': did you mean '{near}'"):
        senumpy.engine(wrong)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(senumpy.InputError, match=r"known are .*naive.*numpy"):
        senumpy.engine("zzz")


@pytest.mark.parametrize("name", ["numba", "cupy"])
def test_an_engine_that_cannot_be_had_says_how_to_install_it(name, monkeypatch):
    real = importlib.util.find_spec  # as on a machine without the package
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == name else real(module))
    assert name not in engine_names()
    with pytest.raises(senumpy.InputError, match="pip install 'senumpy"):
        senumpy.engine(name)


def test_the_registry_knows_the_options_of_every_engine():
    for name in engine_names():
        entry = _REGISTRY[name]
        made = getattr(importlib.import_module(entry.module), entry.attribute)
        assert inspect.signature(made).parameters.keys() == set(entry.options), name


def test_an_option_that_it_has_not_names_the_engine_that_has_it():
    for option, message in (("device", "that is for the engine 'cupy'"), ("exact", "the engine 'numba'")):
        with pytest.raises(senumpy.InputError, match=f"'numpy' has no option '{option}': .*{message}"):
            senumpy.engine("numpy", **{option: 1})
    with pytest.raises(senumpy.InputError, match=r"^engine 'numpy' has no option 'speed'$"):
        senumpy.engine("numpy", speed=9)


def test_an_engine_whose_package_is_broken_says_so(monkeypatch, tmp_path):
    """As where CuPy is there, but a library that it loads is not."""
    (tmp_path / "cupy.py").write_text("raise ImportError('libnvrtc.so.12: cannot open\\nshared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name == "cupy" or name.startswith("senumpy.engines.cupy")]:
        monkeypatch.delitem(sys.modules, name)
    message = (
        r"'cupy' can't be loaded \(libnvrtc.so.12: cannot open shared object file\); install cupy anew: pip"
    )
    with pytest.raises(senumpy.InputError, match=message):
        senumpy.engine("cupy")


def test_the_naive_engine_overrides_every_operation():
    naive, base = senumpy.engine("naive"), Engine()
    functions = [name for name in dir(Engine) if name.endswith(("_forward", "_backward", "_backward_paths"))]
    assert len(functions) == 59
    assert [name for name in functions if getattr(naive, name) is getattr(base, name)] == []


def test_array_helpers(any_engine):
    array = any_engine.asarray([[1, 2]], dtype="float32")
    assert array.dtype == np.float32
    back = any_engine.to_numpy(array)
    assert isinstance(back, np.ndarray)
    assert back.tolist() == [[1.0, 2.0]]
    zeros = any_engine.to_numpy(any_engine.zeros((2, 3), "float64"))
    assert zeros.shape == (2, 3)
    assert zeros.dtype == np.float64
    assert not zeros.any()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_update(any_engine, nesterov, momentum, weight_decay, rng):
    value, velocity = any_engine.asarray(rng.normal(size=5)), any_engine.zeros((5,), "float64")
    want_value, want_velocity = any_engine.to_numpy(value).copy(), np.zeros(5)
    for _ in range(3):
        gradient = any_engine.asarray(rng.normal(size=5))
        kept = any_engine.to_numpy(gradient).copy()
        any_engine.sgd_update(
            value, gradient, velocity,
            lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay,
        )  # fmt: skip
        for k in range(5):
            g = kept[k] + weight_decay * want_value[k]
            want_velocity[k] = momentum * want_velocity[k] + g
            step = g + momentum * want_velocity[k] if nesterov else want_velocity[k]
            want_value[k] -= 0.1 * step
        assert np.array_equal(any_engine.to_numpy(gradient), kept)
        np.testing.assert_allclose(any_engine.to_numpy(value), want_value, rtol=1e-14)
        np.testing.assert_allclose(any_engine.to_numpy(velocity), want_velocity, rtol=1e-14)
