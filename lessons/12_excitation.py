# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 12. Excitation
#
# **Question.** The squeeze hands over one number per channel; what is wanted is one *gate* per channel. A
# single matrix and a sigmoid would do that. Why does the paper take two thin matrices with a ReLU between
# them, what does it save, and how can that ReLU make a gradient check pass that has checked nothing?
#
# *Paper: section 3.2, equation 3; section 4, equation 5; section 6, tables 10 and 12.*  Reading time: 13
# minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from senumpy import ops
from senumpy.data import load_data
from senumpy.lessons import show, style
from senumpy.verify import check_gradients
from senumpy.verify.numerical import central_difference

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## What a gate must be able to do
#
# A gate is a factor between 0 and 1 that a channel will be multiplied by. The paper asks two things of
# whatever computes the gates. It has to be able to learn *interactions* of channels, also non-linear ones:
# "if there is much of this but little of that, I care about a third". And the gates must not exclude one
# another: several channels may be wanted at once.
#
# The second demand rules out a softmax, whose outputs compete for a total of 1. Three equally good channels
# would each be cut to a third. Sigmoids decide independently:

# %%
logits = np.array([[3.0, 3.0, 3.0, -3.0]])
sigmoid, _ = ops.sigmoid_forward(logits)
softmax = np.exp(logits) / np.exp(logits).sum()
print("sigmoid", sigmoid.round(2)[0])
print("softmax", softmax.round(2)[0])
assert sigmoid[0, 0] > 0.95
assert softmax[0, 0] < 1 / 3

# %% [markdown]
# ## Two layers and a gate
#
# Equation 3, with the biases that most implementations have, reads
#
# $$s = F_{ex}(z, W) = \sigma\big(W_2\, \delta(W_1 z + b_1) + b_2\big),$$
#
# where $z \in \mathbb{R}^C$ is an image's descriptor ([lesson 11](11_squeeze.py)), $\delta$ the ReLU and
# $\sigma(a) = 1 / (1 + e^{-a})$ the sigmoid, both entry by entry. $W_1 \in \mathbb{R}^{h \times C}$ *reduces*
# the $C$ entries of $z$ to $h = C/r$ hidden units, and $W_2 \in \mathbb{R}^{C \times h}$ *expands* them to
# $C$ logits. The *reduction ratio* $r$ is 16 in the paper; $b_1$ and $b_2$ have $h$ and $C$ entries. With a
# batch, $z$ is an array $(N, C)$ and images do not mix:
#
# | step | name | shape |
# |---|---|---|
# | $p = z W_1^T + b_1$ | hidden | $(N, C) \to (N, h)$ |
# | $q = \max(p, 0)$ | active | $(N, h)$ |
# | $a = q W_2^T + b_2$ | logits | $(N, h) \to (N, C)$ |
# | $s = \sigma(a)$ | gates | $(N, C)$ |
#
# What can two hidden units do? Take the four stroke detectors of lesson 11 and choose weights by hand. Let
# the hidden units compare the amounts of horizontal and vertical strokes, $z_-$ and $z_|$, one in each
# direction:
#
# $$q_1 = \max\big(50\,(z_| - z_-),\, 0\big), \qquad q_2 = \max\big(50\,(z_- - z_|),\, 0\big).$$

# %%
W1 = 50 * np.array([[-1.0, 1, 0, 0], [1, -1, 0, 0]])  # (2, 4): horizontal, vertical, rising, falling
W2 = np.array(
    [
        [-1.0, 0],  # horizontal strokes: damped where the vertical ones prevail
        [0, -1],  # vertical strokes: damped where the horizontal ones prevail
        [1, 1],  # rising strokes: let through where the two are out of balance, whichever way
        [0, 0],  # falling strokes: no opinion
    ]
)

across = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]])
up = np.array([[-1, -1, 2], [-1, 2, -1], [2, -1, -1]])
detectors = np.stack([across, across.T, up, up[:, ::-1]])[:, None] / 6

part = load_data("digits").test
x, labels = part.images.transpose(0, 3, 1, 2) / 255, part.labels
z, _ = ops.squeeze_forward(ops.relu_forward(ops.conv2d_forward(x, detectors, padding=1)[0])[0])

s, _ = ops.excitation_forward(z, W1, None, W2, None)
for digit in (1, 5):
    n = int(np.argmax(labels == digit))
    print(f"a {digit}: z = {z[n].round(3)}, gates = {s[n].round(2)}")
