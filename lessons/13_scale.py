# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 13. Scale, and the gradient's two paths
#
# **Question.** An SE block multiplies an image by gates that were computed from that same image. What is the
# derivative of such a product, and how can one of its two terms be missing from published code and nobody
# notice?
#
# *Paper: section 3.2, equation 4; figure 1.*  Reading time: 13 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from senumpy import ops
from senumpy.data import load_data
from senumpy.lessons import show, style
from senumpy.verify import check_gradients

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## Scale, and its two gradients
#
# The last step of the block is a multiplication. With feature maps $u_{n,c,i,j}$ and gates $s_{n,c}$,
# equation 4 is
#
# $$y_{n,c,i,j} = s_{n,c}\, u_{n,c,i,j}.$$
#
# For a moment, forget where $s$ came from and treat it as an argument like any other. Write
# $\bar y = \partial L / \partial y$ for the upstream gradient. Each factor's gradient is $\bar y$ times the
# *other* factor. For $u$ that is all there is; but one gate multiplies all $HW$ pixels of its channel, so it
# is blamed for all of them, and its gradient is a sum:
#
# $$\bar u_{n,c,i,j} = s_{n,c}\, \bar y_{n,c,i,j}, \qquad
#   \bar s_{n,c} = \sum_{i,j} \bar y_{n,c,i,j}\, u_{n,c,i,j}.$$
#
# A 2x2 map with $u = (1, 2, 3, 4)$, gate $s = 0.5$ and $\bar y = (1, 0, -1, 2)$ gives
# $\bar u = (0.5, 0, -0.5, 1)$ and $\bar s = 1 + 0 - 3 + 8 = 6$.

# %%
u = np.array([[[[1.0, 2], [3, 4]]]])
dy = np.array([[[[1.0, 0], [-1, 2]]]])
_, cache = ops.scale_forward(u, np.array([[0.5]]))
du, ds = ops.scale_backward(dy, cache)
print(du.ravel(), ds)
assert ds == 6


def averaged(dy, cache):  # the usual slip: the mean over the pixels, because the squeeze has one
    gradients = ops.scale_backward(dy, cache)
    return gradients._replace(ds=(dy * cache.u).mean((2, 3)))


arguments = (rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3)))
print(check_gradients(ops.scale_forward, averaged, arguments).reasons[0])
assert check_gradients(ops.scale_forward, ops.scale_backward, arguments).ok

# %% [markdown]
# ## The block
#
# Now put the three steps together: [squeeze](11_squeeze.py), [excitation](12_excitation.py), scale. Figure 1
# of the paper in three lines of code, which {py:func}`senumpy.ops.squeeze_excite_forward`
# has to agree with:


# %%
def block(u, w1, w2):
    z, _ = ops.squeeze_forward(u)
    s, _ = ops.excitation_forward(z, w1, None, w2, None)
    return ops.scale_forward(u, s)[0]


across = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]])
up = np.array([[-1, -1, 2], [-1, 2, -1], [2, -1, -1]])
detectors = np.stack([across, across.T, up, up[:, ::-1]])[:, None] / 6
W1 = 50 * np.array([[-1.0, 1, 0, 0], [1, -1, 0, 0]])  # lesson 12's hand-made weights
W2 = np.array([[-1.0, 0], [0, -1], [1, 1], [0, 0]])

part = load_data("digits").test
n = int(np.argmax(part.labels == 1))
digit = part.images[n : n + 1].transpose(0, 3, 1, 2) / 255
u, _ = ops.relu_forward(ops.conv2d_forward(digit, detectors, padding=1)[0])  # (1, 4, 8, 8)

y, cache = ops.squeeze_excite_forward(u, W1, None, W2, None)
assert np.array_equal(y, block(u, W1, W2))
s = cache.scale.s[0]

