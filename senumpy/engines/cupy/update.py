"""The weights' update, one launch for all: the tables that tell a block which numbers are its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp
import numpy as np

from senumpy.engines.cupy.runtime import Runtime, in_order
from senumpy.engines.cupy.sources import THREADS, Build
from senumpy.ops.arrays import Array

_A_BLOCK = 4096  # numbers of a parameter that one block updates


class Table(NamedTuple):
    """What doesn't change from step to step: whose numbers a block has, and from where on; weight decays."""

    owners: Array
    firsts: Array
    decays: Array


class Update:
    """SGD's step for parameters of one precision; keeps the table of those that it had last."""

    def __init__(self, runtime: Runtime, dtype: Any) -> None:
        self._runtime = runtime
        self._build = Build("sgd", dtype.name, 1)
        self._key: Any = None
        self._table: Any = None

    def step(
        self, values: list[Array], gradients: list[Array], velocities: list[Array], decays: list[float],
        **settings: Any,
    ) -> None:  # fmt: skip
        """Update values and velocities in place; `settings` are those of `Engine.sgd_update_all`."""
        for array in (*values, *velocities):
            if not array.flags.c_contiguous:
                raise ValueError("sgd_update: got a parameter that is a view; wanted it in C order")
        ordered = [in_order(gradient) for gradient in gradients]
        sizes = [value.size for value in values]
        table = self._table_of(sizes, decays)
        addresses: list[list[int]] = [
            [array.data.ptr for array in arrays]  # type: ignore[attr-defined]
            for arrays in (values, ordered, velocities)
        ]
        self._runtime.launch(
            self._build, "sgd", (table.owners.size,), (THREADS,), cp.asarray(np.array([*addresses, sizes])),
            len(sizes), table.decays, table.owners, table.firsts, _A_BLOCK, settings["lr"],
            settings["momentum"], settings["nesterov"],
        )  # fmt: skip

    def _table_of(self, sizes: list[int], decays: list[float]) -> Table:
        key = (tuple(sizes), tuple(decays))
        if key != self._key:
            blocks = [(k, first) for k, size in enumerate(sizes) for first in range(0, size, _A_BLOCK)]
            owners, firsts = np.array(blocks).T
            self._key, self._table = key, Table(
                cp.asarray(owners.astype("int32")), cp.asarray(firsts.astype("int64")),
                cp.asarray(np.array(decays, "float64")),
            )  # fmt: skip
        return self._table
