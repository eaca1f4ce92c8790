# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 3. Linear layers and the softmax loss
#
# **Question.** A network ends in ten scores, one for each digit, and only one digit is right. How do scores
# and answer become *one* number whose derivative tells each weight which way to go? And why is that
# derivative, after all the exponentials and logarithms, nothing but prediction minus truth?
#
# *Paper: section 3.2, equation 3 (two linear layers, a ReLU and a sigmoid); section 6 (label smoothing).*
# Reading time: 14 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.verify import check_gradients

style()
rng = np.random.default_rng(3)

# %% [markdown]
# ## The linear layer
#
# A score is a weighted sum of the inputs plus a constant. For $O$ scores of a batch of $N$ samples with $I$
# inputs each,
#
# $$y_{n,o} = \sum_i x_{n,i}\, w_{o,i} + b_o, \qquad\text{or}\qquad y = x\,W^T + b .$$
#
# Row $o$ of $W$ holds the weights of score $o$; $x$ has the shape $(N, I)$, $W$ has $(O, I)$, $b$ has $(O,)$.
# By numbers, with $x = (1, 2)$:
#
# $$
# W = \begin{pmatrix} 3 & -1 \\ 0 & 2 \\ 1 & 1 \end{pmatrix},\qquad
# b = \begin{pmatrix} 0 \\ 1 \\ -1 \end{pmatrix}
# $$
#
# give $y = (3 - 2 + 0,\; 0 + 4 + 1,\; 1 + 2 - 1) = (1, 5, 2)$.
#
# The SE block holds two of these layers: equation 3 reduces $C$ numbers to $C/r$ (the paper's $r$
# is 16) and expands them to $C$ again.
#
# In the library's source, functions named `check_...` only look whether arguments fit and raise a clear error
# where they don't. You can read past them.

# %%
show(ops.linear_forward)
x1, w1 = np.array([[1.0, 2]]), np.array([[3.0, -1], [0, 2], [1, 1]])
assert ops.linear_forward(x1, w1, np.array([0.0, 1, -1]))[0].tolist() == [[1, 5, 2]]

# %% [markdown]
# ## The linear layer, backwards
#
# Somebody hands us $dy_{n,o} = \partial L / \partial y_{n,o}$. For each of $x$, $W$ and $b$ ask: *which
# results does this entry touch, and with which factor?*
#
# - $x_{n,i}$ enters every score of its own sample, $y_{n,o}$ with the factor $w_{o,i}$. Sum over $o$.
# - $w_{o,i}$ enters score $o$ of every sample, $y_{n,o}$ with the factor $x_{n,i}$. Sum over $n$.
# - $b_o$ enters score $o$ of every sample with the factor 1. Sum over $n$.
#
# $$
# \begin{aligned}
# dx_{n,i} &= \sum_o dy_{n,o}\, w_{o,i}, \\
# dw_{o,i} &= \sum_n dy_{n,o}\, x_{n,i}, \\
# db_o &= \sum_n dy_{n,o},
# \end{aligned}
# $$
#
# as matrices $dx = dy\,W$, $\;dW = dy^T x$. Note the sums over the batch: one weight serves all samples, so
# its gradient collects from all of them.

# %%
show(ops.linear_backward)

# %% [markdown]
# Shapes almost write this code for you: of $dy$ $(N, O)$ and $x$ $(N, I)$ only $dy^T x$ is $(O, I)$. Almost:
# where $I = O$, the wrong `dy @ w.T` has the right shape, too.


# %%
def careless(dy: np.ndarray, cache: tuple) -> tuple:
    """Return the gradients with W transposed once too often."""
    return dy @ cache.w.T, dy.T @ cache.x, dy.sum(axis=0)


x, w, b = rng.standard_normal((5, 4)), rng.standard_normal((4, 4)), rng.standard_normal(4)
report = check_gradients(ops.linear_forward, careless, (x, w, b))
print(*[f"{a.name}: {a.verdict}" for a in report.arguments], sep=", ")
assert [a.verdict for a in report.arguments] == ["failed", "passed", "passed"]
assert check_gradients(ops.linear_forward, ops.linear_backward, (x, w, b)).ok

