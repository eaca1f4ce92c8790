# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 5. Convolution as a matrix product
#
# **Question.** The seven loops of [lesson 4](04_convolution_loops.py) are right and hopelessly slow: they
# would need half an hour or more for one image in ResNet-50. Matrix products are what computers do best. How
# does sliding a window over a batch of images become a single one, and what is the price?
#
# *Paper: section 3, equation 1, computed as it is in practice.*  Reading time: 13 minutes.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

from senumpy import ops
from senumpy.engines.naive.conv import conv2d_loops
from senumpy.lessons import show, style
from senumpy.ops import conv2d
from senumpy.ops.windows import Window, output_size, taps
from senumpy.verify import check_like

style()
rng = np.random.default_rng(5)

# %% [markdown]
# ## The matrix that a convolution is
#
# A convolution is linear in the image: twice the image gives twice the map, and the map of a sum is the sum
# of the maps. So there is a matrix $A$ with $y = A x$, where $x$ and $y$ are written as long columns.
# Linearity even tells us how to find it: column $m$ of $A$ is what comes out when pixel $m$ is 1 and all
# others are 0. For a 6x6 image, a 3x3 kernel and padding 1 it is a 36x36 matrix:

# %%
kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
pixels = np.eye(36).reshape(36, 1, 6, 6)  # 36 images, each with one pixel set
A = ops.conv2d_forward(pixels, kernel, padding=1)[0].reshape(36, 36).T

image = rng.standard_normal((1, 1, 6, 6))
assert np.allclose(A @ image.ravel(), ops.conv2d_forward(image, kernel, padding=1)[0].ravel())
print(f"entries {A.size}, not zero {np.count_nonzero(A)}, different weights {len(np.unique(A[A != 0]))}")

# %% tags=["hide-input"] mystnb={"image": {"alt": "A 36 by 36 matrix, white but for narrow diagonal bands. Each band has one colour, one of the nine weights of the kernel. The bands come in three groups, one for each row of the kernel, and have gaps where the window leaves the image at its left or right edge."}}
figure, axis = plt.subplots(figsize=(5.4, 4.6))
colours = plt.get_cmap("viridis", 9)
picture = axis.imshow(np.where(A == 0, np.nan, A), cmap=colours, vmin=0.5, vmax=9.5)
edges = range(0, 36, 6)
axis.set(xlabel="pixel of the image", ylabel="pixel of the map", xticks=edges, yticks=edges)
figure.colorbar(picture, label="weight of the kernel", ticks=range(1, 10))
plt.show()

# %% [markdown]
# Here one sees the two assumptions of lesson 4. *Small windows*: four entries of five are
# zero, and in larger images nearly all of them, for a line never has more than nine that are not. *Shared
# weights*: along each diagonal it is one and the same number, or zero where the tap leaves
# the image. Multiplying by $A$ would give the right result
# and waste its time on zeros. For the first layer of ResNet-50, $A$ would have 121 billion entries. So $A$ is
# for thinking (its transpose is the backward pass, [lesson 6](06_convolution_backward.py)); for computing we
# need a smaller matrix without zeros.
#
# ## Looking from a tap
#
# Of the seven loops, which ones can NumPy take over? Turn the question round. A window looks at scattered
# entries of the image. But *one tap* $(p, q)$, seen over all windows $(i, j)$ together, looks at the entries
#
# $$x_{n,\,c,\,is + pd,\,js + qd}, \qquad i = 0, 1, 2, \dots,\quad j = 0, 1, 2, \dots$$
#
# of the padded image: every $s$-th row, beginning at row $pd$, every $s$-th column, beginning at $qd$. That
# is a slice, a view, for nothing. A 3x3 kernel has nine of them, whatever the image's size.

# %%
show(taps)
window, out = Window((3, 3), (2, 2), (0, 0), (1, 1)), (2, 2)
for p, q, (rows, columns) in list(taps(window, out))[:4]:
    print(f"tap ({p}, {q}) of all windows: rows {rows}, columns {columns}")

