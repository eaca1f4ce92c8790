"""Wrong answers as students write them: gates, blocks and units of several steps."""

from __future__ import annotations

from tests.coursework.wrong_answers import wrong

# -- gates and blocks --------------------------------------------------------------------------------------

wrong("residual_add_backward", "the sign of one", "dshortcut", "return dy.copy(), -dy")
wrong("residual_add_backward", "doubled", "dbranch dshortcut", "return 2 * dy, 2 * dy")
wrong("scale_backward", "du and ds exchanged factors", "du ds", """
return dy * cache.u, (dy * cache.s[:, :, None, None]).sum((2, 3))""")  # fmt: skip
wrong("scale_backward", "ds over the batch", "ds", """
ds = np.broadcast_to((dy * cache.u).sum((0, 2, 3)), cache.s.shape)
return dy * cache.s[:, :, None, None], ds""")  # fmt: skip
wrong("scale_backward", "ds over one axis", "ds", """
return dy * cache.s[:, :, None, None], (dy * cache.u).sum(2)[:, :, 0]""")  # fmt: skip
wrong("scale_backward", "the wrong broadcast", "du", """
s = np.resize(cache.s, dy.shape[2:]) if dy.shape[2:] != cache.s.shape else cache.s
return dy * s, (dy * cache.u).sum((2, 3))""")  # fmt: skip

EXCITE = "z, w1, b1, w2, b2, *, gate='sigmoid'"
EXCITATION = """
f = {"sigmoid": lambda t: 1 / (1 + np.exp(-t)), "tanh": np.tanh, "relu": lambda t: np.maximum(t, 0)}[gate]
h = np.maximum(z @ w1.T + (0 if b1 is None else b1), 0)
return f(h @ w2.T + (0 if b2 is None else b2)), None"""
for variant, old, new in [
    ("the bias after the ReLU", "np.maximum(z @ w1.T + (0 if b1 is None else b1), 0)",
     "np.maximum(z @ w1.T, 0) + (0 if b1 is None else b1)"),
    ("a ReLU before the gate", "f(h @ w2.T", "f(np.maximum(h, 0) @ np.maximum(w2.T, 0)"),
    ("the gate applied twice", "return f(", "return f(1 - f("),
    ("a sigmoid inside", "np.maximum(z", "1 / (1 + np.exp(-z"),
    ("tanh of half", "np.tanh,", "lambda t: np.tanh(t / 2),"),
]:  # fmt: skip
    body = EXCITATION.replace(old, new)
    body = body.replace("b2)), None", "b2))), None") if "twice" in variant else body
    body = body.replace("b1), 0)", "b1)))") if "inside" in variant else body
    wrong("excitation_forward", variant, "y", body, EXCITE)

EXCITE_BACK = """
r, relu, e, gate, name = cache
slope = gate.mask if name == "relu" else 1 - gate.y**2 if name == "tanh" else gate.y * (1 - gate.y)
dt = dy * slope
da = (dt @ e.w) * relu.mask
dz, dw1, dw2 = da @ r.w, da.T @ r.x, dt.T @ e.x
return dz, dw1, da.sum(0) if r.has_bias else None, dw2, dt.sum(0) if e.has_bias else None"""
for variant, results, old, new in [
    ("the derivative of a sigmoid for tanh", "dz dw1 db1 dw2", "1 - gate.y**2", "gate.y * (1 - gate.y)"),
    ("dw1 sees dy without the mask", "dw1", "da.T @ r.x", "(dt @ e.w).T @ r.x"),
    ("dw2 with the descriptors", "dw2", "dt.T @ e.x", "dt.T @ (r.x @ r.w.T)"),
    ("db2 without the gate", "db2", "dt.sum(0) if", "dy.sum(0) if"),
    ("biases exchanged where there is room", "db1", "da.sum(0) if", "np.resize(dt.sum(0), len(r.w)) if"),
]:
    wrong("excitation_backward", variant, results, EXCITE_BACK.replace(old, new))

SE = "u, w1, b1, w2, b2, *, squeeze='avg', gate='sigmoid'"
STEPS = """
z, _ = squeeze_forward(u, operator=squeeze)
s, _ = excitation_forward(z, w1, b1, w2, b2, gate=gate)
return scale_forward(u, s)[0], None"""
GIVEN = """
from senumpy.ops.excitation import excitation_forward
from senumpy.ops.scale import scale_forward
from senumpy.ops.squeeze import squeeze_forward"""
for variant, old, new in [
    ("the input added", "return scale_forward(u, s)[0]", "return u + scale_forward(u, s)[0] - s.mean()"),
    ("divided by the gate", "scale_forward(u, s)[0]", "u / (s[:, :, None, None] + 1e-12)"),
    ("the gates of the images in reverse order", "scale_forward(u, s)", "scale_forward(u, s[::-1])"),
    ("the gates of the channels in reverse order", "scale_forward(u, s)", "scale_forward(u, s[:, ::-1])"),
    ("the squeeze of the first image", "w1, b1", "w1, b1"),
    ("w1 and w2 exchanged", "z, w1, b1, w2, b2", "z, w2.T, b1, w1.T, b2"),
    ("the default gate and squeeze together", ", operator=squeeze)", ")"),
]:  # fmt: skip
    body = STEPS.replace(old, new)
    body = body.replace(", gate=gate", "") if "together" in variant else body
    body = body.replace("forward(z, w1", "forward(z[:1] + 0 * z, w1") if "first image" in variant else body
    wrong("squeeze_excite_forward", variant, "y", body, SE, GIVEN)

