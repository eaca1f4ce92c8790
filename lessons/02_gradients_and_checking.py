# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 2. Gradients, and how to check them
#
# **Question.** A network with a wrong gradient often trains all the same, a few per cent worse, and nothing
# tells you. How do you find out whether a gradient is right, if the only other derivation at hand is your
# own? And why do some checks pass a gradient that is seven times too large, with the wrong sign?
#
# *Paper: it takes gradients for granted; each number in its tables comes from a network trained with them.*
# Reading time: 14 minutes.

# %%
from decimal import Decimal, getcontext

import matplotlib.pyplot as plt
import numpy as np

from senumpy import ops
from senumpy.lessons import show, style
from senumpy.verify import check_gradients
from senumpy.verify.numerical import central_difference, complex_step

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## What a gradient is
#
# Training makes one number small, the loss $L$. It depends on very many numbers $x_1, \dots, x_n$. Change
# each by a tiny $\delta_i$, and to first order the loss changes by
#
# $$
# \delta L = g_1 \delta_1 + g_2 \delta_2 + \dots + g_n \delta_n, \qquad
# g_i = \frac{\partial L}{\partial x_i} .
# $$
#
# The numbers $g_i$ are the **gradient**. There is one for each entry of `x`, so the gradient, `dx` in code,
# is an array *of the shape of* `x`. This alone catches a good part of all mistakes.
#
# An operation $y = f(x)$ sits in the middle of a network and doesn't know the loss. It is told what the loss
# makes of its result: the **upstream gradient** `dy`, $dy_o = \partial L / \partial y_o$, of the shape of
# `y`. By the chain rule, what it has to answer is
#
# $$dx_i = \sum_o dy_o \, J_{oi}, \qquad J_{oi} = \frac{\partial y_o}{\partial x_i} .$$
#
# $J$ is the Jacobian matrix, one row for each output and one column for each input. A backward pass computes
# the *product* $J^T dy$, never $J$: for one feature map of 64x56x56 numbers in and out, $J$ would have
# $4 \cdot 10^{10}$ entries.
#
# By numbers: $y_i = x_i^2$ at $x = (1, -2, 3)$. Here $J$ is diagonal, with $2x_i$ on it. For $dy = (1, 10,
# -1)$ the gradient is $dx = (2, -40, -6)$.
#
# ### The equation behind every check
#
# Walk from $x$ in some direction $v$, so that $\delta = h v$ with a small number $h$. The result changes by
# $h\,Jv$. Weigh the entries of $Jv$ by $u$, any upstream gradient we like, and we get one number, which can
# be had in two ways:
#
# $$
# \underbrace{u \cdot (J v)}_{\text{from forward alone}} \;=\;
# \underbrace{(J^T u) \cdot v}_{\text{from backward}} .
# $$
#
# On the left, numerical differentiation of `forward`. On the right, `backward(u, cache)` times $v$; the
# *cache* is whatever `forward` has kept for its backward pass, here `x`. If the two agree for random $u$ and
# $v$, that is strong evidence; if they differ by more than the error of the numerical derivative, there is a
# mistake. What remains is to make that error *small*.
#
# ## Finite differences
#
# Taylor's formula, forwards and backwards along $v$:
#
# $$f(x \pm hv) = f \pm h f' + \tfrac{h^2}{2} f'' \pm \tfrac{h^3}{6} f''' + \dots$$
#
# ($f'$ is short for $Jv$, and $f''$, $f'''$ are the higher derivatives along $v$.) So there are two
# estimates,
#
# $$
# \begin{aligned}
# \frac{f(x + hv) - f(x)}{h} &= f' + \tfrac{h}{2} f'' + \dots \\[4pt]
# \frac{f(x + hv) - f(x - hv)}{2h} &= f' + \tfrac{h^2}{6} f''' + \dots
# \end{aligned}
# $$
#
# In the second, the **central difference**, the even terms cancel. With $h = 10^{-3}$ its error is of the
# order of $10^{-6}$ and not $10^{-3}$, for the price of one more call.

