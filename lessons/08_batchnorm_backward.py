# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 8. Batch norm, backward
#
# **Question.** In batch norm every output of a channel depends on every input of that channel, so its
# Jacobian has $M^2$ entries: ten billion for one channel of 32 images of $56 \times 56$ pixels. How can the
# gradient be three short terms? And why does a test with an upstream gradient of all ones check nothing at
# all?
#
# *Paper: the networks of section 4 have batch norm after their convolutions; arXiv 1502.03167, section 3,
# gives the first of our three derivations.* Reading time: 13 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.verify import check_gradients
from senumpy.verify.mistakes import MISTAKES
from senumpy.verify.numerical import complex_step

style()
rng = np.random.default_rng(8)

# %% [markdown]
# Channels don't meet, so we take a single one and write its $M = NHW$ numbers as a vector $x$. With
# $r = 1/\sqrt{\sigma^2 + \varepsilon}$ the forward pass of [lesson 7](07_batchnorm_forward.py) is
#
# $$
# \begin{aligned}
# \mu &= \frac1M \sum_l x_l, & \sigma^2 &= \frac1M \sum_l (x_l - \mu)^2, \\
# \hat x_l &= r\,(x_l - \mu), & y_l &= \gamma\,\hat x_l + \beta .
# \end{aligned}
# $$
#
# The last step is easy. An upstream gradient $dy$ gives $d\beta = \sum_l dy_l$, $d\gamma = \sum_l dy_l\,\hat
# x_l$ and $g = \gamma\,dy$, the gradient that arrives at $\hat x$. What remains is the way from $g$ to $dx$.
# We go it three times: the first is safe, the second short, and the third shows what is going on.
#
# ## The first way: node by node
#
# Break the formula into steps so small that each derivative is obvious, then walk back through them. Every
# variable that is used twice collects twice: *copying forward means adding backward* ([lesson
# 6](06_convolution_backward.py)). Here $c = x - \mu$ is used twice, in $\hat x$ and in the variance, and so
# is $x$, in $c$ and in $\mu$.


# %%
def node_by_node(dxhat, x, eps=1e-5):
    """Return dx for the gradient of xhat; x is one channel as a vector."""
    M = x.size
    # forward
    mu = x.sum() / M
    c = x - mu
    v = (c * c).sum() / M
    r = (v + eps) ** -0.5
    # xhat = c * r; and now back, last step first
    dr = (dxhat * c).sum()
    dc = dxhat * r
    dv = -0.5 * r**3 * dr
    dc = dc + 2 * c * dv / M  # the second use of c
    dmu = -dc.sum()
    return dc + dmu / M  # x is used in c and in mu


# %% [markdown]
# Nobody could call this hard, and it works for any formula: it is what automatic differentiation does. Its
# price is that we learn nothing. Let us try it on the channel of lesson 7, $x = (1, 3, 5, 7)$ with
# $\varepsilon = 0$, where only the first output matters, $g = (1, 0, 0, 0)$:

# %%
x, g = np.array([1.0, 3, 5, 7]), np.array([1.0, 0, 0, 0])
dx = node_by_node(g, x, eps=0.0)
print((dx * np.sqrt(5)).round(12))  # times the deviation, for round numbers
np.testing.assert_allclose(dx * np.sqrt(5), [0.3, -0.4, -0.1, 0.2], atol=1e-12)