# %% [markdown]
# (The last bound of each slice is where the last window's tap lies, plus one.) So loop over the taps and
# leave the rest to NumPy. For each tap, a matrix of $O \times C$ weights maps the channels of the slice to
# the channels of the result. `einsum` names the axes by letters and sums over those that are missing on the
# right, here $c$:


# %%
def conv2d_taps(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Convolve x (N, C, H, W) with w (O, C, kh, kw); stride 1, no padding, one group."""
    height, width = x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1
    y = 0.0
    for p in range(w.shape[2]):
        for q in range(w.shape[3]):
            seen = x[:, :, p : p + height, q : q + width]  # what this tap sees: (N, C, H', W')
            y = y + np.einsum("oc,nchw->nohw", w[:, :, p, q], seen)
    return y


x, w = rng.standard_normal((2, 3, 6, 7)), rng.standard_normal((4, 3, 3, 2))
assert np.allclose(conv2d_taps(x, w), conv2d_loops(x, w), rtol=1e-12, atol=1e-12)

# %% [markdown]
# Six rounds of Python here, where the loops have 2 · 4 · 4 · 6 · 18 = 3,456. This is convolution as a few
# small matrix products, one for each tap. One step is left.
#
# ## Columns
#
# Don't multiply each slice at once; collect them first. Stack what all taps of all channels see, and each
# window becomes one **column** of $K = C\,k_h k_w$ numbers:
#
# $$X_{(c,p,q),\,(n,i,j)} = x_{n,\,c,\,is + pd - \text{pad},\,js + qd - \text{pad}} .$$
#
# Each bracket is to be read as one index: row number $(c\,k_h + p)\,k_w + q$, column number
# $(n\,H' + i)\,W' + j$, just the order of cells of [lesson 1](01_arrays_and_shapes.py). This matrix is called
# `im2col`, "image to columns". For one channel of 4x5 pixels and a 3x3 kernel:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left a 4 by 5 image whose pixels are numbered 0 to 19 and coloured by number, with the first window of 3 by 3 framed. Right the matrix of columns, 9 rows for the taps and 6 columns for the windows. Its first column, framed, holds the pixels 0, 1, 2, 5, 6, 7, 10, 11, 12. Most pixels occur in several columns."}}
small = np.arange(20.0).reshape(1, 1, 4, 5)
window = Window((3, 3), (1, 1), (0, 0), (1, 1))
X = conv2d._im2col(small, window, 1, output_size((4, 5), window))[0]  # (9, 6)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), width_ratios=(1, 1.1))
for axis, array in zip(axes, (small[0, 0], X), strict=True):
    axis.imshow(array, vmin=0, vmax=19, aspect="equal" if array is not X else "auto")
    for (row, column), value in np.ndenumerate(array):
        shade = "white" if value < 10 else "black"
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=shade)
    axis.spines[:].set_visible(False)
axes[0].add_patch(plt.Rectangle((-0.5, -0.5), 3, 3, fill=False, ec="#D55E00", lw=3, clip_on=False))
axes[1].add_patch(plt.Rectangle((-0.5, -0.5), 1, 9, fill=False, ec="#D55E00", lw=3, clip_on=False))
axes[0].set(xlabel="column of the image", ylabel="row of the image")
axes[1].set(xlabel="window (i, j)", ylabel="tap (p, q)", xticks=range(6), yticks=range(9))
axes[1].set_xticklabels([f"{i},{j}" for i in range(2) for j in range(3)])
axes[1].set_yticklabels([f"{p},{q}" for p in range(3) for q in range(3)])
plt.show()

# %%
assert X[:, 0].tolist() == [0, 1, 2, 5, 6, 7, 10, 11, 12]
assert X.shape == (9, 6)
show(conv2d._im2col)

# %% [markdown]
# Two things in this code deserve a look. It fills the matrix by *rows*, one slice for each tap, for all
# channels and images at a time: nine assignments, not one for each window. And it puts the channels in front
# of the images, `(C, N, ...)`, so that the $K$ rows lie together and a group's rows are a block of their own.
#
# ## One matrix product
#
# A kernel, written as a row, has the same order $(c, p, q)$: that is `w.reshape(O, K)`, and no number moves.
# Its product with a column is the sum over $c, p, q$ of lesson 4. So, for one group,
#
# $$\underbrace{Y}_{O \,\times\, N H' W'} = \underbrace{W}_{O \,\times\, K}\;
# \underbrace{X}_{K \,\times\, N H' W'} ,$$
#
# and with $G$ groups a stack of $G$ such products, $(G, O/G, K)$ by $(G, K, N H' W')$ with $K = (C/G)\,k_h
# k_w$; `@` multiplies stacks. In the code, `_kernel_matrix` is this reshape of `w`, and `_swap` exchanges the
# first two axes of the result. By numbers, with the kernel that has $-1$ at tap (0, 0), $+1$ at (2, 2) and
# zeros elsewhere: $Y = X_{8,:} - X_{0,:}$, which for the image above is $12 - 0 = 13 - 1 = \dots = 12$ in
# each window.

# %%
show(ops.conv2d_forward)
diagonal = np.zeros((1, 1, 3, 3))
diagonal[0, 0, 0, 0], diagonal[0, 0, 2, 2] = -1, 1
assert (ops.conv2d_forward(small, diagonal)[0] == 12).all()

# %% [markdown]
# ### The mistake: reshape, where the axes have to be swapped
#
# The product has its axes in the order $(O, N, H', W')$, and wanted is $(N, O, H', W')$. `reshape` gives an
# array of the wanted shape, too, and after lesson 1 you know what it does:


# %%
def unswapped(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **settings: object) -> tuple:
    """Return the convolution with images and channels mixed up."""
    y, cache = ops.conv2d_forward(x, w, b, **settings)
    return y.transpose(1, 0, 2, 3).reshape(y.shape), cache


for n in (1, 2):
    x, w = rng.standard_normal((n, 3, 6, 6)), rng.standard_normal((4, 3, 3, 3))
    same = np.allclose(unswapped(x, w)[0], conv2d_loops(x, w))
    print(f"batch of {n}: {'right' if same else 'wrong'}")
    assert same == (n == 1)
report = check_like("conv2d", unswapped)
print(report.verdict, report.reasons[0], sep=": ")
assert not report.ok

# %% [markdown]
# Right for one image, wrong for two: part of the second image's maps stand where the first one's should be.
# All shapes fit. A network with this mistake and somebody else's weights passes every test with a batch of
# one and is wrong in every larger batch. For a batch of one, a mean over the batch can't be told from a sum
# either: a test needs at least two images.
#
# ## Why it is fast, and what it costs
#
# First, Python runs nine rounds instead of millions:

# %%
x, w = rng.standard_normal((2, 8, 8, 8)), rng.standard_normal((16, 8, 3, 3))


def seconds(function: object, repeats: int) -> float:
    """Return the shortest time of one call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(x, w, padding=1)
        times.append(time.perf_counter() - start)
    return min(times)


assert np.allclose(conv2d_loops(x, w, padding=1), ops.conv2d_forward(x, w, padding=1)[0])
ratio = seconds(conv2d_loops, 1) / seconds(ops.conv2d_forward, 10)
print("the loops take more than 20 times as long:", ratio > 20)
assert ratio > 20  # about 2,000 where this was written; the margin is for machines that are busy

# %% [markdown]
# Second, a matrix product uses every number many times. $O K$ weights and $K M$ entries of columns make $O K
# M$ multiply-adds (with $M = N H' W'$). A good library cuts the matrices into tiles that stay in the caches
# and in registers, so that the processor computes nearly all the time and seldom waits for memory. Decades of
# work went into this one routine; `im2col` lets us use it.
#
# The price is **memory**. At stride 1 each pixel is in up to $k_h k_w$ windows, and each window gets a copy:

# %%
layer = (32, 64, 56, 56)  # ResNet-50, the second stage, a batch of 32
image_bytes = 4 * int(np.prod(layer))
column_bytes = 9 * image_bytes  # 3x3, stride 1, padding 1: as many windows as pixels
print(f"images {image_bytes / 1e6:.1f} MB, columns {column_bytes / 1e6:.1f} MB")
tiny = rng.standard_normal((1, 2, 5, 5))
assert conv2d._im2col(tiny, Window((3, 3), (1, 1), (1, 1), (1, 1)), 1, (5, 5)).size == 9 * tiny.size

# %% [markdown]
# Nine times the image, for each layer of 3x3 kernels. That is why the cache of `conv2d_forward` keeps `x`
# and not the columns: the backward pass builds them again. And why fast engines build columns only for a tile
# at a time, or not at all ([lesson 18](18_speed.py)).
#
# One case has no price. For a **1x1 kernel** a column is just the channels of one pixel, $K = C$, and
# nothing is copied more than once: it is a linear layer, applied to each pixel. Two thirds of ResNet-50's
# convolutions are of this kind. On an image of a single pixel the two are even the same thing, and the
# paper's released networks write the two linear layers of SE as 1x1 convolutions.

# %%
x, w = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((7, 5, 1, 1))
per_pixel = x.transpose(0, 2, 3, 1).reshape(-1, 5)  # (N*H*W, C): a row for each pixel
y = ops.linear_forward(per_pixel, w[:, :, 0, 0])[0].reshape(2, 4, 3, 7).transpose(0, 3, 1, 2)
assert np.allclose(y, ops.conv2d_forward(x, w)[0])

# %% [markdown]
# ## Summary
#
# - A convolution is linear, so it is a matrix $A$: nearly empty, and with one weight along each diagonal.
#   Good for thinking.
# - Seen from one tap, all windows together see a strided slice. Nine slices hold all that a 3x3 kernel
#   sees.
# - Stacked, they make a matrix $X$ with a column for each window, and the convolution is one product $Y =
#   WX$. The price is memory: a copy of the image for each tap, at stride 1.
# - The result is $(O, N, \dots)$: swap axes, don't reshape. Test with at least two images.
#
# ## Exercises
#
# - `conv2d_forward` (3 points): all settings, no loop over images or pixels.
#   `senumpy exercise start conv2d_forward`
#
# 1. A 3x3 convolution with stride 2 and padding 1 over 56x56 pixels: how many times larger than the image
#    are its columns?
#
# :::{admonition} Answer
# :class: dropdown
# There are 28x28 windows, a quarter of the pixels, of 9 taps each: $9/4 = 2.25$ times.
# :::
#
# 2. In the 36x36 matrix $A$, how many entries of the first row are not zero, and how many of row 7? Which
#    entry of $A$ is at $(0, 7)$?
#
# :::{admonition} Answer
# :class: dropdown
# Row 0 is the window around the corner: of its 9 taps only 4 lie inside. Row 7 is the pixel (1, 1), whose
# window lies inside as a whole: 9. Entry (0, 7) tells how pixel (1, 1) enters the result at (0, 0): by tap
# (2, 2), the weight 9.
# :::
#
# 3. A column of $X$ holds the order $(c, p, q)$. A colleague builds columns in the order $(p, q, c)$. What
#    has to happen to `w`, and what do you see if it is forgotten?
#
# :::{admonition} Answer
# :class: dropdown
# `w.transpose(0, 2, 3, 1).reshape(O, K)`. If it is forgotten the shapes fit all the same, and each weight
# meets the wrong number. With one channel the two orders are equal, so a test on grey images passes.
# :::
#
# 4. Try it: `np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))` has the shape
#    (N, C, H', W', 3, 3) and copies nothing. Write the convolution with it and one `np.einsum`.
#
# :::{admonition} Answer
# :class: dropdown
# `np.einsum("ocpq,nchwpq->nohw", w, view)`. It is right, and slow: einsum walks through the strided view
# number by number. With `optimize=True` it copies the view in order to call the matrix product, and has built
# our columns.
# :::