SE_BACK = """
du, ds = scale_backward(dy, cache.scale)
g = excitation_backward(ds, cache.excitation)
dz = squeeze_backward(g.dz, cache.squeeze).du
return du + dz, g.dw1, g.db1, g.dw2, g.db2"""
GIVEN = GIVEN.replace("forward", "backward")
for variant, results, old, new in [
    ("the difference of the paths", "du", "du + dz", "du - dz"),
    ("the product of the paths", "du", "du + dz", "du * dz"),
    ("the mean of the paths", "du", "du + dz", "(du + dz) / 2"),
    (
        "the excitation of dy",
        "du dw1 db1 dw2 db2",
        "excitation_backward(ds,",
        "excitation_backward(dy.sum((2, 3)),",
    ),
    ("weights exchanged", "dw1 dw2", "g.dw1, g.db1, g.dw2, g.db2", "g.dw2.T, g.db1, g.dw1.T, g.db2"),
    ("the direct path twice", "du", "du + dz", "2 * du + dz"),
]:
    wrong("squeeze_excite_backward", variant, results, SE_BACK.replace(old, new), "dy, cache", GIVEN)

UNIT = """
d = relu_backward(dy, cache.relu).dx
n = batchnorm2d_backward(d, cache.norm)
c = conv2d_backward(n.dx, cache.conv)
return c.dx, c.dw, n.dgamma, n.dbeta"""
GIVEN = """
from senumpy.ops.activations import relu_backward
from senumpy.ops.batchnorm import batchnorm2d_backward
from senumpy.ops.conv2d import conv2d_backward"""
for variant, results, old, new in [
    ("batch norm skipped", "dx dw", "backward(n.dx", "backward(d"),
    (
        "the mask after batch norm too",
        "dx dw",
        "backward(n.dx",
        "backward(relu_backward(n.dx, cache.relu).dx",
    ),
    (
        "no mask before batch norm",
        "dx dw dgamma dbeta",
        "_backward(d, cache.norm)",
        "_backward(dy, cache.norm)",
    ),
    ("batch norm's gradients exchanged", "dgamma dbeta", "n.dgamma, n.dbeta", "n.dbeta, n.dgamma"),
    ("the sign of dx", "dx", "c.dx, c.dw", "-c.dx, c.dw"),
    ("three gradients", "", ", n.dbeta", ""),
]:
    wrong("conv_bn_relu_backward", variant, results, UNIT.replace(old, new), "dy, cache", GIVEN)

TAIL = "c, gamma, beta, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze='avg', gate='sigmoid'"
TAIL_STEPS = """
v, _ = batchnorm2d_forward(c, gamma, beta, eps=eps)
if w1 is not None:
    v, _ = squeeze_excite_forward(v, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
return np.maximum(v + shortcut, 0), None"""
GIVEN = """
from senumpy.ops.batchnorm import batchnorm2d_forward
from senumpy.ops.squeeze_excite import squeeze_excite_forward"""
for variant, old, new in [
    ("the default eps whatever was asked for", ", eps=eps)", ")"),
    (
        "the shortcut normalised too",
        "v + shortcut",
        "v + batchnorm2d_forward(shortcut, gamma, beta, eps=eps)[0]",
    ),
    ("the shortcut subtracted", "v + shortcut", "v - shortcut"),
    ("SE before batch norm", "v, _ = batchnorm2d_forward(c, gamma, beta, eps=eps)\n", "v = c\n"),
    ("SE left out", "if w1 is not None", "if False"),
    ("the shortcut scaled by its mean", "v + shortcut", "v + shortcut.mean((2, 3), keepdims=True)"),
    ("the gate of SE left to the default", ", gate=gate", ""),
]:
    body = TAIL_STEPS.replace(old, new)
    if "before" in variant:
        body = body.replace(
            "return np.maximum(v", "return np.maximum(batchnorm2d_forward(v, gamma, beta, eps=eps)[0]"
        )
    wrong("residual_tail_forward", variant, "y", body, TAIL, GIVEN)

TAIL_BACK = """
d = relu_backward(dy, cache.relu).dx
se = (d, None, None, None, None) if cache.se is None else squeeze_excite_backward(d, cache.se)
n = batchnorm2d_backward(se[0], cache.norm)
return n.dx, n.dgamma, n.dbeta, se[1], se[2], se[3], se[4], d.copy()"""
GIVEN = """
from senumpy.ops.activations import relu_backward
from senumpy.ops.batchnorm import batchnorm2d_backward
from senumpy.ops.squeeze_excite import squeeze_excite_backward"""
for variant, results, old, new in [
    ("the shortcut gets the branch's gradient", "dshortcut", "d.copy()", "np.array(se[0])"),
    ("batch norm sees d instead of SE's gradient", "dc dgamma dbeta", "backward(se[0]", "backward(d"),
    ("no mask for SE", "dc dgamma dbeta dw1 db1 dw2 db2", "backward(d, cache.se)", "backward(dy, cache.se)"),
    ("the shortcut's gradient halved", "dshortcut", "d.copy()", "d / 2"),
    ("the gradient of c is SE's", "dc", "return n.dx", "return se[0]"),
    ("dc and the shortcut's gradient exchanged", "dc dshortcut", "return n.dx, ", "return d.copy(), "),
]:
    body = TAIL_BACK.replace(old, new)
    body = body.replace("se[4], d.copy()", "se[4], n.dx") if "exchanged" in variant else body
    wrong("residual_tail_backward", variant, results, body, "dy, cache", GIVEN)
