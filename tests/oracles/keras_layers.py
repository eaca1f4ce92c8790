"""Run by test_crosscheck_adapters.py in a process of its own: Keras's layers through the adapter."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

sys.path.insert(0, str(Path(__file__).parents[2]))

from senumpy.crosscheck.candidates import candidate
from senumpy.verify import OPS
from senumpy.verify.calls import OpCall, call_of, results


class SE(keras.Layer):
    def __init__(self, channels, hidden, **options):
        super().__init__(**options)
        self.channels, self.hidden = channels, hidden
        self.pool = layers.GlobalAveragePooling2D()
        self.down = layers.Dense(hidden, activation="relu")
        self.up = layers.Dense(channels, activation="sigmoid")

    def call(self, u):
        return u * self.up(self.down(self.pool(u)))[:, None, None, :]

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "hidden": self.hidden}


def depthwise(call):
    w = call.args[1]
    return layers.DepthwiseConv2D(
        w.shape[2:], depth_multiplier=w.shape[0] // call.args[0].shape[1], use_bias=call.args[2] is not None
    )


def hold(op, target, calls, missing=(), least=1):
    them = candidate(op, target)
    assert them.framework == "keras" or target is depthwise
    made = 0
    for call, kink in calls:
        if them.accepts(call):
            continue
        made += 1
        for name in them.restrict().dtypes:
            dtype = np.dtype(name)
            answer, want = them.run(call, dtype), results(call, np.float64)
            assert answer.conduct == [], (op, answer.conduct)
            assert set(want) - set(answer.results) == set(missing), (op, sorted(answer.results))
            for result, got in answer.results.items():
                # What Keras keeps of a variance is the biased one.
                if want[result] is None or (kink and result != "y") or result == "running_var":
                    continue
                size = 1 + max(np.abs(array).max() for array in call.floats())
                rough = (
                    (1e-10 if name == "float64" else 2e-4) * size * (1 + np.abs(want[result]).max(initial=0))
                )
                np.testing.assert_allclose(got, want[result], rtol=0, atol=rough, err_msg=f"{op} {result}")
    assert made >= least, (op, made)


def main():
    every = {op: [(call_of(op, case), case.kink) for case in OPS[op].cases()] for op in OPS}
    for op, target, least in [
        ("conv2d", layers.Conv2D, 4),
        ("conv2d", layers.Conv2D(3, 3), 1),
        ("linear", layers.Dense, 4),
        ("linear", layers.Dense(2), 1),
        ("relu", layers.ReLU, 2),
        ("max_pool2d", layers.MaxPooling2D, 3),
        ("avg_pool2d", layers.AveragePooling2D, 2),
        ("batchnorm2d", layers.BatchNormalization, 5),
        ("squeeze_excite", SE, 2),
        ("squeeze_excite", SE(4, 2), 1),
        ("global_avg_pool", layers.GlobalAveragePooling2D, 3),
        ("global_max_pool", layers.GlobalMaxPooling2D, 3),
        ("residual_add", layers.Add, 2),
        ("concat", layers.Concatenate, 3),
    ]:
        hold(op, target, every[op], least=least)
    hold(
        "batchnorm2d_inference",
        layers.BatchNormalization,
        every["batchnorm2d_inference"],
        missing=("dmean", "dvar"),
    )
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=s).astype("f4").astype("f8") for s in ((2, 3, 5, 4), (6, 1, 3, 2), (6,))]
    hold("conv2d", depthwise, [(OpCall("conv2d", tuple(arrays), {"groups": 3}), False)])
    policy = keras.config.dtype_policy().name
    assert (policy, keras.config.floatx()) == ("float32", "float32")
    print("all layers agree")


if __name__ == "__main__":
    main()