# %% [markdown]
# ## ReLU
#
# Two linear layers in a row are one: $W_2 (W_1 x) = (W_2 W_1)\, x$. Something has to bend in between, and the
# simplest thing that bends is
#
# $$\operatorname{relu}(x) = \max(x, 0), \qquad \operatorname{relu}'(x) = \begin{cases} 1 & x > 0 \\ 0 & x < 0
# \end{cases}$$
#
# At 0 there is no derivative; the common frameworks take 0, and so do we. Backwards, ReLU is a switch: the
# upstream gradient passes where the input was positive, and is stopped elsewhere. All that the forward has to
# remember is a mask of booleans. (`.real` is there for the complex step of
# [lesson 2](02_gradients_and_checking.py); for real numbers it changes nothing.)

# %%
show(ops.relu_forward)
show(ops.relu_backward)

# %% [markdown]
# Two lines, two classic mistakes. The first: `x * (x > 0)` for the forward, which gives NaN at $-\infty$, as
# $-\infty \cdot 0$ is not a number. The second is worse, since every test of the *values* passes:


# %%
def in_place(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """Return the right gradient, in the caller's memory."""
    dy[~cache.mask] = 0
    return dy


report = check_gradients(ops.relu_forward, in_place, (x,))
print(report.verdict, *report.reasons[:2], sep="\n  ")
assert report.arguments[0].verdict == "passed"  # the numbers are right
assert not report.ok

# %% [markdown]
# `dy` belongs to the caller. In a residual network ([lesson 10](10_residual_unit.py)) the same upstream
# gradient goes into the branch *and* into the shortcut, and the shortcut would now get what the branch's ReLU
# left of it. A well-known book's code does this.
#
# ## A sigmoid that does not overflow
#
# Where ReLU asks "how much?", SE's gate asks "how open, from 0 to 1?":
#
# $$\sigma(x) = \frac{1}{1 + e^{-x}}, \qquad \sigma'(x) = \sigma(x)\,\bigl(1 - \sigma(x)\bigr) .$$
#
# The derivative needs nothing but the result. It is $\tfrac14$ at most, at $x = 0$, and less than 0.02 beyond
# $x = \pm 4$: a gate that is wide open or quite shut learns slowly.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left the functions ReLU, sigmoid and tanh from -4 to 4, right their derivatives. ReLU's derivative is a step from 0 to 1; the sigmoid's is a low hill of height one quarter, tanh's a hill of height one; both are nearly zero beyond 4."}}
grid = np.linspace(-4, 4, 402)  # an even number: 0, where ReLU has no derivative, is left out
figure, axes = plt.subplots(1, 2, figsize=(7, 2.8))
for name, colour in (("relu", "C0"), ("sigmoid", "C1"), ("tanh", "C2")):
    value, cache = getattr(ops, f"{name}_forward")(grid)
    slope = getattr(ops, f"{name}_backward")(np.ones_like(grid), cache).dx
    axes[0].plot(grid, value, color=colour, label=name)
    for side in (grid < 0, grid > 0):  # two pieces, as ReLU's derivative jumps
        axes[1].plot(grid[side], slope[side], color=colour)
axes[0].set(xlabel="x", ylabel="function", ylim=(-1.3, 2.2))
axes[1].set(xlabel="x", ylabel="derivative", ylim=(-0.05, 1.1))
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# As code, the formula has a hole. `exp` of float32 overflows at 88.7, of float64 at 709.8. At $x = -1000$ the
# formula computes $1/(1 + \infty)$, which luckily is 0, with a warning. The equal form $e^x/(1 + e^x)$ has
# its hole on the other side, $\infty/\infty$ at $x = 1000$, which is NaN. So take the one or the other by the
# sign of $x$: with $e = e^{-|x|}$, which lies between 0 and 1 and can't overflow,
#
# $$
# \sigma(x) = \begin{cases} 1 / (1 + e) & x \ge 0 \\ e / (1 + e) & x < 0 . \end{cases}
# $$

# %%
show(ops.sigmoid_forward)
extreme = np.array([-1000.0, -2, 0, 2, 1000])
with np.errstate(over="ignore", invalid="ignore"):
    print("exp(x) / (1 + exp(x)):", np.exp(extreme) / (1 + np.exp(extreme)))
print("ours:                 ", ops.sigmoid_forward(extreme)[0])
assert np.allclose(ops.sigmoid_forward(extreme)[0], [0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-2)), 1])

