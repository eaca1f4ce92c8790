# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 17. What SE costs, on paper and on the clock
#
# **Question.** The paper's SE-ResNet-50 does 3.87 billion multiply-adds an image, ResNet-50 does 3.86: a
# quarter of a per cent more. The same paper reports a training step that takes 10 % longer, and PyTorch on a
# processor has been measured at 13 to 43 %. Where does the time go, if not into arithmetic?
#
# *Paper: section 4, equation 5; section 6, tables 10 and 15; section 7, table 16 and figure 6.*
# Reading time: 14 minutes.

# %%

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

import senumpy
from senumpy import ops
from senumpy.analysis import complexity
from senumpy.engines import engine_names
from senumpy.layers import SEConfig
from senumpy.lessons import in_turns, show, style

style()
_ = threadpool_limits(1)  # one core for everybody: times can be compared

# %% [markdown]
# ## Equation 5: parameters
#
# An SE block on $C$ channels holds two matrices, $W_1$ of shape $C/r \times C$ and $W_2$ of shape $C \times
# C/r$: together $2C^2/r$ numbers. A network has stages $s = 1 \dots S$, in which $N_s$ blocks follow each
# other at the same width $C_s$, so SE adds
#
# $$\frac{2}{r}\sum_{s=1}^{S} N_s\, C_s^2 .$$
#
# Biases, $C/r + C$ a block, are left out. ResNet-50 has 3, 4, 6 and 3 residual units of 256, 512, 1024 and
# 2048 channels, and the paper takes $r = 16$.

# %%
N_s = np.array([3, 4, 6, 3])
C_s = np.array([256, 512, 1024, 2048])
added = 2 * N_s * C_s**2 // 16
print("by stage", added, " together", added.sum())

# %% [markdown]
# Is that the network that is built here? `senumpy.analysis` counts by running a model on an engine that
# computes nothing and notes every operation. It knows nothing of equation 5.

# %%
plain = complexity("resnet50")
se = complexity("se_resnet50", se=SEConfig(bias=False))


def by_stage(cost, field, *kinds):
    """Sum SE's rows of a Complexity over the four stages, for the kinds of operation that are named."""
    rows = [row for row in cost.layers if row.in_se and row.kind in kinds]
    return np.array([sum(getattr(r, field) for r in rows if r.name[:6] == f"layer{k}") for k in (1, 2, 3, 4)])


counted = by_stage(se, "parameters", "SE fc1", "SE fc2")
assert np.array_equal(counted, added)
assert f"{added[3] / added.sum():.1%}" == "62.5%"

base = plain.total("parameters")
assert base == 25_557_032
assert se.total("parameters") - base == added.sum() == 2_514_944
for text, number in (("all stages", added.sum()), ("without the last stage", added[:3].sum())):
    print(f"{text:<24}{number:>10,} parameters more: {100 * number / base:5.2f} % of {base:,}")

# %% [markdown]
# Rounded, these are the paper's 10 % and 4 %. (With biases, as in [lesson 14](14_se_resnet.py), it is 9.90
# %.) The square in equation 5 puts most of the parameters where the network is widest: the last stage alone
# holds 62.5 % of them. The paper reports that leaving SE out there costs less than 0.1 points of top-5
# accuracy. Its figure 6 shows a reason ([lesson 16](16_gates.py)): in the last two blocks the gates hardly
# depend on the class.
#
# ## Multiply-adds
#
# A weight of a convolution is used once for every pixel. A weight of the excitation is used once for every
# *image*, for by then the squeeze has made a single number of each channel: $2C^2/r$ multiply-adds in all.
# The scale takes one multiplication for each of the $H W C$ entries.

# %%
fc = by_stage(se, "multiply_adds", "SE fc1", "SE fc2")
scale = by_stage(se, "multiply_adds", "SE scale")
assert np.array_equal(fc, added)  # each weight once an image
assert np.array_equal(scale, N_s * C_s * np.array([56, 28, 14, 7]) ** 2)

macs, macs_se = plain.total("multiply_adds"), se.total("multiply_adds")
assert (macs, macs_se - macs) == (3_857_973_248, 8_034_304)
print(f"ResNet-50 {macs / 1e9:.3f} G, SE-ResNet-50 {macs_se / 1e9:.3f} G multiply-adds")
print(f"SE: {fc.sum() / 1e6:.2f} M in the excitation, {scale.sum() / 1e6:.2f} M in the scale,", end=" ")
print(f"{100 * (macs_se - macs) / macs:.2f} % together")

