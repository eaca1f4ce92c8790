"""Wrong answers as students write them, hardly one of them in the bank: one layer or pool at a time."""

from __future__ import annotations

WRONG: list[tuple[str, str, tuple[str, ...], str]] = []


def wrong(name: str, variant: str, results: str, body: str, arguments: str = "", before: str = "") -> None:
    """Note a wrong answer: its exercise, what is wrong about it, which results are, the function's body."""
    arguments = arguments or ("dy, cache" if name.endswith("_backward") else "x")
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    text = f"import numpy as np\n{before}\n\n\ndef {name}({arguments}):\n{lines}\n"
    WRONG.append((name, variant, tuple(results.split()), text))


# -- shapes and slices -------------------------------------------------------------------------------------

SHUFFLE = "x, *, groups"
wrong("channel_shuffle_forward", "reversed instead of shuffled", "y", "return x[:, ::-1], None", SHUFFLE)
wrong("channel_shuffle_forward", "shuffled twice", "y", """
for _ in range(2):
    n, c, h, w = x.shape
    x = x.reshape(n, groups, c // groups, h, w).swapaxes(1, 2).reshape(n, c, h, w)
return x, None""", SHUFFLE)  # fmt: skip
wrong("channel_shuffle_forward", "reshaped to the right shape without a transpose", "y",
      "return x.reshape(len(x), -1, groups, *x.shape[2:]).reshape(x.shape), None", SHUFFLE)  # fmt: skip
wrong("channel_shuffle_forward", "images shuffled with the channels", "y", """
n, c, h, w = x.shape
return x.reshape(n, groups, c // groups, h, w).transpose(2, 0, 1, 3, 4).reshape(x.shape), None""",
      SHUFFLE)  # fmt: skip
wrong("channel_shuffle_forward", "always two groups", "y", """
n, c, h, w = x.shape
g = 2 if c % 2 == 0 else groups
return x.reshape(n, g, c // g, h, w).swapaxes(1, 2).reshape(n, c, h, w), None""", SHUFFLE)  # fmt: skip

SHORTCUT = "x, *, channels, stride=2"
PAIR = "sh, sw = stride if isinstance(stride, tuple) else (stride, stride)\n"
wrong("pad_shortcut_forward", "the odd channel before", "y", PAIR + """
a = -(-(channels - x.shape[1]) // 2)
return np.pad(x[:, :, ::sh, ::sw], ((0, 0), (a, channels - x.shape[1] - a), (0, 0), (0, 0))), None""",
      SHORTCUT)  # fmt: skip
wrong("pad_shortcut_forward", "pixels from the second on", "y", PAIR + """
a = (channels - x.shape[1]) // 2
s = x[:, :, sh - 1 :: sh, sw - 1 :: sw]
return np.pad(s, ((0, 0), (a, channels - x.shape[1] - a), (0, 0), (0, 0))), None""",
      SHORTCUT)  # fmt: skip
wrong("pad_shortcut_forward", "one stride for both axes", "y", PAIR + """
a = (channels - x.shape[1]) // 2
return np.pad(x[:, :, ::sh, ::sh], ((0, 0), (a, channels - x.shape[1] - a), (0, 0), (0, 0))), None""",
      SHORTCUT)  # fmt: skip

# -- activations -------------------------------------------------------------------------------------------

wrong("relu_backward", "the mask of dy", "dx", "return dy * (dy > 0)")
wrong("relu_backward", "the sign", "dx", "return -dy * cache.mask")
wrong("relu_backward", "the mask itself", "dx", "return cache.mask.astype(dy.dtype)")
wrong("sigmoid_forward", "overflows below", "y", "return np.exp(x) / (1 + np.exp(x)), None")
wrong(
    "sigmoid_forward", "the sign of the exponent", "y", "return 1 / (1 + np.exp(np.clip(x, -50, 50))), None"
)
wrong("sigmoid_forward", "clipped too early", "y", "return 1 / (1 + np.exp(-np.clip(x, -2, 2))), None")

# -- linear ------------------------------------------------------------------------------------------------

