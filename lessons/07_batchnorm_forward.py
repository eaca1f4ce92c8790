# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 7. Batch norm, forward
#
# **Question.** A layer learns on numbers that the layers below it produce, and those change with every step
# of training. How can a network keep its numbers in a healthy range by itself, without being told what the
# range should be? And why does the same network then give one answer in training and another one in use?
#
# *Paper: the networks of section 4 have batch norm after their convolutions; the operation itself is
# algorithms 1 and 2 of Ioffe and Szegedy, arXiv 1502.03167.* Reading time: 13 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.ops.running import running_statistics
from senumpy.verify import check_like
from senumpy.verify.mistakes import MISTAKES

style()
rng = np.random.default_rng(7)
images = load_digits().images[:64, None] / 16  # (64, 1, 8, 8), from 0 to 1

# %% [markdown]
# ## Signals that fade, signals that explode
#
# Send 64 handwritten digits through 24 convolutions, each followed by a ReLU. Random weights with standard
# deviation $\sqrt{2 / (9C)}$ (He's initialisation, for $3 \times 3$ kernels on $C$ channels) are meant to
# keep the size of the signal. Now make all weights 25 % larger, or 20 % smaller. Each layer then multiplies
# the signal by that factor more than before, and $1.25^{24} \approx 212$, while $0.8^{24} \approx 0.005$.
#
# Even with He's own choice the signal fades here, for a reason that his formula leaves out: on images of
# $8 \times 8$ pixels every sixth tap of the kernels lies in the padding and sees a zero. And weights don't
# stay where they were initialised. An error of 25 % is nothing; 24 such errors in a row are a factor of
# 45,000 between the two extremes. The black line is the remedy.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Standard deviation of the signal after each of 24 layers, logarithmic axis. Weights 25 percent larger: it grows from 1 to 25. He's weights: it fades slowly to a tenth. Weights 20 percent smaller: it falls below a thousandth. With batch norm the curves of all three weights coincide in one level line at 0.6."}}
CHANNELS, LAYERS = 16, 24
stem = rng.standard_normal((CHANNELS, 1, 3, 3)) * np.sqrt(2 / 9)
weights = [
    rng.standard_normal((CHANNELS, CHANNELS, 3, 3)) * np.sqrt(2 / (9 * CHANNELS)) for _ in range(LAYERS)
]
ones, zeros = np.ones(CHANNELS), np.zeros(CHANNELS)


def sizes(factor, norm):
    """Return the standard deviation of the signal after each layer."""
    x, _ = ops.conv2d_forward(images, stem, padding=1)
    x, _ = ops.batchnorm2d_forward(x, ones, zeros)
    found = [x.std()]
    for w in weights:
        x, _ = ops.conv2d_forward(x, factor * w, padding=1)
        if norm:
            x, _ = ops.batchnorm2d_forward(x, ones, zeros)
        x, _ = ops.relu_forward(x)
        found.append(x.std())
    return np.array(found)


fig, ax = plt.subplots()
plain = {factor: sizes(factor, norm=False) for factor in (1.25, 1.0, 0.8)}
for factor, line in plain.items():
    ax.semilogy(line, label=f"weights \N{MULTIPLICATION SIGN} {factor:g}")
normed = [sizes(factor, norm=True) for factor in plain]
ax.semilogy(normed[0], color="black", label="batch norm, any of the three")
ax.set(xlabel="layer", ylabel="standard deviation of the signal", xlim=(0, LAYERS))
ax.legend(loc="lower left")
np.testing.assert_allclose(plain[1.25] / plain[1.0], 1.25 ** np.arange(LAYERS + 1))
assert max(abs(normed[0] / other - 1).max() for other in normed[1:]) < 1e-3
assert normed[0].min() > 0.4
plt.show()