first_one = s[np.argmax(labels == 1)]
assert np.allclose(first_one, [0.18, 0.5, 0.82, 0.5], atol=0.01)
assert np.all(s[:, 3] == 0.5)  # a logit of 0 is a gate of 1/2

# %% [markdown]
# Work the first printed line by hand: $50\,(0.079 - 0.049) = 1.5$ in favour of the vertical strokes, so
# $q = (1.5, 0)$, logits $(-1.5, 0, 1.5, 0)$, gates $(0.18, 0.5, 0.82, 0.5)$.
#
# The third row of $W_2$ is the interesting one. Its logit is $q_1 + q_2 = 50\,|z_| - z_-|$, an absolute
# value. No linear map of $z$ can do that. Leave out the ReLU and $W_2 W_1$ collapses into one matrix; $q_1$
# and $q_2$ are then opposite numbers, cancel, and that gate stands at 1/2 for every image there is.

# %%
without_relu, _ = ops.sigmoid_forward(z @ W1.T @ W2.T)
np.testing.assert_allclose(without_relu[:, 2], 0.5, atol=1e-12)
assert s[:, 2].max() > 0.9

# %% tags=["hide-input"] mystnb={"image": {"alt": "Gates of three channels for 360 digits against the balance of vertical and horizontal strokes. Each gate is a curve with a corner at zero: the horizontal one falls to the right, the vertical one to the left, the rising one is V-shaped. A dashed line at one half is the rising gate without the ReLU."}}
fig, ax = plt.subplots(figsize=(7, 3))
balance = z[:, 1] - z[:, 0]
for c, marker in enumerate("os^"):
    ax.scatter(balance, s[:, c], s=10, marker=marker, color=f"C{c}")
ax.axhline(0.5, color="black", linestyle="--", linewidth=1)
for text, where, c in (
    ("horizontal", (0.038, 0.2), 0),
    ("vertical", (-0.046, 0.2), 1),
    ("rising", (0.02, 0.87), 2),
):
    ax.text(*where, text, color=f"C{c}", ha="center")
ax.text(0.077, 0.47, "rising, without ReLU", fontsize=9, ha="right", va="top")
ax.set_xlabel(r"vertical minus horizontal strokes, $z_| - z_-$ (one point per image)")
ax.set_ylabel("gate $s$")
ax.set_ylim(0, 1.02)
plt.show()

# %% [markdown]
# {py:func}`senumpy.ops.excitation_forward` is the table above, line by line (`_GATES` maps the name of a gate
# to its forward and backward function):

# %%
show(ops.excitation_forward)

# %% [markdown]
# The argument `gate` names the outer function, and table 12 of the paper tries others: tanh gives 23.00 %
# top-1 error and ReLU 23.47 %, both worse than the sigmoid's 22.28 %, and ReLU worse than no SE at all
# (23.30 %).
#
# ## What the bottleneck saves
#
# One full matrix from the $C$ entries of $z$ to $C$ gates would have $C^2$ weights. The two thin ones have $2
# C^2 / r$. Equation 5 sums that over a network of $S$ stages; stage number $s$ (no gate, in this formula) has
# $N_s$ blocks with $C_s$ channels:
#
# $$\frac{2}{r} \sum_{s=1}^{S} N_s\, C_s^2 .$$

# %%
stages = [(3, 256), (4, 512), (6, 1024), (3, 2048)]  # (N_s, C_s) of SE-ResNet-50, table 1


