# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 11. Squeeze
#
# **Question.** A 3x3 convolution sees nine pixels at a time. How can it learn what is going on in the rest of
# the image, and how much of an image is left when each of its channels is boiled down to a single number?
#
# *Paper: section 3.1, equation 2; section 6, table 11.*  Reading time: 11 minutes.

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
# ## What a pixel cannot know
#
# Each entry of a convolution's output is computed from one small window, as we know from
# [lesson 4](04_convolution_loops.py). Stack three 3x3 convolutions and an entry depends on 7x7 pixels, which
# is not much of an image of 224x224. Now suppose that a channel detects whiskers.
# Whether a whisker-like line *matters* depends on whether there is fur elsewhere in the picture, and the
# window does not contain "elsewhere".
#
# The first step of a Squeeze-and-Excitation block supplies what is missing. It looks at a channel as a
# whole and writes down one number. That number depends on every pixel, so no operation with a small window
# can compute it.
#
# We need channels to look at. Here are four, made by hand: detectors of horizontal, vertical, rising and
# falling strokes, each a 3x3 convolution with a ReLU, applied to the handwritten digits that come with
# scikit-learn.

# %%
data = load_data("digits")


def as_nchw(part):
    return part.images.transpose(0, 3, 1, 2) / 255  # (N, 8, 8, 1) bytes -> (N, 1, 8, 8) in [0, 1]


across = np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]])
rising = np.array([[-1, -1, 2], [-1, 2, -1], [2, -1, -1]])
detectors = np.stack([across, across.T, rising, rising[:, ::-1]])[:, None] / 6  # (4, 1, 3, 3)


def strokes(x):
    return ops.relu_forward(ops.conv2d_forward(x, detectors, padding=1)[0])[0]


x, labels = as_nchw(data.test), data.test.labels
u = strokes(x)  # the feature maps, (360, 4, 8, 8)
print(u.shape)

# %% [markdown]
# ## Average or maximum
#
# Let $u_{n,c,i,j}$ be the feature maps: image $n$, channel $c$, row $i$, column $j$. Equation 2 of the paper
# *squeezes* each map of $H \times W$ entries to its average (the paper writes it for a
# single image):
#
# $$z_{n,c} = \frac{1}{HW} \sum_{i=1}^{H} \sum_{j=1}^{W} u_{n,c,i,j}.$$
#
# The vector $z_n$ of $C$ numbers is the image's *descriptor*. Images and channels stay apart: nothing is
# averaged over $n$ or $c$. For the 2x2 map with rows (1, 2) and (5, 0) it is $8/4 = 2$. As loops:


# %%
def squeeze_loops(u):
    N, C, H, W = u.shape
    z = np.zeros((N, C))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    z[n, c] += u[n, c, i, j]
    return z / (H * W)


z, _ = ops.squeeze_forward(u)  # (360, 4)
np.testing.assert_allclose(z[:5], squeeze_loops(u[:5]), rtol=1e-12)

# %% [markdown]
# The obvious rival is the maximum of the map, $z_{n,c} = \max_{i,j} u_{n,c,i,j}$. The paper tries it (table
# 11: 22.57 % top-1 error against 22.28 % for the average), and {py:func}`senumpy.ops.squeeze_forward` takes
# the operator as an argument:

# %%
show(ops.squeeze_forward)

# %% [markdown]
# The two answer different questions. The average asks *how much* of a pattern there is, the maximum *how
# clearly it appears once*. They react differently to noise. Add independent noise of standard deviation
# $\sigma$ to each entry. The average moves by about $\sigma / \sqrt{HW}$, since independent errors partly
# cancel. The maximum picks out whichever pixel got the largest error, so it is too large, more so the larger
# the map: for an empty map of 64 pixels by $2.34\,\sigma$ in the mean.

# %%
noisy = 0.1 * rng.normal(size=(2000, 1, 8, 8))  # an empty channel, 2000 times, and sigma = 0.1
for operator in ("avg", "max"):
    d = ops.squeeze_forward(noisy, operator=operator)[0]
    print(f"{operator}: mean {d.mean():+.3f}, standard deviation {d.std():.4f}")
