# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 15. Training: plain against SE
#
# **Question.** You have every gradient of a network. What do you do with them, ten thousand times in a row,
# so that the network learns? And when two networks have learned, one with SE and one without, how do you tell
# that the one is better from that it was luckier?
#
# *Paper: section 5.1 (training), table 2 (plain against SE), figure 4 (curves).*  Reading time: 14 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

import senumpy
from senumpy import ops
from senumpy.data import eval_transform, load_data
from senumpy.engines import default_engine
from senumpy.lessons import show, style
from senumpy.training import SGD, cosine, warm_up
from senumpy.training.loop import train_epoch

style()

# %% [markdown]
# ## One step of SGD
#
# Let $\theta$ be one parameter array, $L$ the loss, $g = \partial L / \partial \theta$. A small step of size
# $\eta$, the *learning rate*, against the gradient changes the loss by
#
# $$L(\theta - \eta g) \approx L(\theta) - \eta \, g \cdot g,$$
#
# which is less than before as long as $g \neq 0$ and $\eta$ is small enough for the first-order expansion.
# The gradient comes from a batch of some 32 images drawn at random, so it is the true gradient plus noise:
# *stochastic* gradient descent. Two additions are in nearly every recipe. (The paper names momentum 0.9,
# section 5.1; it doesn't say which weight decay it used.)
#
# **Weight decay** $d$ adds $\frac{d}{2} \lVert \theta \rVert^2$ to the loss, whose gradient is $d\,\theta$:
# every step pulls the weights a little towards zero. The library exempts biases and batch norm's $\gamma$ and
# $\beta$, as is common: they are few, and where another batch norm follows, it largely undoes a smaller
# $\gamma$ ([lesson 7](07_batchnorm_forward.py)).
#
# **Momentum** $m$ steps not along the gradient but along the *velocity* $v$, a sum of all gradients so far
# with fading weights. Together, for each array and at each step $t = 1, 2, \dots$, with $v_0 = 0$:
#
# $$
# g_t = \frac{\partial L}{\partial \theta} + d\,\theta, \qquad
# v_t = m\,v_{t-1} + g_t = g_t + m\,g_{t-1} + m^2 g_{t-2} + \dots, \qquad
# \theta \leftarrow \theta - \eta\, v_t .
# $$
#
# If the gradient stays the same, the sum grows to $g/(1-m)$: with $m = 0.9$ the network soon walks ten times
# as fast. If it flips its sign at every step, the sum's size shrinks to $g/(1+m)$. Momentum speeds up where
# steps agree and damps where they quarrel. In *Nesterov's* variant the velocity is the same, but the step
# already counts on the next one, in which $v_t$ will be multiplied by $m$ and joined by a gradient much like
# $g_t$: $\theta \leftarrow \theta - \eta\,(g_t + m\,v_t)$.
#
# By hand: $\theta = 1$, $\eta = 0.1$, $m = 0.5$, $d = 0.1$, and two batches whose gradients are $0.4$ and
# $-0.2$.
#
# | step $t$ | $g_t$ | $v_t$ | $\theta$ afterwards |
# |---|---|---|---|
# | 1 | $0.4 + 0.1 \cdot 1 = 0.5$ | $0.5 \cdot 0 + 0.5 = 0.5$ | $1 - 0.1 \cdot 0.5 = 0.95$ |
# | 2 | $-0.2 + 0.1 \cdot 0.95 = -0.105$ | $0.5 \cdot 0.5 - 0.105 = 0.145$ | $0.95 - 0.0145 = 0.9355$ |
#
# Arrays are updated *in place*, because layer and optimiser have to go on sharing them. That is where the
# usual mistake is made. The function below follows the formula to the letter:


# %%
def rebinding_update(value, gradient, velocity, *, lr, momentum, weight_decay):
    g = gradient + weight_decay * value
    velocity = momentum * velocity + g  # a new array, which is forgotten when the function returns
    value -= lr * velocity


