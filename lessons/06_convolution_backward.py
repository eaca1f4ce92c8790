# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 6. Convolution backward, twice
#
# **Question.** Going forward, each output pixel looks into its window and adds up what it sees. Going
# backward, each input pixel has to collect from all the windows that saw it, and with stride, padding and
# dilation it is not obvious which windows those were. Can we find the gradient without solving that puzzle?
# And can we know that it is right without another library to compare it with?
#
# *Paper: section 3, equation 1, the transformation $\mathbf{F}_{tr}$ that an SE block follows.*
# Reading time: 14 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.ops.conv2d import _col2im
from senumpy.verify import check_gradients
from senumpy.verify.mistakes import MISTAKES

style()
rng = np.random.default_rng(6)

# %% [markdown]
# ## Four pixels by hand
#
# Take one row of four pixels, a kernel of three weights, stride 1, no padding. There are two windows:
#
# $$
# \begin{aligned}
# y_0 &= w_0 x_0 + w_1 x_1 + w_2 x_2 \\
# y_1 &= \phantom{w_0 x_0 + {}} w_0 x_1 + w_1 x_2 + w_2 x_3
# \end{aligned}
# $$
#
# Somebody hands us the upstream gradient $dy_i = \partial L / \partial y_i$, and we want $dx_a$ and $dw_p$,
# the derivatives of the same loss $L$. Pick $x_1$ and read *down* its column: it stands in the first line
# with $w_1$, in the second with $w_0$. So
#
# $$
# dx_1 = w_1\,dy_0 + w_0\,dy_1 .
# $$
#
# Now pick $w_0$: it meets $x_0$ in the first line and $x_1$ in the second, so $dw_0 = x_0\,dy_0 + x_1\,dy_1$.
# With $w = (2, -1, 3)$, $x = (1, 4, 2, 0)$ and $dy = (5, -2)$ we get $dx = (10, -9, 17, -6)$ and
# $dw = (-3, 16, 10)$. Do two of these seven numbers yourself before you read on.
#
# The forward pass reads the lines, the backward pass the columns. Written as a matrix, that is a transpose:

# %%
w, x, dy = np.array([2.0, -1, 3]), np.array([1.0, 4, 2, 0]), np.array([5.0, -2])
A = np.array([[w[0], w[1], w[2], 0], [0, w[0], w[1], w[2]]])
print("y  =", A @ x)
print("dx =", A.T @ dy)
assert (A.T @ dy == [10, -9, 17, -6]).all()
assert ([x[p : p + 2] @ dy for p in range(3)] == np.array([-3, 16, 10])).all()

# %% [markdown]
# Everything below is this example with more indices. We will do it once by following the indices, and once by
# forgetting them.
#
# ## By indices
#
# The forward pass of [lesson 4](04_convolution_loops.py), with stride $s$, dilation $d$ and padding $P$ (one
# group; $x$ is zero outside the image): $n, o, i, j$ say which result, $c, p, q$ are summed over.
#
# $$
# \begin{aligned}
# y[n,o,i,j] = b[o] + \sum_{c,p,q}\; & w[o,c,p,q] \\
# & \cdot x[n,\,c,\; is + pd - P,\; js + qd - P] .
# \end{aligned}
# $$
#
# The bias is easy: $b[o]$ is added at every pixel of every image, so $db[o] = \sum_{n,i,j} dy[n,o,i,j]$. For
# $x$, the chain rule sums over all outputs, each with its derivative by the input pixel $(a, e)$:
#
# $$
# \begin{aligned}
# dx[n,c,a,e] = \sum_{o,i,j} dy[n,o,i,j] \sum_{p,q}\; & w[o,c,p,q] \\
# & \cdot [\,a = is + pd - P\,]\,[\,e = js + qd - P\,] .
# \end{aligned}
# $$
#
# A bracket is 1 where the equation in it holds, and 0 elsewhere. There are two ways to spend these brackets.
#
# **Gather.** Fix the input row $a$ and solve for the window, $i = (a + P - pd)/s$. It counts only if that is
# a whole number and lies between 0 and $H' - 1$, the last row of windows. This is the puzzle of the opening
# question, and a rich source of errors by one.
#
# **Scatter.** Fix the window $i$ and the tap $p$ and *compute* the row, $a = is + pd - P$. That is what the
# forward pass does anyway: there is nothing to solve. Whatever belongs to $a$ is added to `dx[a]`, and when
# all windows and taps have been visited, each pixel has collected from everyone who saw it.
#
# So we keep the forward pass's loops and replace its one product by two. The gradient of either factor is the
# other factor times the upstream gradient:
#
# | forward | backward |
# |---|---|
# | `y[i] += w[p] * x[a]` | `dx[a] += w[p] * dy[i]` and `dw[p] += x[a] * dy[i]` |