LINEAR = "x, w, b=None"
wrong("linear_forward", "the bias added before the product", "y", """
return (x + (0 if b is None else b.mean())) @ w.T, None""", LINEAR)  # fmt: skip
wrong("linear_forward", "the bias reshaped to a column", "y", """
y = x @ w.T
return (y if b is None else (y.reshape(-1, len(x)) + b[:, None]).reshape(y.shape)), None""",
      LINEAR)  # fmt: skip
wrong("linear_forward", "the last input left out", "y", """
y = x[:, :-1] @ w[:, :-1].T
return (y if b is None else y + b), None""", LINEAR)  # fmt: skip
wrong("linear_forward", "raises without a bias", "", "return x @ w.T + b, None", LINEAR)
wrong("linear_backward", "the sign of db", "db",
      "return dy @ cache.w, dy.T @ cache.x, -dy.sum(0) if cache.has_bias else None")  # fmt: skip
wrong("linear_backward", "db of everything", "db", """
db = np.full(len(cache.w), dy.sum(), dy.dtype) if cache.has_bias else None
return dy @ cache.w, dy.T @ cache.x, db""")  # fmt: skip
wrong("linear_backward", "dx and dw exchanged", "dx dw",
      "return dy.T @ cache.x, dy @ cache.w, dy.sum(0) if cache.has_bias else None")  # fmt: skip
wrong("linear_backward", "an array for a bias that is not there", "db",
      "return dy @ cache.w, dy.T @ cache.x, dy.sum(0)")  # fmt: skip
wrong("linear_backward", "dw of one image only right for N = 1", "dw",
      "return dy @ cache.w, np.outer(dy[-1], cache.x[-1]), dy.sum(0) if cache.has_bias else None",
      )  # fmt: skip

# -- the loss ----------------------------------------------------------------------------------------------

LOSS = "logits, labels, *, label_smoothing=0.0"
SOFTMAX = """
n, k = logits.shape
a = logits - logits.max(1, keepdims=True)
p = np.exp(a) / np.exp(a).sum(1, keepdims=True)
q = np.eye(k)[labels] * (1 - label_smoothing) + label_smoothing / k
q = q.astype(a.dtype)
"""
wrong("softmax_cross_entropy_forward", "the sign", "y",
      SOFTMAX + "return (q * np.log(p + 1e-300)).sum() / n, None", LOSS)  # fmt: skip
wrong("softmax_cross_entropy_forward", "the logarithm of zero", "y",
      SOFTMAX + "return -(q * np.log(p)).sum() / n, None", LOSS)  # fmt: skip
wrong("softmax_cross_entropy_forward", "a small number in the logarithm", "y",
      SOFTMAX + "return -(q * np.log(p + 1e-4)).sum() / n, None", LOSS)  # fmt: skip
wrong("softmax_cross_entropy_forward", "log and target exchanged", "y",
      SOFTMAX + "return -(p * np.log(q + 1e-9)).sum() / n, None", LOSS)  # fmt: skip
wrong("softmax_cross_entropy_forward", "no shift", "y", """
p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
q = np.eye(logits.shape[1])[labels] * (1 - label_smoothing) + label_smoothing / logits.shape[1]
return -(q.astype(p.dtype) * np.log(p)).sum() / len(p), None""", LOSS)  # fmt: skip
wrong("softmax_cross_entropy_backward", "divided by N twice", "dlogits",
      "return (cache.p - cache.q) * dy / len(cache.p) ** 2")  # fmt: skip
wrong("softmax_cross_entropy_backward", "the derivative of a sigmoid too", "dlogits",
      "return (cache.p - cache.q) * cache.p * (1 - cache.p) * dy / len(cache.p)")  # fmt: skip

# -- convolution -------------------------------------------------------------------------------------------