def two_steps(update):
    theta, v = np.array([1.0]), np.array([0.0])
    values = []
    for gradient in (0.4, -0.2):
        update(theta, np.array([gradient]), v, lr=0.1, momentum=0.5, weight_decay=0.1)
        values.append(float(theta[0]))
    return values


right, wrong = two_steps(ops.sgd.sgd_update), two_steps(rebinding_update)
print("by hand   0.9500 0.9355")
print("library  ", *(f"{value:.4f}" for value in right))
print("rebinding", *(f"{value:.4f}" for value in wrong))
np.testing.assert_allclose(right, [0.95, 0.9355])
assert wrong[0] == right[0]
assert abs(wrong[1] - right[1]) > 0.02

# %% [markdown]
# The first step is right and the second is not: the velocity that the caller holds is zero for ever, and
# momentum never happens. A test of *one* step from rest passes. Nothing fails in training either, it only
# learns more slowly, which is the most expensive kind of bug. Test an optimiser with at least two steps, and
# with a learning rate that changes in between (question 1 below shows why). The exercise `sgd_update` asks
# for the formulas above, in place; write it before you unfold the library's version.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the library's code", "code_prompt_hide": "Hide it"}
show(ops.sgd.sgd_update)

# %% [markdown]
# What momentum is worth shows on the smallest loss that is difficult, a valley
# $L(a, b) = \frac12 (a^2 + 25 b^2)$. Without momentum each coordinate is multiplied by $1 - \eta\lambda$ at
# every step, with the curvatures $\lambda = 1$ and $25$. Everything above $\eta = 2/25$ diverges across the
# valley, and everything below crawls along it. The best compromise, $\eta = 2/26$, leaves $24/26$ of the
# distance at each step. With the best momentum, $m = (4/6)^2$ and $\eta = 4/36$, it is $4/6$ in the long run
# (Polyak 1964).


# %%
def descend(lr, momentum, steps=60):
    theta, v = np.array([10.0, 1.0]), np.zeros(2)
    path = [theta.copy()]
    for _ in range(steps):
        ops.sgd.sgd_update(theta, np.array([1.0, 25.0]) * theta, v, lr=lr, momentum=momentum)
        path.append(theta.copy())
    return np.array(path)


paths = {"without momentum": descend(2 / 26, 0.0), "with momentum": descend(4 / 36, (4 / 6) ** 2)}
distances = {name: np.linalg.norm(path, axis=1) for name, path in paths.items()}
slow, fast = distances.values()
np.testing.assert_allclose(slow[1:] / slow[:-1], 24 / 26)
assert abs((fast[60] / fast[20]) ** (1 / 40) - 4 / 6) < 0.03  # the same rate on the whole, not at each step

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left, contours of a narrow valley with two paths to its lowest point: both zigzag from wall to wall; with momentum the swings are wider at first, but fewer lead to the minimum. Right, the distance left against the step, on a logarithmic scale: a straight line without momentum; with it a curve that soon becomes straight and far steeper."}}
figure, (valley, decay) = plt.subplots(1, 2, figsize=(7, 3.0))
a, b = np.meshgrid(np.linspace(-4, 11, 120), np.linspace(-2.3, 2.3, 120))
valley.contour(a, b, a**2 / 2 + 25 * b**2 / 2, levels=[0.5, 3, 8, 16, 28, 45], colors="0.8", linewidths=0.8)
for (name, path), marker in zip(paths.items(), "os", strict=True):
    valley.plot(*path[:30].T, marker=marker, markersize=3, linewidth=1.2, label=name)
    decay.semilogy(distances[name], label=name)
valley.set(ylim=(-2.3, 2.3), xlabel="$a$ (curvature 1)", ylabel="$b$ (curvature 25)")
decay.set(xlabel="step", ylabel="distance to the minimum", ylim=(1e-8, 30))
decay.legend(loc="lower left")
plt.show()