# %% [markdown]
# Only the first output matters, and yet *all* inputs have a gradient, because all of them act on $\mu$ and
# $\sigma^2$. Keep these four numbers in mind; their sum is 0, and that is no accident.
#
# ## The second way: indices
#
# Now differentiate $\hat x_l = r\,(x_l - \mu)$ directly by some $x_k$. The pieces, with $\delta_{kl} = 1$ if
# $k = l$ and 0 otherwise:
#
# $$
# \begin{aligned}
# \frac{\partial \mu}{\partial x_k} &= \frac1M, \\
# \frac{\partial \sigma^2}{\partial x_k} &= \frac2M \sum_l (x_l - \mu)\Big(\delta_{kl} - \frac1M\Big)
# = \frac2M (x_k - \mu), \\
# \frac{\partial r}{\partial x_k} &= -\frac{r^3}2 \cdot \frac2M (x_k - \mu) = -\frac{r^2}{M} \hat x_k .
# \end{aligned}
# $$
#
# In the middle one the $1/M$ drops out because deviations sum to zero. By the product rule,
#
# $$
# \begin{aligned}
# \frac{\partial \hat x_l}{\partial x_k}
# &= r\Big(\delta_{kl} - \frac1M\Big) - \frac{r^2}{M}\hat x_k (x_l - \mu) \\
# &= r\Big(\delta_{kl} - \frac1M - \frac{\hat x_k \hat x_l}{M}\Big) .
# \end{aligned}
# $$
#
# The three terms are the three ways in which $x_k$ acts on $\hat x_l$: directly, through the mean, through
# the variance. Summed against $g_l$ they become two averages, and the $M^2$ entries are gone:
#
# $$
# \begin{aligned}
# dx_k &= r\Big(g_k - \frac1M\sum_l g_l - \hat x_k\,\frac1M \sum_l g_l \hat x_l\Big) \\
# &= r\,\big(g_k - \operatorname{mean}(g) - \hat x_k \operatorname{mean}(g\,\hat x)\big) .
# \end{aligned}
# $$
#
# On the example, $\operatorname{mean}(g) = \tfrac14$, and $\hat x = (-3, -1, 1, 3)/\sqrt5$ gives $\hat x_k
# \operatorname{mean}(g\,\hat x) = (0.45, 0.15, -0.15, -0.45)$. So $dx/r = (1, 0, 0, 0) - 0.25 - (0.45, 0.15,
# -0.15, -0.45) = (0.3, -0.4, -0.1, 0.2)$, as before. Let the complex step of [lesson
# 2](02_gradients_and_checking.py), which knows nothing of these derivations, judge both ways:


# %%
def normalise(x, eps=1e-5):
    c = x - x.mean()
    return c / np.sqrt((c * c).mean() + eps)


def by_indices(g, x, eps=1e-5):
    xhat, r = normalise(x, eps), 1 / np.sqrt(x.var() + eps)
    return r * (g - g.mean() - xhat * (g * xhat).mean())


M = 12
x, g = rng.standard_normal(M), rng.standard_normal(M)
J = np.stack([complex_step(normalise, x, e) for e in np.eye(M)], axis=1)  # J[l, k] = dxhat[l] / dx[k]
np.testing.assert_allclose(node_by_node(g, x), J.T @ g, atol=1e-14)
np.testing.assert_allclose(by_indices(g, x), J.T @ g, atol=1e-14)

