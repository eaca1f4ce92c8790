# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 9. Pooling, and its ties
#
# **Question.** Pooling has no weights and nothing to learn; a page of code and done, one would think. But who
# receives the gradient when two pixels share the maximum? What is the average of a window that hangs over the
# edge? And how can two networks with the same layers and the same sizes give different numbers?
#
# *Paper: table 1, the pool behind the first convolution and the average at the end; figure 1.*
# Reading time: 13 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.verify import check_gradients, check_like
from senumpy.verify.mistakes import MISTAKES

style()
rng = np.random.default_rng(9)
bank = {m.name: m for m in MISTAKES if m.op == "max_pool2d"}
digits = load_digits().images[:200, None] / 16  # (200, 1, 8, 8)

# %% [markdown]
# ## The maximum of a window
#
# With kernel $k$, stride $s$ and padding $P$, each channel by itself,
#
# $$
# y[n,c,i,j] = \max_{p,q}\; x[n,\,c,\; is + p - P,\; js + q - P] ,
# $$
#
# over those taps $(p, q)$ only that lie inside the image: **padding never wins.** A convolution sees zeros
# outside the image. If a pool did so too, the zero would beat every negative number near the edge.
# Implementations pad with $-\infty$ or, as here, keep a mask of what is inside.
#
# An image to compute with, kernel 2 and stride 2 first:

# %%
x = np.array([[1.0, 3, 2, 0], [4, 4, 1, 2], [0, 1, 5, 5], [2, 0, 5, 3]])[None, None]
y, cache = ops.max_pool2d_forward(x, kernel=2)  # the stride is the kernel unless another is given
print(y[0, 0], cache.winner[0, 0], sep="\n")
assert (y[0, 0] == [[4, 2], [2, 5]]).all()
assert (cache.winner[0, 0] == [[2, 0], [2, 0]]).all()
assert (ops.max_pool2d_forward(-x, kernel=3, stride=2, padding=1)[0] <= 0).all()

# %% [markdown]
# The cache holds who won: the number of the tap, counted row by row. Three of the four windows have *two or
# three* winners. In the first, 4 stands at taps 2 and 3, and tap 2 is noted. That is the sign `>` in the
# code of {py:func}`senumpy.ops.max_pool2d_forward`: a rival has to be truly larger, so the first maximum
# stays. NaN, for which every comparison is false, is let through by a clause of its own: a network that has
# produced NaN should show it, not hide it in a pool. (`.real` is for the complex step of
# [lesson 2](02_gradients_and_checking.py).)

# %%
show(ops.max_pool2d_forward)

# %% [markdown]
# ## Ties and overlaps
#
# A maximum copies one entry of its window. So the backward pass gives the *whole* upstream gradient to that
# entry and nothing to the others: they could move a little without changing $y$. If windows overlap, one
# entry may win several of them, and by the rule of [lesson 6](06_convolution_backward.py) it collects from
# all: copying forward means adding backward.
#
# Kernel 3 and stride 1 on the same image give four windows. The 5 in row 2, column 2 wins all of them, so
# with $dy = \begin{pmatrix} 1 & -2 \\ 4 & 3 \end{pmatrix}$ it gets $1 - 2 + 4 + 3 = 6$. Code with `=` for
# `+=` keeps only what came last.

# %%
dy = np.array([[1.0, -2], [4, 3]])[None, None]
y, cache = ops.max_pool2d_forward(x, kernel=3, stride=1)
right, wrong = ops.max_pool2d_backward(dy, cache).dx, bank["assigned"].backward(dy, cache).dx
print("with += the entry gets", right[0, 0, 2, 2], "and with =", wrong[0, 0, 2, 2])
assert right[0, 0, 2, 2] == 6
assert right.sum() == dy.sum() != wrong.sum()

# %% [markdown]
# With stride 2 and kernel 2 no two windows overlap, and `=` is right. A university course on deep learning
# has its pooling exercise tested in that case only, so submissions with `=` pass. ResNets pool with kernel 3
# and stride 2.

