"""Squeeze-and-Excitation Networks (arXiv 1709.01507v4) from scratch in NumPy.

`senumpy.ops` holds the mathematics, one file per operation; `senumpy.engine(name)` returns who executes
it; `senumpy.create_model(name)` assembles the paper's networks. Importing the package needs NumPy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from senumpy.errors import InputError

if TYPE_CHECKING:
    from senumpy.engines import engine
    from senumpy.models import create_model

__version__ = "0.1.0"
__all__ = ["InputError", "__version__", "create_model", "engine"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `senumpy --help` doesn't wait for the models.
    if name == "engine":
        from senumpy.engines import engine

        return engine
    if name == "create_model":
        from senumpy.models import create_model

        return create_model
    raise AttributeError(f"module 'senumpy' has no attribute {name!r}")