# %% [markdown]
# ## The learning rate
#
# Noise adds a second question. Take one parameter with curvature $\lambda$ whose gradient is
# $\lambda\theta + \xi$, with fresh noise $\xi$ of variance $\sigma^2$ in each batch. A step gives
# $\theta' = (1 - \eta\lambda)\,\theta - \eta\,\xi$, so the variance $V$ of $\theta$ follows
# $V' = (1 - \eta\lambda)^2 V + \eta^2\sigma^2$. It stops where $V' = V$:
#
# $$V_\infty = \frac{\eta\, \sigma^2}{\lambda\, (2 - \eta\lambda)} .$$
#
# With a constant learning rate, SGD never arrives. It hovers around the minimum, at a distance that is
# proportional to $\sqrt{\eta}$ for small $\eta$. A large rate is quick and ends far away, a small one ends
# close and takes for ever. So one begins large and lets the rate fall. The paper divides it by 10 every 30
# epochs, from 0.6 with batches of 1,024 (section 5.1); the smooth form used here is half a cosine (Loshchilov
# and Hutter 2017). With $\eta_0$ the first rate and $T$ the number of steps,
#
# $$\eta(t) = \frac{\eta_0}{2} \left(1 + \cos \frac{\pi t}{T}\right) \quad \text{for } t = 0, 1, \dots, T,$$
#
# and zero from $T$ on, where the cosine itself would rise again. In the library a schedule is a *function*:
# `cosine(0.1, 8)` is not a rate but a function of $t$, and `cosine(0.1, 8)(4)` is 0.05. Try the exercise
# `cosine` before you unfold it.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the library's code", "code_prompt_hide": "Hide it"}
show(cosine)

# %% [markdown]
# During the first $W$ steps the rate is often *raised* instead, as $\frac{t+1}{W}\,\eta(t)$ (`warm_up`; Goyal
# et al. 2017): a full-sized step of a fresh network can throw its weights to where they recover slowly or not
# at all.
#
# Two thousand copies of the one-parameter problem, $\lambda = \sigma = 1$, hold the formula against an
# experiment:

# %%
steps = 200
schedules = {
    "constant 0.5": lambda t: 0.5,
    "constant 0.02": lambda t: 0.02,
    "warm-up and cosine": warm_up(cosine(0.5, steps), 10),
}
rms = {}
for name, schedule in schedules.items():
    rng = np.random.default_rng(0)
    theta, v = np.full(2000, 10.0), np.zeros(2000)
    rms[name] = []
    for t in range(steps):
        ops.sgd.sgd_update(theta, theta + rng.normal(size=2000), v, lr=schedule(t))
        rms[name].append(np.sqrt(np.mean(theta**2)))

floor = np.sqrt(0.5 / (2 - 0.5))
assert abs(np.mean(rms["constant 0.5"][100:]) / floor - 1) < 0.02
assert rms["warm-up and cosine"][-1] < rms["constant 0.02"][-1] < rms["constant 0.5"][-1]
assert [round(cosine(0.1, 8)(t), 12) for t in (0, 4, 8, 9)] == [0.1, 0.05, 0.0, 0.0]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left, three learning rates against the step: two constant ones, and one that rises for ten steps and then falls as half a cosine to zero. Right, how far from the minimum parameters are with each: the large constant rate falls quickly and stays at the predicted floor of 0.58, the small one falls slowly, the warm-up and cosine follow it down a few steps later and end lowest."}}
figure, (rates, distance) = plt.subplots(1, 2, figsize=(7, 3.0))
for (name, schedule), line in zip(schedules.items(), ("--", ":", "-"), strict=True):
    rates.plot([schedule(t) for t in range(steps)], line)
    distance.semilogy(rms[name], line, label=name)
distance.axhline(floor, color="0.6", linewidth=0.8, zorder=0)
distance.text(60, floor * 1.25, "$\\sqrt{V_\\infty}$ for 0.5", ha="center", color="0.35")
rates.set(xlabel="step", ylabel="learning rate $\\eta$")
distance.set(xlabel="step", ylabel="distance from the minimum (rms)", ylim=(0.08, 40))
distance.legend(loc="upper right")
plt.show()