# %%
image = rng.standard_normal((2, 2, 6, 6))
for kernel, stride in ((2, 2), (3, 2)):
    settings = {"kernel": kernel, "stride": stride}
    report = check_gradients(ops.max_pool2d_forward, bank["assigned"].backward, (image,), settings)
    print(f"'=' with kernel {kernel}, stride {stride}: {report.verdict}")
    assert report.ok == (kernel == stride)

# %% [markdown]
# Now the ties. Where $a = b$, the function $\max(a, b)$ has a kink, and no derivative. If $a$ grows, the
# maximum grows with it; if $a$ shrinks, $b$ takes over and nothing changes: the one-sided derivatives are 1
# and 0. Any share $\lambda$ for $a$ and $1 - \lambda$ for $b$ with $0 \le \lambda \le 1$ is a *subgradient*,
# and a legitimate answer. What is not legitimate is to give both the whole, as `dy * (x == y)` does: then
# the shares sum to 2. The checker knows the difference. At a kink it accepts what lies between the one-sided
# derivatives:

# %%
for name in ("last-maximum", "ties-share-evenly", "ties-all-get-it"):
    mistake = bank[name]
    report = check_gradients(mistake.forward, mistake.backward, (x,), {"kernel": 2})
    convention = check_like("max_pool2d", mistake.forward, mistake.backward)
    print(f"{name:18} gradient {report.verdict}, our convention {convention.verdict}")
    assert report.ok == (name != "ties-all-get-it")
    assert not convention.ok

# %% [markdown]
# So that the first maximum takes all is a convention, not a theorem. It is that of
# {py:func}`senumpy.ops.max_pool2d_backward` and of PyTorch's pools. (PyTorch itself is of two minds: its
# `amax` shares evenly.) One has to pick, since a gradient that depends on the implementation makes two
# correct programs drift apart in training.
#
# Are ties rare? On real numbers drawn at random, yes. Pixels and activations are not drawn like that. Here
# is the share of windows with a tie, in 200 digits, and behind a random convolution with batch norm and ReLU
# (of $7 \times 7$ pixels each, on which the windows lie symmetrically):


# %%
def ties(x, kernel=3, stride=2, padding=1):
    """Return which windows have more than one maximum, and the maxima."""
    settings = {"kernel": kernel, "stride": stride, "padding": padding}
    y, first = ops.max_pool2d_forward(x, **settings)
    # Turned by 180 degrees, the image meets the pool last entry first, so that the last maximum wins.
    turned, last = ops.max_pool2d_forward(x[:, :, ::-1, ::-1], **settings)
    assert np.array_equal(turned[:, :, ::-1, ::-1], y)
    return first.winner != kernel**2 - 1 - last.winner[:, :, ::-1, ::-1], y


u, _ = ops.conv2d_forward(digits, rng.standard_normal((8, 1, 3, 3)), padding=1)
v, _ = ops.batchnorm2d_forward(u, np.ones(8), np.zeros(8))
a, _ = ops.relu_forward(v)
shares = {}
for name, maps in (("digits", digits[:, :, :7, :7]), ("conv, batch norm, ReLU", a[:, :, :7, :7])):
    tied, maximum = ties(maps)
    shares[name] = tied.mean(), (tied & (maximum > 0)).mean()
    print(f"{name}: {shares[name][0]:.0%} of the windows tied, {shares[name][1]:.0%} at a positive maximum")
assert shares["digits"][0] > 0.2
assert shares["conv, batch norm, ReLU"][0] > 0.1 > shares["conv, batch norm, ReLU"][1]

