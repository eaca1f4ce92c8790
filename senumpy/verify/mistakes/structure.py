"""Mistakes in addition, concatenation, shuffle, dropout, Shake-Shake and the parameter-free shortcut."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.verify.mistakes.registry import wrong_backward, wrong_forward, wrong_gradients


@wrong_forward("residual_add", "shortcut-forgotten", "The shortcut is not added.")
def _(branch: Any, shortcut: Any) -> Any:
    return branch.copy(), ops.residual_add_forward(branch, shortcut)[1]


@wrong_backward("residual_add", "shortcut-cut", "No gradient goes back through the shortcut.")
def _(dy: Any, cache: Any) -> Any:
    return ops.residual_add_backward(dy, cache)._replace(dshortcut=np.zeros_like(dy))


@wrong_backward(
    "residual_add", "halved", "The gradient is shared between the two terms; each should get all of it."
)
def _(dy: Any, cache: Any) -> Any:
    return ops.residual_add_backward(dy / 2.0, cache)


@wrong_backward(
    "residual_add", "aliased", "Both gradients are the upstream array itself: changing one changes all."
)
def _(dy: Any, cache: Any) -> Any:
    return ops.residual_add_backward(dy, cache)._replace(dbranch=dy, dshortcut=dy)


@wrong_forward("concat", "reversed", "The parts are joined in reverse order.")
def _(xs: Any, *, axis: int = 1) -> Any:
    return ops.concat_forward(xs[::-1], axis=axis)[0], ops.concat_forward(xs, axis=axis)[1]


@wrong_backward(
    "concat", "offsets-from-zero", "Every part is cut from the start: the offset is not moved on."
)
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.concat_backward(dy, cache)
    cut = [np.take(dy, range(part.shape[cache.axis]), axis=cache.axis) for part in gradients.dxs]
    return gradients._replace(dxs=tuple(cut))


@wrong_backward(
    "channel_shuffle", "no-inverse", "The backward shuffles again with the same groups, not back."
)
def _(dy: Any, cache: Any) -> Any:
    dx, _ = ops.channel_shuffle_forward(dy, groups=cache.groups)
    return ops.channel_shuffle_backward(dy, cache)._replace(dx=dx)


@wrong_backward("channel_shuffle", "identity", "The gradient is passed on unshuffled.")
def _(dy: Any, cache: Any) -> Any:
    return ops.channel_shuffle_backward(dy, cache)._replace(dx=dy.copy())


@wrong_forward(
    "channel_shuffle", "transposed-table", "The table has C/G groups of G channels instead of G of C/G."
)
def _(x: Any, *, groups: int) -> Any:
    y, _ = ops.channel_shuffle_forward(x, groups=x.shape[1] // groups)
    return y, ops.channel_shuffle_forward(x, groups=groups)[1]


@wrong_forward("shake", "first-image-s-mixture", "All images are mixed with the numbers of the first.")
def _(a: Any, b: Any, *, alpha: Any, beta: Any = None) -> Any:
    first = [alpha[0]] * len(a)
    return ops.shake_forward(a, b, alpha=first)[0], ops.shake_forward(a, b, alpha=alpha, beta=beta)[1]


@wrong_backward("shake", "exchanged", "The branches receive each other's part of the gradient.")
def _(dy: Any, cache: Any) -> Any:
    da, db = ops.shake_backward(dy, cache)
    return ops.shake_backward(dy, cache)._replace(da=db, db=da)


@wrong_backward("shake", "not-mixed", "Each branch receives the whole gradient, as in a sum.")
def _(dy: Any, cache: Any) -> Any:
    return ops.shake_backward(dy, cache)._replace(da=dy.copy(), db=dy.copy())


@wrong_forward("dropout", "not-rescaled", "Survivors are not scaled by 1 / (1 - p).")
def _(x: Any, *, p: float = 0.5, rng: Any) -> Any:
    y, cache = ops.dropout_forward(x, p=p, rng=rng)
    return y * (1.0 - p), cache


@wrong_forward("dropout", "keep-probability", "p is taken for the probability to be kept.")
def _(x: Any, *, p: float = 0.5, rng: Any) -> Any:
    kept = rng.random(x.shape) < p
    return np.where(kept, x / max(p, 0.1), 0.0), ops.dropout_forward(x, p=p, rng=rng)[1]


@wrong_gradients("dropout", "gradient-not-rescaled", "The gradient is masked but not scaled by 1 / (1 - p).")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=gradients.dx * (1.0 - cache.p))


@wrong_backward(
    "dropout", "fresh-mask", "The backward draws a mask of its own instead of using the forward's."
)
def _(dy: Any, cache: Any) -> Any:
    kept = np.random.default_rng(12345).random(dy.shape) >= cache.p
    return ops.dropout_backward(dy, cache._replace(kept=kept))


@wrong_backward("dropout", "no-mask", "The gradient passes entries that were dropped.")
def _(dy: Any, cache: Any) -> Any:
    return ops.dropout_backward(dy, cache)._replace(dx=dy / (1.0 - cache.p))


@wrong_forward("pad_shortcut", "zeros-behind", "All zero channels are put behind instead of half before.")
def _(x: Any, *, channels: int, stride: Any = 2) -> Any:
    y, cache = ops.pad_shortcut_forward(x, channels=channels, stride=stride)
    return np.roll(y, -((channels - x.shape[1]) // 2), axis=1), cache


@wrong_backward("pad_shortcut", "every-pixel", "Pixels that the stride skipped get a gradient too.")
def _(dy: Any, cache: Any) -> Any:
    dx = ops.pad_shortcut_backward(dy, cache).dx
    return ops.pad_shortcut_backward(dy, cache)._replace(dx=dx + np.roll(dx, 1, axis=3))


@wrong_backward("pad_shortcut", "first-channels", "The first channels' gradient is taken; zeros stand there.")
def _(dy: Any, cache: Any) -> Any:
    before = (cache.out_shape[1] - cache.shape[1]) // 2
    return ops.pad_shortcut_backward(np.roll(dy, before, axis=1), cache)
