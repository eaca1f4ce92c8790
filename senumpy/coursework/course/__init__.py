"""A teacher's side of coursework: a course built from exercises, a folder of submissions graded.

`build` writes a hand-out and an instructor's folder; `submissions` reads what was handed in, `answers` finds
each exercise's answer in it, `grading` has them checked in parallel, and the reports say what came of it.
"""

from __future__ import annotations

from senumpy.coursework.course.build import build_course
from senumpy.coursework.course.grading import grade
from senumpy.coursework.course.outcome import Grades
from senumpy.coursework.course.settings import Course, course_of, read_course
from senumpy.coursework.course.submissions import Submission, read_submissions

__all__ = [
    "Course",
    "Grades",
    "Submission",
    "build_course",
    "course_of",
    "grade",
    "read_course",
    "read_submissions",
]