# %% tags=["hide-input"] mystnb={"image": {"alt": "A handwritten 1 and its four stroke maps, above; below, the same maps multiplied by their gates: horizontal strokes at 0.18 are nearly gone, vertical and falling ones are halved, rising ones at 0.82 stay."}}
names = ["horizontal", "vertical", "rising", "falling"]
fig, axes = plt.subplots(2, 5, figsize=(7, 3))
axes[0, 0].imshow(digit[0, 0], cmap="gray_r")
axes[0, 0].set_title("digit")
axes[1, 0].text(0.5, 0.5, "$y = s\\,u$", ha="center", va="center", transform=axes[1, 0].transAxes)
for c in range(4):
    for row, maps in enumerate((u, y)):
        axes[row, c + 1].imshow(maps[0, c], vmin=0, vmax=u.max())
    axes[0, c + 1].set_title(names[c])
    axes[1, c + 1].set_title(f"$s$ = {s[c]:.2f}")
for ax in axes.flat:
    ax.set_axis_off()
plt.show()

# %% [markdown]
# ## Two paths to one input
#
# What is $\partial L / \partial u$ for the whole block? It is tempting to copy $\bar u = s\, \bar y$ from
# above. That is a statement about a function of two independent arguments, $u$ and $s$. In the block they are
# not independent.
#
# **One number.** Take a block with one channel and one pixel, so that the squeeze does nothing, weights 1 and
# 3 and a second bias of $-3$: for positive $u$ it computes $y = u\, \sigma(3u - 3)$. The product rule of
# school says
#
# $$\frac{dy}{du} = \underbrace{\sigma(3u - 3)}_{\text{the gate held still}} + \underbrace{u \cdot 3\,
#   \sigma'(3u - 3)}_{\text{the gate moves, too}}.$$
#
# A line with only the first slope is no tangent, as one sees:


# %% tags=["hide-input"] mystnb={"image": {"alt": "The curve y = u times sigmoid of 3u minus 3 with a point at u = 1. A line with slope 1.25, which counts both terms, touches the curve there; a line with slope one half, the gate held still, cuts through it at a clear angle."}}
def curve(t):
    return t * ops.sigmoid_forward(3 * t - 3)[0]


t = np.linspace(0.0, 2.0, 101)
fig, ax = plt.subplots(figsize=(7, 2.9))
ax.plot(t, curve(t), "k", linewidth=2)
ax.text(1.62, 1.15, "$y = u\\,\\sigma(3u-3)$")
near = np.array([0.5, 1.5])
ax.plot(near, 0.5 + (0.5 + 3 * 0.25) * (near - 1), "C0", label="slope 0.5 + 0.75: both terms")
ax.plot(near, 0.5 + 0.5 * (near - 1), "C1--", label="slope 0.5: the gate held still")
ax.plot([1], [0.5], "ko")
ax.set_xlabel("$u$")
ax.set_ylabel("$y$")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# **One pixel.** In a real block the neglected part is not one term but a crowd. Raise a single pixel of a
# single channel by a little. Its channel's average rises, the hidden units move, and with them the gates of
# *all* channels that listen to these units. Each such gate moves every pixel of its map. Let us watch: the
# change of all of $y$ per unit of change of one pixel among the vertical strokes of our 1, once with the
# gates frozen, once as it really is. (With our weights the gates of the horizontal and of the rising strokes
# listen.)

# %%
pixel = (0, 1, 3, 3)  # image, channel, row, column
h = 1e-6
nudged = u.copy()
nudged[pixel] += h
frozen = (ops.scale_forward(nudged, cache.scale.s)[0] - y) / h
real = (block(nudged, W1, W2) - y) / h
others = np.abs(real - frozen)
print(f"moved with frozen gates: {np.sum(frozen != 0)} entry, by {frozen[pixel]:.2f}")
print(f"really moved: {np.sum(others > 1e-8)} entries more, by {others.sum():.2f} together")
assert frozen[pixel] == frozen.sum()
assert others.sum() > frozen[pixel]
assert np.all(real[0, 0] <= 0)  # horizontal strokes fade
assert np.all(real[0, 2] >= 0)  # rising ones grow