# %% [markdown]
# Rounded, this is the paper's 3.86 and 3.87 ("GFLOPs" there are multiply-adds). Its 0.26 % follows from the
# rounded numbers, which is why it is a little more than the count. Look at what is dear in which stage:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two bar charts over stages 2 to 5 of SE-ResNet-50. Left: parameters added by SE rise from 0.02 to 1.57 million, most of them in the last stage. Right: SE's multiply-adds, where the scale dominates the early stages with 2.4 million and the excitation the last one."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.9))
stages = np.arange(2, 6)
left.bar(stages, added / 1e6, width=0.65)
for stage, number in zip(stages, added, strict=True):
    left.text(stage, number / 1e6 + 0.03, f"{number / 1e6:.2f}", ha="center")
left.set(xlabel="stage", ylabel="parameters added (millions)", xticks=stages, ylim=(0, 1.8))
right.bar(stages, scale / 1e6, width=0.65, label="scale", color="C5")
right.bar(stages, fc / 1e6, width=0.65, bottom=scale / 1e6, label="excitation", color="C0")
right.set(xlabel="stage", ylabel="multiply-adds an image (millions)", xticks=stages)
right.set_ylim(0, 3.1)
right.legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown]
# Parameters and arithmetic pull in opposite directions: early stages have large images and few channels,
# late ones the reverse. And both leave the question open. A quarter of a per cent can't be 10 %.
#
# ## The third cost: trips to memory
#
# A processor multiplies much faster than it fetches. Take the scale, $\tilde x = s\,u$: for every
# multiplication it reads four bytes and writes four. A $3\times3$ convolution with 64 channels reads and
# writes the same eight bytes per entry, but does $9 \cdot 64 = 576$ multiply-adds between. Counting
# multiply-adds and calling it cost assumes that memory is free.
#
# So measure both limits of this machine, on one core: how fast it multiplies (a large matrix product) and
# how fast it copies (a large array). Times are **medians** of several runs, which one disturbed run doesn't
# move, and contenders take **turns**, so that a slow minute of the machine hits all of them alike.

# %%
show(in_turns)
rng = np.random.default_rng(17)
N, C, H = 4, 256, 56  # four images, of the largest activation that SE meets in SE-ResNet-50


def normal(*shape, scale=1.0):
    """Draw a float32 array."""
    return (scale * rng.normal(size=shape)).astype(np.float32)


u, shortcut, dy, x64 = normal(N, C, H, H), normal(N, C, H, H), normal(N, C, H, H), normal(N, 64, H, H)
gamma, beta = 1 + normal(C, scale=0.1), normal(C)
w1, w2 = normal(C // 16, C, scale=0.06), normal(C, C // 16, scale=0.25)
a, out, copied = normal(1024, 1024), np.empty((1024, 1024), np.float32), np.empty_like(u)
limit = in_turns({"product": lambda: np.matmul(a, a, out=out), "copy": lambda: np.copyto(copied, u)})
macs_a_second, bytes_a_second = 1024**3 / limit["product"], 2 * u.nbytes / limit["copy"]
print(f"{macs_a_second / 1e9:.0f} G multiply-adds a second, {bytes_a_second / 1e9:.0f} GB copied a second:")
print(
    f"{8 * macs_a_second / bytes_a_second:.0f} multiply-adds in the time that one entry is read and written"
)

# %% [markdown]
# Now four operations at $56\times56$, and what each limit says that they take at least.

# %%
s, _ = ops.excitation_forward(ops.squeeze_forward(u)[0], w1, None, w2, None)
z, w3 = ops.squeeze_forward(u)[0], normal(64, 64, 3, 3, scale=0.04)
pixels = N * H * H
work = {  # what runs, its multiply-adds, its bytes if each argument is read and each result written once
    "conv 3x3, 64 to 64": (
        lambda: ops.conv2d_forward(x64, w3, padding=1),
        pixels * 64 * 64 * 9,
        2 * x64.nbytes,
    ),
    "squeeze, 256": (lambda: ops.squeeze_forward(u), pixels * C, u.nbytes),
    "excitation, 256": (
        lambda: ops.excitation_forward(z, w1, None, w2, None),
        2 * N * w1.size,
        2 * w1.nbytes,
    ),
    "scale, 256": (lambda: ops.scale_forward(u, s), pixels * C, 2 * u.nbytes),
}
measured = in_turns({name: run for name, (run, _, _) in work.items()})
for name, (_, count, size) in work.items():
    arithmetic, traffic = 1e3 * count / macs_a_second, 1e3 * size / bytes_a_second
    print(f"{name:<19} at least {arithmetic:6.3f} ms to multiply, {traffic:6.3f} ms to fetch;", end=" ")
    print(f"measured {1e3 * measured[name]:6.2f} ms")

# %% tags=["hide-input"] mystnb={"image": {"alt": "For four operations, on a logarithmic axis of milliseconds: the least time by arithmetic, the least time by memory traffic, and the measured time. For the convolution arithmetic is the larger bound, by far; for squeeze and scale memory is the larger one, and the measured times lie near it or beyond. The excitation's bounds are a thousandth of the convolution's or less."}}
fig, ax = plt.subplots(figsize=(7, 2.6))
for k, (name, (_, count, size)) in enumerate(work.items()):
    points = 1e3 * np.array([count / macs_a_second, size / bytes_a_second, measured[name]])
    ax.plot([points.min(), points.max()], [k, k], color="0.8", zorder=0)
    for point, marker, colour in zip(points, "os|", ("C5", "C1", "C6"), strict=True):
        ax.plot(point, k, marker, color=colour, markersize=14 if marker == "|" else 8, markeredgewidth=2)
for marker, colour, label in (
    ("o", "C5", "least, by arithmetic"),
    ("s", "C1", "least, by memory"),
    ("|", "C6", "measured"),
):
    ax.plot([], [], marker, color=colour, markersize=8, markeredgewidth=2, label=label)
ax.set(xscale="log", xlabel="milliseconds, one core", yticks=range(len(work)), yticklabels=work)
ax.margins(y=0.15)
ax.invert_yaxis()
ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.35, 1.0), columnspacing=1.0, handletextpad=0.2)
plt.show()