assert abs(ops.squeeze_forward(noisy)[0].std() - 0.1 / 8) < 1e-3  # sigma / sqrt(64)
assert abs(ops.squeeze_forward(noisy, operator="max")[0].mean() - 0.234) < 0.004
smaller = ops.squeeze_forward(noisy[:, :, :4, :4], operator="max")[0]
assert smaller.mean() < 0.19  # 16 pixels: 1.77 sigma

# %% [markdown]
# ## What the descriptor keeps, and what it loses
#
# An average does not care about the order of what it averages. If you shuffle the 64 pixels of every map, the
# picture is destroyed and the descriptor stays the same to the last digit that rounding leaves.

# %%
shuffled = u.reshape(*u.shape[:2], 64)[:, :, rng.permutation(64)].reshape(u.shape)
np.testing.assert_allclose(ops.squeeze_forward(shuffled)[0], z, rtol=1e-12)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two rows. Top: a handwritten 0 and its four stroke maps (horizontal, vertical, rising, falling), with a bar chart of the four averages. Bottom: the same four maps with their pixels in random order, unrecognisable, and exactly the same bar chart."}}
names = ["horizontal", "vertical", "rising", "falling"]
signs = ["–", "|", "/", "\\"]
k = 12
assert labels[k] == 0
fig, axes = plt.subplots(2, 6, figsize=(7, 2.7), width_ratios=[1, 1, 1, 1, 1, 1.5])
for ax in axes[:, :5].flat:
    ax.set_axis_off()
axes[0, 0].imshow(x[k, 0], cmap="gray_r")
axes[0, 0].set_title("digit")
axes[1, 0].text(0.5, 0.5, "same maps,\npixels\nshuffled", ha="center", va="center")
for row, maps in enumerate((u[k], shuffled[k])):
    for c in range(4):
        axes[row, c + 1].imshow(maps[c], vmin=0, vmax=u[k].max())
        if row == 0:
            axes[row, c + 1].set_title(names[c], fontsize=9)
    axes[row, 5].bar(signs, maps.mean((1, 2)))
    axes[row, 5].set_ylim(0, 0.15)
    axes[row, 5].set_ylabel("average $z_c$")
plt.show()

# %% [markdown]
# So *where* is lost, entirely. *What, and how much*, is kept. Is that enough to be of use? Fit the simplest
# classifier there is, a linear one by least squares, to five kinds of input: the 64 pixels, the four maps
# (256 numbers), their averages (4 numbers), their maxima (4 numbers), and the squeeze of the raw image, which
# is its share of ink (1 number).

# %%
x_train, y_train = as_nchw(data.train), data.train.labels


def linear_accuracy(describe):
    a, b = (describe(images).reshape(len(images), -1) for images in (x_train, x))
    mean, std = a.mean(0), a.std(0) + 1e-9
    a, b = (np.c_[(f - mean) / std, np.ones(len(f))] for f in (a, b))
    weights = np.linalg.lstsq(a, np.eye(10)[y_train], rcond=1e-6)[0]
    return np.mean(np.argmax(b @ weights, axis=1) == labels)


accuracy = {
    "4 maps (256)": linear_accuracy(strokes),
    "pixels (64)": linear_accuracy(lambda images: images),
    "averages (4)": linear_accuracy(lambda images: ops.squeeze_forward(strokes(images))[0]),
    "maxima (4)": linear_accuracy(lambda images: ops.squeeze_forward(strokes(images), operator="max")[0]),
    "ink (1)": linear_accuracy(lambda images: ops.squeeze_forward(images)[0]),
}
assert accuracy["pixels (64)"] > 0.9
assert 0.35 < accuracy["averages (4)"] < 0.6  # far above chance, far below the pixels
assert accuracy["averages (4)"] > accuracy["maxima (4)"] > 2 * accuracy["ink (1)"]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: every test digit 0, 1 and 5 as a point, average of the horizontal strokes against average of the vertical ones; the three digits form clouds that overlap only in part. Right: accuracy of a linear classifier: four maps 97 percent, pixels 93, averages 45, maxima 39, ink 14; chance is 10."}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3), width_ratios=[1.1, 1])
for digit, marker in ((0, "o"), (1, "s"), (5, "^")):
    of = labels == digit
    left.scatter(z[of, 0], z[of, 1], s=14, marker=marker, alpha=0.8, label=str(digit))
