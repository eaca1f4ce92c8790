"""The operations take their array module from their arguments, and ask it for nothing that CuPy lacks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import senumpy.ops
from senumpy.markers import without_markers

FILES = sorted(Path(senumpy.ops.__file__).parent.glob("*.py"))

# Functions of the Python array API standard (2023.12) that the operations call. CuPy 14 has every one of them
# under the same name; looked up there once, since CuPy can't be installed everywhere.
STANDARD = {
    "arange", "argmax", "asarray", "astype", "concat", "exp", "full", "isdtype", "isnan", "log",
    "matrix_transpose", "max", "maximum", "mean", "min", "ones", "ones_like", "permute_dims", "reshape",
    "sqrt", "sum", "tanh", "where", "zeros", "zeros_like",
}  # fmt: skip
METHODS_OF_NDARRAY_ALONE = {
    "add",
    "at",
    "copy",
    "mean",
    "reshape",
    "sum",
    "transpose",
    "astype",
    "max",
    "min",
}


def module_calls(tree):
    """Yield the NAME of every xp.NAME and namespace(...).NAME."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            by_name = isinstance(owner, ast.Name) and owner.id == "xp"
            by_call = isinstance(owner, ast.Call) and getattr(owner.func, "id", "") == "namespace"
            if by_name or by_call:
                yield node.attr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_functions_of_the_array_standard(path):
    assert set(module_calls(ast.parse(path.read_text()))) <= STANDARD


def test_every_listed_function_is_used():
    used = {name for path in FILES for name in module_calls(ast.parse(path.read_text()))}
    assert used == STANDARD


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_operation_is_tied_to_numpy(path):
    tree = ast.parse(path.read_text())
    imports = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    } | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    if path.stem == "arrays":  # for the type alias alone
        assert not [n for n in module_calls(tree) if n not in STANDARD]
    else:
        assert not [name for name in imports if name.split(".")[0] == "numpy"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id in {"x", "y", "dy", "u", "s", "w", "z", "logits"}:
                assert node.func.attr not in METHODS_OF_NDARRAY_ALONE, f"{owner.id}.{node.func.attr}()"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_fits_a_reader(path):
    assert len(without_markers(path.read_text()).splitlines()) <= 180