# %% [markdown]
# ## The third way: projections
#
# Look at the result as a geometer would. $\operatorname{mean}(g)$ at each place is
# $\mathbf 1 \mathbf 1^{\mathsf T} g / M$, where $\mathbf 1$ is the vector of ones: the part of $g$ along
# $\mathbf 1$. And as $\hat x$ has length $\sqrt M$ (with $\varepsilon = 0$), the last term
# $\hat x \hat x^{\mathsf T} g / M$ is the part of $g$ along $\hat x$. So
#
# $$
# dx = r\,\Big(I - \frac{\mathbf 1 \mathbf 1^{\mathsf T}}{M} - \frac{\hat x \hat x^{\mathsf T}}{M}\Big)\, g :
# $$
#
# *take from $g$ its components along $\mathbf 1$ and along $\hat x$, and multiply the rest by $r$.*
#
# Could we have known? Yes, without any calculation. Normalising first projects $x$ on the hyperplane of
# vectors with mean 0, and then stretches it to the length $\sqrt M$: all results lie on a sphere. Two
# movements of $x$ are lost on the way. A shift along $\mathbf 1$ is removed by the centring, a stretch along
# $\hat x$ by the division. A direction in which the output doesn't move is one in which the loss doesn't
# change, and the gradient can have no component there. The directions at right angles to these two are
# tangent to the sphere, and there all that happens is the division by the deviation: a factor $r$.
#
# With $M = 3$ the hyperplane is a plane and can be drawn, and the sphere in it is a circle of radius
# $\sqrt3$. Grey dots are centred batches of three numbers, black dots what they are normalised to. At one of
# them, $\hat x$, an upstream gradient $g$, drawn without its mean, loses the part that points outward; what is
# left is tangent to the circle.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: grey points, centred batches of three numbers, move along rays on to a circle of radius 1.73. At one point of the circle, x-hat, an arrow g points obliquely outward; what is left of it after projection, dx over r, is tangent to the circle. Right: the 12 singular values of the Jacobian divided by r. Ten of them are 1, the last two are 0."}}
plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])  # two axes at right angles, both of mean 0
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4), width_ratios=(1.1, 1))
angle = np.linspace(0, 2 * np.pi, 200)
left.plot(np.sqrt(3) * np.cos(angle), np.sqrt(3) * np.sin(angle), color="black", linewidth=0.8)
triple, g3 = plane.T @ [0.5, 1.0], plane.T @ [2.3, 0.9] + 0.8  # the 0.8 is a part along (1, 1, 1)
at, arrow = plane @ normalise(triple), plane @ g3
for batch in 1.3 * rng.standard_normal((14, 3)):
    from_, to = plane @ batch, plane @ normalise(batch)
    if at @ to > 2:  # leave room for the arrows
        continue
    left.plot(*zip(from_, to, strict=True), color="0.8", linewidth=0.8)
    left.plot(*from_, "o", color="0.7", markersize=3)
    left.plot(*to, "o", color="black", markersize=3)
tangent = plane @ by_indices(g3, triple) * np.sqrt(triple.var() + 1e-5)
assert abs(at @ tangent) < 1e-3
places = {"g": (arrow, "C0", (-14, 4)), "dx / r": (tangent, "C1", (3, -5))}
for name, (vector, colour, offset) in places.items():
    left.annotate("", at + vector, at, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2})
    left.annotate(name, at + vector, xytext=offset, textcoords="offset points", color=colour)
left.plot(*zip(at + arrow, at + tangent, strict=True), "--", color="0.4", linewidth=1)
left.plot(*at, "o", color="black", markersize=6)
left.annotate(r"$\hat x$", at, xytext=(-16, -12), textcoords="offset points")
left.set(aspect="equal", xlim=(-3.1, 3.5), ylim=(-2.9, 3.1), xticks=[], yticks=[])
left.set_xlabel("the plane of vectors with mean 0")
left.spines[:].set_visible(False)
singular = np.linalg.svd(J, compute_uv=False) * np.sqrt(x.var() + 1e-5)
right.plot(range(1, M + 1), singular, "o", color="C1")
right.set(xlabel="rank of the singular value, M = 12", ylabel="singular value of the Jacobian / r")
right.set_xticks((1, 10, 12))
right.set_ylim(-0.05, 1.15)
np.testing.assert_allclose(singular, [1] * 10 + [0] * 2, atol=1e-4)
plt.show()

# %% [markdown]
# On the right is the same for the twelve numbers from above: the Jacobian has ten singular values equal to
# $r$ and two that are zero, but for $\varepsilon$. It removes two directions out of $M$ and treats all others
# alike.
#
# (To be exact: $\varepsilon$ makes $\hat x$ shorter than $\sqrt M$, by the factor
# $\sqrt{1 - \varepsilon r^2}$, and the part along $\hat x$ shrinks to $\varepsilon r^2$ of itself rather than
# to zero. The part along $\mathbf 1$ is zero in any case, and the formula for $dx$ holds for every
# $\varepsilon$.)

# %%
dx = by_indices(g, x, eps=0.1)
xhat, r = normalise(x, 0.1), 1 / np.sqrt(x.var() + 0.1)
np.testing.assert_allclose(dx.sum(), 0, atol=1e-14)
np.testing.assert_allclose(dx @ xhat, r * (g @ xhat) * 0.1 * r**2, rtol=1e-12)