# %% [markdown]
# ## The whole loop
#
# An epoch goes through the training images once, in a fresh random order, batch after batch. There are four
# things to do with each batch, and nothing else:
#
# | | from | to |
# |---|---|---|
# | forward | images $x$ | logits |
# | loss | logits and labels | the batch's mean loss $L_b$, and $\partial L_b / \partial\,\text{logits}$ |
# | backward | $\partial L_b / \partial\,\text{logits}$ | the gradient of each parameter, which it keeps |
# | update | gradients, the rate $\eta$ | parameters, one step of SGD later |
#
# The loss and its gradient are those of [lesson 3](03_linear_and_loss.py). At the end the loop reports the
# mean over all images: with $N_b$ images in batch $b$,
#
# $$\bar L = \frac{\sum_b N_b\, L_b}{\sum_b N_b} .$$
#
# Three things are easy to overlook.
#
# - `backward` *replaces* the gradients. In frameworks that add to them, the line that sets them to zero is
#   the one that gets forgotten; here it would be needed only after `accumulate_gradients()`.
# - The mean is over images, not over batches. The 1,437 training digits make 44 batches of 32 and one of 29: the mean of the 45
#   batch losses would count the images of the last batch a little more than the others.
# - The loss of each batch is that *before* its update, and in training mode, where batch norm uses the
#   batch's own statistics. So "training loss" is an average over a network that changes. Test images are
#   classified afterwards, inside `model.inference()`, by running statistics.
#
# The exercise `train_epoch` is this loop. Its docstring says how each of the four things is called.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the library's code", "code_prompt_hide": "Hide it"}
show(train_epoch)

# %% [markdown]
# The data: digits of 8x8 pixels, 1,437 for training, 360 for testing, normalised by mean and standard
# deviation of the training part. All that is random in a run, weights and order of the images, is drawn from
# its seed.

# %%
engine = senumpy.engine(default_engine(), **({"threads": 1} if default_engine() == "numba" else {}))
data = load_data("digits")
normalise = eval_transform(data.train)
x_train, x_test = (np.stack([normalise(image) for image in part.images]) for part in (data.train, data.test))
y_train, y_test = data.train.labels, data.test.labels
print(x_train.shape, x_test.shape, "by the engine", engine.name)


def batches(x, labels, size, rng):
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], labels[chosen]


def test_error(model):
    with model.inference():
        guesses = engine.to_numpy(model.forward(x_test)).argmax(axis=1)
    return 100 * np.mean(guesses != y_test)  # per cent


# %% [markdown]
# Before a long run, two checks that cost a second. A network that knows nothing should lose about
# $\ln 10 \approx 2.3$ on ten classes; a little more with random weights, which are confident at random. And a
# network that can't learn 32 images by heart won't learn 1,437 either: something in the loop is broken. Here
# are the losses of every sixth of 25 steps on one batch:

# %%
model = senumpy.create_model("se_resnet8_cifar", in_channels=1, engine=engine, seed=0)
sgd = SGD(model, momentum=0.9, weight_decay=1e-3)
few = (x_train[:32], y_train[:32])
by_heart = [train_epoch(model, [few], sgd, lr=0.05) for _ in range(25)]
print("loss on one batch:", *(f"{loss:.3f}" for loss in by_heart[::6]))
assert 1.5 < by_heart[0] < 4.5
assert by_heart[-1] < 0.05

# %% [markdown]
# ## Plain against SE
#
# The paper's figure 4 shows training curves of pairs of networks, one with SE and one without. Here is such a
# pair: a ResNet-8 and an SE-ResNet-8 (three residual units, 77,754 and 78,545 parameters), the same recipe,
# six epochs: momentum 0.9, weight decay $10^{-3}$, batches of 32, a learning rate of 0.1 with a warm-up and a
# cosine, here set once an epoch. And not once but with five seeds, each of which draws other weights and
# another order of images.

# %%
EPOCHS, SEEDS = 6, 5
learning_rate = warm_up(cosine(0.1, EPOCHS), 2)


