# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 18. Making it fast: from loops to Winograd
#
# **Question.** Between the seven loops of [lesson 4](04_convolution_loops.py) and the kernels that train a
# network lie about five orders of magnitude, on the same processor. Which ideas bring how much of that? And
# how can a convolution be faster than its own number of multiplications allows?
#
# *Paper: section 3, equation 1 (the convolution). Lavin and Gray 2015, arXiv 1509.09308.*
# Reading time: 14 minutes.

# %%
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

import senumpy
from senumpy import ops
from senumpy.bench.limits import measure_limits
from senumpy.engines import engine_names
from senumpy.lessons import in_turns, show, style
from senumpy.ops import winograd
from senumpy.verify import check_gradients

style()
_ = threadpool_limits(1)  # one core for everybody
rng = np.random.default_rng(18)

# %% [markdown]
# ## What can be reached at all
#
# A computation with $F$ floating-point operations (a multiply-add is two) that moves $B$ bytes takes at
# least
#
# $$t \;\ge\; \max\left(\frac{F}{\text{peak}},\; \frac{B}{\text{bandwidth}}\right),$$
#
# with the peak of the machine's arithmetic and the bandwidth of its memory. This is the *roofline model*.
# Take for both what a large product and a large copy reach; without such a yardstick a time says nothing.

# %%
limits = measure_limits(threads=1)
print(f"one core: {limits.gflops:.0f} GFLOP/s in a large product, {limits.gbytes:.0f} GB/s in a large copy")

n, c, o, h = 8, 64, 64, 28
x = rng.normal(size=(n, c, h, h)).astype(np.float32)
w = (rng.normal(size=(o, c, 3, 3)) / 24).astype(np.float32)
flops = 2 * n * h * h * c * o * 9
ridge = limits.gflops / limits.gbytes
print(f"this convolution: {flops / 1e9:.2f} GFLOP, {flops / (2 * x.nbytes):.0f} a byte that it has to move;")
print(f"arithmetic is the limit where it is more than {ridge:.1f}")

# %% [markdown]
# So a $3\times3$ convolution should run at the speed of arithmetic.
#
# ## Loops, arrays, one product
#
# **Loops.** The engine `naive` is the formula in Python. Each multiply-add takes of the order of a
# microsecond, nearly all of it spent on looking up types and indices.
#
# **Array functions.** Turn the loops inside out: in Python over the $9\,C\,O$ weights, in NumPy over all
# pixels.