# %% [markdown]
# The convolution is bound by arithmetic, squeeze and scale by memory: there the multiplications could be
# free, and nothing would change. The excitation, which holds all the parameters, has next to nothing to do;
# most of its time goes into the calls.
#
# Counting trips instead of multiplications gives a better forecast. One *trip* is one reading or one
# writing of an activation $(N, C, H, W)$. Operation by operation, the end of a residual unit makes these:

# %%
trips = {  # operation: (forward, backward)
    "batch norm": (1 + 2, 2 + 3),  # statistics, then x to y; sums of dy and xhat, then both to dx
    "squeeze": (1, 2),  # read u; add dz / HW to what came by the scale
    "scale": (2, 2 + 2),  # u to s u; ds is a sum over dy u, du = s dy
    "sum": (3, 0),  # two read, one written; its gradient is dy itself
    "ReLU": (2, 3),  # dy and y to dx
}
both = {name: sum(pair) for name, pair in trips.items()}
without = sum(both.values()) - both["squeeze"] - both["scale"]
extra = both["squeeze"] + both["scale"]
print(f"trips of a training step: {without} without SE, {extra} more with SE")
assert (without, extra) == (16, 9)

values = scale.sum()  # entries of an image's activations at all SE blocks, as many as the scale multiplies
print(f"{extra} trips x {values / 1e6:.2f} M entries x 4 bytes = {4e-6 * extra * values:.0f} MB an image")
assert round(4e-6 * extra * values) == 199

# %% [markdown]
# At 26 GB/s, which a two-core EPYC copied in this project's measurements, 199 MB take 7.6 ms. SE's
# arithmetic, 8 M multiply-adds forward, takes less than 0.1 ms there; that of a whole training step of
# ResNet-50, three times 3.86 G multiply-adds (two operations each) at its 190 GFLOP/s, takes 122 ms. So SE,
# operation by operation at the speed of a copy, adds some 6 %, and not 0.2 %. PyTorch paid 43 % on that
# machine, and 13 to 28 % on the one of the project's README. What the count leaves out comes on top: a result
# that is a *new* array costs page faults, as much again as the kernel that fills it, and a kernel that
# broadcasts $(N, C)$ over an image need not reach the speed of a copy. The paper's GPUs (eight of them, 256
# images) took 209 ms a step instead of 190.
#
# ## The same block in fewer trips
#
# Operations that are bound by memory should read once and do everything while they are at it. But the scale
# needs the gates, the gates need the squeeze, and the squeeze needs all of batch norm's results. Must batch
# norm be written to memory first? No, as [lesson 14](14_se_resnet.py) has found. Let $c$ be the result of the
# last convolution, $\mu$ and $\sigma^2$ its mean and variance over the batch,
# $a = \gamma/\sqrt{\sigma^2 + \epsilon}$, and $m_n$ its mean over image $n$, all of them for one channel.
# Then $v = a\,(c - \mu) + \beta$ is batch norm's result and its squeeze is
#
# $$z_n = a\,(m_n - \mu) + \beta .$$
#
# The $m_n$ come for nothing: $\mu$ is their average. So the squeeze of $v$ is known before a single entry of
# $v$ is, and, with the gate $s_n$ that follows from it and the shortcut $x$,
#
# $$y = \max(0,\; s_n a\,(c - \mu) + s_n\beta + x)$$
#
# is one pass over $c$ and $x$: gate times batch norm's factor is just another factor.