# %% tags=["hide-input"] mystnb={"image": {"alt": "The change of the four output maps when one pixel of the vertical channel is raised. Top, gates frozen: a single entry changes. Bottom, as it really is: that entry rises as before, and besides, more weakly, all strokes of the horizontal channel fall and all strokes of the rising channel rise."}}
limit = 0.04
fig, axes = plt.subplots(2, 4, figsize=(7, 3.2))
for row, (change, name) in enumerate(((frozen, "gates frozen"), (real, "as it is"))):
    for c in range(4):
        ax = axes[row, c]
        shown = ax.imshow(change[0, c], cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        if row == 0:
            ax.set_title(names[c])
    axes[row, 0].set_ylabel(name)
fig.colorbar(shown, ax=axes, label="change of $y$ / change of the pixel", extend="both", shrink=0.8)
plt.show()

# %% [markdown]
# In this picture lies the whole derivative. To get $\partial L / \partial u$ at this pixel, multiply every
# square by its upstream gradient and add up *all of them*. Keeping $s\, \bar y$ alone means to look at the
# upper row: one square, and nothing of what the pixel does through the gates.

# %%
dy = rng.normal(size=y.shape)
upper, lower = np.sum(frozen * dy), np.sum(real * dy)
print(f"upper row {upper:.4f}, lower row {lower:.4f}")
assert np.isclose(upper, (cache.scale.s[:, :, None, None] * dy)[pixel])
assert np.isclose(lower, ops.squeeze_excite_backward(dy, cache).du[pixel], rtol=1e-4)

# %% [markdown]
# **In general.** $u$ reaches $y$ on two paths, and by the chain rule the gradients of all paths to one
# variable add up:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Diagram of the block. From u one arrow runs straight to the multiplication that gives y, labelled path 1, what is scaled. Another leaves u for z, the squeeze, then s, the excitation, and enters the same multiplication, labelled path 2, the gate."}}
fig, ax = plt.subplots(figsize=(7, 2.3))
ax.set_axis_off()
ax.set_xlim(0, 10)
ax.set_ylim(0, 3.2)
places = {"$u$": (0.6, 0.7), "$z$": (3.2, 2.4), "$s$": (6.6, 2.4), r"$\times$": (7.8, 0.7), "$y$": (9.4, 0.7)}
for text, at in places.items():
    box = {"boxstyle": "circle", "fc": "white", "ec": "0.4"}
    ax.text(*at, text, fontsize=15, ha="center", va="center", bbox=box)


def arrow(start, end, colour, text="", at=(0, 0)):
    style_ = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 16, "shrinkB": 16}
    ax.annotate("", places[end], places[start], arrowprops=style_)
    ax.text(*at, text, color=colour, ha="center", va="center")


arrow("$u$", r"$\times$", "C0", "path 1: what is scaled", (4.2, 0.42))
arrow("$u$", "$z$", "C1", "squeeze", (1.35, 1.8))
arrow("$z$", "$s$", "C1", "excitation", (4.9, 2.68))
arrow("$s$", r"$\times$", "C1", "path 2: the gate", (8.35, 1.9))
arrow(r"$\times$", "$y$", "0.4")
plt.show()