# %% [markdown]
# For code, both averages come for free. $d\beta = \sum_l dy_l$ and $d\gamma = \sum_l dy_l\,\hat x_l$ are wanted
# anyway, and with $g = \gamma\,dy$ the averages are $\gamma\,d\beta/M$ and $\gamma\,d\gamma/M$:
#
# $$
# dx = \gamma\,r\,\Big(dy - \frac{d\beta}{M} - \hat x\,\frac{d\gamma}{M}\Big) .
# $$
#
# {py:func}`senumpy.ops.batchnorm2d_backward` computes this for all channels at once:

# %%
show(ops.batchnorm2d_backward)
_, cache = ops.batchnorm2d_forward(x.reshape(1, 1, 3, 4), np.array([1.5]), np.zeros(1))
dx = ops.batchnorm2d_backward(g.reshape(1, 1, 3, 4), cache).dx
np.testing.assert_allclose(dx.ravel(), by_indices(1.5 * g, x), atol=1e-14)

# %% [markdown]
# In inference mode $\mu$ and $\sigma^2$ are constants and only the direct path is left, $dx = \gamma r\,dy$.
# The projection *is* the difference between the two modes.
#
# ## Why a gradient of all ones checks nothing
#
# [Lesson 2](02_gradients_and_checking.py) met a test with $L = \sum y$, that is $dy = \mathbf 1$, which passed
# batch norm's gradient multiplied by $-7$. Now the reason is plain: $\mathbf 1$ is one of the two directions
# that are removed, so the true gradient is zero, and zero times any factor is zero. Is another simple loss,
# $L = \tfrac12\sum y^2$, any better? There $dy = y = \gamma\hat x + \beta\mathbf 1$ is made of the very two
# directions that are removed! (What remains of it below, $10^{-5}$, is due to $\varepsilon$.)

# %%
x4 = rng.standard_normal((3, 2, 4, 4))
gamma, beta = np.array([1.5, -0.7]), np.array([0.3, 2.0])
y, cache = ops.batchnorm2d_forward(x4, gamma, beta)
upstream = {"all ones": np.ones_like(y), "y itself": y, "random, signed": rng.standard_normal(y.shape)}
for name, dy in upstream.items():
    dx = ops.batchnorm2d_backward(dy, cache).dx
    print(f"{name:15} |dx| / |dy| = {np.linalg.norm(dx) / np.linalg.norm(dy):.1e}")


def minus_seven(dy, cache):
    gradients = ops.batchnorm2d_backward(dy, cache)
    return gradients._replace(dx=-7 * gradients.dx)


for name in ("all ones", "y itself"):
    dy = upstream[name]
    truth = ops.batchnorm2d_backward(dy, cache).dx
    np.testing.assert_allclose(minus_seven(dy, cache).dx, truth, rtol=1e-3, atol=1e-3)  # it passes!

# %% [markdown]
# The checker draws signed upstream gradients, and they tell right from wrong:

# %%
arguments = (x4, gamma, beta)
report = check_gradients(ops.batchnorm2d_forward, minus_seven, arguments)
print(report.verdict, *report.reasons[:1], sep=": ")
assert report.verdict == "failed"
assert check_gradients(ops.batchnorm2d_forward, ops.batchnorm2d_backward, arguments).ok

# %% [markdown]
# ## A second way to be blind
#
# A frequent mistake is to forget both averages, as if $\mu$ and $\sigma^2$ were constants. Is a random
# signed gradient enough to see that? A random vector in $M$ dimensions has only some $\sqrt{2/M}$ of its
# length in two given directions: on large images the missing terms drown. An upstream gradient that is
# constant over each image, one random number for each image and channel, keeps them in sight.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Relative error of the wrong dx against image size, both axes logarithmic. With Gaussian noise as upstream gradient the error falls from 0.3 at 2 by 2 pixels to below 0.01 at 64 by 64, in line with the square root of 2 over M. With an upstream gradient that is constant over each image it stays between 0.4 and 1 at every size."}}
constants = next(m for m in MISTAKES if (m.op, m.name) == ("batchnorm2d", "constant-statistics"))
sides = np.array([2, 4, 8, 16, 32, 64])
errors = {"Gaussian noise": [], "constant over each image": []}
for side in sides:
    x4 = rng.standard_normal((4, 8, side, side))
    y, cache = ops.batchnorm2d_forward(x4, np.ones(8), np.zeros(8))
    noise, level = rng.standard_normal(y.shape), rng.standard_normal((4, 8, 1, 1)) * np.ones_like(y)
    for name, dy in zip(errors, (noise, level), strict=True):
        right, wrong = ops.batchnorm2d_backward(dy, cache).dx, constants.backward(dy, cache).dx
        errors[name].append(np.linalg.norm(wrong - right) / np.linalg.norm(right))