# %% [markdown]
# They are common. In the digits, full ink stands beside full ink. Most ties behind the ReLU are windows where
# everything is off, and a maximum of 0 is a tie of all taps. Those are harmless: whoever gets the gradient is
# an entry at which the ReLU was off, and the ReLU passes nothing on. What is left are the blank margins of
# the digits, where neighbouring pixels see the same nothing.
#
# ## Same size, other windows
#
# The last window may not fit. With *floor mode* it is dropped, with *ceil mode* kept although it hangs over
# the edge. (It must begin inside the image or its leading padding: a window of nothing has no maximum.)
# ResNets shrink 112 pixels to 56 by kernel 3 and stride 2, and there are two ways to do that:
#
# - PyTorch: padding 1, floor mode: $\lfloor (112 + 2 - 3)/2 \rfloor + 1 = 56$ windows;
# - Caffe, for which the authors released their networks: no padding, ceil mode: $\lceil (112 - 3)/2 \rceil +
#   1 = 56$.
#
# Equal sizes, so nobody's shape check complains. But drawn for an image of 8 pixels, the windows are shifted
# by one.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Eight pixels in a row, and the four windows of both conventions as bars below. With padding 1 and floor mode they begin at minus 1, 1, 3 and 5, and the first hangs over the left edge. With ceil mode they begin at 0, 2, 4 and 6, and the last hangs over the right edge."}}
fig, ax = plt.subplots(figsize=(7, 2.9))
for pixel in range(8):
    ax.add_patch(plt.Rectangle((pixel, 0), 1, 0.8, facecolor="0.9", edgecolor="0.5"))
    ax.text(pixel + 0.5, 0.4, pixel, ha="center", va="center")
for row, (text, colour, start) in enumerate(
    (("padding 1,\nfloor mode", "C0", -1), ("no padding,\nceil mode", "C1", 0))
):
    ax.text(-1.3, -1.1 - 2.1 * row, text, ha="right", va="center", color=colour)
    for window in range(4):
        level = -0.75 - 2.1 * row - 0.7 * (window % 2)
        ends = start + 2 * window + 0.06, start + 2 * window + 2.94
        ax.plot(ends, [level] * 2, color=colour, lw=7, solid_capstyle="butt")
ax.axvline(0, color="0.5", linestyle=":")
ax.axvline(8, color="0.5", linestyle=":")
ax.set(xlim=(-3.4, 9.3), ylim=(-4.2, 1))
ax.axis("off")
plt.show()

# %%
row = rng.standard_normal((1, 1, 8, 8))
torch_like, _ = ops.max_pool2d_forward(row, kernel=3, stride=2, padding=1)
caffe_like, _ = ops.max_pool2d_forward(row, kernel=3, stride=2, ceil_mode=True)
assert torch_like.shape == caffe_like.shape == (1, 1, 4, 4)
print(f"{(torch_like == caffe_like).mean():.0%} of the values are equal")
assert (torch_like != caffe_like).any()

# %% [markdown]
# Load the authors' weights into a network with the other pool, and everything runs, on other numbers than
# those it was trained with. The sizes agree and the numbers don't: such errors are found by comparing
# *values* with a known network, or not at all.
#
# ## The average, backwards
#
# The average of a window seems to need no thought, but for its divisor:
#
# $$
# y[n,c,i,j] = \frac{1}{D[i,j]} \sum_{p,q} x[n,\,c,\; is + p - P,\; js + q - P] .
# $$
#
# Is the divisor $D$ always $k^2$? Or the number of taps inside the image? Both exist, as `count_include_pad`,
# and they differ along the edge. Take an image of ones: if zeros of the padding count, the average of ones is
# not one.

# %%
flat = np.ones((1, 1, 5, 5))
for include in (True, False):
    y, _ = ops.avg_pool2d_forward(flat, kernel=3, stride=2, padding=1, count_include_pad=include)
    print(f"count_include_pad={include}: corner {y[0, 0, 0, 0]:.3f}, edge {y[0, 0, 0, 1]:.3f}")
    np.testing.assert_allclose(y[0, 0, 0, :2], (4 / 9, 6 / 9) if include else 1)

# %% [markdown]
# What hangs over the padded image in ceil mode counts in neither case. The derivation of
# {py:func}`senumpy.ops.avg_pool2d_backward` is one line, because the operation is linear: $x[a]$ stands in
# every window that contains it, with the factor $1/D$ of that window, and so it collects $dy/D$ from each. Or
# in the words of lesson 6: dividing by $D$ is its own adjoint, the adjoint of summing is copying, and where
# windows overlap the copies are added, `+=`.

# %%
show(ops.avg_pool2d_backward)
settings = {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}
x = rng.standard_normal((2, 3, 8, 7))
y, cache = ops.avg_pool2d_forward(x, **settings)
dy = rng.standard_normal(y.shape)
dx = ops.avg_pool2d_backward(dy, cache).dx
np.testing.assert_allclose((dy * y).sum(), (dx * x).sum())  # the test of lesson 6