# %%
show(central_difference)

# %% [markdown]
# Why not take $h = 10^{-12}$, then? Because a computer stores $f$ only to a relative accuracy of $\varepsilon
# \approx 2.2 \cdot 10^{-16}$ (float64). The two values agree in nearly all their digits, the subtraction
# cancels those, and what it leaves is divided by a tiny $h$. So there are two errors, and one grows as the
# other shrinks:
#
# $$\text{error}(h) \;\approx\; \underbrace{\tfrac{h^2}{6}\,|f'''|}_{\text{truncation}} \;+\;
# \underbrace{\frac{\varepsilon\,|f|}{h}}_{\text{rounding}} .$$
#
# With $f$ and $f'''$ of the order of 1, the sum is smallest near $h \approx \sqrt[3]{\varepsilon} \approx 6
# \cdot 10^{-6}$, where the error is about $\varepsilon^{2/3} \approx 4 \cdot 10^{-11}$: **a third of the
# digits are lost, whatever you do.** In float32, where $\varepsilon \approx 1.2 \cdot 10^{-7}$, the best is
# $2 \cdot 10^{-5}$, and the long sums of a real layer, which round at each step, make it worse. Gradients are
# checked in float64.
#
# ## The complex step
#
# There is a trick that loses nothing. If $f$ is made of analytic functions, whose Taylor series hold for
# complex numbers, too (sums, products, exp, ...), take an *imaginary* step:
#
# $$
# f(x + ihv) = f + ih f' - \tfrac{h^2}{2} f'' - i\tfrac{h^3}{6} f''' + \dots
# $$
#
# The derivative stands in the imaginary part, and what follows it there is smaller by $h^2$:
#
# $$
# f' = \frac{\operatorname{Im} f(x + ihv)}{h} + O(h^2) .
# $$
#
# Value and derivative travel in separate places. **Nothing is subtracted, so nothing cancels**, and $h$ may
# be $10^{-30}$: the truncation error is then $10^{-60}$.

# %%
show(complex_step)

# %% [markdown]
# Let us see all three at work on the sigmoid $\sigma(x) = 1/(1 + e^{-x})$ at $x = 0.7$. To measure errors of
# $10^{-16}$ we need the truth to more digits than that, from elsewhere: Python's `decimal` module gives the
# derivative $e^{-x} / (1 + e^{-x})^2$ to 50 digits.

# %%
getcontext().prec = 50
decay = (-Decimal.from_float(0.7)).exp()
truth = decay / (1 + decay) ** 2


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the library's sigmoid without its cache."""
    return ops.sigmoid_forward(x)[0]


def error(estimate: np.ndarray) -> float:
    """Return the relative error of one number."""
    return float(abs(Decimal(float(estimate[0])) / truth - 1))


point, ahead = np.array([0.7]), np.array([1.0])
steps = 10.0 ** np.arange(-20, 0.01, 0.25)
one_sided = [error((sigmoid(point + h * ahead) - sigmoid(point)) / h) for h in steps]
central = [error(central_difference(sigmoid, point, ahead, h)) for h in steps]
imaginary = [error(complex_step(sigmoid, point, ahead, h)) for h in steps]

best_one_sided = np.median([e for e, h in zip(one_sided, steps, strict=True) if 1e-8 < h < 3e-7])
best_central = np.median([e for e, h in zip(central, steps, strict=True) if 2e-6 < h < 2e-5])
print(f"one-sided {best_one_sided:.0e}, central {best_central:.0e}, complex step {max(imaginary[:40]):.0e}")
assert best_one_sided > 30 * best_central > 30 * 1e-13
assert max(imaginary[:40]) < 1e-15  # all steps up to 1e-10