# %%
def by_arrays(x, w):
    """Convolve (padding 1) by adding a shifted, multiplied plane for each weight."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(x), len(w), height, width), x.dtype)
    for out, channel, p, q in np.ndindex(w.shape):
        y[:, out] += w[out, channel, p, q] * padded[:, channel, p : p + height, q : q + width]
    return y


# %% [markdown]
# The interpreter is out of the way, the memory is not: each product is fetched, added to a number that is
# fetched too, and put back. An operation that uses everything once can't be faster. The next step is
# *reuse*.
#
# **One matrix product.** `ops.conv2d_forward` writes what each window sees as a column ([lesson
# 5](05_convolution_matrix.py)). In a product of matrices of side $k$, each number takes part in $k$
# multiplications, so libraries keep tiles of it in registers and reach the peak. The price: the columns are
# nine times the image.
#
# **Channels last.** Must they be written? In memory order $(N, H, W, C)$ a pixel is a row of $C$ numbers, and
# a padded image a long matrix of rows. Seen from one tap $(p, q)$ of the kernel, all windows together are
# that matrix, *shifted* by $p\,(W{+}2) + q$ rows: a slice, not a copy. Nine products with one $C\times O$
# matrix each make the convolution. Windows that wrap around the edge give rubbish in rows and columns of the
# padding, which nobody reads. And as rows are independent, take a few hundred at a time, so that sums stay in
# the cache.


# %%
def by_rows(x, taps, block=512):
    """Convolve x (N, H, W, C) with taps (3, 3, C, O), padding 1, without a copy of the windows."""
    n, h, width, c = x.shape
    padded = np.zeros((n, h + 2, width + 2, c), x.dtype)
    padded[:, 1:-1, 1:-1] = x
    rows, line = padded.reshape(-1, c), width + 2
    y = np.empty((len(rows), taps.shape[3]), x.dtype)
    scratch = np.empty((block, taps.shape[3]), x.dtype)
    last = len(rows) - 2 * line - 2  # the last window begins here
    for first in range(0, last, block):
        part = y[first : min(first + block, last)]
        part[:] = 0
        for p, q in np.ndindex(3, 3):
            at = first + p * line + q
            part += np.matmul(rows[at : at + len(part)], taps[p, q], out=scratch[: len(part)])
    return y.reshape(n, h + 2, line, -1)[:, :h, :width]


def channels_last(x):
    """Return x (N, C, H, W) stored as (N, H, W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


taps = np.ascontiguousarray(w.transpose(2, 3, 1, 0))
exact, _ = ops.conv2d_forward(x.astype(np.float64), w.astype(np.float64), padding=1)
for y in (by_arrays(x, w), by_rows(channels_last(x), taps).transpose(0, 3, 1, 2)):
    assert np.abs(y - exact).max() < 1e-4

# %% [markdown]
# ## Winograd's transforms
#
# Now the multiplications themselves. Take one dimension: a kernel of three numbers and four pixels give
# *two* results, $y_0 = d_0g_0 + d_1g_1 + d_2g_2$ and $y_1 = d_1g_0 + d_2g_1 + d_3g_2$: six multiplications.
# Four are enough:
#
# $$m_1 = (d_0 - d_2)\,g_0,\quad m_2 = (d_1 + d_2)\,\tfrac{g_0+g_1+g_2}{2},\quad
# m_3 = (d_2 - d_1)\,\tfrac{g_0-g_1+g_2}{2},\quad m_4 = (d_1 - d_3)\,g_2,$$
#
# $$y_0 = m_1 + m_2 + m_3, \qquad y_1 = m_2 - m_3 - m_4 .$$
#
# With $d = (1, 2, 4, 7)$ and $g = (2, 1, 3)$: $m = (-6, 18, 4, -15)$ and $y = (16, 29)$, as the definition
# says. The factors made of $g$ alone are computed once for all pixels, so they hardly count.
#
# Where does one find such formulas? In the multiplication of polynomials. The product of $a(t) = a_0 +
# \dots + a_3t^3$ and $g(t) = g_0 + g_1t + g_2t^2$ has six coefficients, so its values at six points
# determine it: evaluate both at $p_1 \dots p_5$ and "at infinity" (take the leading coefficients), multiply
# value by value, interpolate. That is six multiplications instead of twelve. Write it with matrices, and
# with $\odot$ for the product entry by entry: $A$ and $G'$ evaluate, $C$ interpolates,
#
# $$a \cdot g = C\,\big[(G'g) \odot (A\,a)\big] = C \operatorname{diag}(G'g)\,A\;a .$$
#
# For a fixed $g$ this is a linear map of $a$, and its matrix holds $g_{j-i}$ in row $j$ and column $i$. A
# convolution layer computes $y_i = \sum_j g_{j-i}\,d_j$: the same matrix, *transposed*. So transpose the
# right side:
#
# $$y = A^T \operatorname{diag}(G'g)\;C^T d = A^T\big[(G'g)\odot(B^Td)\big], \qquad B^T = C^T .$$
#
# Lagrange gives the interpolation: with $M(t) = \prod_k (t - p_k)$ and $N_k(t) = M(t)/(t - p_k)$, column
# $k$ of $C$ holds the coefficients of $N_k/N_k(p_k)$, and the last one those of $M$. The division can move
# to $G$, where it costs nothing. That is all; in exact fractions, for any tile:


# %%
def transforms(points, outputs):
    """Return A^T, G, B^T of F(outputs, 3) for `outputs + 1` points, and infinity, in fractions."""
    points = [Fraction(p) for p in points]

    def from_roots(roots):
        coefficients = [Fraction(1)]  # of the polynomial, from t^0 on
        for root in roots:
            shifted = [Fraction(0), *coefficients]
            coefficients = [s - root * k for s, k in zip(shifted, [*coefficients, 0], strict=True)]
        return coefficients

    a, g, b_t = [], [], []
    for k, p in enumerate(points):
        n_k = from_roots(points[:k] + points[k + 1 :])
        scale = sum(coefficient * p**j for j, coefficient in enumerate(n_k))
        a.append([p**j for j in range(outputs)])
        g.append([p**j / scale for j in range(3)])
        b_t.append([*n_k, Fraction(0)])
    a.append([Fraction(0)] * (outputs - 1) + [Fraction(1)])
    g.append([Fraction(0), Fraction(0), Fraction(1)])
    b_t.append(from_roots(points))
    return tuple(np.array(m, float) for m in (list(zip(*a, strict=True)), g, b_t))


a_t, g, b_t = transforms([0, 1, -1, 2, -2], outputs=4)
for ours, library in ((a_t, winograd.A_T), (g, winograd.G), (b_t, winograd.B_T)):
    assert np.array_equal(ours, np.array(library))
print(b_t.astype(int))

d, k = rng.normal(size=6), rng.normal(size=3)
assert np.allclose(a_t @ ((g @ k) * (b_t @ d)), np.correlate(d, k))  # 6 multiplications instead of 12

# %% [markdown]
# These are the matrices of Lavin and Gray, $F(4, 3)$. An image has two dimensions: transform columns, then
# rows. For a tile $d$ of $6\times6$ pixels and a kernel $w$ of $3\times3$,
#
# $$Y = A^T\big[(G\,w\,G^T) \odot (B^T d\,B)\big]A ,$$
#
# a tile of $4\times4$ results by 36 multiplications instead of $16\cdot9 = 144$: **a quarter**. The
# transforms only add and multiply by small constants.

# %%
tile, kernel = rng.normal(size=(6, 6)), rng.normal(size=(1, 1, 3, 3))
product = winograd.kernel_transform(kernel)[0, 0] * winograd.input_transform(tile)
assert product.size == 36
assert np.allclose(winograd.output_transform(product), ops.conv2d_forward(tile[None, None], kernel)[0][0, 0])

# %% [markdown]
# ## Tiles and products
#
# Cut the padded image into tiles of $6\times6$ every *four* pixels, so that neighbours share two. (Steps of
# six are the usual mistake: the results at the seams are missing.) If one transformed back for each pair of
# channels, the saving would be gone. But $A^T[\cdot]A$ is linear: sum over the input channels first. With
# $U_{oc} = G\,w_{oc}\,G^T$ and, for each tile, $V_c = B^T d_c\,B$,
#
# $$Y_{o} = A^T\Big[\sum_c U_{oc} \odot V_{c}\Big]A .$$
#
# For each of the 36 points, the sum over $c$ for all $o$ and all tiles is a matrix product. The transforms
# of the images are shared by all $O$ kernels, those of the kernels by all tiles, and 36 large products
# remain. The exercise `winograd_conv2d` is to write this down; the library's version is folded away.

# %%
y = winograd.winograd_conv2d(x, w)
assert y.shape == exact.shape
assert np.abs(winograd.winograd_conv2d(x.astype(float), w.astype(float)) - exact).max() < 1e-12

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the library's code", "code_prompt_hide": "Hide it"}
show(winograd.winograd_conv2d)

# %% [markdown]
# The gradient of the images is the same convolution, of $dy$ with the kernels turned by 180° and $O$ and $C$
# exchanged ([lesson 6](06_convolution_backward.py)); so it comes at a quarter of the price, too. Turning is
# easily forgotten, and a test with symmetric kernels won't notice. With random ones the checker does:


# %%
def forward(x, w):
    """Convolve by Winograd; the cache is the arguments."""
    return winograd.winograd_conv2d(x, w), (x, w, ops.conv2d_forward(x, w, padding=1)[1])


def backward(dy, cache, *, turned=True):
    """Return dx by Winograd, too, and dw."""
    _, w, conv = cache
    kernels = (w[:, :, ::-1, ::-1] if turned else w).transpose(1, 0, 2, 3)
    return winograd.winograd_conv2d(dy, np.ascontiguousarray(kernels)), ops.conv2d_backward(dy, conv).dw


small = rng.normal(size=(2, 3, 7, 5)), rng.normal(size=(4, 3, 3, 3))
assert check_gradients(forward, backward, small).ok
report = check_gradients(forward, lambda dy, cache: backward(dy, cache, turned=False), small)
assert not report.ok
print(report.reasons[0])

# %% [markdown]
# ## The price: rounding
#
# Why stop at four results a side? $F(6\times6, 3\times3)$ needs 64 multiplications for 36 results. But it
# wants seven points beside infinity, and powers of more points differ more in size: large numbers are added
# which then have to cancel. Here is the error in float32, of sums over 64 channels that have unit variance.

# %% tags=["hide-input"]
some_points = [0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2), 3, -3]
tile_sizes, errors, price = [2, 4, 6, 8], [], []


