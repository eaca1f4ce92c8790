# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 1. Arrays and shapes
#
# **Question.** A photo has rows and columns, each pixel has three colours, and a network sees many photos at
# once. Memory knows nothing of this: it is one long row of numbers. How do four indices find their number,
# and why does one axis in the wrong place often give no error, only a wrong answer?
#
# *Paper: section 3 (the shapes around equation 1), equations 2 and 4.*  Reading time: 13 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.ops import arrays, channel_shuffle
from senumpy.verify import check_like

style()

# %% [markdown]
# ## Four axes
#
# Every image operation in this course takes an array `x` of shape $(N, C, H, W)$, and $x_{n,c,h,w}$ is one
# number:
#
# | axis | letter | counts | in a colour photo |
# |---|---|---|---|
# | 0 | $N$ | images of the batch | how many photos |
# | 1 | $C$ | channels | red, green, blue: 3 |
# | 2 | $H$ | rows, from the top | height |
# | 3 | $W$ | columns, from the left | width |
#
# The order is called **NCHW**. The paper writes one image as $H \times W \times C$ and leaves the batch out;
# it is the same set of numbers, and its $u_c(i, j)$ is our $u_{n,c,i,j}$.
#
# In a camera's image the channels are colours. Further inside a network there may be 2,048 channels, and each
# is a *feature map*: a small grey picture that says where in the image one thing was found. To have a picture
# of our own, we paint one. Drawing programs and image files keep the three colours of a pixel side by side,
# so it begins as (H, W, C).


# %%
def paint(height: int = 24, width: int = 36) -> np.ndarray:
    """Return a boat at sunset, (height, width, 3), values from 0 to 1."""
    row, column = np.mgrid[:height, :width]
    down = row[..., None] / height
    picture = (1 - down) * [0.35, 0.60, 0.95] + down * [1.0, 0.65, 0.35]  # sky
    picture[(row - 7) ** 2 + (column - 27) ** 2 < 14] = [1.0, 0.9, 0.3]  # sun
    picture[row >= 16] = [0.05, 0.25, 0.45]  # sea
    picture[(row >= 4) & (row < 16) & (column > 11) & (column - 11 < row - 3)] = [0.85, 0.1, 0.15]  # sail
    picture[(row >= 16) & (row < 19) & (column > 8 + row - 16) & (column < 25 - row + 16)] = [1, 1, 1]  # hull
    return picture


picture = paint()
x = picture.transpose(2, 0, 1)[np.newaxis]  # (H, W, C) -> (C, H, W) -> (1, C, H, W)
print(picture.shape, "->", x.shape)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A small painted picture of a white boat with a red sail at sunset, and beside it its red, green and blue channel as grey pictures. The sail is bright in the red channel and nearly black in the other two; the sea is brightest in the blue one."}}
figure, axes = plt.subplots(1, 4, figsize=(7, 1.6))
axes[0].imshow(picture)
for c, name in enumerate(["red", "green", "blue"]):
    axes[c + 1].imshow(x[0, c], cmap="gray", vmin=0, vmax=1)
    axes[c + 1].set_xlabel(f"x[0, {c}]\n{name}")
axes[0].set_xlabel("all three")
for axis in axes:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# ## One row of numbers
#
# Memory is a row of cells. For an array in *C order*, the last index runs fastest: to the right neighbour it
# is one cell, to the next row $W$ cells, to the next channel $HW$, to the next image $CHW$. So $x_{n,c,h,w}$
# lies in cell
#
# $$
# \begin{aligned}
# \text{cell} &= n\,CHW + c\,HW + h\,W + w \\
# &= ((n\,C + c)\,H + h)\,W + w .
# \end{aligned}
# $$
#
# The four factors are the array's **strides** (NumPy counts them in bytes, we divide by the size of a
# number). An array is no more than this: a block of memory, a shape and strides.