# %%
def conv_backward_by_indices(dy, x, w, stride=1, padding=0, dilation=1):
    """Return dx and dw; images and channels by matrix products, windows and taps by loops."""
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    height, width = x.shape[2:]
    for i, j in np.ndindex(dy.shape[2:]):
        for p, q in np.ndindex(w.shape[2:]):
            a, e = i * stride + p * dilation - padding, j * stride + q * dilation - padding
            if 0 <= a < height and 0 <= e < width:  # the padding has no gradient to keep
                dx[:, :, a, e] += dy[:, :, i, j] @ w[:, :, p, q]  # (N, O) @ (O, C)
                dw[:, :, p, q] += dy[:, :, i, j].T @ x[:, :, a, e]  # (O, N) @ (N, C)
    return dx, dw


x, w, b = rng.standard_normal((2, 3, 7, 6)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)
for settings in ({}, {"stride": 2, "padding": 1}, {"stride": 2, "padding": 2, "dilation": 2}):
    y, cache = ops.conv2d_forward(x, w, b, **settings)
    dy = rng.standard_normal(y.shape)
    dx, dw = conv_backward_by_indices(dy, x, w, **settings)
    gradients = ops.conv2d_backward(dy, cache)
    np.testing.assert_allclose(dx, gradients.dx, atol=1e-12)
    np.testing.assert_allclose(dw, gradients.dw, atol=1e-12)
    np.testing.assert_allclose(dy.sum(axis=(0, 2, 3)), gradients.db, atol=1e-12)

# %% [markdown]
# With stride 1 and no dilation the gathered form is pleasant after all: $i = a + P - p$, so the tap comes
# with a *minus* sign. The gradient is itself a convolution of $dy$, with the kernel turned by 180 degrees,
# its two channel axes swapped, and padding $k - 1 - P$ for a kernel of size $k$:

# %%
y, cache = ops.conv2d_forward(x, w, padding=1)
dy = rng.standard_normal(y.shape)
turned = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
again, _ = ops.conv2d_forward(dy, turned, padding=3 - 1 - 1)
np.testing.assert_allclose(again, ops.conv2d_backward(dy, cache).dx, atol=1e-12)

# %% [markdown]
# What does scattering look like? Each entry of $dy$ stamps the kernel on its window, scaled by its value;
# where stamps overlap, they add up. Two entries of $dy$ are enough to see it, and to see the commonest
# mistake: an assignment where an addition belongs.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three grids. Left: an upstream gradient with a 1 and a minus 2. Middle: with += the kernel is stamped twice, once scaled by minus 2, and the stamps add up where they overlap, to 2, -3, -5 and -7. Right: with = the second stamp has erased that part of the first."}}
kernel = np.array([[[[1.0, 2, 1], [3, 4, 1], [2, 1, 1]]]])
dy = np.zeros((1, 1, 5, 5))
dy[0, 0, 1, 1], dy[0, 0, 2, 2] = 1.0, -2.0
added, assigned = np.zeros((7, 7)), np.zeros((7, 7))
for i, j in ((1, 1), (2, 2)):
    added[i : i + 3, j : j + 3] += dy[0, 0, i, j] * kernel[0, 0]
    assigned[i : i + 3, j : j + 3] = dy[0, 0, i, j] * kernel[0, 0]
_, cache = ops.conv2d_forward(np.zeros((1, 1, 7, 7)), kernel)
assert (added == ops.conv2d_backward(dy, cache).dx[0, 0]).all()


def grid(ax, values, title, limit, cmap="RdBu_r", fmt="{:g}", blank=0.0, low=None):
    """Draw a matrix with its numbers."""
    ax.imshow(values, cmap=cmap, vmin=-limit if low is None else low, vmax=limit)
    for (row, column), value in np.ndenumerate(values):
        if value != blank:
            dark = abs(value) > 0.6 * limit
            text = fmt.format(value).replace("-", "\N{MINUS SIGN}")
            ax.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(np.arange(values.shape[1] + 1) - 0.5, labels=[])
    ax.set_yticks(np.arange(values.shape[0] + 1) - 0.5, labels=[])
    ax.grid(color="0.85")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(title)


fig, axes = plt.subplots(1, 3, figsize=(7, 3), width_ratios=(5, 7, 7))
grid(axes[0], dy[0, 0], "dy", 8)
grid(axes[1], added, "dx, stamps added (+=)", 8)
grid(axes[2], assigned, "dx, stamps assigned (=)", 8)
for ax in axes[1:]:
    for corner in (0.5, 1.5):  # the two windows
        ax.add_patch(plt.Rectangle((corner, corner), 3, 3, fill=False, linewidth=2, zorder=5))
