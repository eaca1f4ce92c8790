"""What a network says of an image, and what its SE blocks do on the way."""

from __future__ import annotations

from senumpy.prediction.predict import Prediction, predict

__all__ = ["Prediction", "predict"]
