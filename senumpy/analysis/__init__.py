"""Looking at networks: what they cost."""

from __future__ import annotations

from senumpy.analysis.complexity import Complexity, LayerCost, complexity

__all__ = ["Complexity", "LayerCost", "complexity"]