fig, ax = plt.subplots()
for name, line in errors.items():
    ax.loglog(sides, line, "o-", label=name)
ax.loglog(sides, np.sqrt(2 / (4 * sides**2)), "--", color="0.5", label=r"$\sqrt{2/M}$")
ax.set(xlabel="height and width of the image, pixels", ylabel="relative error of dx")
ax.set_xticks(sides, labels=sides)
ax.minorticks_off()
ax.legend(title="upstream gradient")
np.testing.assert_allclose(errors["Gaussian noise"], np.sqrt(2 / (4 * sides**2)), rtol=0.35)
assert min(errors["constant over each image"]) > 0.3
plt.show()

# %% [markdown]
# With noise alone, a test that tolerates a relative error of $10^{-2}$ passes the wrong formula from about
# $64 \times 64$ pixels on. Use small images, float64, tight tolerances and *structured* directions. The same
# trap waits in [lesson 13](13_scale.py), where the path through the gate is as thinly spread.
#
# ## Summary
#
# - Node by node, by indices, by projections: three ways to
#   $dx = r\,(g - \operatorname{mean}(g) - \hat x \operatorname{mean}(g\,\hat x))$ with $g = \gamma\,dy$.
# - The Jacobian removes the components along $\mathbf 1$ and $\hat x$ (shift and scale, which batch norm
#   doesn't see) and multiplies the rest by $r$.
# - So $L = \sum y$ and $L = \sum y^2$ have gradient zero (the second but for $\varepsilon$) and test nothing;
#   noise alone tests little on large images.
# - In inference mode there is no projection: $dx = \gamma r\,dy$.
#
# ## Exercises
#
# - `batchnorm2d_backward` (4 points): all three gradients in training mode; any derivation will do.
#   `senumpy exercise start batchnorm2d_backward`
#
# 1. $M = 2$. What is $dx$ for $\varepsilon = 0$, whatever $dy$ is? Explain it without a formula.
#
# :::{admonition} Answer
# :class: dropdown
# Zero. In two dimensions $\mathbf 1$ and $\hat x$ span everything. Or: two different numbers are always
# normalised to $-1$ and $1$, so a small change of them changes nothing. A gradient check with $M = 2$ is
# blind as well.
# :::
#
# 2. A convolution with weights $w$ stands before batch norm. Show that $\langle dw, w\rangle = 0$
#    ($\varepsilon = 0$). What does a step of gradient descent do to the length of $w$?
#
# :::{admonition} Answer
# :class: dropdown
# The loss doesn't change if $w$ is stretched, so its derivative along $w$ is 0. (By lesson 6, $\langle dw,
# w\rangle = \langle du, u\rangle$ for the convolution's output $u = r^{-1}\hat x + \mu \mathbf 1$, and $du$
# is orthogonal to both.) The step is at right angles to $w$, so $|w|$ grows with every step, and the steps
# matter less and less; weight decay works against it.
# :::
#
# 3. Why does a bias in the convolution before batch norm never change in training, whatever it was at the
#    start?
#
# :::{admonition} Answer
# :class: dropdown
# Its gradient is the sum of batch norm's $dx$ over the channel, the component along $\mathbf 1$: always zero.
# Only weight decay could move it.
# :::
#
# 4. Try it: in `node_by_node` leave out the last term, `dmu / M`. Which upstream gradients still give the
#    right result?
#
# :::{admonition} Answer
# :class: dropdown
# Those whose mean is zero. The centred variables sum to zero, so $d\mu = -r \sum_l g_l$; the part through the
# variance adds nothing to it.
# :::
