"""Exercises that are no pair of an operation: their cases, what is right, and what people get wrong."""

from __future__ import annotations

from senumpy.coursework.subjects.conv import CONV2D_LOOPS
from senumpy.coursework.subjects.derivatives import CENTRAL_DIFFERENCE, COMPLEX_STEP
from senumpy.coursework.subjects.loop import TRAIN_EPOCH
from senumpy.coursework.subjects.running import RUNNING_STATISTICS
from senumpy.coursework.subjects.schedule import COSINE
from senumpy.coursework.subjects.sgd import SGD_UPDATE
from senumpy.coursework.subjects.subject import (
    AnswerError,
    Case,
    Judged,
    Results,
    Subject,
    SubjectMistake,
)
from senumpy.coursework.subjects.windows import OUTPUT_SIZE
from senumpy.coursework.subjects.winograd import CONVOLUTION, TRANSFORMS

__all__ = ["SUBJECTS", "AnswerError", "Case", "Judged", "Results", "Subject", "SubjectMistake"]

SUBJECTS: dict[str, Subject] = {
    subject.name: subject
    for subject in (
        COMPLEX_STEP,
        CENTRAL_DIFFERENCE,
        OUTPUT_SIZE,
        CONV2D_LOOPS,
        RUNNING_STATISTICS,
        SGD_UPDATE,
        COSINE,
        TRAIN_EPOCH,
        TRANSFORMS,
        CONVOLUTION,
    )
}
"""By the names of their exercises."""