def train(name, seed):
    """Return the training loss and the test error after each epoch."""
    model = senumpy.create_model(name, in_channels=1, engine=engine, seed=seed)
    sgd = SGD(model, momentum=0.9, weight_decay=1e-3)
    rng = np.random.default_rng(seed)
    history = []
    for epoch in range(EPOCHS):
        loss = train_epoch(model, batches(x_train, y_train, 32, rng), sgd, learning_rate(epoch))
        history.append((loss, test_error(model)))
    return np.array(history)


names = {"resnet8_cifar": "plain", "se_resnet8_cifar": "SE"}
runs = {title: np.stack([train(name, seed) for seed in range(SEEDS)]) for name, title in names.items()}
sizes = [senumpy.create_model(name, in_channels=1, seed=0).num_parameters() for name in names]
assert sizes == [77_754, 78_545]
for title, run in runs.items():
    print(f"{title:5} test errors by seed (%):", *(f"{error:.2f}" for error in run[:, -1, 1]))
    assert run[:, -1, 0].max() < 0.05  # every run has learned its training images
    assert run[:, -1, 1].max() < 5  # and most of the others

# %% tags=["hide-input"] mystnb={"image": {"alt": "Training loss and test error by epoch for plain and SE networks, a thin line for each of five seeds and a thick one for their mean. The losses fall by two orders of magnitude, the test errors end near two per cent, and the bundles of lines of plain and SE lie on top of each other."}}
figure, axes = plt.subplots(1, 2, figsize=(7, 3.2))
epochs = np.arange(1, EPOCHS + 1)
for (title, run), colour, marker in zip(runs.items(), ("C0", "C1"), "os", strict=True):
    for k, ax in enumerate(axes):
        ax.plot(epochs, run[:, :, k].T, color=colour, linewidth=0.7, alpha=0.5)
        mean = run[:, :, k].mean(axis=0)
        ax.plot(epochs, mean, color=colour, linewidth=2.2, marker=marker, markersize=5, label=title)
axes[0].set(xlabel="epoch", ylabel="training loss", yscale="log")
axes[1].set(xlabel="epoch", ylabel="test error (%)", ylim=(0, None))
axes[1].legend(title="mean of 5 seeds")
plt.show()

# %% [markdown]
# ## Which one is better?
#
# With one run of each, one seed gives one answer and another seed another. What can be said?
#
# **The test set is small.** With an error rate $p$, the number of errors on $n$ images is binomial, so the
# measured rate $\hat p$ has a standard deviation of $\sqrt{p(1-p)/n}$. At $p = 2\,\%$ and $n = 360$ that is 0.74
# points, nearly three images. Both networks see the same test images, though, so part of it cancels when they
# are compared.
#
# **The seeds differ.** With $e_k$ the test error after training with seed $k$, take the differences
# $\delta_k = e_k^{\text{SE}} - e_k^{\text{plain}}$ of the $K = 5$ seeds, their mean $\bar\delta$ and their
# standard deviation $s$. Let $\Delta$ be the true difference: the mean over all seeds of networks trained this
# way *and tested on these images*. If the $\delta_k$ are roughly normal, $(\bar\delta - \Delta) /
# (s/\sqrt{K})$ follows Student's $t$ with $K - 1$ degrees of freedom. So in 95 of 100 such experiments the
# interval $\bar\delta \pm t\, s/\sqrt{K}$, with $t = 2.78$ for four degrees of freedom, holds $\Delta$.

# %%
T_FOUR = 2.776  # the 97.5th percentile of Student's t with four degrees of freedom
difference = runs["SE"][:, -1, 1] - runs["plain"][:, -1, 1]
mean, spread = difference.mean(), difference.std(ddof=1)
half = T_FOUR * spread / np.sqrt(SEEDS)
print(f"SE - plain: {mean:+.2f} points of error, 95 % interval {mean - half:+.2f} to {mean + half:+.2f}")
binomial = 100 * np.sqrt(0.02 * 0.98 / 360)
assert round(binomial, 2) == 0.74
assert half < 3  # the comparison can see differences of some points, and no smaller ones