# %% [markdown]
# Compare the two pools on a digit. Both receive the same upstream gradient (red is positive, blue negative).
# The maximum picks a few entries and hands them everything; the average hands a ninth to everybody, and where
# windows overlap the shares add up.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four images: a handwritten digit of 8 by 8 pixels; a random signed upstream gradient of 4 by 4; the gradient through the maximum, which is zero but for at most one pixel for each window, most of them on the strokes and as strongly coloured as dy; the gradient through the average, pale and spread over all pixels."}}
x = digits[3:4]
y, max_cache = ops.max_pool2d_forward(x, kernel=3, stride=2, padding=1)
_, avg_cache = ops.avg_pool2d_forward(x, kernel=3, stride=2, padding=1)
dy = rng.standard_normal(y.shape)
through_max = ops.max_pool2d_backward(dy, max_cache).dx[0, 0]
through_avg = ops.avg_pool2d_backward(dy, avg_cache).dx[0, 0]
fig, axes = plt.subplots(1, 4, figsize=(7, 2))
axes[0].imshow(x[0, 0], cmap="gray_r")
limit = abs(through_max).max()
for ax, values in zip(axes[1:], (dy[0, 0], through_max, through_avg), strict=True):
    shown = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
for ax, title in zip(axes, ("x", "dy", "dx, maximum", "dx, average"), strict=True):
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="0.7")
fig.colorbar(shown, ax=axes[3], shrink=0.7, label="gradient")
assert (through_max != 0).sum() <= y.size < (through_avg != 0).sum() == x.size
np.testing.assert_allclose(through_max.sum(), dy.sum())
plt.show()

# %% [markdown]
# The average over the whole image is the step called *squeeze* in the paper. It is the subject of [lesson
# 11](11_squeeze.py), and what you see on the right is why its gradient is so thin: each of $HW$ pixels gets
# the part $1/(HW)$.
#
# ## Summary
#
# - A maximum copies, so its winner takes the whole gradient; an entry that wins several windows adds up
#   (`+=`).
# - At a tie every split that sums to one is a subgradient; the first maximum gets all, by convention. Ties
#   are common.
# - Padding never wins a maximum. For an average it is a choice whether padding counts.
# - Padding 1 with floor mode and no padding with ceil mode give equal sizes and different windows.
#
# ## Exercises
#
# - `max_pool2d_forward` (2 points): the maxima, and who won. `senumpy exercise start max_pool2d_forward`
# - `max_pool2d_backward` (2 points): ties and overlaps. `senumpy exercise start max_pool2d_backward`
# - `avg_pool2d_backward` (2 points): the average, with every divisor.
#   `senumpy exercise start avg_pool2d_backward`
#
# 1. In the digits' case with ReLU, why does the convention for ties at 0 make no difference to the weights
#    of the convolution below?
#
# :::{admonition} Answer
# :class: dropdown
# Whoever wins has the value 0, so its input to the ReLU was not positive, and the ReLU's gradient there is 0
# (our convention at the kink). The upstream gradient dies one step later in any case.
# :::
#
# 2. Max pooling and ReLU can be exchanged: $\max(\mathrm{relu}(x)) = \mathrm{relu}(\max(x))$. Why, and which
#    order is cheaper?
#
# :::{admonition} Answer
# :class: dropdown
# ReLU never reverses an order, so the largest input stays the largest. Pooling first leaves a quarter of the
# entries for the ReLU at stride 2. It would not work with a function that falls anywhere.
# :::
#
# 3. An image is 7 pixels wide, kernel 2, stride 2. How many windows are there in floor and in ceil mode?
#    Which pixels never get a gradient?
#
# :::{admonition} Answer
# :class: dropdown
# $\lfloor 5/2 \rfloor + 1 = 3$ in floor mode: the last column is in no window and its gradient is always
# zero. In ceil mode there are 4, the last of them one pixel wide.
# :::
#
# 4. Average pooling is a convolution with a special kernel. Which, with how many groups, and where does that
#    fail?
#
# :::{admonition} Answer
# :class: dropdown
# All weights $1/k^2$, as many groups as channels (depthwise). It fails where $D \ne k^2$: with
# `count_include_pad=False` along the edge, and in windows that hang over.
# :::