def rms(values):
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


kernels = (rng.normal(size=(1, 64, 3, 3)) / 24).astype(np.float32)  # results of unit variance
for m in tile_sizes:
    matrices = transforms(some_points[: m + 1], m)
    tiles = rng.normal(size=(300, 64, m + 2, m + 2)).astype(np.float32)
    right = ops.conv2d_forward(tiles.astype(float), kernels.astype(float))[0][:, 0]
    a32, g32, b32 = (matrix.astype(np.float32) for matrix in matrices)
    summed = ((g32 @ kernels @ g32.T) * (b32 @ tiles @ b32.T)).sum(axis=1)
    errors.append(rms(a32 @ summed @ a32.T - right))
    price.append((m + 2) ** 2 / m**2)
    print(f"F({m}x{m}, 3x3): {price[-1]:.2f} multiplications a result, error {errors[-1]:.1e}")
direct_error = rms(ops.conv2d_forward(tiles, kernels)[0][:, 0] - right)
print(f"one by one:    9.00 multiplications a result, error {direct_error:.1e}")
assert errors[0] < errors[1] < errors[2] < errors[3]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Rounding error in float32 against multiplications per result, for Winograd's tiles of 2, 4, 6 and 8 and for direct sums. From direct sums to tiles of 4 the multiplications fall from 9 to 2.25 while the error grows about tenfold; tiles of 8 save little more and lose two further digits."}}
fig, ax = plt.subplots(figsize=(7, 2.9))
ax.plot([9, *price], [direct_error, *errors], color="0.8", zorder=0)
ax.plot(price, errors, "o", markersize=8)
ax.plot(9, direct_error, "s", color="C1", markersize=8)
for m, at, error in zip(tile_sizes, price, errors, strict=True):
    ax.annotate(f"tiles of {m}x{m}", (at, error), (9, 3), textcoords="offset points")