plt.show()

# %% [markdown]
# ## By adjoint
#
# For fixed weights and without bias, convolution is a linear map: $y = Ax$, where $A$ is an enormous matrix
# of mostly zeros that nobody builds. If $x$ moves by a little $\delta x$, the loss moves by
#
# $$
# \delta L = \langle dy, A\,\delta x\rangle = \langle A^{\mathsf T} dy, \delta x\rangle ,
# $$
#
# where $\langle u, v\rangle$ multiplies two arrays of one shape entry by entry and sums. The left factor of
# the last expression is, by definition, the gradient: $dx = A^{\mathsf T} dy$. The map $A^{\mathsf T}$ is
# called the **adjoint** of $A$: the one map for which $\langle dy, Ax\rangle = \langle A^{\mathsf T} dy,
# x\rangle$ whatever $x$ and $dy$ are.
#
# The point of this view is that $A$ can be taken apart. [Lesson 5](05_convolution_matrix.py) computed it as
# a chain of simple steps, and $(BC)^{\mathsf T} = C^{\mathsf T} B^{\mathsf T}$: transpose each step, and run
# them in reverse order. Each step's adjoint can be found with hardly any indices:
#
# | step | its adjoint | because |
# |---|---|---|
# | pad with zeros | cut the border off | the zeros don't depend on $x$ |
# | im2col: copy an entry into many columns | col2im: add the copies up | $dy_1\,x + dy_2\,x = (dy_1 + dy_2)\,x$ |
# | multiply by the kernel matrix $W$ | multiply by $W^{\mathsf T}$ | definition |
# | reshape, permute axes | undo it | it only renames entries |
# | repeat the bias at each pixel | sum over the pixels | repeating is copying |
#
# *Copying forward means adding backward, and adding forward means copying backward.* If you remember one
# sentence of this lesson, take this one.
#
# The weights need nothing new. With the windows as columns of a matrix $X$ the forward pass is $Y = WX$,
# which is linear in $X$ and in $W$, and with $dY$ for the upstream gradient in the same layout
#
# $$
# dX = W^{\mathsf T}\,dY, \qquad dW = dY\,X^{\mathsf T} .
# $$
#
# That is the linear layer of [lesson 3](03_linear_and_loss.py), transposed, since a sample was a row there
# and a window is a column here. Then col2im turns $dX$ into $dx$. Each group has such a pair of products of
# its own, and $db$ is the sum from above. {py:func}`senumpy.ops.conv2d_backward` is no more than this:

# %%
show(ops.conv2d_backward)

# %% [markdown]
# The windows `columns` are built a second time here instead of being kept from the forward pass: for a
# $3 \times 3$ kernel they are nine times as large as the image, and memory is dearer than copying. All the
# overlap is dealt with in one line of col2im, the `+=`. It runs over the few taps in Python and over all
# windows at once in NumPy; seen from a single tap no two windows touch the same entry, so a slice is safe.

# %%
show(_col2im)

# %% [markdown]
# ## One number, three times
#
# The definition of the adjoint is also a test, and it needs no other implementation. Draw $x$ and $dy$ at
# random, and compare $\langle dy, Ax\rangle$ with $\langle dx, x\rangle$. Since $y$ is linear in $w$ as well,
# $\langle dw, w\rangle$ has to be the same number again.

# %%
settings = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
x, w = rng.standard_normal((3, 4, 11, 10)), rng.standard_normal((6, 2, 3, 3))
y, cache = ops.conv2d_forward(x, w, **settings)
dy = rng.standard_normal(y.shape)
dx, dw, _ = ops.conv2d_backward(dy, cache)
three = np.array([(dy * y).sum(), (dx * x).sum(), (dw * w).sum()])
print("<dy, y> = {:.12f}\n<dx, x> = {:.12f}\n<dw, w> = {:.12f}".format(*three))
assert np.ptp(three) < 1e-11

# %% [markdown]
# This is called the *dot-product test*, and it costs one forward and one backward pass. It has a blind spot,
# though: it checks that the two functions belong to each other, not that they compute a convolution. A
# forward pass with a flipped kernel and the backward pass that fits it agree perfectly. For the forward pass
# you need another witness, such as the loops of lesson 4.
#
# ## Where the mistake hides
#
# Back to `=` in place of `+=`. The library keeps a bank of known mistakes, wrong functions each with a name
# and an explanation. This one is in it, so let us see when a test notices.