CONV = "x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1"
VIEWS = """
(s, t), (p, q), (d, e) = (v if isinstance(v, tuple) else (v, v) for v in (stride, padding, dilation))
kh, kw = w.shape[2:]
def plain(x, w, b):
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (q, q)))
    v = np.lib.stride_tricks.sliding_window_view(x, (d * (kh - 1) + 1, e * (kw - 1) + 1), axis=(2, 3))
    y = np.einsum("nchwpq,ocpq->nohw", v[:, :, ::s, ::t, ::d, ::e], w)
    return y if b is None else y + b[:, None, None]
"""
SPLIT = "np.concatenate([plain(*a, None) for a in zip(np.split(x, groups, 1), np.split(w, groups))], 1)"
wrong("conv2d_forward", "groups ignored", "y", VIEWS + "return plain(x, w, b), None", CONV)
wrong("conv2d_forward", "every group sees the first channels", "y", VIEWS + """
return plain(x[:, : w.shape[1]], w, b), None""", CONV)  # fmt: skip
wrong("conv2d_forward", "the bias of the first channel everywhere", "y", VIEWS + f"""
y = {SPLIT}
return (y if b is None else y + b[0]), None""", CONV)  # fmt: skip
wrong("conv2d_forward", "one padding for both axes", "y", VIEWS + f"""
q = p
y = {SPLIT}
return (y if b is None else y + b[:, None, None]), None""", CONV)  # fmt: skip
wrong("conv2d_forward", "one stride for both axes", "y", VIEWS + f"""
t = s
y = {SPLIT}
return (y if b is None else y + b[:, None, None]), None""", CONV)  # fmt: skip
wrong("conv2d_forward", "the kernel flipped on one axis", "y", VIEWS + f"""
w = w[..., ::-1]
y = {SPLIT}
return (y if b is None else y + b[:, None, None]), None""", CONV)  # fmt: skip
wrong("conv2d_forward", "channels in reverse order", "y", VIEWS + f"""
w = w[:, ::-1]
y = {SPLIT}
return (y if b is None else y + b[:, None, None]), None""", CONV)  # fmt: skip

CONV_BACK = """
x, w, has_bias, ((kh, kw), (s, t), (p, q), (d, e)), G, out = cache
dx, dw = np.zeros_like(x), np.zeros_like(w)
C = w.shape[1]
for n, o, i, j in np.ndindex(dy.shape):
    c = o // (len(w) // G) * C
    for a, b in np.ndindex(kh, kw):
        r, l = i * s + a * d - p, j * t + b * e - q
        if 0 <= r < x.shape[2] and 0 <= l < x.shape[3]:
            dx[n, c : c + C, r, l] += dy[n, o, i, j] * w[o, :, a, b]
            dw[o, :, a, b] += dy[n, o, i, j] * x[n, c : c + C, r, l]
db = dy.sum((0, 2, 3)) if has_bias else None
return dx, dw, db"""
for variant, results, old, new in [
    (
        "dilation forgotten in dx",
        "dx dw",
        "i * s + a * d - p, j * t + b * e - q",
        "i * s + a - p, j * t + b - q",
    ),
    ("stride forgotten", "dx dw", "i * s + a * d - p, j * t + b * e - q", "i + a * d - p, j + b * e - q"),
    ("the last row of the kernel left out", "dx dw", "np.ndindex(kh, kw)", "np.ndindex(max(kh - 1, 1), kw)"),
    ("the group of the wrong channels", "dx dw", "o // (len(w) // G) * C", "o % G * C"),
    ("db of the last image", "db", "dy.sum((0, 2, 3))", "dy[-1].sum((1, 2))"),
    ("db over the channels", "db", "dy.sum((0, 2, 3))", "np.resize(dy.sum((0, 1)), len(w))"),
    ("the first pixel left out", "dx dw", "0 <= r <", "0 < r <"),
    ("dw assigned", "dw", "dw[o, :, a, b] +=", "dw[o, :, a, b] ="),
    ("dx of the first image", "dx", "dx[n, c", "dx[0, c"),
    ("dw of the wrong image", "dw", "* x[n, c", "* x[0, c"),
    ("dx twice", "dx", "return dx, dw", "return 2 * dx, dw"),
    ("dw divided by the pixels", "dw", "return dx, dw", "return dx, dw / (out[0] * out[1])"),
]:
    wrong("conv2d_backward", variant, results, CONV_BACK.replace(old, new))

# -- batch norm --------------------------------------------------------------------------------------------