# %%
def tail_in_one_go(c, gamma, beta, w1, w2, shortcut, eps=1e-5):
    """Compute relu(SE(BN(c)) + shortcut) from the sums of each image's channels."""
    m = c.mean(axis=(2, 3))  # (N, C), the only extra that SE asks for
    mu = m.mean(axis=0)
    var = np.square(c - mu[:, None, None]).mean(axis=(0, 2, 3))
    a = gamma / np.sqrt(var + eps)
    z = a * (m - mu) + beta  # the squeeze: arrays (N, C), no image
    s = ops.excitation_forward(z, w1, None, w2, None)[0]
    factor, offset = s * a, s * (beta - a * mu)  # (N, C)
    return np.maximum(factor[:, :, None, None] * c + offset[:, :, None, None] + shortcut, 0)


y, _ = ops.residual_tail_forward(u, gamma, beta, w1, None, w2, None, shortcut)
difference = np.abs(tail_in_one_go(u, gamma, beta, w1, w2, shortcut) - y).max()
assert difference < 1e-5, difference
print(f"largest difference from the operations one by one: {difference:.1e}")

# %% [markdown]
# NumPy still runs the last line as four passes, for each of its operators leaves an array behind; it takes
# a compiler to make one pass of them. The Numba engine's loop computes
#
# $$y = \max(0,\; (c - \text{mean}) \cdot \text{scale} + \text{bias} + \text{shortcut})$$
#
# in units with SE and without. Without, `scale` and `bias` are one row for all images; with SE each image
# brings its own rows, and that is all the difference (`senumpy/engines/numba/tail.py`).
#
# Statistics read $c$ once, this pass reads two activations and writes one: four trips forward, eight backward
# ([lesson 18](18_speed.py) derives them): 12, where single operations make 16 without SE and 25 with it. SE
# adds **none**.
#
# ## On the clock
#
# Time the end of the unit, forward and backward, by operations and, where Numba is installed, in one go.