ax.annotate("direct sums", (9, direct_error), (-4, 9), textcoords="offset points", ha="right")
ax.set(yscale="log", xlabel="multiplications for each result and channel", ylabel="error (root mean square)")
plt.show()

# %% [markdown]
# From 4 to 6, a fifth of the multiplications is left to gain, for nearly twice the error and longer
# transforms. And tiles hang over the edge: an image of $7\times7$, as in a network's last stage, needs four
# tiles either way: $4\cdot36 = 144$ multiplications with tiles of 4, $4\cdot64 = 256$ with the larger ones.
# So the engines take 4, and only for float32: float64 is there for its digits, and goes without Winograd.
#
# ## The ladder
#
# Everything so far on one case, in turns, as in [lesson 17](17_cost.py) (loops on a smaller one). The Numba
# engine adds what NumPy cannot express: sums held in registers over all nine taps, and Winograd's transforms
# of a block of tiles made, multiplied and transformed back while they are in the cache.

# %% tags=["hide-input"]
x_last, tiny = channels_last(x), (x[:1, :8, :8, :8], w[:8, :8])
loops = senumpy.engine("naive")
rate = {"loops": 2 * 8 * 8 * 8 * 8 * 9 / in_turns({0: lambda: loops.conv2d_forward(*tiny, padding=1)}, 2)[0]}
rate["array functions"] = flops / in_turns({0: lambda: by_arrays(x, w)}, 2)[0]
contenders = {
    "one matrix product": lambda: ops.conv2d_forward(x, w, padding=1),
    "channels last, blocked": lambda: by_rows(x_last, taps),
    "Winograd, array functions": lambda: winograd.winograd_conv2d(x, w),
}
if "numba" in engine_names():
    direct, fast = (senumpy.engine("numba", threads=1, exact=which) for which in (True, False))
    view = x_last.transpose(0, 3, 1, 2)
    contenders["compiled, direct"] = lambda: direct.conv2d_forward(view, w, padding=1)
    contenders["compiled, Winograd"] = lambda: fast.conv2d_forward(view, w, padding=1)
    assert np.abs(fast.conv2d_forward(view, w, padding=1)[0] - exact).max() < 1e-3
rate |= {name: flops / seconds for name, seconds in in_turns(contenders).items()}
for name, value in rate.items():
    print(f"{name:<26}{value / 1e9:10.4f} GFLOP/s")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Horizontal bars on a logarithmic axis of GFLOP/s: loops a few thousandths, array functions about one, one matrix product and channels last some tens, Winograd by array functions no more than these, compiled direct convolution near the line of a large matrix product, compiled Winograd far beyond that line, towards the second one at four times its value."}}