left.set_xlabel("horizontal strokes, average")
left.set_ylabel("vertical strokes, average")
left.legend(title="digit")
bars = right.barh(list(accuracy)[::-1], [100 * a for a in accuracy.values()][::-1])
right.bar_label(bars, fmt="%.0f %%", padding=3)
right.axvline(10, color="black", linewidth=1, linestyle=":")
right.text(11.5, 4.75, "chance", fontsize=9, va="center")
right.set_xlim(0, 118)
right.set_ylim(-0.5, 5)
right.set_xlabel("test accuracy (%)")
plt.show()

# %% [markdown]
# Four numbers can hardly tell a 6 from a 9 (turn the page upside down: every stroke keeps its direction), and
# yet they name the right digit 45 times in 100, where chance would give 10. The share of ink says hardly
# anything. The descriptor is good because the *channels* are: a squeeze is worth as much as what was detected
# before it. In SE-ResNet-50 there are 256 to 2048 learnt channels in place of our four, and the descriptor
# need not classify anything. It only has to tell the next step, the excitation, which channels deserve
# attention in *this* image.

# %% [markdown]
# ## The squeeze, backwards
#
# Suppose we know the gradient $\partial L / \partial z_{n,c}$ of some loss $L$, and want
# $\partial L / \partial u_{n,c,i,j}$. Raise one pixel $u_{n,c,i,j}$ by $\delta$. Then $z_{n,c}$ rises by
# $\delta / (HW)$, and no other entry of $z$ changes. Hence
#
# $$\frac{\partial z_{n,c}}{\partial u_{n,c,i,j}} = \frac{1}{HW},
# \qquad
# \frac{\partial L}{\partial u_{n,c,i,j}} = \frac{1}{HW} \, \frac{\partial L}{\partial z_{n,c}}
# \quad \text{at every } (i, j).$$
#
# In numbers: a 2x2 map and an upstream gradient of 6 give $6/4 = 1.5$ at each of the four pixels. What
# arrives is shared out evenly; the shares add up to 6 again. With the maximum, one pixel gets all 6 and the
# others nothing, since moving them a little moves nothing.

# %%
small = np.array([[[[1.0, 2.0], [5.0, 0.0]]]])
for operator in ("avg", "max"):
    _, cache = ops.squeeze_forward(small, operator=operator)
    du = ops.squeeze_backward(np.array([[6.0]]), cache).du
    print(operator, du[0, 0].tolist())
    assert du.ravel().tolist() == ([1.5] * 4 if operator == "avg" else [0, 0, 6, 0])

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three 8x8 maps. The vertical strokes of the 0; the gradient of their average, the same pale value 1/64 at every pixel; the gradient of their maximum, 1 at a single dark pixel, the brightest one of the map, and 0 elsewhere."}}
one = u[k : k + 1, 1:2]
fig, axes = plt.subplots(1, 3, figsize=(7, 2.4))
axes[0].imshow(one[0, 0])
axes[0].set_title("$u$, vertical strokes")
for ax, operator in zip(axes[1:], ("avg", "max"), strict=True):
    _, cache = ops.squeeze_forward(one, operator=operator)
    du = ops.squeeze_backward(np.ones((1, 1)), cache).du[0, 0]
    ax.imshow(du, cmap="Blues", vmin=0, vmax=0.1)  # one scale for both, on which 1 is off the end
    row, column = np.unravel_index(du.argmax(), du.shape)
    if operator == "avg":
        ax.text(3.5, 3.5, "1/64 everywhere", ha="center", va="center")
        ax.set_title(r"$\partial z / \partial u$, average")
    else:
        arrow = {"arrowstyle": "->"}
        ax.annotate(
            "1 here,\n0 elsewhere", (column + 0.5, row - 0.4), (5.3, 2), ha="center", arrowprops=arrow
        )
        ax.set_title(r"$\partial z / \partial u$, maximum")