# %% [markdown]
# Path 1 is the one we know. On path 2, the gradient of *each* gate $s_{n,c'}$ has collected all pixels of its
# channel; it goes back through the excitation to the descriptors, and from the descriptor of channel $c$ to
# its pixels, each of which has a share of $1/(HW)$ in it:
#
# $$\frac{\partial L}{\partial u_{n,c,i,j}} =
#   \underbrace{s_{n,c}\, \bar y_{n,c,i,j}}_{\text{path 1}}
#   + \underbrace{\frac{1}{HW} \sum_{c'} \frac{\partial s_{n,c'}}{\partial z_{n,c}}
#     \overbrace{\sum_{i',j'} \bar y_{n,c',i',j'}\, u_{n,c',i',j'}}^{\bar s_{n,c'}}}_{\text{path 2}} .$$
#
# The second term mixes the channels (by $c'$), has the same value at all pixels of a map (no $i, j$ is left
# in it), and uses nothing that you have not met: the gradient of the scale with respect to its *other*
# argument, the gradient of the excitation, the gradient of the squeeze. An implementation that computes the
# gradient of the gate in order to train $W_1$ and $W_2$ has nearly all of it in hand. The mistake is not to
# send it on to $u$.
#
# Try it with pencil first. One channel, two pixels $u = (1, 3)$, $W_1 = W_2 = 1$, $\bar y = (2, -1)$. Then
# $z = 2$, $s = \sigma(2) = 0.881$, $\sigma'(2) = 0.105$. Path 1 gives
# $0.881 \cdot (2, -1) = (1.762, -0.881)$. Path 2: $\bar s = 2 \cdot 1 - 1 \cdot 3 = -1$, times 0.105 makes
# $\bar z = -0.105$, half of it for each pixel: $-0.052$. Together $(1.709, -0.933)$, and the numerical
# derivative agrees:

# %%
one = np.ones((1, 1))
pair, upstream = np.array([[[[1.0, 3.0]]]]), np.array([[[[2.0, -1.0]]]])
slopes = []
for step in 1e-6 * np.eye(2):  # one pixel, then the other
    change = block(pair + step, one, one) - block(pair - step, one, one)
    slopes.append(np.sum(upstream * change) / 2e-6)
print(np.round(slopes, 3))
assert np.allclose(slopes, [1.709, -0.933], atol=1e-3)

# %% [markdown]
# The exercise `squeeze_excite_backward` asks for these gradients in full. If a check has sent you here
# because your `du` is $s\,\bar y$ alone: no factor is wrong in it, a *summand* is missing. Look at the
# diagram again and ask where $\bar s$ has to go after it has served $W_1$ and $W_2$. Write it before you
# unfold the library's version, which is shorter than the formula: three calls of gradients that you know, and
# a sum.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the library's code", "code_prompt_hide": "Hide it"}
show(ops.squeeze_excite_backward)
show(ops.squeeze_excite._backward)

# %% [markdown]
# ## A test that lets it through
#
# The forgotten path is no invention. It stands in a NumPy SE-ResNet that is in circulation. Here is the
# mistake, and a test that looks strict enough: the gradient of a block on 56x56 pixels, as in the first stage
# of SE-ResNet-50, against the right one, entry by entry, with a relative and an absolute tolerance of 0.01.
# Two more tests compare not entries but the derivative along directions $v$ of length 1,
# $\langle \bar u, v \rangle$: random ones, and random ones that are constant over each map.


# %%
def dropped(dy, cache):
    gradients = ops.squeeze_excite_backward(dy, cache)
    return gradients._replace(du=ops.scale_backward(dy, cache.scale).du)  # s dy, and no more


def random_block(size, channels=64, hidden=4):
    """Arguments of a block whose gate path is alive (lesson 12), with He's initialisation."""
    while True:
        u = np.maximum(rng.normal(size=(1, channels, size, size)), 0)
        w1 = rng.normal(size=(hidden, channels)) * np.sqrt(2 / channels)
        w2 = rng.normal(size=(channels, hidden)) * np.sqrt(2 / hidden)
        if np.any(w1 @ u.mean((2, 3))[0] > 0):
            return u, w1, None, w2, None


def two_gradients(size):
    """Return the right and the wrong du for one random block and a random signed upstream gradient."""
    y, cache = ops.squeeze_excite_forward(*random_block(size))
    dy = rng.normal(size=y.shape)
    return ops.squeeze_excite_backward(dy, cache).du, dropped(dy, cache).du


def close(a, b):
    return np.isclose(a, b, rtol=1e-2, atol=1e-2)