# %% [markdown]
# ## Normalise, scale, shift
#
# The idea is blunt: whatever the layer below has done, subtract the mean and divide by the standard
# deviation. For each channel $c$, over all $N$ images of the batch and all $H \times W$ pixels, and with a
# small $\varepsilon$ against division by zero,
#
# $$
# \begin{aligned}
# \mu_c &= \frac1M \sum_{n,i,j} x[n,c,i,j], \qquad M = NHW, \\
# \sigma^2_c &= \frac1M \sum_{n,i,j} (x[n,c,i,j] - \mu_c)^2, \\
# \hat x &= \frac{x - \mu_c}{\sqrt{\sigma^2_c + \varepsilon}}, \qquad y = \gamma_c\,\hat x + \beta_c .
# \end{aligned}
# $$
#
# The last line holds at every entry $[n,c,i,j]$ of $x$, $\hat x$ and $y$; $\gamma_c$ and $\beta_c$ are learned.
#
# Why over pixels, too? A convolution makes all pixels of a channel with the same weights, so they are $M$
# samples of one thing, and one $\mu_c$ treats them alike wherever they lie. In a batch of 32 images of
# $56 \times 56$ pixels, $M$ is 100,352.
#
# Why $\gamma$ and $\beta$? Mean 0 and variance 1 are healthy, but a ReLU that follows would switch off about
# half of every channel, forever. The two learned numbers give the freedom back: the layer may choose *any*
# mean $\beta_c$ and *any* deviation $|\gamma_c|$, but now it chooses them directly, instead of through
# everything that happens below. They start at 1 and 0.
#
# By hand: a channel holds the four numbers 1, 3, 5, 7. The mean is 4, the deviations are $-3, -1, 1, 3$, the
# variance is $(9 + 1 + 1 + 9)/4 = 5$, so $\hat x = (-1.34, -0.45, 0.45, 1.34)$. With $\gamma = 2$ and
# $\beta = 1$ the result is $(-1.68, 0.11, 1.89, 3.68)$.

# %%
x = np.array([1.0, 3, 5, 7]).reshape(1, 1, 2, 2)
y, cache = ops.batchnorm2d_forward(x, np.array([2.0]), np.array([1.0]))
print(y.ravel().round(2), cache.mean, cache.var)
np.testing.assert_allclose(y.ravel(), [-1.68, 0.11, 1.89, 3.68], atol=0.005)
show(ops.batchnorm2d_forward)

# %% [markdown]
# Three details of {py:func}`senumpy.ops.batchnorm2d_forward` deserve a second look.
#
# **The small number $\varepsilon$ stands inside the root.** A channel that is constant over the batch, such
# as one whose ReLU is dead, has variance 0; $\varepsilon$ turns $0/0$ into 0. Added outside the root it
# would do that as well, but give other numbers: $\sqrt{\varepsilon} \approx 0.003$ acts on small deviations
# long before $\varepsilon = 0.00001$ does.
#
# **The variance is taken from deviations**, in two passes over the data. The textbook's short cut
# $\mathrm{E}[x^2] - \mathrm{E}[x]^2$ needs a single pass, and subtracts two large numbers that are almost
# equal. Take a mean of 10,000 and a true variance near 1, in float32. Both terms are about $10^8$, where
# neighbouring float32 numbers are 8 apart: the difference is a multiple of 8, such as 0 or $-8$,
# but never 1.

# %%
x32 = (10_000 + rng.standard_normal((8, 1, 16, 16))).astype(np.float32)
short_cut = (x32 * x32).mean() - x32.mean() ** 2
_, cache = ops.batchnorm2d_forward(x32, np.ones(1, np.float32), np.zeros(1, np.float32))
exact = x32.astype(np.float64).var()
print(f"short cut: {short_cut:.3f}   deviations: {cache.var[0]:.3f}   in float64: {exact:.3f}")
assert short_cut % 8 == 0
assert abs(cache.var[0] / exact - 1) < 1e-3

# %% [markdown]
# **The axes.** Batch norm written for vectors, `mean(axis=0)`, runs on images without complaint: it gives
# each pixel its own statistics. At least two published NumPy libraries do just that. The bank of mistakes has
# it, and a test sees it at once if it has more than one pixel and compares values, not just shapes:

# %%
wrong = next(m for m in MISTAKES if (m.op, m.name) == ("batchnorm2d", "per-pixel"))
report = check_like("batchnorm2d", forward=wrong.forward)
print(wrong.explanation, report.verdict, report.reasons[0], sep="\n")
assert report.verdict == "failed"

# %% [markdown]
# ## What batch norm cannot see
#
# Multiply a channel by 10 and add 5: mean and deviation follow, and $\hat x$ stays. Batch norm is *invariant*
# under a shift and a positive scale of its input. That is its purpose, and it has a consequence for the layer
# in front. The bias of a convolution is a shift, so batch norm subtracts it again, and no bias can change the
# loss. In the authors' released networks no convolution in front of batch norm has one; $\beta$ does the job.

# %%
x = rng.standard_normal((4, 3, 5, 5))
gamma, beta = rng.standard_normal(3), rng.standard_normal(3)
one, _ = ops.batchnorm2d_forward(x, gamma, beta)
other, _ = ops.batchnorm2d_forward(10 * x + 5, gamma, beta)
np.testing.assert_allclose(one, other, atol=1e-4)  # not exactly: eps is the same beside a larger variance