# %% tags=["hide-input"] mystnb={"image": {"alt": "Relative error against step size, both logarithmic. One-sided and central differences fall from the right with slopes one and two, reach 1e-8 and 1e-11 at best, and climb again to the left as rounding grows. The complex step falls to 1e-16 and stays there down to the smallest step."}}
y = float(sigmoid(point)[0])
third = y * (1 - y) * (1 - 6 * y + 6 * y * y)  # sigma'''
figure, axis = plt.subplots(figsize=(7, 4))
axis.loglog(steps, one_sided, "o", ms=3, color="C1")
axis.loglog(steps, np.maximum(imaginary, 3e-17), "o", ms=3, color="C2")
axis.loglog(steps, central, "o", ms=5, mfc="none", color="C0")
size = y * (1 - y)
axis.loglog(steps, steps**2 / 6 * abs(third) / size, "k:", lw=1)
axis.loglog(steps, np.finfo(float).eps * y / steps / size, "k--", lw=1)
axis.text(3e-9, 3e-6, "one-sided", color="C1", ha="left")
axis.text(5e-8, 2e-11, "central", color="C0", ha="right", va="center")
axis.text(1e-14, 6e-16, "complex step", color="C2", ha="center")
axis.text(2e-20, 2e-1, "rounding,\n$\\varepsilon |f| / (h |f'|)$", ha="left", va="top")
axis.text(1e-3, 1e-9, "truncation,\n$h^2 |f'''| / (6 |f'|)$", ha="left", va="top")
axis.set(xlabel="step $h$", ylabel="relative error", ylim=(1e-17, 10), xlim=(1e-20, 2))
plt.show()

# %% [markdown]
# Both axes are logarithmic. Read from right to left: both differences fall, with slopes 1 and 2, until they
# meet the rounding error, and climb with it. Below $10^{-16}$, $x + h$ *is* $x$ in the computer and the
# estimate is zero. The complex step falls like the central difference and then stays on the floor.
#
# Its price is that `forward` has to let complex numbers through: comparisons look at `.real`, and neither
# absolute values nor conjugates may occur. NumPy's variance, for one, contains an absolute value:


# %%
def careful(x: np.ndarray) -> np.ndarray:
    """Return the variance with the square written out."""
    d = x - x.mean()
    return (d * d).mean()


sample, along = rng.standard_normal(10), rng.standard_normal(10)
true_slope = 2 * np.mean((sample - sample.mean()) * along)
print("np.var     ", complex_step(np.var, sample, along))  # |z|^2 is real: no imaginary part is left
print("d * d      ", complex_step(careful, sample, along))
assert complex_step(np.var, sample, along) == 0
assert np.allclose(complex_step(careful, sample, along), true_slope, rtol=1e-14)

# %% [markdown]
# ## A checker in four lines
#
# Now the equation $u \cdot (Jv) = (J^T u) \cdot v$, on a whole SE block: pooling, two matrix products, ReLU,
# sigmoid, a product. Nothing about its backward pass needs to be known.

# %%
x = rng.standard_normal((2, 4, 5, 5))
w1, b1 = rng.standard_normal((3, 4)), rng.standard_normal(3)
w2, b2 = rng.standard_normal((4, 3)), rng.standard_normal(4)
y, cache = ops.squeeze_excite_forward(x, w1, b1, w2, b2)


def block(x: np.ndarray) -> np.ndarray:
    """Return the block's result; all arguments have to be complex if `x` is."""
    return ops.squeeze_excite_forward(x, *(p.astype(x.dtype) for p in (w1, b1, w2, b2)))[0]


u, v = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
from_backward = (ops.squeeze_excite_backward(u, cache)[0] * v).sum()
for method, h in ((central_difference, 1e-5), (complex_step, 1e-30)):
    from_forward = u.ravel() @ method(block, x, v, h)
    print(f"{method.__name__:<20}relative error {abs(from_forward / from_backward - 1):.0e}")
    assert abs(from_forward / from_backward - 1) < (1e-8 if method is central_difference else 1e-14)