# %% [markdown]
# When this page was written, the interval went from $-0.8$ to $+0.1$ points. With the same seeds on the
# engine `numpy`, which only rounds differently, it went from $-0.7$ to $+1.0$: after 270 updates a last bit
# has become another network. Both contain zero: **on these digits, with these networks, SE can't be told from
# plain.** That is not the same as "SE makes no difference". It means that the difference is smaller than this
# experiment can see, a point or so.
#
# How many seeds would see a difference $\Delta$, with a chance of 80 % of noticing it at the level of 5 %?
# The standard error $s/\sqrt{K}$ has to be $\Delta/2.8$ (1.96 for the level, 0.84 for the chance), so
# $K = (2.8\,s/\Delta)^2$, and a few more where $K$ is small and Student's $t$ takes the place of 1.96. A tenth
# of a point takes a hundred seeds or several hundred. And $s$ itself, from five numbers, is poorly known: the
# true value may be anything from $0.6\,s$ to $2.9\,s$ (95 %), which is a factor of 23 in $K$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left, the difference in test error between SE and plain for each of five seeds, scattered over about a point, and their mean with its 95 per cent interval, which is about as long as the scatter. Right, on logarithmic axes, how many seeds are needed against the difference to be seen: a straight line on which ten times smaller a difference takes a hundred times as many seeds."}}
figure, (dots, power) = plt.subplots(1, 2, figsize=(7, 3.0))
dots.axhline(0, color="0.6", linewidth=0.8)
dots.plot(range(SEEDS), difference, "o", color="C0")
dots.errorbar([SEEDS + 0.4], [mean], yerr=[half], fmt="s", color="C1", capsize=4)
reach = 1.15 * max(*abs(difference), abs(mean) + half)
dots.set(xlabel="seed", ylabel="SE - plain (points of error)", xlim=(-0.6, SEEDS + 1), ylim=(-reach, reach))
dots.set_xticks([*range(SEEDS), SEEDS + 0.4], [*map(str, range(SEEDS)), "mean"])
wanted = np.geomspace(0.05, 0.5, 50)
power.loglog(wanted, (2.8 * spread / wanted) ** 2)
power.set(xlabel="difference to be seen, $\\Delta$ (points)", ylabel="seeds of each network, $K$")
power.set_xticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
power.minorticks_off()
power.grid(visible=True, color="0.9")
plt.show()

# %% [markdown]
# ## What the paper could see
#
# The paper's table 2 gives one error rate for each network, on the 50,000 validation images of ImageNet
# ("plain" is the authors' own training of it, with the same recipe):
#
# | | plain, top-1 (%) | SE, top-1 (%) | gain |
# |---|--:|--:|--:|
# | ResNet-50 | 24.80 | 23.29 | 1.51 |
# | ResNet-101 | 23.17 | 22.38 | 0.79 |
# | ResNet-152 | 22.42 | 21.57 | 0.85 |
# | ResNeXt-50 | 22.11 | 21.10 | 1.01 |
# | ResNeXt-101 | 21.18 | 20.70 | 0.48 |
# | VGG-16 with batch norm | 27.02 | 25.22 | 1.80 |
# | BN-Inception | 25.38 | 24.23 | 1.15 |
# | Inception-ResNet-v2 | 20.37 | 19.80 | 0.57 |
#
# The same binomial formula gives 0.18 to 0.20 points for each rate, and 0.25 to 0.28 for a difference if the
# two networks erred independently; they don't, so it is less. The gains are about two to six times that. No
# repeated seeds are reported, but *architectures* were repeated: eight pairs of networks, and SE is better in
# all eight. If SE did nothing and the pairs were independent, that would be as likely as eight heads in a
# row, 1 in 256. (They share their validation images, so they are not quite.) A hard task, a large test set
# and many pairs: that is what the evidence for SE is made of, and what 360 digits can't give.