def unit(v):
    return v / np.linalg.norm(v)


sizes = [4, 7, 14, 28, 56]
errors, passed = [], {"every entry": [], "random direction": [], "constant per channel": []}
steady = []  # the median of the error along constant directions, relative to the derivative
for size in sizes:
    largest, off, oks = [], [], {name: [] for name in passed}
    for _ in range(max(50, 1400 // size)):  # small ones are cheap
        right, wrong = two_gradients(size)
        largest.append(np.abs(right - wrong).max())
        oks["every entry"].append(np.all(close(wrong, right)))
        for _ in range(3):
            v = unit(rng.normal(size=right.shape))
            oks["random direction"].append(close(np.sum(wrong * v), np.sum(right * v)))
            v = unit(np.broadcast_to(rng.normal(size=(1, 64, 1, 1)), right.shape))
            oks["constant per channel"].append(close(np.sum(wrong * v), np.sum(right * v)))
            off.append(abs(np.sum(wrong * v) / np.sum(right * v) - 1))
    errors.append(np.median(largest))
    steady.append(np.median(off))
    for name, ok in oks.items():
        passed[name].append(np.mean(ok))
print({name: f"{share[-1]:.0%} pass at 56x56" for name, share in passed.items()})
print("error along constant directions, from 4x4 to 56x56:", *(f"{share:.0%}" for share in steady))
assert passed["every entry"][-1] > 0.4
assert passed["random direction"][-1] > 0.9
assert max(passed["constant per channel"]) < 0.3
assert min(steady) > 0.1

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: largest error of the wrong gradient against the number of pixels, both axes logarithmic: it falls along a line with slope minus one half and at 56 by 56 has sunk to just below the tolerance of 0.01. Right: share of wrong gradients that pass. With random directions it rises from about 30 to 100 per cent with the size, entry by entry to more than half; with directions that are constant per channel it stays between 5 and 20 per cent."}}
pixels = np.array(sizes) ** 2
fig, (left, right_ax) = plt.subplots(1, 2, figsize=(7, 3.1))
left.loglog(pixels, errors, "o-", label="dropped gate path")
left.loglog(pixels, 0.5 / np.sqrt(pixels), "k:", label=r"slope $-1/2$")
left.axhline(0.01, color="C1", linestyle="--")
left.text(16, 0.0104, "tolerance", color="C1", va="bottom")
left.set_xlabel("pixels $HW$")
left.set_ylabel("largest error of $\\bar u$")
left.legend()
for share, marker in zip(passed.values(), "os^", strict=True):
    right_ax.semilogx(pixels, 100 * np.array(share), marker + "-")
right_ax.set_ylim(0, 140)
right_ax.set_yticks(range(0, 101, 20))
right_ax.legend(passed, loc="upper left", fontsize=9, labelspacing=0.3)
right_ax.set_xlabel("pixels $HW$")
right_ax.set_ylabel("wrong gradients that pass (%)")
plt.show()

# %% [markdown]
# The left panel follows from the formula. With a random signed $\bar y$, the sum $\bar s$ over $HW$ terms
# grows like $\sqrt{HW}$; divided by $HW$, what is missing at a pixel shrinks like $1/\sqrt{HW}$. On large
# images it dives under any fixed tolerance. Nothing has become right. Does it matter, then? In training,
# $\bar y$ is not white noise: what comes back from a global average pool is *the same at all pixels of a
# channel*. Then the terms of $\bar s$ do not cancel:

# %%
arguments = random_block(56)
y, cache = ops.squeeze_excite_forward(*arguments)
for name, dy in (
    ("random", rng.normal(size=y.shape)),
    ("constant per channel", np.broadcast_to(rng.normal(size=(1, 64, 1, 1)), y.shape).copy()),
):
    gate = ops.squeeze_excite_backward_paths(dy, cache).through_gate
    share = np.linalg.norm(gate) / np.linalg.norm(ops.squeeze_excite_backward(dy, cache).du)
    print(f"upstream {name}: the missing path has {share:.1%} of the gradient's length")
    assert (share > 0.1) == (name != "random")

# %% [markdown]
# [Lesson 14](14_se_resnet.py) follows the damage through a network.
#
# ## Directions that see it
#
# A numerical check compares $\langle \bar u, v \rangle$ with a difference quotient along $v$. The missing
# term is constant over each map. Against a random $v$ its contributions cancel, and at 56x56 such checks pass
# at this tolerance. Along a $v$ that is constant over each map too, all $HW$ of them add up: the error
# remains about 30 % of the derivative itself, whatever the size. So a good checker does not rely on luck.
# Beside Gaussian directions it uses structured ones, constant over space, constant over one channel, single
# entries, and a tolerance near rounding, which the complex step affords ([lesson
# 2](02_gradients_and_checking.py)).

# %%
arguments = random_block(56, channels=8)
report = check_gradients(ops.squeeze_excite_forward, dropped, arguments, purity=False)
print(report.reasons[0])
assert report.verdict == "failed"
assert check_gradients(ops.squeeze_excite_forward, ops.squeeze_excite_backward, arguments, purity=False).ok

small = check_gradients(ops.squeeze_excite_forward, dropped, random_block(3, channels=8))
print(small.reasons[0])
assert "gate path" in small.reasons[0]

# %% [markdown]
# At 56x56 a single entry, only a little off, gives the mistake away, because the tolerance is a matter of
# rounding errors. On the 3x3 image, small enough for every entry to be tried, the report says more:
# the difference is constant over space, the fingerprint of a missing sum over the image.
#
# ## Summary
#
# - The scale's gradient is $s\,\bar y$ for the maps and, for a gate, the sum of $\bar y\, u$ over its
#   channel.
# - In the block the gate depends on the maps, so $\partial L / \partial u$ has two terms: through the scale,
#   and through squeeze and excitation. The second reaches every pixel of every channel of the image.
# - Per pixel the second term is small on large images. Loose tests let its absence pass; directions that are
#   constant over space, and strict tolerances, do not.
#
# ## Exercises
#
# - `scale_backward` (1 point): the two gradients of a product. `senumpy exercise start scale_backward`
# - `squeeze_excite_forward` (1 point): the three steps in a row.
#   `senumpy exercise start squeeze_excite_forward`
# - `squeeze_excite_backward` (3 points): the gradient with both paths. `senumpy exercise start
#   squeeze_excite_backward`
#
# 1. Someone proposes to stop the gradient between $z$ and $u$ on purpose, since "the gates are only weights".
#    Which parameters of a network still get the right gradient?
#
#    :::{admonition} Answer
#    :class: dropdown
#    All whose influence on the loss does not pass the $u$ of any SE block: what comes after the last block's
#    multiplication, and $W_1, b_1, W_2, b_2$ of this block, whose gradients need $\bar s$ but not path 2.
#    What stands before the last SE block gets a wrong gradient, also the weights of the SE blocks before.
#    :::
#
# 2. When is path 2 zero although the code is right and the hidden units are on?
#
#    :::{admonition} Answer
#    :class: dropdown
#    Where $\bar s$ is zero: $\bar y$ orthogonal to $u$ in every channel, for instance $u = 0$ (nothing to
#    scale, so the gate does not matter; biases keep the hidden units on). And nearly zero where every gate is
#    saturated, $s(1-s) \approx 0$.
#    :::
#
# 3. With `squeeze="max"`, how does the picture with the nudged pixel change?
#
#    :::{admonition} Answer
#    :class: dropdown
#    If the pixel is not the maximum of its map, the gates stay and only one entry of $y$ moves: path 2 is
#    zero there. If it is the maximum, $z$ rises by all of the nudge, and not by $1/(HW)$ of it. Path 2 is
#    then concentrated on one pixel a channel. Set `operator="max"` in `block`'s squeeze and look.
#    :::
