"""Learning rates as pure functions of the step: t = 0 for the first update of a run of T updates.

constant     lr(t) = lr
step         lr(t) = lr f^k,  k = how many milestones are <= t
cosine       lr(t) = lr/2 (1 + cos(pi t/T))                        (Loshchilov & Hutter 2017, one period)
warm-up      lr(t) = (t + 1)/W lr'(t)  for t < W, around any lr'   (Goyal et al. 2017, starting at lr/W)

A schedule has no state, so a resumed run has nothing to restore.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from senumpy.errors import unknown_name

Schedule = Callable[[int], float]

SCHEDULE_NAMES = ("constant", "cosine", "step")


def constant(lr: float) -> Schedule:
    """Return a schedule that is always `lr`."""
    return lambda step: lr


def step_decay(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """Return `lr` multiplied by `factor` once for each milestone (a step) that has been reached."""
    return lambda step: lr * factor ** sum(milestone <= step for milestone in milestones)


def cosine(lr: float, steps: int) -> Schedule:
    """Return half a period of a cosine, a function from `lr` at step 0 to 0 at step `steps` and beyond."""
    # exercise cosine: 1 point, level 1, lesson 15 "The learning rate"; given: math
    return lambda step: 0.5 * lr * (1.0 + math.cos(math.pi * min(step, steps) / steps))
    # end of exercise


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """Return `schedule`, multiplied by 1/steps, 2/steps, ... during its first `steps` steps."""
    return lambda step: schedule(step) * (min(1.0, (step + 1) / steps) if steps else 1.0)


def make_schedule(name: str, lr: float, *, steps: int, warm_up_steps: int = 0) -> Schedule:
    """Return a schedule by name for a run of `steps` updates, with a warm-up around it.

    "step" divides by 10 at 1/2 and at 3/4 of the run, as ResNets on CIFAR are trained (He et al. 2016: at
    32,000 and 48,000 of 64,000 updates).

    Raises
    ------
    InputError
        Unknown name.
    """
    if name == "constant":
        schedule = constant(lr)
    elif name == "step":
        schedule = step_decay(lr, (steps // 2, 3 * steps // 4))
    elif name == "cosine":
        schedule = cosine(lr, steps)
    else:
        raise unknown_name("schedule", name, SCHEDULE_NAMES)
    return warm_up(schedule, warm_up_steps)