fig, ax = plt.subplots(figsize=(7, 3.3))
values = np.array(list(rate.values())) / 1e9
ax.barh(range(len(rate)), values, height=0.65, color=["C1" if "Win" in name else "C0" for name in rate])
white = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85}
for position, value in enumerate(values):
    label = f"{value:.2g}" if value < 10 else f"{value:.0f}"
    ax.text(value * 1.15, position, label, va="center", bbox=white)
for factor, text in ((1, "large\nproduct"), (4, "4 times\nthat")):
    ax.axvline(factor * limits.gflops, color="0.3", linestyle="--" if factor == 1 else ":", linewidth=1)
    ax.text(
        factor * limits.gflops, -0.75, text, ha="right" if factor == 1 else "left", va="bottom", fontsize=9
    )
ax.set(xscale="log", xlabel="GFLOP/s, counting the formula's operations, one core", xlim=(5e-4, 3000))
ax.set_yticks(range(len(rate)), rate)
ax.invert_yaxis()
plt.show()

# %% [markdown]
# The rates count the operations of the *formula*, whoever saves some: only so are they comparable, and only
# so can Winograd's pass the dashed line. Look at the two Winograds: with array functions, a quarter of the
# multiplications gains nothing or even loses, because transforms by array functions are trips to memory.
# Saving arithmetic pays when arithmetic is what one waits for.
#
# ## Squeeze is free
#
# With convolutions this fast, what surrounds them decides: batch norm, SE, sum and ReLU, which read the
# widest activations and do little with each number. [Lesson 17](17_cost.py) made the forward one pass behind
# the statistics. Can these be had in one reading of $c$? Of each channel one needs the sums of $c$ and of
# $c^2$, over all $M = NHW$ values; but $\sigma^2 = \frac1M\sum c^2 - \mu^2$ subtracts two large numbers when
# the mean is large. Deviations from each image's own mean $m_n$, taken while the image is in the cache, don't
# cancel, and they can be merged:
#
# $$\mu = \tfrac1N\sum_n m_n,\qquad
# \sigma^2 = \tfrac1M\Big(\sum_{n,i,j} (c - m_n)^2 + HW\sum_n (m_n-\mu)^2\Big).$$

# %%
c = (1000 + rng.normal(size=(8, 3, 28, 28))).astype(np.float32)
m = c.mean(axis=(2, 3))
own = np.square(c - m[:, :, None, None]).sum(axis=(0, 2, 3))
merged = (own + 784 * np.square(m - m.mean(axis=0)).sum(axis=0)) / (8 * 784)
naive = np.square(c).mean(axis=(0, 2, 3)) - c.mean(axis=(0, 2, 3)) ** 2
right = c.astype(float).var(axis=(0, 2, 3))
for name, variance in (("by sums", naive), ("merged", merged), ("right", right)):
    print(f"{name:<8}", variance.round(4))
assert np.allclose(merged, right, rtol=1e-4)
assert np.abs(naive - right).max() > 1e-2

# %% [markdown]
# Backwards the same idea works. Write $dy$ for the gradient of the loss by $y$, likewise for others. Let
# $g = dy$ where the ReLU was open, and 0 elsewhere; $\hat x$ is $c$ normalised, $v = \gamma\hat x + \beta$
# batch norm's result and $y = \max(0, s\,v + x)$. For each image and channel the gate's gradient is a sum
# over pixels,
#
# $$ds = \sum_{i,j} g\,v = \gamma\,G_1 + \beta\,G_0,\qquad
# G_0 = \sum_{i,j} g,\quad G_1 = \sum_{i,j} g\,\hat x ,$$
#
# and from the two sums everything small follows: $dz$ by the excitation's gradient, $dv = s\,g + dz/HW$ (both
# paths of [lesson 13](13_scale.py)), and batch norm's $d\beta = \sum_n (s\,G_0 + dz)$ and
# $d\gamma = \sum_n (s\,G_1 + dz\,\hat z)$, where $\hat z$ is the image's mean of $\hat x$. Then a second pass
# writes $dc$. Three activations ($dy$, $y$, $c$) are read for the sums, three read and two written ($dc$, and
# $g$ for the shortcut) in the pass: eight trips, with SE or without.