def weights(r):
    return sum(n * 2 * (c // r) * c for n, c in stages)


biases = sum(n * (c // 16 + c) for n, c in stages)
full = sum(n * c * c for n, c in stages)
print(f"r = 16: {weights(16):,} weights and {biases:,} biases; one full matrix per block: {full:,}")
print(f"the last stage alone: {3 * 2 * 128 * 2048 / weights(16):.1%}")
assert (weights(16), biases) == (2_514_944, 16_048)

# %% [markdown]
# 2.5 million on top of ResNet-50's 25.6 million: about 10 %, as the paper says. Five eighths of them sit in
# the three blocks of the last stage, because the width counts squared. Does a smaller $r$, a wider
# bottleneck, buy accuracy? The paper's table 10 says yes from 32 to 16, and no from there on:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Top-1 error against added weights in millions. Without SE 23.30 percent; with r = 32, 1.3 million weights, 22.72; with r = 16, 2.5 million, 22.28; r = 8, 4 and 2 add up to 20 million weights and stay at 22.25 to 22.29: the curve is flat from r = 16 on."}}
table10 = {32: 22.72, 16: 22.28, 8: 22.26, 4: 22.25, 2: 22.29}  # r: top-1 error in %
fig, ax = plt.subplots(figsize=(7, 2.8))
millions = [weights(r) / 1e6 for r in table10]
ax.plot([0, *millions], [23.30, *table10.values()], "o-")
ax.annotate("no SE", (0, 23.30), (0.5, 23.27), va="center")
for (r, error), m in zip(table10.items(), millions, strict=True):
    ax.annotate(f"r = {r}", (m, error), (5, 7), textcoords="offset points")
ax.set_xlabel("weights that SE adds to ResNet-50 (millions, equation 5)")
ax.set_ylabel("top-1 error (%, paper)")
ax.set_xlim(-1, 22)
ax.set_ylim(22.1, 23.45)
plt.show()

# %% [markdown]
# Where $C$ is not a multiple of $r$, libraries differ. This one takes $h = \max(1, \lfloor C / r \rfloor)$,
# where the paper's networks have $C/r$ exactly; timm rounds to multiples of 8 and never goes below 8. A CIFAR
# network with 16 channels and $r = 16$ has a single hidden unit.
#
# ## Biases or none
#
# This is the most frequent question about SE. The paper's released models have biases, its ablations leave
# them out, and well-known reimplementations do either. What do they change? Without biases, the
# logits are *positively homogeneous*: double $z$, and $W_1 z$, its ReLU and the logits double. So whether a
# gate is above or below 1/2 depends only on the proportions of the descriptor. With biases a gate can have a
# threshold, and a resting position $\sigma(b_2)$, say 0.9, "open unless there is a reason".

# %%
w1, w2 = rng.normal(size=(4, 8)), rng.normal(size=(8, 4))
b1, b2 = rng.normal(size=4), rng.normal(size=8)
d = rng.normal(size=(5, 8))


def sides(scale, *arguments):
    """Which gates are more than half open, for the descriptors scaled."""
    return ops.excitation_forward(scale * d, *arguments)[0] > 0.5


assert np.array_equal(sides(1.0, w1, None, w2, None), sides(0.01, w1, None, w2, None))
assert not np.array_equal(sides(1.0, w1, b1, w2, b2), sides(0.01, w1, b1, w2, b2))

# %% [markdown]
# The paper (section 6) says that leaving them out helps to model the dependencies of channels; its authors
# have said elsewhere that both work. What does matter is to know which one your weights were trained with: a
# network that loses its trained biases raises no error, and computes other gates.
#
# ## The excitation, backwards
#
# Four steps forward, four steps backward, last step first. Write $\bar a$ for $\partial L / \partial a$ (`da`
# in [lesson 2](02_gradients_and_checking.py)), and so on. Given $\bar s$, shape $(N, C)$:
#
# $$
# \begin{aligned}
# \bar a_{n,c} &= s_{n,c} (1 - s_{n,c})\, \bar s_{n,c} \\[6pt]
# \bar q_{n,k} &= \textstyle\sum_c \bar a_{n,c}\, W_{2,ck} \\
# \bar W_{2,ck} &= \textstyle\sum_n \bar a_{n,c}\, q_{n,k} \\
# \bar b_{2,c} &= \textstyle\sum_n \bar a_{n,c} \\[6pt]
# \bar p_{n,k} &= [\,p_{n,k} > 0\,]\; \bar q_{n,k} \\[6pt]
# \bar z_{n,c} &= \textstyle\sum_k \bar p_{n,k}\, W_{1,kc} \\
# \bar W_{1,kc} &= \textstyle\sum_n \bar p_{n,k}\, z_{n,c} \\
# \bar b_{1,k} &= \textstyle\sum_n \bar p_{n,k}
# \end{aligned}
# $$
#
# The first line is the sigmoid, $\sigma' = \sigma (1 - \sigma)$, at most 1/4; with another gate its
# derivative stands there. The two groups of three are the linear layers ([lesson 3](03_linear_and_loss.py)).
# The bracket is 1 where the hidden unit is on and 0 where it is off. Weights see every image, so their
# gradients are sums over $n$. Not means: the mean over the batch is in the loss already.
#
# A case for paper and pencil: $C = 2$, $h = 1$, $z = (1, 1)$, $W_1 = (1, -\tfrac12)$, $W_2 = (2, -1)^T$, no
# biases. Then $p = q = 0.5$, $a = (1, -0.5)$, $s = (0.731, 0.378)$. For $\bar s = (2, -1)$:
# $\bar a = (0.393, -0.235)$, $\bar q = 2 \cdot 0.393 + 0.235 = 1.021$, $\bar p = 1.021$, and
# $\bar z = (1.021, -0.511)$.

# %%
_, cache = ops.excitation_forward(
    np.array([[1.0, 1.0]]), np.array([[1.0, -0.5]]), None, np.array([[2.0], [-1.0]]), None
)
dz = ops.excitation_backward(np.array([[2.0, -1.0]]), cache).dz
print(dz.round(3))
assert np.allclose(dz, [[1.021, -0.511]], atol=5e-4)

report = check_gradients(ops.excitation_forward, ops.excitation_backward, (d, w1, b1, w2, b2))
assert report.ok
print(f"all five gradients, largest relative error: {report.complex_step_error:.0e}")

# %% [markdown]
# The classical omissions are the factor $s(1-s)$ and the bracket. Here are both, made from the right code;
# each is caught, with the index where it shows. Write your own before you open the library's.


# %%
def without_factor(ds, cache):
    s = cache.gate.y
    return ops.excitation_backward(ds / (s * (1 - s)), cache)


def without_bracket(ds, cache):
    always_on = cache.relu._replace(mask=np.ones_like(cache.relu.mask))
    return ops.excitation_backward(ds, cache._replace(relu=always_on))


failed = {}
for backward in (without_factor, without_bracket):
    report = check_gradients(ops.excitation_forward, backward, (d, w1, b1, w2, b2))
    failed[backward] = [a.name for a in report.arguments if a.verdict == "failed"]
    print(f"{backward.__name__}: {', '.join(failed[backward])}\n  {report.reasons[0]}")
assert failed[without_factor] == ["z", "w1", "b1", "w2", "b2"]
assert failed[without_bracket] == ["z", "w1", "b1"]  # the second layer lies above the ReLU

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the library's code", "code_prompt_hide": "Hide it"}
show(ops.excitation_backward)

# %% [markdown]
# ## A check that sees nothing
#
# Look at $\bar p$ once more. If *all* hidden units of an image are off, the bracket is zero throughout: $q =
# 0$, the gates stand at $\sigma(b_2)$, and a small change of $z$ changes nothing. The true $\bar z$ is zero,
# and if all images are like this, so are $\bar W_1$, $\bar b_1$ and $\bar W_2$. So is what almost any wrong
# code computes.

# %%
positive = np.abs(d[:1])
alive, dead = np.abs(w1), -np.abs(w1)  # with a positive descriptor, every hidden unit is on, or off


def nonsense(ds, cache):
    gradients = ops.excitation_backward(ds, cache)
    return gradients._replace(dz=-7 * gradients.dz)


def passes(w1):
    def gates(z):
        return ops.excitation_forward(z, w1, None, w2, None)[0]

    _, cache = ops.excitation_forward(positive, w1, None, w2, None)
    ds, v = rng.normal(size=positive.shape), rng.normal(size=positive.shape)
    expected = ds.ravel() @ central_difference(gates, positive, v, 1e-6)
    got = np.sum(nonsense(ds, cache).dz * v)
    print(f"expected {expected:.6f}, got {got:.6f}")
    return np.isclose(got, expected)


assert not passes(alive)
assert passes(dead)

# %% [markdown]
# In the second case, a gradient that is wrong by a factor of $-7$ passes. A check is worth nothing where the
# true gradient is zero, and a checker has to *say so*. The library's returns a third verdict beside passed
# and failed:

# %%
report = check_gradients(ops.excitation_forward, nonsense, (positive, dead, None, w2, None))
print(report.verdict)
print(report.reasons[0])
assert report.verdict == "vacuous"
report = check_gradients(ops.excitation_forward, nonsense, (positive, alive, None, w2, None))
assert report.verdict == "failed"

# %% [markdown]
# How often does that happen by accident? With random weights of either sign and no biases each hidden unit is
# off for half of all descriptors. All $h$ are off with probability $2^{-h}$: for $h = 2$, a likely size in a
# small test, every fourth check of $\bar z$ checks nothing. A batch helps, since every unit has to be off for
# each of its $N$ images: with independent descriptors, about $2^{-Nh}$.


# %%
def dead_fraction(h, N, trials=4000, C=16):
    w = rng.normal(size=(trials, h, C))
    descriptors = rng.normal(size=(trials, N, C))
    return np.mean(np.all(np.einsum("thc,tnc->tnh", w, descriptors) <= 0, axis=(1, 2)))


widths = np.arange(1, 7)
measured = {N: [dead_fraction(h, N) for h in widths] for N in (1, 2)}
np.testing.assert_allclose(measured[1], 0.5**widths, atol=0.02)
np.testing.assert_allclose(measured[2], 0.25**widths, atol=0.02)
print(f"h = 2, all units off: one image {measured[1][1]:.0%}, two images {measured[2][1]:.0%}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Share of random SE blocks in which no hidden unit is on, against the number of hidden units, on a logarithmic axis. For one image it falls along the line two to the power of minus h, from one half at h = 1 over one quarter at h = 2; for two images twice as steeply."}}
fig, ax = plt.subplots(figsize=(7, 2.9))
for N, marker, line, most in ((1, "o", "-", 6), (2, "s", "--", 3)):
    ax.plot(widths[:most], 100 * np.array(measured[N][:most]), marker, label=f"measured, N = {N}")
    predicted, name = 100 * 0.5 ** (widths[:most] * N), ["$2^{-h}$", "$2^{-2h}$"][N - 1]
    ax.plot(widths[:most], predicted, "k", linewidth=1, linestyle=line, label=name)
ax.set_yscale("log")
ax.set_ylim(0.9, 70)
ax.set_yticks([1, 5, 25, 50], ["1", "5", "25", "50"])
ax.minorticks_off()
ax.set_xlabel("hidden units $h$")
ax.set_ylabel("blocks, all units off (%)")
ax.legend(ncols=2)
plt.show()

# %% [markdown]
# The same happens in training. A hidden unit that is off for every image of the data gets no gradient, and
# only a change in $z$, by the layers below, can wake it. In a block with $h = 1$ that switches off the whole
# excitation: the gates stand at $\sigma(b_2)$ for every image.
#
# ## Summary
#
# - Two layers with a ReLU between them can relate channels in ways that no single matrix can; sigmoids let
#   several gates be open at once.
# - The bottleneck needs $2C^2/r$ weights in place of $C^2$. With $r = 16$ that is 2,514,944 in SE-ResNet-50;
#   wider bottlenecks gained nothing in the paper. Biases are a matter of convention that has to be known.
# - Backwards it is the chain rule through sigmoid, linear, ReLU, linear. Where all hidden units are off, the
#   gradient vanishes and a check there is vacuous.
#
# ## Exercises
#
# - `excitation_forward` (2 points): equation 3, with or without biases, and with three gates.
#   `senumpy exercise start excitation_forward`
# - `excitation_backward` (3 points): the gradients of descriptors, weights and biases.
#   `senumpy exercise start excitation_backward`
#
# 1. What would be lost with *two* full $C \times C$ matrices and a ReLU between, $r = 1$? Count for
#    SE-ResNet-50.
#
#    :::{admonition} Answer
#    :class: dropdown
#    Nothing in what it can compute, but the economy: $2 \sum N_s C_s^2 = 40{,}239{,}104$ weights, more than
#    one and a half times the whole ResNet-50, which invites overfitting besides. Table 10 shows that already
#    $r = 2$, with half of that, is no better than $r = 16$.
#    :::
#
# 2. With one image and $h = 16$ hidden units, how likely is it that *at least one* of them is off? What does
#    a gradient check then leave unchecked?
#
#    :::{admonition} Answer
#    :class: dropdown
#    $1 - 2^{-16}$: practically certain. The row of $\bar W_1$ that belongs to a unit that is off, the entry
#    of $\bar b_1$ and the column of $\bar W_2$ are zero, so a mistake in them alone would not show. It takes
#    several images, such that each unit is on for some.
#    :::
#
# 3. Initialise $W_2$ with zeros and $b_2$ with zeros. What does an SE block do at the first step, and which
#    of its gradients are zero?
#
#    :::{admonition} Answer
#    :class: dropdown
#    All logits are 0, all gates 1/2: the block halves its input. $\bar q = \bar a\, W_2 = 0$, so $\bar p$,
#    $\bar W_1$, $\bar b_1$ and $\bar z$ vanish. $\bar W_2$ and $\bar b_2$ do not, so after one step $W_2$ is
#    no longer zero and the rest wakes up.
#    :::