NORM = "x, gamma, beta, *, eps=1e-5"
NORMAL = """
g, b = gamma[:, None, None], beta[:, None, None]
m, v = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
"""
for variant, line in [
    ("the default eps whatever was asked for", "g * (x - m) / np.sqrt(v + 1e-5) + b"),
    ("an eps of its own", "g * (x - m) / np.sqrt(v + 1e-8) + b"),
    ("gamma inside the root", "(x - m) * np.sqrt(abs(g) / (v + eps)) + b"),
    ("the mean subtracted after the division", "g * (x / np.sqrt(v + eps) - m) + b"),
    ("the variance as a difference of large numbers",
     "g * (x - m) / np.sqrt((x * x).mean((0, 2, 3), keepdims=True) - m * m + eps) + b"),
    ("beta scaled by gamma", "g * ((x - m) / np.sqrt(v + eps) + b)"),
    ("the deviation of the first image",
     "g * (x - m) / np.sqrt(x[:1].var((0, 2, 3), keepdims=True) + eps) + b"),
]:  # fmt: skip
    wrong("batchnorm2d_forward", variant, "y", NORMAL + f"return ({line}).astype(x.dtype), None", NORM)

BACK = """
h, gamma, r = cache.xhat, cache.gamma[:, None, None], cache.rstd.reshape(-1, 1, 1)
mean = lambda a: a.mean((0, 2, 3), keepdims=True)
dx = gamma * r * (dy - mean(dy) - h * mean(dy * h))
dgamma, dbeta = (dy * h).sum((0, 2, 3)), dy.sum((0, 2, 3))
return dx, dgamma, dbeta"""
for variant, results, old, new in [
    ("the variance term added", "dx", "- h * mean(dy * h)", "+ h * mean(dy * h)"),
    ("the mean term twice", "dx", "- mean(dy) -", "- 2 * mean(dy) -"),
    ("gamma on the first term alone", "dx", "gamma * r * (dy -", "r * (gamma * dy -"),
    ("rstd squared", "dx", "gamma * r *", "gamma * r * r *"),
    ("dgamma and dbeta exchanged", "dgamma dbeta", "dgamma, dbeta =", "dbeta, dgamma ="),
    ("dgamma scaled by gamma", "dgamma", "(dy * h).sum", "(dy * h * gamma).sum"),
    ("means over the pixels of each image", "dx", "a.mean((0, 2, 3)", "a.mean((2, 3)"),
    ("means over the batch alone", "dx", "a.mean((0, 2, 3)", "a.mean(0"),
]:
    wrong("batchnorm2d_backward", variant, results, BACK.replace(old, new))

INFERENCE = "x, gamma, beta, mean, var, *, eps=1e-5"
for variant, line in [
    ("eps left to the square", "g * (x - m) / (v + eps) ** 0.25 + b"),
    ("beta before gamma", "g * ((x - m) / np.sqrt(v + eps) + b)"),
    ("the mean scaled twice", "g * (x - g * m) / np.sqrt(v + eps) + b"),
    ("the default eps whatever was asked for", "g * (x - m) / np.sqrt(v + 1e-5) + b"),
    ("gamma divides", "(x - m) / (g * np.sqrt(v + eps)) + b"),
]:
    every = "g, b, m, v = (a[:, None, None] for a in (gamma, beta, mean, var))\n"
    wrong("batchnorm2d_inference_forward", variant, "y", f"{every}return {line}, None", INFERENCE)

# -- pooling -----------------------------------------------------------------------------------------------

POOL_BACK = """
(kh, kw), (s, t), (p, q), _ = cache.window
n, c, H, W = cache.shape
dx = np.zeros((n, c, H, W), dy.dtype)
d = dy / cache.divisor
for i, j in np.ndindex(dy.shape[2:]):
    r, l = i * s - p, j * t - q
    dx[:, :, max(r, 0) : r + kh, max(l, 0) : l + kw] += d[:, :, i, j][..., None, None]
return dx"""
for variant, old, new in [
    ("multiplied by the count", "dy / cache", "dy * cache"),
    ("the last window left out", "in np.ndindex(dy.shape[2:])",
     "in np.ndindex(max(1, dy.shape[2] - 1), dy.shape[3])"),
    ("strides exchanged", "i * s - p, j * t - q", "i * t - p, j * s - q"),
    ("padding added", "i * s - p, j * t - q", "i * s + p, j * t + q"),
    ("only the first pixel", "r + kh, max(l, 0) : l + kw", "max(r, 0) + 1, max(l, 0) : max(l, 0) + 1"),
    ("the mean of dy", "d[:, :, i, j][..., None, None]", "d[:, :, i, j].mean()"),
]:  # fmt: skip
    wrong("avg_pool2d_backward", variant, "dx", POOL_BACK.replace(old, new))

