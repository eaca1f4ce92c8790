"""What a network says of an image or of a test set, and what its SE blocks do on the way."""

from __future__ import annotations

from senumpy.prediction.evaluation import evaluate_file, evaluate_weights
from senumpy.prediction.predict import Prediction, predict

__all__ = ["Prediction", "evaluate_file", "evaluate_weights", "predict"]