# %% [markdown]
# ## The upstream gradient that sees nothing
#
# $u$ is ours to choose, and the laziest choice is ones: one checks the gradient of `y.sum()`. Take batch
# norm. It normalises each channel to mean 0 and variance 1, then multiplies by $\gamma$ and adds $\beta$.
# Whatever $x$ is, the normalised values of a channel sum to zero, so for the $M$ values of a channel
#
# $$\sum_{n,i,j} y_{n,c,i,j} = M \beta_c .$$
#
# No $x$ occurs on the right. The sum doesn't depend on $x$, so **its true gradient is zero**, and all that a
# check with ones can see is whether something is zero. Multiply `dx` by anything, and it still is:

# %%
gamma, beta = rng.standard_normal(4), rng.standard_normal(4)
y, cache = ops.batchnorm2d_forward(x, gamma, beta)


def seven_times(dy: np.ndarray, cache: tuple) -> tuple:
    """Return batch norm's gradients, dx multiplied by -7."""
    gradients = ops.batchnorm2d_backward(dy, cache)
    return gradients._replace(dx=-7 * gradients.dx)


ones, signed = np.ones_like(y), rng.standard_normal(y.shape)
assert np.allclose(seven_times(ones, cache).dx, ops.batchnorm2d_backward(ones, cache).dx)  # passes!
assert not np.allclose(seven_times(signed, cache).dx, ops.batchnorm2d_backward(signed, cache).dx)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two panels with true gradient entries on the horizontal axis and those of the right code and the code multiplied by minus seven on the vertical one. With an upstream gradient of ones all points of both lie in one spot at zero. With a signed random one they lie on two lines of slopes one and minus seven."}}
figure, axes = plt.subplots(1, 2, sharey=True, sharex=True, figsize=(7, 3))
for axis, upstream, name in zip(axes, (ones, signed), ("dy all ones", "dy signed, random"), strict=True):
    true = ops.batchnorm2d_backward(upstream, cache).dx.ravel()
    axis.axhline(0, color="0.85", lw=1)
    axis.axvline(0, color="0.85", lw=1)
    axis.plot(true, true, "o", ms=4, label="right")
    axis.plot(true, seven_times(upstream, cache).dx.ravel(), "x", ms=5, label="times $-7$")
    axis.set(xlabel=f"true entry of dx\n({name})")
axes[0].set_ylabel("entry computed")
axes[1].legend()
plt.show()

# %% [markdown]
# On the left, right and wrong sit on the same spot. A published framework tests its batch norm in this way:
# with its gradient multiplied by -7, the test still passes. Softmax has the same blind spot, as its results
# sum to one. The remedy costs nothing: draw $u$ at random, with both signs.
#
# `check_gradients` does, and if it is forced to use ones it says so: a check that can't see anything is
# neither passed nor failed but *vacuous*.

# %%
for upstream in (np.ones(y.shape), None):  # None: several, random and of both signs
    report = check_gradients(ops.batchnorm2d_forward, seven_times, (x, gamma, beta), upstream=upstream)
    print(report.verdict, *report.reasons, sep="\n  ")
    assert report.verdict == ("failed" if upstream is None else "vacuous")
assert np.isclose(report.arguments[0].ratio, -7)

# %% [markdown]
# ## At a kink
#
# $\max(x, 0)$ has no derivative at 0: from the left it is 0, from the right 1. A central difference across
# the kink gives something between, which belongs to neither side.

# %%
for at, seen in ((1e-3, 1.0), (1e-6, 0.55), (0.0, 0.5)):
    across = central_difference(lambda x: np.maximum(x, 0), np.array([at]), ahead, 1e-5)
    print(f"x = {at:g}: {across[0]:.2f}")  # right: 1, 1, and 0 by convention
    assert np.isclose(across[0], seen)

# %% [markdown]
# With a million ReLUs, some input is always that close. Chainer's checker refuses to work near kinks. Raising
# the tolerance until the test is green is no way out: then it is green for mistakes, too. Ours accepts at a
# kink what lies between the two one-sided derivatives, and stays strict everywhere else.
#
# ## What `check_gradients` looks at
#
# Hand it a forward, a backward and arguments. Here a student wrote $x^2$ and forgot the 2.