MAX = "x, *, kernel, stride=None, padding=0, ceil_mode=False"
MAXIMUM = """
window, (H, W) = pool_window(x, kernel, stride, padding, ceil_mode)
(kh, kw), (s, t), (p, q), _ = window
y = np.zeros((*x.shape[:2], H, W), x.dtype)
for i, j in np.ndindex(H, W):
    r, l = i * s - p, j * t - q
    y[:, :, i, j] = x[:, :, max(r, 0) : r + kh, max(l, 0) : l + kw].max((2, 3))
return y, None"""
for variant, old, new in [
    ("the largest absolute value", ": l + kw].max((2, 3))", ": l + kw].__abs__().max((2, 3))"),
    ("the minimum", "max((2, 3))", "min((2, 3))"),
    ("the window one too short", "r + kh", "max(r, 0) + max(kh - 1, 1)"),
    ("the mean", ".max((2, 3))", ".mean((2, 3))"),
    ("never below zero", ".max((2, 3))", ".max((2, 3), initial=0)"),
    ("the maximum of the batch", ".max((2, 3))", ".max((0, 2, 3))"),
    ("the start cut, not the window", "max(r, 0) : r + kh", "max(r, 0) : max(r, 0) + kh"),
]:
    wrong("max_pool2d_forward", variant, "y", MAXIMUM.replace(old, new), MAX,
          "from senumpy.ops.windows import pool_window")  # fmt: skip

MAX_BACK = """
winner, ((kh, kw), (s, t), (p, q), _), size, out, dtype = cache
dx = np.zeros((*dy.shape[:2], *size), dtype)
for n, c, i, j in np.ndindex(dy.shape):
    a, b = divmod(int(winner[n, c, i, j]), kw)
    dx[n, c, i * s + a - p, j * t + b - q] += dy[n, c, i, j]
return dx"""
for variant, old, new in [
    ("the winner read by columns", "divmod(int(winner[n, c, i, j]), kw)",
     "reversed(divmod(int(winner[n, c, i, j]) % (kh * kw), kh))"),
    ("right for square windows alone", "[n, c, i, j]), kw)", "[n, c, i, j]), kh)"),
    ("divided by the window", "+= dy[n, c, i, j]", "+= dy[n, c, i, j] / (kh * kw)"),
    ("the winners of the first image", "winner[n, c, i, j]", "winner[0, c, i, j]"),
    ("the winners of the first channel", "winner[n, c, i, j]", "winner[n, 0, i, j]"),
    ("the sign", "+= dy", "-= dy"),
]:  # fmt: skip
    wrong("max_pool2d_backward", variant, "dx", MAX_BACK.replace(old, new))

wrong("global_avg_pool_backward", "divided by the channels too", "dx", """
n, c, h, w = cache.shape
return np.broadcast_to(dy[:, :, None, None] / (c * h * w), cache.shape)""")  # fmt: skip
wrong("global_avg_pool_backward", "all at the first pixel", "dx", """
dx = np.zeros(cache.shape, dy.dtype)
dx[:, :, 0, 0] = dy
return dx""")  # fmt: skip
wrong("global_avg_pool_backward", "right for square images alone", "dx", """
n, c, h, w = cache.shape
return np.broadcast_to(dy[:, :, None, None] / h**2, cache.shape)""")  # fmt: skip
wrong("global_avg_pool_backward", "the axes of (N, C)", "dx", "return np.ones(cache.shape) * dy / dy.size")
SQUEEZE = "u, *, operator='avg'"
wrong("squeeze_forward", "the maximum whatever was asked for", "y", "return u.max((2, 3)), None", SQUEEZE)
wrong("squeeze_forward", "the last pixel", "y", "return u[:, :, -1, -1].copy(), None", SQUEEZE)
wrong("squeeze_forward", "divided by H alone", "y", """
return (u.max((2, 3)) if operator == "max" else u.sum((2, 3)) / u.shape[2]), None""", SQUEEZE)  # fmt: skip
wrong("squeeze_forward", "the maximum of absolute values", "y", """
return (abs(u).max((2, 3)) if operator == "max" else u.mean((2, 3))), None""", SQUEEZE)  # fmt: skip