# %%
plain = np.array([24.80, 23.17, 22.42, 22.11, 21.18, 27.02, 25.38, 20.37]) / 100
with_se = np.array([23.29, 22.38, 21.57, 21.10, 20.70, 25.22, 24.23, 19.80]) / 100
single = np.sqrt(np.stack([plain * (1 - plain), with_se * (1 - with_se)]) / 50_000)
joint = np.hypot(*single)
ratio = (plain - with_se) / joint
print(f"points: rates {100 * single.min():.2f} to {100 * single.max():.2f},", end=" ")
print(f"differences at most {100 * joint.min():.2f} to {100 * joint.max():.2f}")
print(f"gains: {ratio.min():.1f} to {ratio.max():.1f} times that")
assert 0.0017 < single.min() < single.max() < 0.0020
assert 1.8 < ratio.min() < ratio.max() < 6.6
assert 0.5 ** len(ratio) == 1 / 256

# %% [markdown]
# ## Summary
#
# - SGD steps along the velocity, a fading sum of noisy gradients. In place, or momentum is lost without a
#   word.
# - At a constant rate SGD hovers around the minimum, the farther away the larger the rate: it has to fall.
# - The loop is forward, loss, backward, update. Check it first: a loss near $\ln 10$, and one batch by heart.
# - One run of each proves nothing. Five seeds on digits can't tell plain from SE; the paper's evidence is
#   eight pairs of networks on 50,000 images.
#
# ## Exercises
#
# - `sgd_update` (1 point): one step with momentum, Nesterov and weight decay, in place.
#   `senumpy exercise start sgd_update`
# - `cosine` (1 point): the learning rate as a function of the step. `senumpy exercise start cosine`
# - `train_epoch` (3 points): the whole loop, and the mean loss over images.
#   `senumpy exercise start train_epoch`
#
# 1. Caffe keeps $u_t = m\,u_{t-1} + \eta_t\, g_t$ and steps by $-u_t$. Show that this is the same as above
#    while $\eta$ is constant. What happens in each form right after $\eta$ is divided by 10?
#
# :::{admonition} Answer
# :class: dropdown
# With $\eta$ constant, $u_t = \eta\, v_t$ by induction, so the steps are equal. When $\eta$ falls to
# $\eta/10$, our form multiplies the whole velocity by the new rate: the next step is about a tenth. Caffe's
# $u$ still holds old gradients at the old rate, and takes some $1/(1-m) = 10$ steps to shrink. A test with a
# constant learning rate can't tell the two apart.
# :::
#
# 2. The gradient of a weight is 0.02 at every step, $m = 0.9$ and $\eta = 0.1$, and there is no decay. How
#    far has the weight moved after very many steps $t$, to leading order? What would it be without momentum?
#
# :::{admonition} Answer
# :class: dropdown
# The velocity approaches $0.02/(1 - 0.9) = 0.2$, so each step moves the weight by $0.02$ and $t$ steps by
# $0.02\,t$ (less $0.18$, for the start-up). Without momentum a step is $0.002$. A rate of 0.1 with momentum
# 0.9 is a rate of 1 without: never compare learning rates across momenta.
# :::
#
# 3. Train SE networks without biases in SE (pass `se=SEConfig(bias=False)`, from `senumpy.layers`, to
#    `create_model`) and see how far their error is from the one above. Before you run it: how large does a
#    difference have to be for you to believe it?
#
# :::{admonition} Answer
# :class: dropdown
# With five seeds, half a point to a point, the half width of the interval above. And if you try ten such
# variants of which none makes any difference, the chance that at least one interval misses zero is about
# $1 - 0.95^{10} = 40\,\%$: the best of ten often looks good without being it. [Lesson 20](20_ablations.py)
# does this on a larger scale.
# :::
#
# 4. Forget `model.inference()` in `test_error`. Which two things go wrong?
#
# :::{admonition} Answer
# :class: dropdown
# Batch norm then normalises the test images by their own statistics, so an image's class depends on which
# other images are tested with it. And each test forward moves the running statistics towards the test set:
# the network learns from images that it must not see.
# :::