# %% [markdown]
# ## Softmax and cross-entropy
#
# Ten scores $a_k$ (the *logits*) are to become ten probabilities: positive, with sum 1. Make them positive by
# exp, and divide by the sum. That is **softmax**:
#
# $$p_{n,k} = \frac{e^{a_{n,k}}}{\sum_l e^{a_{n,l}}} .$$
#
# How good is the prediction $p$, if the truth is the class $t$? The **cross-entropy** is $-\log p_t$: zero
# for a sure and right answer, and without bound for a sure and wrong one. Whoever guesses, $p_k = 1/10$, pays
# $\log 10 \approx 2.303$. Remember that number: it is where, or near where, the loss of a fresh ten-class
# network begins, and a very different value is a first sign of a mistake.
#
# A batch pays the mean. With a target $q$ that is 1 for the true class and 0 for the others,
#
# $$L = -\frac1N \sum_{n,k} q_{n,k} \log p_{n,k} .$$
#
# *Label smoothing*, with which the paper trains its ablations, asks for a little less than certainty:
# $q_{n,k} = (1 - \epsilon)\,[k = t_n] + \epsilon/K$ for $K$ classes, where the bracket is 1 if what it says
# is true and else 0.
#
# Again the formula overflows at scores of 1,000, and again there is a way out: adding a constant to all
# scores of a sample changes neither $p$ nor $L$, for it multiplies numerator and denominator alike. Subtract
# the largest score, and the largest exponential is $e^0 = 1$. And never take the logarithm of a probability
# that may have been rounded to 0; write $\log p_k = a_k - \log \sum_l e^{a_l}$ instead.

# %%
show(ops.softmax_cross_entropy_forward)
loss, _ = ops.softmax_cross_entropy_forward(np.zeros((3, 10)), np.array([4, 0, 7]))
assert np.isclose(loss, np.log(10))
loss, _ = ops.softmax_cross_entropy_forward(np.array([[1e4, -1e4, 0.0]]), np.array([1]))
assert loss == 2e4  # sure and wrong, and exact: log p = -1e4 - 1e4

# %% [markdown]
# ## The gradient of the loss
#
# For one sample, $\log p_k = a_k - \log \sum_m e^{a_m}$. Differentiate by $a_l$. The first term gives
# $[k = l]$, the second $e^{a_l} / \sum_m e^{a_m}$, which is $p_l$:
#
# $$\frac{\partial \log p_k}{\partial a_l} = [k = l] - p_l .$$
#
# Put this into the loss and use $\sum_k q_{n,k} = 1$:
#
# $$
# \frac{\partial L}{\partial a_{n,l}} = -\frac1N \sum_k q_{n,k} \bigl([k = l] - p_{n,l}\bigr)
# = \frac{p_{n,l} - q_{n,l}}{N} .
# $$
#
# **Prediction minus truth**, divided by the size of the batch. Exponential and logarithm undo each other;
# this is why the two are one operation here and not two. The entries of each sample sum to zero: what the
# true class gains, the others lose.

# %%
show(ops.softmax_cross_entropy_backward)
logits, labels = rng.standard_normal((4, 10)), np.array([4, 0, 7, 7])
forward, backward = ops.softmax_cross_entropy_forward, ops.softmax_cross_entropy_backward
assert check_gradients(forward, backward, (logits, labels)).ok


def without_mean(dloss: float, cache: tuple) -> np.ndarray:
    """Return p - q, and forget the 1/N."""
    return dloss * (cache.p - cache.q)