# %%
n, c, h, w = 1, 2, 3, 4
batch = np.random.default_rng(0).standard_normal((2, 3, 5, 7))
N, C, H, W = batch.shape
cell = ((n * C + c) * H + h) * W + w
assert batch.ravel()[cell] == batch[n, c, h, w]
print("strides in numbers:", [s // batch.itemsize for s in batch.strides])

# %% [markdown]
# The other common order, NHWC or "channels last", keeps the channels of a pixel together; there the cell is
# $((n\,H + h)\,W + w)\,C + c$. Here are both, for one image of 3 channels, 2 rows and 3 columns. Each cell
# shows its pixel as $h,w$, and its colour is its channel.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two rows of 18 memory cells. In NCHW the six pixels of channel 0 come first, then the six of channel 1, then those of channel 2. In NHWC the three channels of pixel 0,0 come first, then the three of pixel 0,1, and so on."}}
figure, axes = plt.subplots(2, 1, figsize=(7, 1.9))
orders = {"NCHW": [(c, h, w) for c in range(3) for h in range(2) for w in range(3)]}
orders["NHWC"] = [(c, h, w) for h in range(2) for w in range(3) for c in range(3)]
shades = ["#D55E00", "#009E73", "#0072B2"]
for axis, (name, cells) in zip(axes, orders.items(), strict=True):
    for position, (c, h, w) in enumerate(cells):
        axis.bar(position, 1, width=0.94, color=shades[c])
        axis.text(position, 0.5, f"{h},{w}", ha="center", va="center", color="white")
    axis.set(xlim=(-0.6, 17.6), yticks=[], xticks=[0, 3, 6, 9, 12, 15], ylabel=name)
    axis.spines[:].set_visible(False)
axes[0].set_xticklabels([])
axes[1].set_xlabel("cell in memory")
figure.legend(
    handles=[plt.Rectangle((0, 0), 1, 1, color=s) for s in shades],
    labels=["channel 0", "channel 1", "channel 2"], loc="outside upper center", ncols=3,
)  # fmt: skip
plt.show()

# %% [markdown]
# Shape and memory order are two things. `transpose` moves no number: it returns a *view* of the same memory
# with the strides in another order. Our `x` above has the shape (1, 3, 24, 36) and still lies in memory as
# the painting did. Indices see the shape only, so every operation gives the same result for either, up to
# rounding; only the speed may differ.

# %%
print("strides of x[0]:", [s // x.itemsize for s in x[0].strides])  # one step in c is one cell
assert np.shares_memory(x, picture)
assert x[0, 0, 5, 20] == picture[5, 20, 0]

# %% [markdown]
# ### The mistake: reshape for transpose
#
# `reshape` moves nothing either, but it reads the array in the order of its indices and deals the numbers out
# to the new shape. To get (3, 24, 36) from (24, 36, 3) one can write either, and both run:

# %%
right = picture.transpose(2, 0, 1)
wrong = picture.reshape(3, 24, 36)
assert right.shape == wrong.shape
assert np.array_equal(np.sort(right, axis=None), np.sort(wrong, axis=None))  # even the same numbers
print(f"entries that agree: {np.mean(right == wrong):.0%}")
assert np.mean(right == wrong) < 0.1

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left the boat, from the transposed array. Right the result of reshape: coloured stripes and speckles in which the boat cannot be recognised, since each channel now holds one third of the picture's rows."}}
figure, axes = plt.subplots(1, 2, figsize=(7, 2.4))
for axis, image, name in zip(axes, [right, wrong], ["transpose(2, 0, 1)", "reshape(3, 24, 36)"], strict=True):
    axis.imshow(image.transpose(1, 2, 0))
    axis.set(xticks=[], yticks=[], xlabel=name)
    axis.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# Same shape, same mean, same smallest and largest value: the checks that one makes first see nothing. A
# network may even learn something from such images, just worse. Two habits protect you. Look at one number
# whose place you know, as `x[0, 0, 5, 20] == picture[5, 20, 0]` did above. And test with sizes that are **all
# different**, none of them 1: with $H = W$ a swapped pair of axes has the right shape, with 24 and 36 it has
# not.
#
# ## Reshape, transpose, reshape
#
# Used together, the two do useful work. ShuffleNet, one of the networks that the paper adds SE to, convolves
# channels in $G$ groups that never see each other, and lets them exchange channels in between. Channel
# number $g \cdot C/G + k$ is the $k$-th of group $g$. The shuffle sends it to place $k\,G + g$:
#
# $$y_{n,\,kG+g,\,h,\,w} = x_{n,\,g\,C/G+k,\,h,\,w}, \qquad 0 \le g < G,\; 0 \le k < C/G .$$
#
# Write the numbers 0 to 5 as a table of $G = 2$ rows, one for each group, and read it by columns:
#
# $$\begin{pmatrix} 0 & 1 & 2 \\ 3 & 4 & 5 \end{pmatrix} \;\to\; 0, 3, 1, 4, 2, 5 .$$
#
# In code: *split* the channel axis in two (a reshape), *swap* the two (a transpose), *merge* them again (a
# reshape). Splitting and merging neighbouring axes in order is what reshape is for; what changes the order is
# the transpose between them.
#
# Two conventions of the library's code, before you read the first piece of it. `xp` is the module that `x`
# comes from, NumPy here and its counterpart for arrays on a GPU; in their common standard `permute_dims` is
# the name of `transpose`. And each operation's `..._forward` returns its result together with a *cache*,
# which is what its backward pass will need ([lesson 2](02_gradients_and_checking.py)). Here we drop it.

# %%
show(channel_shuffle._shuffle)
six = np.arange(6.0).reshape(1, 6, 1, 1)
y, _ = ops.channel_shuffle_forward(six, groups=2)
print(y.ravel())
assert y.ravel().tolist() == [0, 3, 1, 4, 2, 5]
assert not np.shares_memory(ops.channel_shuffle_forward(six, groups=1)[0], six)

# %% [markdown]
# After the transpose the cells no longer lie in the order of the indices, so the last reshape can't be a
# view: NumPy copies without a word. With one group it would be one, and then the result would share memory
# with `x`: whoever changed `y` in place later would change `x`, too. `contiguous` makes a copy in any case.
# In this library results never share memory with arguments.
#
# ## Slices and zeros
#
# `x[:, :, ::2, ::2]` is every second row and column: a view again, with doubled strides. On the *left* of an
# assignment, a slice writes into memory that is there. With zeros, that is all you need for the shortcut of
# small ResNets. A residual unit ([lesson 10](10_residual_unit.py)) adds its input, the *shortcut*, to what
# its layers made of it. Where the layers halve height and width and give more channels than before, the
# shortcut has to arrive at the same shape: it skips pixels and fills up with channels of zeros, half of them
# in front. With stride $s$ and $C'$ channels wanted,
#
# $$y_{n,\,a+c,\,i,\,j} = x_{n,\,c,\,is,\,js}, \qquad a = \lfloor (C' - C)/2 \rfloor,$$
#
# and all other entries are zero. There are $\lceil H/s \rceil$ rows $0, s, 2s, \dots$ below $H$; as code,
# `-(-H // s)`, since `//` rounds down, and down on the negative side is up.

# %%
show(ops.pad_shortcut_forward)
y, _ = ops.pad_shortcut_forward(batch, channels=6, stride=2)  # (2, 3, 5, 7)
print(batch.shape, "->", y.shape)
assert y.shape == (2, 6, 3, 4)
assert np.array_equal(y[:, 1:4], batch[:, :, ::2, ::2])  # a = (6 - 3) // 2 = 1
assert not y[:, 0].any()
assert not y[:, 4:].any()

# %% [markdown]
# ## Broadcasting, per channel
#
# The heart of SE is one line, equation 4 of the paper: every channel is multiplied by its gate,
#
# $$\tilde{x}_{n,c,i,j} = s_{n,c}\; u_{n,c,i,j} .$$
#
# The gates $s$ have the shape $(N, C)$, the maps $u$ have $(N, C, H, W)$. NumPy multiplies arrays of
# different shapes by *broadcasting*: write the shapes one under the other, aligned **on the right**. On every
# axis the sizes have to be equal, or one of them 1 or missing, and then its values are repeated.
#
#     u         (N, C, H, W)          u                     (N, C, H, W)
#     s               (N, C)          s with two axes more  (N, C, 1, 1)
#               no: W meets C, H meets N                    yes
#
# So `s` needs two axes of size 1 behind its own:

# %%
show(arrays.per_channel)
rng = np.random.default_rng(1)
u, s = rng.standard_normal((2, 3, 5, 7)), rng.uniform(size=(2, 3))
scaled = u * arrays.per_channel(s)  # (2, 3, 5, 7) * (2, 3, 1, 1)
assert np.array_equal(scaled, ops.scale_forward(u, s)[0])
for n, c in np.ndindex(2, 3):
    assert np.array_equal(scaled[n, c], s[n, c] * u[n, c])

# %% [markdown]
# ### The mistake: the sizes happen to fit
#
# With these sizes, forgetting the two axes is an error. Take 8x8 images with 8 channels, such as you meet
# in any network for the digits of [lesson 3](03_linear_and_loss.py), and one factor for each channel:

# %%
maps, gamma = np.ones((4, 8, 8, 8)), np.arange(8.0)
column = maps * gamma  # (4, 8, 8, 8) * (8,): no error
print("down the channels  ", column[0, :, 0, 0])
print("along a row        ", column[0, 0, 0, :])
assert (column[0, :, 0, 0] == 0).all()  # should have been 0 to 7

# %% [markdown]
# The factors went to the columns of the image. It happens to batch norm's $\gamma$ above all, where code that
# was written for NHWC meets images in NCHW, and no gradient check can find it: a backward that belongs to the
# wrong forward is the right derivative of the wrong thing. What finds it is a comparison with numbers from
# elsewhere. `check_like` calls a function as one of the library's operations, on small cases whose sizes
# differ, and looks at the forward result first.
#
# ## The opposite of broadcasting
#
# To *reduce* an axis is to sum over it. The squeeze, equation 2, is the mean of each channel over its pixels,
#
# $$z_{n,c} = \frac{1}{HW} \sum_{i,j} u_{n,c,i,j},$$
#
# so it reduces axes 2 and 3. Batch norm in [lesson 7](07_batchnorm_forward.py) reduces axes 0, 2 and 3, which
# leaves one number for each channel. Someone used to NHWC would reduce axes 1 and 2 here:


# %%
def squeeze_nhwc(u: np.ndarray, *, operator: str = "avg") -> tuple[np.ndarray, object]:
    """Return the mean over axes 1 and 2, which is wrong."""
    return u.mean(axis=(1, 2)), ops.squeeze_forward(u, operator=operator)[1]


z, _ = ops.squeeze_forward(u)
assert np.allclose(z, u.sum(axis=(2, 3)) / 35)
report = check_like("squeeze", squeeze_nhwc)
print(report.verdict, *report.reasons, sep="\n  ")
assert not report.ok

# %% [markdown]
# Keep this pair in mind: *broadcasting copies a number to many places; a sum collects from many places into
# one number.* When we come to gradients, each will turn out to be the other's backward pass. If a gate is
# copied to $HW$ pixels, its gradient is a sum over $HW$ pixels.
#
# ## Summary
#
# - Image arrays are (N, C, H, W). In C order, $x_{n,c,h,w}$ lies in cell $((nC + c)H + h)W + w$.
# - Shape and memory order are independent: transposing and slicing change the view, not the memory.
# - `reshape` keeps the order of the numbers, `transpose` changes the order of axes. One for the other gives
#   the right shape and the wrong picture.
# - Broadcasting aligns shapes on the right, so what belongs to channels needs the shape (C, 1, 1) or
#   (N, C, 1, 1). It fails silently where sizes coincide: test with sizes that all differ.
#
# ## Exercises
#
# - `channel_shuffle_forward` (1 point): reorder channels so that each new group takes from every old one.
#   `senumpy exercise start channel_shuffle_forward`
# - `pad_shortcut_forward` (1 point): skip pixels and pad channels with zeros.
#   `senumpy exercise start pad_shortcut_forward`
#
# 1. A float32 array has the shape (32, 64, 56, 56), in C order. How many bytes lie between
#    $x_{n,c,h,w}$ and $x_{n,c,h+1,w}$, and between $x_{n,c,h,w}$ and $x_{n,c+1,h,w}$? How large is it?
#
# :::{admonition} Answer
# :class: dropdown
# A row is $56 \cdot 4 = 224$ bytes, a channel $56 \cdot 224 = 12{,}544$ bytes. In all $32 \cdot 64 \cdot
# 12{,}544 = 25{,}690{,}112$ bytes, about 26 MB: what one layer of ResNet-50's second stage
# makes of a batch of 32.
# :::
#
# 2. A shuffle with $G$ groups is undone by another shuffle. With how many groups?
#
# :::{admonition} Answer
# :class: dropdown
# With $C/G$. The table of $G$ rows was transposed, and the table that one has now has $C/G$ rows; transposing
# it leads back. That is `channel_shuffle_backward`, as the gradient takes the way back.
# :::
#
# 3. `u.mean(axis=(2, 3)) - u` raises an error for shape (2, 3, 5, 7). What does
#    `u.mean(axis=(2, 3), keepdims=True) - u` compute, and what is its mean over axes 2 and 3?
#
# :::{admonition} Answer
# :class: dropdown
# `keepdims=True` leaves axes of size 1, so the mean has the shape (2, 3, 1, 1) and is broadcast: each pixel
# is subtracted from its channel's mean. The result's mean over the pixels is zero, up to rounding.
# :::
#
# 4. Try it: set `wrong = x[0].transpose(0, 2, 1)` and look at it, `plt.imshow(wrong.transpose(1, 2, 0))`. For
#    which images would you not notice that two axes were swapped?
#
# :::{admonition} Answer
# :class: dropdown
# The boat lies on its side, mirrored, in an image of 36x24. For square images the shape says nothing; and a
# network trained on images that are all transposed works as well as before, until it meets somebody else's
# weights or images.
# :::
