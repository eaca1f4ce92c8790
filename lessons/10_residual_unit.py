# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 10. The residual unit
#
# **Question.** In 2015 it was found that a plain network of 56 layers fits its own *training* images worse
# than one of 20 layers, although it could do whatever the small one does and leave the other layers idle.
# One plus sign per unit mends that. What does the plus sign do to the gradient?
#
# *Paper: section 3.3 and figure 3, the unit that SE is built into; the unit itself is He et al., arXiv
# 1512.03385.* Reading time: 13 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.ops.sgd import sgd_update
from senumpy.verify import check_gradients, check_like
from senumpy.verify.mistakes import MISTAKES

style()
rng = np.random.default_rng(10)
digits = load_digits()
images = (digits.images[:, None] / 16 - 0.3).astype(np.float32)  # (1797, 1, 8, 8), mean about 0
labels = digits.target.astype(np.int64)

# %% [markdown]
# ## The chain of a unit
#
# Nearly everything in the paper's networks is made of one phrase: convolution, batch norm, ReLU.
#
# $$
# u = w * x, \qquad v = \mathrm{BN}_{\gamma,\beta}(u), \qquad y = \mathrm{relu}(v) .
# $$
#
# There is nothing to derive any more. Each operation turns the gradient of its result into those of its
# arguments; the gradient by $u$ that batch norm returns is the upstream gradient of the convolution. Walk
# the chain from its end, hand on what you get, and keep the parameters' gradients as you pass:
#
# $$
# \begin{aligned}
# dy &\xrightarrow{\ \text{ReLU}\ } dv, \\
# dv &\xrightarrow{\ \text{BN}\ } du,\, d\gamma,\, d\beta, \\
# du &\xrightarrow{\ \text{conv}\ } dx,\, dw .
# \end{aligned}
# $$
#
# This is {py:func}`senumpy.ops.conv_bn_relu_backward`:

# %%
show(ops.conv_bn_relu_backward)

# %% [markdown]
# The only question is the order, and whether each step gets *its own* cache. Two lapses are common: to leave
# out the ReLU's mask ("it only cuts off"), and to take batch norm's statistics for constants, because that
# is right in inference. Neither survives the checker:

# %%
for name in ("no-relu-mask", "constant-statistics"):
    mistake = next(m for m in MISTAKES if (m.op, m.name) == ("conv_bn_relu", name))
    report = check_like("conv_bn_relu", backward=mistake.backward)
    print(f"{mistake.explanation}\n  {report.reasons[0]}")
    assert report.verdict == "failed"

# %% [markdown]
# ## A sum copies its gradient
#
# A residual unit computes a *branch* $F(x)$, here two convolutions, and adds its own input:
#
# $$
# y = \mathrm{relu}(F(x) + x) .
# $$
#
# The sum $a + b$ grows by as much as either of its terms does, $\partial(a+b)/\partial a =
# \partial(a+b)/\partial b = 1$: both receive the upstream gradient unchanged. And $x$ went two ways, into
# the branch and around it, so it collects from both. With $J$ for the Jacobian of the branch and $dz$ for
# the gradient that arrives at the sum,
#
# $$
# dx = J^{\mathsf T} dz + dz = (I + J)^{\mathsf T} dz .
# $$

# %%
show(ops.residual_add_backward)

# %% [markdown]
# Why does {py:func}`senumpy.ops.residual_add_backward` make two copies, by `contiguous(dy)` twice, where
# `dy, dy` has the same numbers? Because that would be the same *memory*. A ReLU that saves time by zeroing its upstream gradient in
# place does no harm in a plain network. In a residual one, it wipes out entries of the shortcut's gradient
# as well. A popular textbook's code has this very ReLU:


# %%
def thrifty_relu_backward(dy, cache):
    """Zero the upstream gradient where the ReLU was off, in place."""
    dy[~cache.mask] = 0
    return dy


dz = np.array([[[[3.0, -2.0, 5.0]]]])
_, cache = ops.relu_forward(np.array([[[[1.0, -1.0, -4.0]]]]))  # the branch is just a ReLU
shared = dz.copy()
dbranch = dshortcut = shared
dx = thrifty_relu_backward(dbranch, cache) + dshortcut
print("shared memory:", dx.ravel(), "  right:", (ops.relu_backward(dz, cache).dx + dz).ravel())
assert (dx.ravel() == [6, 0, 0]).all()
report = check_gradients(ops.relu_forward, thrifty_relu_backward, (rng.standard_normal((2, 3)),))
print(*report.reasons, sep="\n")
assert not report.ok

# %% [markdown]
# A gradient check of the ReLU alone that compares only numbers passes it ([lesson 3](03_linear_and_loss.py)).
# So the checker here also asks whether a backward function leaves its arguments alone.
#
# ## A whole unit
#
# The unit of the smaller ResNets, called the *basic block*, put together from parts; `residual=False` leaves
# the plus sign out.