# %% tags=["hide-input"]
def channels_last(x):
    """Return the same array (N, C, H, W), stored as (N, H, W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def tail(engine, *images, with_se):
    """Return a function that runs the end of a residual unit, forward and backward."""
    weights = (w1, None, w2, None) if with_se else (None,) * 4
    c, shortcut, dy = images

    def run():
        _, cache = engine.residual_tail_forward(c, gamma, beta, *weights, shortcut)
        engine.residual_tail_backward(dy, cache)

    return run


ways = {"operation by operation": (senumpy.engine("numpy"), (u, shortcut, dy))}
if "numba" in engine_names():
    images = tuple(channels_last(x) for x in (u, shortcut, dy))
    ways["in one go (numba)"] = (senumpy.engine("numba", threads=1), images)
seconds = in_turns(
    {
        (way, with_se): tail(engine, *images, with_se=with_se)
        for way, (engine, images) in ways.items()
        for with_se in (False, True)
    }
)
for way in ways:
    ratio = seconds[way, True] / seconds[way, False]
    print(f"{way:<24} with SE {1e3 * seconds[way, True]:5.1f} ms, without", end=" ")
    print(f"{1e3 * seconds[way, False]:5.1f} ms, ratio {ratio:.2f}")
print(f"trips, operation by operation: ratio {(without + extra) / without:.2f}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Horizontal bars of the median time of a residual unit's end, forward and backward, without SE and with it. Operation by operation the bar with SE is clearly the longer one; in one go both bars are short and about equally long."}}
fig, ax = plt.subplots(figsize=(7, 0.9 + 0.7 * len(ways)))
for k, way in enumerate(ways):
    for with_se in (False, True):
        label = ("with SE" if with_se else "without SE") if k == 0 else None
        milliseconds = 1e3 * seconds[way, with_se]
        ax.barh(k + 0.36 * with_se, milliseconds, height=0.34, color=f"C{int(with_se)}", label=label)
        ax.text(milliseconds, k + 0.36 * with_se, f" {milliseconds:.1f}", va="center")
ax.set(xlabel="milliseconds, forward and backward, one core", yticks=np.arange(len(ways)) + 0.18)
ax.set_yticklabels([way.replace(" (", "\n(") for way in ways])
ax.margins(x=0.1)
ax.invert_yaxis()
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# The ratio of trips, $25/16 = 1.56$, is no bad forecast of the ratio of times when operations run one after
# the other, though both count very different things. It is that of the unit's end alone; the convolutions
# before it dilute it. For whole networks, the README's measurements say how long a training step of
# SE-ResNet-50 takes beside ResNet-50's: 1.03, 0.97 and 0.96 times in three runs of the Numba engine (a
# difference below the machine's noise), 1.28, 1.13 and 1.20 times in PyTorch's.
#
# Why don't frameworks do this by themselves? Their units are operations: batch norm, pooling, linear layer
# and multiplication are four calls, each of which must leave a finished array behind. A compiler may join
# neighbours that work entry by entry. That a *mean over an image* can be read off sums that another
# operation takes anyway is algebra, and someone has to do it by hand.
#
# ## Summary
#
# - SE adds $\frac{2}{r}\sum_s N_s C_s^2$ parameters: 9.8 % in SE-ResNet-50, 3.7 % without the last stage.
# - It adds 0.2 % of multiply-adds, as excitation weights act once an image and not once a pixel.
# - Its time is trips to memory: 9 more on top of 16 when each operation reads and writes for itself, some 6 %
#   of a training step at the speed of a copy, and more as frameworks do it.
# - Batch norm is affine, so the image means give the squeeze and the gate joins its factor: no trip more.
#
# ## Exercises
#
# Nothing here is checked by machine; paper and `complexity` are enough.
#
# 1. Table 10 of the paper gives 35.7 M parameters for $r = 4$. What does equation 5 give, and what is
#    missing?
#
# :::{admonition} Answer
# :class: dropdown
# $4 \cdot 2\,514\,944 = 10\,059\,776$, with ResNet-50's $25\,557\,032$ that is 35.62 M. The numbers of the
# paper's tables fit if batch norm's running statistics are counted, too: 0.05 M, together 35.67 M. (Biases in
# SE would add another 0.02 M.)
# :::
#
# 2. NoSqueeze (table 16) leaves the pooling out: the two matrices act on every pixel. How many
#    multiply-adds does the excitation then take, and why doesn't the number of parameters change?
#
# :::{admonition} Answer
# :class: dropdown
# $\sum_s \frac{2}{r} N_s C_s^2 H_s W_s$: 24,576 at 3,136 pixels, 131,072 at 784, 786,432 at 196 and
# 1,572,864 at 49, together 411.0 M. That makes 4.27 G, as the paper says, at the same weights: they are
# only used more often. The squeeze is what makes SE cheap.
# :::
#
# 3. SE right after the $3\times3$ convolution ("SE $3\times3$", table 15) sees 64, 128, 256 and 512
#    channels. What do parameters and trips become?
#
# :::{admonition} Answer
# :class: dropdown
# A quarter of the channels, a sixteenth of the parameters: 157,184. Trips are as many, over activations with
# a quarter of the channels and the same height and width (the stride is in the $1\times1$ before): a quarter
# of the bytes. `complexity("se_resnet50", se=SEConfig(placement="3x3", bias=False))` counts it.
# :::
#
# 4. Halve the image's height and width. Which of SE's costs fall to a quarter, and which stay? What follows
#    for small images, as in CIFAR-10?
#
# :::{admonition} Answer
# :class: dropdown
# Scale, squeeze and all trips fall with the pixels, as the convolutions do; the excitation's multiply-adds
# stay, and so does the time that a call takes however little it does. With small images and small batches
# this fixed part counts.
# :::

# %%
# The answers, counted.
quarter = complexity("se_resnet50", se=SEConfig(reduction=4, bias=False))
inner = complexity("se_resnet50", se=SEConfig(placement="3x3", bias=False))
assert quarter.total("parameters", in_se=True) == 4 * added.sum()
assert inner.total("parameters", in_se=True) == 157_184
assert (fc * np.array([56, 28, 14, 7]) ** 2).sum() == 411_041_792