report = check_gradients(forward, without_mean, (logits, labels))
print(report.verdict, *report.reasons, sep="\n  ")
assert not report.ok

# %% [markdown]
# The checker reads the ratio 4 as $N$ and says so. This mistake hides well: a gradient that is $N$ times too
# large acts in plain gradient descent like a learning rate that is $N$ times too large, so somebody halves
# the learning rate until it "works", and then the batch size changes.
#
# ## Learning to read digits
#
# This is enough to learn something. The 1,797 digits that come with scikit-learn are 8x8 pixels from 0 to
# 16; one linear layer gives ten scores, and gradient descent moves each weight a little against its gradient.
# All weights begin at zero.

# %%
images, digits = load_digits(return_X_y=True)
images = images / 16
train, test = slice(0, 1437), slice(1437, None)

w, b = np.zeros((10, 64)), np.zeros(10)
losses = []
for _ in range(400):
    scores, linear_cache = ops.linear_forward(images[train], w, b)
    loss, loss_cache = ops.softmax_cross_entropy_forward(scores, digits[train])
    dscores = ops.softmax_cross_entropy_backward(1.0, loss_cache).dlogits
    _, dw, db = ops.linear_backward(dscores, linear_cache)
    w, b = w - 1.0 * dw, b - 1.0 * db
    losses.append(loss)

accuracy = np.mean(ops.linear_forward(images[test], w, b)[0].argmax(axis=1) == digits[test])
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, right on unseen digits: {accuracy:.1%}")
assert np.isclose(losses[0], np.log(10))
assert accuracy > 0.88

# %% [markdown]
# What did it learn? Row $k$ of `w` has one weight for each pixel, so it is an image itself: blue where ink
# speaks for digit $k$, red where it speaks against.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Ten 8 by 8 images of weights, one for each digit. The 0 has a blue ring with a red centre; the other digits show their strokes in blue and, in red, the places that would make them another digit. Some pixels at the left and right edges are exactly zero in all of them."}}
figure, axes = plt.subplots(2, 5, figsize=(7, 3))
most = np.abs(w).max()
for k, axis in enumerate(axes.flat):
    picture = axis.imshow(w[k].reshape(8, 8), cmap="RdBu", vmin=-most, vmax=most)
    axis.set(xticks=[], yticks=[], xlabel=f"weights of {k}")
    axis.spines[:].set_visible(False)
figure.colorbar(picture, ax=axes, label="weight")
plt.show()

# %% [markdown]
# The 0 is a ring, and ink in its centre counts heavily against it. Some pixels at the edges are plain white:
# no training image has ink there. Look at $dw_{o,i} = \sum_n dy_{n,o} x_{n,i}$: where $x$ is zero, the
# gradient is zero, and the weight stays where it began:

# %%
never = (images[train] == 0).all(axis=0)
print(f"{never.sum()} of 64 pixels without ink")
assert never.any()
assert (w[:, never] == 0).all()

# %% [markdown]
# And this is the gradient that the layer's scores get from the loss, for one image that it has not seen
# before:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left a badly written 8, whose lower loop is a mere stroke. In the middle the ten probabilities that the layer gives: 0.39 for the 8, which is set off by its colour, and most of the rest for 7, 9 and 5. Right the gradient of the scores, probability minus target: about -0.6 for the 8, and for each other class its probability."}}
scores = ops.linear_forward(images[test], w, b)[0]
_, cache = ops.softmax_cross_entropy_forward(scores, digits[test])
doubt = int(np.argmin(np.abs(cache.p[np.arange(len(scores)), digits[test]] - 0.4)))
p, q = cache.p[doubt], cache.q[doubt]
figure, axes = plt.subplots(1, 3, figsize=(7, 2.4), width_ratios=(1, 1.5, 1.5))
axes[0].imshow(images[test][doubt].reshape(8, 8), cmap="gray_r")
axes[0].set(xticks=[], yticks=[], xlabel=f"truth: {digits[test][doubt]}")
axes[0].spines[:].set_visible(False)
axes[1].bar(range(10), p, color=np.where(q > 0, "C1", "C0"))
axes[1].set(xlabel="class", ylabel="probability $p$", xticks=range(10), ylim=(0, 1))
axes[2].bar(range(10), p - q, color=np.where(q > 0, "C1", "C0"))
axes[2].axhline(0, color="black", lw=0.8)
axes[2].set(xlabel="class", ylabel="$p - q$", xticks=range(10), ylim=(-1, 1))
plt.show()
assert np.isclose((p - q).sum(), 0, atol=1e-12)