# %%
def unit_forward(x, w1, gamma1, beta1, w2, gamma2, beta2, residual=True):
    a, first = ops.conv_bn_relu_forward(x, w1, gamma1, beta1, padding=1)
    u, conv = ops.conv2d_forward(a, w2, padding=1)
    v, norm = ops.batchnorm2d_forward(u, gamma2, beta2)
    if residual:
        v, _ = ops.residual_add_forward(v, x)
    y, relu = ops.relu_forward(v)
    return y, (first, conv, norm, relu, residual)


def unit_backward(dy, cache):
    first, conv, norm, relu, residual = cache
    (dz,) = ops.relu_backward(dy, relu)
    du, dgamma2, dbeta2 = ops.batchnorm2d_backward(dz, norm)
    da, dw2, _ = ops.conv2d_backward(du, conv)
    dx, dw1, dgamma1, dbeta1 = ops.conv_bn_relu_backward(da, first)
    if residual:
        dx = dx + dz  # the branch's part, and the shortcut's
    return dx, dw1, dgamma1, dbeta1, dw2, dgamma2, dbeta2


def draw(channels, inputs, rng):
    """Return He's initial weights of a 3x3 convolution, gamma and beta."""
    w = rng.standard_normal((channels, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))
    return [v.astype(np.float32) for v in (w, np.ones(channels), np.zeros(channels))]


x, parameters = rng.standard_normal((2, 3, 4, 4)), [*draw(3, 3, rng), *draw(3, 3, rng)]
arguments = [x, *(v + 0.1 * rng.standard_normal(v.shape) for v in parameters)]
report = check_gradients(unit_forward, unit_backward, arguments)
print(report.verdict, f"{max(a.error for a in report.arguments):.1e}")
assert report.ok

# %% [markdown]
# The ReLU comes *after* the sum, so its mask acts on both paths: `dz`, not `dy`, goes around. And the branch
# ends with batch norm, without a ReLU of its own; otherwise $F(x)$ could only add, never subtract.
#
# ## Why the identity path helps
#
# Stack $L$ units. By the chain rule the gradient at the bottom is a product,
#
# $$
# \begin{aligned}
# \text{plain:} && dx_0 &= J_1^{\mathsf T} J_2^{\mathsf T} \cdots J_L^{\mathsf T}\, dy, \\
# \text{residual:} && dx_0 &= (I + J_1)^{\mathsf T} \cdots (I + J_L)^{\mathsf T}\, dy
# \end{aligned}
# $$
#
# (but for the masks of the ReLUs behind the sums). Suppose each plain factor changes the length by a factor
# $\rho$ on average; then $L$ of them make $\rho^L$, and unless $\rho$ is 1 almost exactly, it vanishes or
# explodes. In the residual product one of the $2^L$ terms is $dy$ itself, which arrives without having
# passed a single weight.
#
# How large are the others? Here batch norm and the plus sign work hand in hand. Each branch ends with batch
# norm, so it adds about the same variance, say 1, and after $k$ units the signal has variance $k$. The next
# unit's batch norm divides what comes of this signal by a deviation that is proportional to $\sqrt k$, and so
# its $J$ is proportional to $1/\sqrt k$. The later a unit, the closer it is to the identity. If the two parts
# of $(I + J)^{\mathsf T} dz$ are about at right angles, unit $k$ multiplies the squared length by $1 + c/k$
# with some constant $c$, and
#
# $$
# \prod_{k=1}^{L} \Big(1 + \frac{c}{k}\Big) \approx L^{c} \quad\text{instead of}\quad \rho^{2L} :
# $$
#
# a *power* of the depth instead of an exponential. That is a claim about numbers, so let us measure. Forty
# convolutions in twenty units, random weights, 64 digits, a random upstream gradient at the top; three
# networks with the same weights.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Gradient norm at the input of each of 20 units, relative to the top, logarithmic axis, depth counted from the input. Plain without batch norm and with weights 20 percent too small: it falls to some millionths towards the input. Plain with batch norm: a straight line that rises to several hundred towards the input. Residual: rises slowly to about ten."}}
UNITS, CHANNELS = 20, 8


