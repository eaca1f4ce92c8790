"""Exercises made of the library's own source: bodies taken out, answers checked, mistakes named.

>>> from senumpy.coursework import exercises
>>> exercises()["squeeze_excite_backward"].reading
'lesson 13, "Two paths to one input"'
"""

from __future__ import annotations

from senumpy.coursework.catalogue import exercise_named, exercises
from senumpy.coursework.check import Checker
from senumpy.coursework.exercise import Exercise
from senumpy.coursework.sandbox import Limits, Sandbox
from senumpy.coursework.verdict import Verdict
from senumpy.coursework.workspace import Workspace

__all__ = [
    "Checker",
    "Exercise",
    "Limits",
    "Sandbox",
    "Verdict",
    "Workspace",
    "exercise_named",
    "exercises",
]