for ax in axes:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
plt.show()

# %% [markdown]
# Besides noise, this is a second reason why the average may train better: every pixel gets a gradient from
# every image.
#
# The usual mistake is to forget the $1/(HW)$. The result has the right shape and the right sign, and is 64
# times too large on our digits, 3,136 times too large on a map of 56x56. A gradient check by numerical
# derivatives ([lesson 2](02_gradients_and_checking.py)) sees it at once:


# %%
def spread_without_dividing(dy, cache):
    (du,) = ops.squeeze_backward(dy, cache)
    return (du * du[0, 0].size,)


report = check_gradients(ops.squeeze_forward, spread_without_dividing, (rng.normal(size=(2, 3, 4, 5)),))
assert np.isclose(report.arguments[0].ratio, 4 * 5)
print(report.reasons[0])
assert check_gradients(ops.squeeze_forward, ops.squeeze_backward, (rng.normal(size=(2, 3, 4, 5)),)).ok

# %% [markdown]
# ## Summary
#
# - The squeeze replaces each $H \times W$ map by its average: $C$ numbers for the whole image, which no small
#   window can compute.
# - It forgets where something is, and keeps how much of it there is; from four averages of hand-made
#   stroke maps a linear classifier still names 45 % of the digits.
# - Backwards, each pixel receives $1/(HW)$ of the upstream gradient. With the maximum one pixel takes it all.
#
# ## Exercises
#
# - `squeeze_forward` (1 point): equation 2, with the average or the maximum.
#   `senumpy exercise start squeeze_forward`
# - `global_avg_pool_backward` (1 point): the gradient of the average.
#   `senumpy exercise start global_avg_pool_backward`
#
# 1. The squeeze is a linear function of $u$. Write it as a convolution: what is its kernel, and how many
#    groups does it have?
#
#    :::{admonition} Answer
#    :class: dropdown
#    A depthwise convolution (as many groups as channels) whose kernel is as large as the map, $H \times W$,
#    with every entry $1/(HW)$ and no padding: one window fits, and its result is the average. A convolution
#    has to know the map's size in advance; the squeeze does not, and works on any image.
#    :::
#
# 2. In an SE-ResNet the squeeze stands directly behind a batch norm ([lesson 7](07_batchnorm_forward.py))
#    with scale $\gamma_c$ and shift $\beta_c$. Show that during training the average of $z_{n,c}$ over the
#    batch is exactly $\beta_c$. What is $z$ when the batch is a single image?
#
#    :::{admonition} Answer
#    :class: dropdown
#    Batch norm returns $\gamma_c \hat{x}_{n,c,i,j} + \beta_c$, where $\hat{x}$ has mean 0 over $n, i, j$. The
#    average of $z_{n,c}$ over $n$ is the average of that over $n, i, j$, which is $\beta_c$. So the squeeze
#    measures how far an image departs from its batch. With one image nothing can depart: $z_{1,c} = \beta_c$
#    whatever the picture, and SE is blind. [Lesson 14](14_se_resnet.py) meets this again.
#    :::
#
# 3. Averaging the averages of the four quadrants of a map gives the map's average. Does the same hold for
#    maxima? And for a map of 7x7, cut into pieces of 4x4, 4x3, 3x4 and 3x3?
#
#    :::{admonition} Answer
#    :class: dropdown
#    The maximum of the maxima is always the maximum, however one cuts. The average of averages is right only
#    for pieces of equal size; for 7x7 each piece has to be weighted by its number of pixels, 16, 12, 12 and
#    9. A pooling in steps that forgets this is wrong only where the pieces differ.
#    :::