# %%
def square_forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x^2; the cache is x."""
    return x * x, x


def square_backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """Return dy x, which is half of what it should be."""
    return dy * cache


report = check_gradients(square_forward, square_backward, (np.array([1.0, -2.0, 3.0]),))
print(*str(report).splitlines()[:6], sep="\n")
assert report.arguments[0].hint == "every entry is halved"

# %% [markdown]
# It differentiates by complex step where it can and by extrapolated central differences as a second opinion;
# takes several signed upstream gradients, and small Jacobians entry by entry; derives its tolerance from the
# rounding error that it estimates; and tests manners: that nothing changes its arguments, that results share
# no memory with them, that a second call gives the same. All of this is a question to *backward*: does it
# belong to this forward? Whether the forward is right is another question, and wants another answer
# ([lesson 1](01_arrays_and_shapes.py), `check_like`).
#
# ## Summary
#
# - A gradient has the shape of what it belongs to; a backward pass computes $J^T dy$ for an upstream
#   gradient.
# - Every check rests on $u \cdot (Jv) = (J^T u) \cdot v$: forward on the left, backward on the right.
# - Central differences reach about $10^{-11}$, at $h \approx 10^{-5}$ and no other. The complex step is exact
#   to rounding for every small $h$, as nothing is subtracted.
# - The upstream gradient has to be random and signed. With ones, batch norm's gradient is zero, and a factor
#   of -7 passes.
#
# ## Exercises
#
# - `central_difference` (1 point): two calls, one division.
#   `senumpy exercise start central_difference`
# - `complex_step` (1 point): one call, no subtraction.
#   `senumpy exercise start complex_step`
#
# 1. Find the step $h$ that makes $\tfrac{h^2}{6} A + \tfrac{\varepsilon B}{h}$ smallest, with $A = |f'''|$
#    and $B = |f|$.
#
# :::{admonition} Answer
# :class: dropdown
# The derivative $\tfrac{h}{3} A - \tfrac{\varepsilon B}{h^2}$ is zero at $h = \sqrt[3]{3 \varepsilon B / A}$.
# There the error is $\tfrac12 \sqrt[3]{9\,\varepsilon^2 A B^2}$: the two-thirds power of $\varepsilon$.
# :::
#
# 2. Combine central differences $D(h)$ and $D(h/2)$ such that the error term $a h^2$ goes. What is the best
#    error now?
#
# :::{admonition} Answer
# :class: dropdown
# $\tfrac{4 D(h/2) - D(h)}{3}$: the terms are $4 a h^2/4 - a h^2 = 0$. What is left is of the order $h^4$, so
# the best step is near $\varepsilon^{1/5} \approx 7 \cdot 10^{-4}$, and the error $\varepsilon^{4/5} \approx
# 3 \cdot 10^{-13}$. This is Richardson's extrapolation; the checker does it twice.
# :::
#
# 3. Try it: what does `complex_step` say about `np.abs` at $x = -2$, and why?
#
# :::{admonition} Answer
# :class: dropdown
# 0, where the derivative is -1. For complex numbers, `np.abs` is the distance from zero, $\sqrt{x^2 + h^2}$,
# a real number: the imaginary part that held the derivative is gone. `np.where(x.real < 0, -x, x)` does it
# right.
# :::
#
# 4. You check softmax, $p_k = e^{a_k} / \sum_l e^{a_l}$, with $u = (1, \dots, 1)$. What does backward return,
#    right or wrong by a factor? Which part of a random $u$ is wasted in the same way?
#
# :::{admonition} Answer
# :class: dropdown
# Zero, since $\sum_k p_k = 1$ for all $a$. Of a random $u$ only the differences between its entries count:
# the part of it along $(1, \dots, 1)$, which is its mean over the classes, contributes nothing.
# :::