# %%
wrong = next(m for m in MISTAKES if (m.op, m.name) == ("conv2d", "dx-assigned"))
print(wrong.explanation)
x, w = rng.standard_normal((2, 2, 6, 6)), rng.standard_normal((3, 2, 3, 3))
for stride in (3, 2, 1):
    report = check_gradients(ops.conv2d_forward, wrong.backward, (x, w), {"stride": stride})
    print(f"stride {stride}: {report.verdict}", *report.reasons)
    assert report.ok == (stride == 3)

# %% [markdown]
# With stride 3 the windows of a $3 \times 3$ kernel lie side by side, no stamp touches another, and the
# wrong code is right. A test that uses only that case proves nothing. How many windows touch each entry is
# itself an adjoint: let an all-ones kernel stamp an all-ones $dy$.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three grids of 7 by 7 counts. Kernel 3, stride 1: from 1 in the corners to 9 inside. Kernel 3, stride 2: a chequered pattern of 1, 2 and 4. Kernel 2, stride 2: 1 everywhere, and 0 in the last row and column, which no window reaches."}}
fig, axes = plt.subplots(1, 3, figsize=(7, 2.9))
for ax, (size, stride) in zip(axes, ((3, 1), (3, 2), (2, 2)), strict=True):
    y, cache = ops.conv2d_forward(np.zeros((1, 1, 7, 7)), np.ones((1, 1, size, size)), stride=stride)
    counts = ops.conv2d_backward(np.ones_like(y), cache).dx[0, 0]
    grid(ax, counts, f"kernel {size}, stride {stride}", 9, cmap="Blues", blank=None, low=0)
    assert counts.sum() == y.size * size * size  # every window touches size * size entries
plt.show()

# %% [markdown]
# The middle grid has a practical side. Where the stride does not divide the kernel size, some pixels are seen
# more often than their neighbours, and their gradient is a sum of more terms. Networks that use the adjoint
# to *draw* images (a "transposed convolution") show it as *chequerboard artefacts*.
#
# ## Summary
#
# - Scattering needs no puzzle: keep the forward pass's loops, and turn each product $wx$ into
#   `dx += w * dy` and `dw += x * dy`.
# - As a linear map, convolution is a chain of steps; its gradient is the chain of their adjoints in reverse.
#   Copying turns into adding, padding into cropping, $W$ into $W^{\mathsf T}$.
# - $\langle dy, y\rangle = \langle dx, x\rangle = \langle dw, w\rangle$ checks the pair with no other
#   library.
# - Overlapping windows need `+=`; a test whose windows don't overlap can't see that.
#
# ## Exercises
#
# - `conv2d_backward` (4 points): all three gradients, with stride, padding, dilation and groups; loops are
#   welcome. `senumpy exercise start conv2d_backward`
#
# 1. The kernel is $1 \times 1$, the stride 2. Which input pixels have a zero gradient, whatever the loss?
#
# :::{admonition} Answer
# :class: dropdown
# All whose row or column number, counted from 0, is odd: no window sees them. Three quarters of the input are
# ignored. The authors' SE-ResNet-50 has its stride in such $1 \times 1$ convolutions; many later versions
# move it to the $3 \times 3$ convolution, whose windows leave nothing out.
# :::
#
# 2. Somebody leaves out the flip in the form with the turned kernel. For which kernels does a test not
#    notice?
#
# :::{admonition} Answer
# :class: dropdown
# For kernels that a turn by 180 degrees leaves as they are: $w[p,q] = w[k-1-p,\,k-1-q]$. An all-ones kernel,
# a Gaussian and a Laplacian, favourites of hand-written tests, are all of this kind. Use random weights.
# :::
#
# 3. Add a bias. Is $\langle dy, y\rangle = \langle dx, x\rangle$ still true? Mend the equation.
#
# :::{admonition} Answer
# :class: dropdown
# No: $y = Ax + b$ is not linear in $x$ any more. $\langle dy, y\rangle = \langle dx, x\rangle +
# \langle db, b\rangle$, as $\langle dy, b \text{ at every pixel}\rangle = \langle db, b\rangle$.
# :::
#
# 4. What is the gradient of the sum over all outputs, $L = \sum y$, by $x$, for the kernel of the stamps
#    above? Why is an all-ones $dy$ a poor test of a convolution, though the gradient isn't zero?
#
# :::{admonition} Answer
# :class: dropdown
# Inside the image every pixel gets the sum of the kernel, $1+2+1+3+4+1+2+1+1 = 16$; near the border fewer
# taps reach it. A sum does not depend on the order of its terms, so a flipped or shuffled kernel gives the
# same numbers inside: only the border could tell.
# :::