# %% [markdown]
# Descent goes against the gradient: the score of the true class rises, those of its rivals fall, most of all
# that of the strongest, and those of classes with $p \approx 0$ stay as they are.
#
# ## Summary
#
# - A linear layer is $y = xW^T + b$; its gradients are $dy\,W$, $dy^T x$ and $\sum_n dy_n$. Parameters
#   collect from the whole batch.
# - ReLU passes the gradient where its input was positive. The upstream gradient is the caller's: never write
#   into it.
# - Overflow is avoided before it happens: $e^{-|x|}$ in the sigmoid, the largest logit subtracted in softmax.
# - Softmax and cross-entropy together have the gradient $(p - q)/N$: prediction minus truth.
#
# ## Exercises
#
# - `linear_forward` (1 point): a matrix product and a bias.
#   `senumpy exercise start linear_forward`
# - `linear_backward` (2 points): three gradients, two products and a sum.
#   `senumpy exercise start linear_backward`
# - `relu_backward` (1 point): the mask, applied without writing into `dy`.
#   `senumpy exercise start relu_backward`
# - `sigmoid_forward` (1 point): no overflow at any $x$.
#   `senumpy exercise start sigmoid_forward`
# - `softmax_cross_entropy_forward` (2 points): exact for logits of $\pm 10^4$, with label smoothing.
#   `senumpy exercise start softmax_cross_entropy_forward`
# - `softmax_cross_entropy_backward` (2 points): prediction minus truth.
#   `senumpy exercise start softmax_cross_entropy_backward`
#
# 1. Two classes, logits $a_0$ and $a_1$. Show that softmax gives $p_1 = \sigma(a_1 - a_0)$.
#
# :::{admonition} Answer
# :class: dropdown
# Divide numerator and denominator of $e^{a_1} / (e^{a_0} + e^{a_1})$ by $e^{a_1}$: that is
# $1 / (1 + e^{-(a_1 - a_0)})$. The sigmoid is the softmax of two classes.
# :::
#
# 2. The layer above began with all weights zero, and learned. A network of *two* linear layers with a ReLU
#    between them, all weights zero, never learns anything but its last bias. Why?
#
# :::{admonition} Answer
# :class: dropdown
# The hidden values are $h = \operatorname{relu}(0) = 0$, so $dW_2 = dy^T h = 0$. Backwards $dh = dy\,W_2 =
# 0$, so $dW_1 = 0$, too. Nothing moves except the last bias. Random initial weights avoid this.
# :::
#
# 3. With label smoothing $\epsilon = 0.1$ and $K = 10$, what is the smallest loss that any logits can reach?
#
# :::{admonition} Answer
# :class: dropdown
# The gradient vanishes at $p = q$: the true class has 0.91, each other one 0.01. The loss is then the entropy
# of $q$: $-0.91 \log 0.91 - 9 \cdot 0.01 \log 0.01 \approx 0.0858 + 0.4145 = 0.500$. A training loss with
# label smoothing can't go to zero, and isn't to be compared with one without.
# :::
#
# 4. Try it: replace the learning rate 1.0 by 30. What does the loss do, and what would tell you that the
#    learning rate, not the gradient, is at fault?
#
# :::{admonition} Answer
# :class: dropdown
# It falls for one step, then climbs to above 60 within five more: the steps are longer than the region in
# which the gradient describes the loss. Here it comes back, since the loss of a single linear layer is
# convex; with a deep network it often doesn't. `check_gradients` passes all the while. Check the gradient
# first, then tune.
# :::