# %% [markdown]
# ## Running statistics
#
# A trained network is asked about one image. What is its batch? The answer should not depend on which other
# images happen to be asked about at the same time, so inference uses fixed numbers in place of $\mu_c$ and
# $\sigma_c^2$: estimates for the whole training set, collected while training. After each batch, with the
# batch's own $\mu_c$ and $\sigma_c^2$ on the right,
#
# $$
# \begin{aligned}
# \text{running mean}_c &\leftarrow (1 - m)\,\text{running mean}_c + m\,\mu_c , \\
# \text{running var}_c &\leftarrow (1 - m)\,\text{running var}_c + m\,\frac{M}{M-1}\,\sigma_c^2 ,
# \end{aligned}
# $$
#
# exponential averages with *momentum* $m$, often 0.1. A batch seen $k$ steps ago counts with weight
# $m(1-m)^k$, so $m = 0.1$ remembers some ten batches and $m = 0.01$ some hundred. (Keras and ONNX call
# $1 - m$ the momentum. Take their 0.9 for $m$, and the running statistics jump about with every batch.)

# %%
show(running_statistics)

# %% [markdown]
# Why the factor $M/(M-1)$? Deviations are measured from the batch's *own* mean, which has moved towards the
# batch's values, so $\sigma_c^2$ is too small: for independent values it is $(M-1)/M$ of the true variance on
# average, hence its name, the *biased* variance. For normalising the batch that doesn't matter (dividing by
# the biased variance is what makes the mean square of $\hat x$ equal to 1, but for $\varepsilon$); as an
# estimate for all images it does. With $M = 8$ values an eighth is missing. Below, batches of 8 values with
# true variance 4 arrive one by one, and a running variance that starts at 1 follows them in three ways.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Variance against batch number. Grey dots, the single batches, scatter widely, nearly all of them between 0.3 and 9. Momentum 0.1 reaches 4 within 20 batches and then swings around it. Momentum 0.01 takes some 350 batches and stays close to 4. Momentum 0.01 without the factor M over M minus 1 settles at 3.5."}}
M, STEPS = 8, 800
batches = 2 * rng.standard_normal((STEPS, M))
biased = batches.var(axis=1)
tracks = {"momentum 0.1": (0.1, M), "momentum 0.01": (0.01, M), "momentum 0.01, biased": (0.01, 10**9)}
fig, ax = plt.subplots(figsize=(7, 3.8))
single = biased * M / (M - 1)
above = f"({np.mean(single > 9):.0%} lie above)"
ax.plot(single, ".", color="0.75", markersize=3, label=f"single batches, unbiased {above}")
for name, (momentum, count) in tracks.items():
    mean, var = np.zeros(1), np.ones(1)
    line = []
    for batch, batch_var in zip(batches, biased, strict=True):
        mean, var = running_statistics(
            mean, var, batch.mean(keepdims=True), batch_var[None], count=count, momentum=momentum
        )
        line.append(var[0])
    tracks[name] = np.array(line)
    ax.plot(line, label=name)
ax.axhline(4, color="black", linewidth=0.8, linestyle="--", label="true variance")
ax.set(xlabel="batch", ylabel="variance", ylim=(0, 9), xlim=(0, STEPS))
ax.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), markerscale=3)
assert abs(tracks["momentum 0.01"][400:].mean() - 4) < 0.25
assert abs(tracks["momentum 0.01, biased"][400:].mean() - 4 * (M - 1) / M) < 0.25
assert tracks["momentum 0.1"][100:].std() > 2 * tracks["momentum 0.01"][400:].std()
plt.show()

# %% [markdown]
# Both ends of the trade can be seen: a large momentum is quick and noisy, a small one slow and steady. A
# network that has been trained for 50 steps with $m = 0.01$ still carries $0.99^{50} = 60\,\%$ of the
# arbitrary values that it started with, and will do badly in use although its training loss is fine.
#
# ## Two modes, two formulas
#
# With fixed statistics in place of $\mu_c$ and $\sigma_c^2$ the formula of the beginning stays the same to look
# at, but {py:func}`senumpy.ops.batchnorm2d_inference_forward` is another function. In training, every
# output of a channel depends on every input of that channel, in all images. In inference each number goes
# its own way: $y = a_c x + b_c$ with $a_c = \gamma_c / \sqrt{\sigma_c^2 + \varepsilon}$ and $b_c = \beta_c -
# a_c \mu_c$. That is a depthwise $1 \times 1$ convolution, one weight for each channel, and it can be merged
# into the convolution before it.

# %%
show(ops.batchnorm2d_inference_forward)

# %% [markdown]
# The difference can be measured by changing an image's company. Here the first digit is normalised twice,
# once among three other digits and once among three blank images:

# %%
digit, others, blank = images[:1], images[1:4], np.zeros((3, 1, 8, 8))
one, zero = np.ones(1), np.zeros(1)
mean, var = images.mean(keepdims=True)[0, 0, 0], images.var(keepdims=True)[0, 0, 0]
results = {"training": [], "inference": []}
for company in (others, blank):
    batch = np.concatenate([digit, company])
    results["training"].append(ops.batchnorm2d_forward(batch, one, zero)[0][0])
    results["inference"].append(ops.batchnorm2d_inference_forward(batch, one, zero, mean, var)[0][0])
for mode, (a, b) in results.items():
    print(f"{mode}: the same digit differs by up to {abs(a - b).max():.2f}")
assert abs(np.subtract(*results["training"])).max() > 1
assert (results["inference"][0] == results["inference"][1]).all()
a = 1 / np.sqrt(var + 1e-5)  # gamma is 1 and beta 0
np.testing.assert_allclose(results["inference"][0], a * digit[0] - a * mean, atol=1e-12)

# %% [markdown]
# To leave a network in training mode when it is evaluated is a classic mistake. Nothing fails: the numbers
# are plausible, accuracy may be only a little off, and it changes with the batch size. If the test images
# come sorted by class, each batch is normalised by the statistics of one class alone. The two modes also have
# two gradients ([lesson 8](08_batchnorm_backward.py)), so they are two operations in this library, and not
# one with a switch.

# %%
wrong = next(m for m in MISTAKES if (m.op, m.name) == ("batchnorm2d_inference", "batch-statistics"))
report = check_like("batchnorm2d_inference", forward=wrong.forward)
print(wrong.explanation, report.verdict, report.reasons[0], sep="\n")
assert report.verdict == "failed"

# %% [markdown]
# ## Summary
#
# - Training: each channel is normalised by mean and biased variance over $(N, H, W)$, then scaled by
#   $\gamma$ and shifted by $\beta$. Errors of scale no longer multiply from layer to layer.
# - Scale and shift of the input are lost, so a convolution before batch norm needs no bias.
# - Inference: fixed running statistics, an exponential average of the batches' means and *unbiased*
#   variances.
# - In training an image's result depends on its company, in inference it doesn't: two functions, two
#   gradients.
#
# ## Exercises
#
# - `batchnorm2d_forward` (2 points): normalise, scale and shift, with a safe variance.
#   `senumpy exercise start batchnorm2d_forward`
# - `running_statistics` (1 point): one step of the exponential averages.
#   `senumpy exercise start running_statistics`
# - `batchnorm2d_inference_forward` (1 point): the other mode.
#   `senumpy exercise start batchnorm2d_inference_forward`
#
# 1. A channel holds 2, 2, 2, 10. Compute $\hat x$ with $\varepsilon = 0$. Can a value of $\hat x$ ever exceed
#    $\sqrt{M - 1}$?
#
# :::{admonition} Answer
# :class: dropdown
# The mean is 4, the variance $(4 + 4 + 4 + 36)/4 = 12$, so $\hat x = (-1, -1, -1, 3)/\sqrt3$. The last
# value, $\sqrt3$, is just $\sqrt{M-1}$, and no more is possible: if one value is $t$, the others must sum to
# $-t$, and their squares are smallest, $t^2/(M-1)$ in all, if they are equal. The squares sum to $M$, so
# $t^2 + t^2/(M-1) \le M$, which says $t^2 \le M - 1$.
# :::
#
# 2. What does batch norm do in training with a batch of one image of $1 \times 1$ pixel? Why does the library
#    refuse it?
#
# :::{admonition} Answer
# :class: dropdown
# The mean is the value itself, so $\hat x = 0$ and $y = \beta$, whatever the input: the image is erased. And
# the unbiased variance divides by $M - 1 = 0$. An error is kinder than a network that answers $\beta$.
# :::
#
# 3. Fold an inference batch norm into the convolution before it: which weights and bias give the same result?
#
# :::{admonition} Answer
# :class: dropdown
# With $a_o = \gamma_o/\sqrt{\sigma^2_o + \varepsilon}$: $w'[o] = a_o\,w[o]$ and $b'[o] = \beta_o - a_o
# \mu_o$. It works because both are affine, and only in inference, where $a_o$ is a constant.
# :::
#
# 4. Try it: add `sizes(-1, norm=True)` to the first figure. How does this curve differ from the black one, and
#    why?
#
# :::{admonition} Answer
# :class: dropdown
# It looks much the same, but isn't equal: $\hat x$ changes its sign, and the ReLU keeps the other half of
# each channel. Batch norm is invariant under a *positive* scale; a negative one turns $\hat x$ into $-\hat x$.
# :::