def gradient_norms(network, units=UNITS, seed=1):
    """Return the length of the gradient at the input of each unit, from the first to the top."""
    rng = np.random.default_rng(seed)
    h, _ = ops.conv2d_forward(images[:64], draw(CHANNELS, 1, rng)[0], padding=1)
    h, _ = ops.batchnorm2d_forward(h, *draw(CHANNELS, 1, rng)[1:])
    caches = []
    for _ in range(units):
        p = [*draw(CHANNELS, CHANNELS, rng), *draw(CHANNELS, CHANNELS, rng)]
        if network == "plain, no batch norm":
            for w in (p[0], p[3]):
                h, conv = ops.conv2d_forward(h, np.float32(0.8) * w, padding=1)
                h, relu = ops.relu_forward(h)
                caches.append((conv, relu))
        else:
            h, cache = unit_forward(h, *p, residual=network == "residual")
            caches.append(cache)
    dy = rng.standard_normal(h.shape).astype(np.float32)
    norms = [np.linalg.norm(dy)]
    for cache in reversed(caches):
        if len(cache) == 2:
            dy = ops.conv2d_backward(ops.relu_backward(dy, cache[1]).dx, cache[0]).dx
        else:
            dy = unit_backward(dy, cache)[0]
        norms.append(np.linalg.norm(dy))
    norms = np.array(norms[:: len(norms) // units])[::-1]
    return norms / norms[-1]


norms = {name: gradient_norms(name) for name in ("residual", "plain, batch norm", "plain, no batch norm")}
fig, ax = plt.subplots()
for name, line in norms.items():
    ax.semilogy(range(UNITS + 1), line, "o-", markersize=4, label=name)
ax.axhline(1, color="0.6", linewidth=0.8)
ax.set(xlabel="unit (two convolutions each), 0 = input", ylabel="gradient norm / that at the top")
ax.set_xticks(range(0, UNITS + 1, 5))
ax.legend()
for name, line in norms.items():
    print(f"{name:21} at the input: {line[0]:.2g}")
assert norms["plain, batch norm"][0] > 100
assert 2 < norms["residual"][0] < 30
assert norms["plain, no batch norm"][0] < 1e-4
plt.show()

# %% [markdown]
# All three behave as predicted. Without batch norm, weights that are 20 % too small let the gradient vanish.
# In the plain network *with* batch norm it doesn't vanish, contrary to what one often reads. It **explodes**
# on its way down, by about the same factor in each unit: a straight line on the logarithmic axis, and a
# learning rate that suits one end hardly suits the other. The residual network's gradient grows, too, but its
# curve bends: most of the growth happens in the first few units, where $k$ is small. Is it a power of the
# depth? Then each doubling of the depth must multiply it by the same number, while the plain network's is
# about squared.

# %%
for name in ("plain, batch norm", "residual"):
    growth = {L: gradient_norms(name, units=L)[0] for L in (8, 16, 32)}
    print(f"{name:18}", "   ".join(f"{L} units: {value:.3g}" for L, value in growth.items()))
    first, second = growth[16] / growth[8], growth[32] / growth[16]
    if name == "residual":  # multiplied by the same number
        assert abs(second / first - 1) < 0.25
    else:  # squared
        assert abs(np.log(growth[32]) / np.log(growth[16]) - 2) < 0.3
        assert second > 4 * first

# %% [markdown]
# ## Does it train better?
#
# Compare training losses. Four small networks see the same batches of digits for 80 steps of gradient
# descent with momentum ([lesson 15](15_training.py)): plain and residual, with 3 units (8 layers) and with 12
# (26 layers). Behind the units each channel is averaged over its pixels ([lesson 11](11_squeeze.py)), and a
# linear layer makes ten scores of the averages.


# %%
def train(units, residual, steps=80, batch=32, lr=0.05):
    """Return the training loss of each step."""
    rng = np.random.default_rng(2)
    stem = draw(CHANNELS, 1, rng)
    body = [[*draw(CHANNELS, CHANNELS, rng), *draw(CHANNELS, CHANNELS, rng)] for _ in range(units)]
    head = [(0.1 * rng.standard_normal((10, CHANNELS))).astype(np.float32), np.zeros(10, np.float32)]
    values = [*stem, *(v for unit in body for v in unit), *head]
    velocities = [np.zeros_like(v) for v in values]
    picks = np.random.default_rng(3)  # the same batches for every network
    losses = []
    for _ in range(steps):
        chosen = picks.integers(0, len(images), batch)
        h, stem_cache = ops.conv_bn_relu_forward(images[chosen], *stem, padding=1)
        caches = []
        for unit in body:
            h, cache = unit_forward(h, *unit, residual=residual)
            caches.append(cache)
        z, pool_cache = ops.global_avg_pool_forward(h)
        scores, head_cache = ops.linear_forward(z, *head)
        loss, loss_cache = ops.softmax_cross_entropy_forward(scores, labels[chosen])
        losses.append(float(loss))

        (dscores,) = ops.softmax_cross_entropy_backward(np.float32(1), loss_cache)
        dz, *gradients = ops.linear_backward(dscores, head_cache)
        (dh,) = ops.global_avg_pool_backward(dz, pool_cache)
        for cache in reversed(caches):
            dh, *parts = unit_backward(dh, cache)
            gradients = [*parts, *gradients]
        gradients = [*ops.conv_bn_relu_backward(dh, stem_cache, need_dx=False)[1:], *gradients]
        for value, gradient, velocity in zip(values, gradients, velocities, strict=True):
            sgd_update(value, gradient, velocity, lr=lr, momentum=0.9)
    return np.array(losses)


# %% tags=["hide-input"] mystnb={"image": {"alt": "Training loss against step, averaged over ten steps. Plain: the network of 26 layers ends above the one of 8 layers. Residual: both fall faster, and the network of 26 layers ends below the one of 8."}}
fig, ax = plt.subplots()
final = {}
for residual, colour in ((False, "C1"), (True, "C0")):
    for units, dash in ((3, "--"), (12, "-")):
        loss = train(units, residual)
        smooth = np.convolve(loss, np.ones(10) / 10, mode="valid")
        final[residual, units] = smooth[-1]
        name = f"{'residual' if residual else 'plain'}, {2 * units + 2} layers"
        ax.plot(np.arange(10, 81), smooth, dash, color=colour, label=name)
ax.set(xlabel="step", ylabel="training loss, mean of 10 steps", xlim=(10, 80), ylim=(0, None))
ax.legend()
assert final[False, 12] > final[False, 3]  # deeper and worse
assert final[True, 12] < final[True, 3] < final[False, 3]  # deeper and better
plt.show()

# %% [markdown]
# There is the finding of the opening question, in seconds and on digits: *plain, the deeper network is
# worse; residual, it is better.* It cannot be overfitting, since these are losses on the training images.
# The plain network of 26 layers contains good solutions and can't get at them. (This is one draw of weights
# and batches; with eight other seeds in place of 2 and 3 the four networks came out in the same order.)
#
# SE blocks will sit on the branch, in front of the plus sign ([lesson 14](14_se_resnet.py)). One reason why
# that is a good place can be seen already: whatever a gate between 0 and 1 does to the branch, the path
# around it stays open.
#
# ## Summary
#
# - Backward through a unit is a walk along the chain from its end: each operation's `dx` is the next one's
#   `dy`.
# - A sum copies the gradient to both terms; the input of a residual unit adds up what comes back on both
#   ways. Two copies in *memory*, or an in-place operation spoils the other path.
# - $(I + J)^{\mathsf T}$ instead of $J^{\mathsf T}$: with batch norm on the branches, gradients grow like a
#   power of the depth instead of exponentially, and deep networks train.
#
# ## Exercises
#
# - `residual_add_backward` (1 point): the sum's two gradients. `senumpy exercise start residual_add_backward`
# - `conv_bn_relu_backward` (2 points): the chain, from its end.
#   `senumpy exercise start conv_bn_relu_backward`
#
# 1. Initialise $\gamma$ of each branch's last batch norm with 0. What are $y$, $dx$ and $d\gamma$ of the
#    unit then? Can $\gamma$ ever leave zero?
#
# :::{admonition} Answer
# :class: dropdown
# $F(x) = \beta = 0$ (as $\beta$ starts at 0), so $y = \mathrm{relu}(x)$, which is $x$ behind another ReLU,
# and $dx = dz$: at the start the network is as shallow as its stem. $d\gamma$ is the sum of $dz$ times the
# normalised values, which is not zero, so $\gamma$ moves with the first step. The other weights of the branch have gradient 0 until it has. Many implementations start like
# that; the paper doesn't.
# :::
#
# 2. Someone forgets `+ dz` in `unit_backward`. Which gradients are wrong in a network of one unit, and which
#    in one of ten?
#
# :::{admonition} Answer
# :class: dropdown
# The gradients of the last unit's parameters are right in any case: the sum `dx + dz` takes no part in them.
# In a network of one unit only $dx$ is wrong, and with it the stem. In a network of ten units everything
# below the tenth is. A test that looks at the top unit's weights alone sees nothing.
# :::
#
# 3. Estimate $\rho$ per unit from the line of the plain network with batch norm. How deep may such a network
#    be, if the gradients of its first and last unit shall not differ by more than a factor of 10?
#
# :::{admonition} Answer
# :class: dropdown
# It rises by about 600 over 20 units: $\rho \approx 600^{1/20} \approx 1.38$. And $1.38^{L} \le 10$ gives $L
# \le 7.1$ units, some 14 convolutions.
# :::
#
# 4. Try it: move the plus sign behind the last ReLU, $y = \mathrm{relu}(F(x)) + x$. What becomes of the size
#    of the signal with depth, and why?
#
# :::{admonition} Answer
# :class: dropdown
# Each unit adds something that is never negative, with a mean of about 0.4, so the mean grows linearly and
# can't come back: after 20 units it is about 8. Batch norm hides it from the branches, but the last layer
# sees it.
# :::
