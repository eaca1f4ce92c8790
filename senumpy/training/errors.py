"""The one error of training that is neither a bad setting nor bad data."""

from __future__ import annotations

from senumpy.errors import InputError


class TrainingError(InputError):
    """Training or evaluation cannot go on: numbers are no longer finite, or a device's memory is full."""