# %%
def tail_back(dy, y, c, gamma, beta, w1, w2, eps=1e-5):
    """Return dc, dgamma, dbeta, dw1, dw2 of relu(SE(BN(c)) + shortcut) from two sums an image."""
    mean, var = c.mean(axis=(0, 2, 3)), c.var(axis=(0, 2, 3))
    rstd, values = 1 / np.sqrt(var + eps), c.size // c.shape[1]
    xhat, g = (c - mean[:, None, None]) * rstd[:, None, None], np.where(y > 0, dy, 0)
    g0, g1 = g.sum(axis=(2, 3)), (g * xhat).sum(axis=(2, 3))  # first pass
    zhat = (c.mean(axis=(2, 3)) - mean) * rstd
    s, cache = ops.excitation_forward(gamma * zhat + beta, w1, None, w2, None)
    dz, dw1, _, dw2, _ = ops.excitation_backward(gamma * g1 + beta * g0, cache)
    dbeta, dgamma = (s * g0 + dz).sum(axis=0), (s * g1 + dz * zhat).sum(axis=0)
    dv = s[:, :, None, None] * g + (dz / (c.size / dz.size))[:, :, None, None]  # second pass, to the end
    centred = dv - (dbeta / values)[:, None, None] - xhat * (dgamma / values)[:, None, None]
    return (gamma * rstd)[:, None, None] * centred, dgamma, dbeta, dw1, dw2


c, shortcut, dy = rng.normal(size=(3, 2, 8, 5, 6))
gamma, beta, w1, w2 = rng.normal(size=8), rng.normal(size=8), rng.normal(size=(4, 8)), rng.normal(size=(8, 4))
y, cache = ops.residual_tail_forward(c, gamma, beta, w1, None, w2, None, shortcut)
want = ops.residual_tail_backward(dy, cache)
names = ("dc", "dgamma", "dbeta", "dw1", "dw2")
for name, got in zip(names, tail_back(dy, y, c, gamma, beta, w1, w2), strict=True):
    assert np.allclose(got, getattr(want, name)), name

# %% [markdown]
# The project's README has this ladder on two cores with AVX2, forward and both gradients: 0.0016 GFLOP/s by
# loops, 27 by one product, 104 compiled and 320 by Winograd, where large products reached 155; and the tail
# in one go was 2.3 times as fast as the same kernels operation by operation.
#
# ## Summary
#
# - Speed comes in steps: the interpreter out of the inner loop, reuse instead of fetching (one product), no
#   copies (channels last), less arithmetic (Winograd), fewer passes (fusion). Each matters only after the
#   one before.
# - Winograd's $F(4\times4, 3\times3)$ is multiplication of polynomials by values at six points, transposed:
#   36 multiplications instead of 144, at the price of a few bits.
# - It pays only where its transforms stay in the cache.
# - Image means that batch norm averages anyway give SE's squeeze, and two sums an image give its gradient.
#
# ## Exercises
#
# - `winograd_transforms` (3 points): the three matrices of $F(4, 3)$ and the transforms of kernels, tiles
#   and products. `senumpy exercise start winograd_transforms`
# - `winograd_conv2d` (3 points): tiles, 36 products, and back, for images of any size, which need not be a
#   multiple of 4. `senumpy exercise start winograd_conv2d`
#
# 1. How many multiplications does $F(2\times2, 3\times3)$ take, and which factor does it save?
#
# :::{admonition} Answer
# :class: dropdown
# $(2 + 2)^2 = 16$ for 4 results, instead of 36: a factor of 2.25. One dimension takes 4 instead of 6, and
# the factor is squared.
# :::
#
# 2. Why does nobody use Winograd for $1\times1$ convolutions? And for a stride of 2?
#
# :::{admonition} Answer
# :class: dropdown
# A $1\times1$ kernel makes one multiplication a result and channel: none is shared between neighbouring
# results, so none can be saved. With stride 2 only every second result is wanted, and the tile would
# compute all of them: $36/4 = 9$ multiplications for each one that is kept, exactly what the formula takes.
# :::
#
# 3. Put one NaN into an image and convolve in both ways. Which results are NaN?
#
# :::{admonition} Answer
# :class: dropdown
# Directly, the $3\times3$ results whose windows see it. By Winograd every entry of its transformed tile, so
# all 16 results of each tile that holds the pixel; as tiles overlap, up to four of them.
# :::

# %%
broken = np.ones((1, 1, 16, 16))
broken[0, 0, 8, 8] = np.nan
ones = np.ones((1, 1, 3, 3))
assert np.isnan(ops.conv2d_forward(broken, ones, padding=1)[0]).sum() == 9
assert np.isnan(winograd.winograd_conv2d(broken, ones)).sum() == 4 * 16
