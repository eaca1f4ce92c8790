"""The paper's experiments, run again here."""

from __future__ import annotations

from senumpy.experiments.complexity import ComplexityTables, complexity_tables

__all__ = ["ComplexityTables", "complexity_tables"]
