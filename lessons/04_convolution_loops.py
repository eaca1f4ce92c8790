# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 4. Convolution as loops
#
# **Question.** ResNet-50 begins by turning an image of 3x224x224 numbers into 64 maps of 112x112. A
# linear layer of this size would have 121 *billion* weights. The network spends 9,408. What do two simple
# assumptions about images have to do with the other 99.99999 %, and how exactly does the little that is left
# slide over the image?
#
# *Paper: section 3, equation 1.*  Reading time: 14 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from senumpy import ops
from senumpy.engines.naive.conv import conv2d_loops
from senumpy.lessons import show, style
from senumpy.ops.windows import Window, output_size
from senumpy.verify import check_like

style()
rng = np.random.default_rng(4)
assert (3 * 224 * 224) * (64 * 112 * 112) == 120_846_286_848
assert 64 * 3 * 7 * 7 == 9_408

# %% [markdown]
# ## A window that slides
#
# The first assumption: what an edge, a corner or an eye is can be seen from nearby. An output looks at a
# small **window** of the input only, through a fixed number of *taps*: the places in it that have a weight.
# The second: an edge is an edge wherever it is. All windows share **the same weights**, the *kernel*.
#
# In one dimension, with $k$ weights $w_0, \dots, w_{k-1}$:
#
# $$y_i = \sum_{p=0}^{k-1} w_p\, x_{i+p} .$$
#
# With $w = (1, 0, -1)$ and $x = (2, 2, 2, 5, 5, 5)$, window by window: $2 - 2 = 0$, $2 - 5 = -3$, $2 - 5 =
# -3$, $5 - 5 = 0$. The kernel answers where the signal steps, and is silent where it is flat.
#
# Strictly this is a *cross-correlation*. What mathematicians call a convolution runs through the kernel
# backwards, $\sum_p w_p x_{i-p}$. All frameworks compute the former and say the latter, and so do we. For a
# network that learns its kernels this makes no difference; for one that takes over weights from elsewhere, it
# makes all the difference.


# %%
def correlate(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return the sums over all windows of `x`."""
    return np.array([sum(w[p] * x[i + p] for p in range(len(w))) for i in range(len(x) - len(w) + 1)])


signal, step = np.array([2, 2, 2, 5, 5, 5]), np.array([1, 0, -1])
print(correlate(signal, step))
assert correlate(signal, step).tolist() == [0, -3, -3, 0]
assert np.array_equal(correlate(signal, step), np.correlate(signal, step))
assert np.array_equal(correlate(signal, step[::-1]), np.convolve(signal, step, mode="valid"))  # flipped

# %% [markdown]
# ## How many windows fit
#
# Three settings say how the window moves over an axis of $n$ entries:
#
# - **padding** $\text{pad}$: zeros put before and behind, so that the window may begin outside;
# - **stride** $s$: how far it moves each time;
# - **dilation** $d$: the distance between its taps. With $d = 2$ it looks at every second entry.
#
# Tap number $p$ of window $i$ looks at entry $\; i\,s + p\,d - \text{pad}\;$ of the axis; below 0 and from
# $n$ on it finds zero. How many windows are there? Padded, the axis has $n + 2\,\text{pad}$ entries. From its
# first to its last tap a window with $k$ taps spans $d(k - 1) + 1$ of them. The first window takes that many,
# and with what is left it can move on as often as $s$ goes into it:
#
# $$n' = \left\lfloor \frac{n + 2\,\text{pad} - d(k - 1) - 1}{s} \right\rfloor + 1 .$$
#
# With $n = 7$, $k = 3$:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four panels with an axis of seven entries, and below it the taps of each window as dots. Without padding five windows fit; with padding 1 seven; with padding 1 and stride 2 four; with dilation 2 and no padding three, whose taps lie two apart."}}
settings = [(1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 0, 2)]
figure, axes = plt.subplots(2, 2, figsize=(7, 4.2), sharex=True)
for axis, (s, pad, d) in zip(axes.flat, settings, strict=True):
    count, _ = output_size((7, 7), Window((3, 3), (s, s), (pad, pad), (d, d)))
    for entry in range(-1, 8):
        inside = 0 <= entry < 7
        axis.add_patch(plt.Rectangle((entry - 0.45, -0.45), 0.9, 0.9, color="0.75" if inside else "0.94"))
        colour = "k" if inside else "0.6"
        axis.text(entry, 0, entry if inside else "0", ha="center", va="center", color=colour)
    for i in range(count):
        taps = [i * s + p * d - pad for p in range(3)]
        axis.plot(taps, [i + 1] * 3, "o-", color="C0", ms=6)
    axis.set(xlim=(-1.6, 7.6), ylim=(7.7, -0.7), yticks=range(1, count + 1), xticks=[])
    axis.set_yticklabels(range(count))
    axis.spines[:].set_visible(False)
    axis.set_title(f"stride {s}, padding {pad}, dilation {d}: {count} windows")
figure.supylabel("window i", fontsize=10)
plt.show()

# %% [markdown]
# In code, a `Window` holds kernel, stride, padding and dilation, each as a pair (vertical, horizontal):

# %%
show(output_size)
assert output_size((7, 7), Window((3, 3), (1, 2), (0, 1), (1, 1))) == (5, 4)  # axes may differ
assert output_size((224, 224), Window((7, 7), (2, 2), (3, 3), (1, 1))) == (112, 112)  # ResNet-50's first

# %% [markdown]
# The two settings to remember: a 3x3 kernel with padding 1 keeps the size, and with stride 2 it halves it,
# rounding up. And mind the floor. Where the stride doesn't divide, the last entries of the padded axis are
# seen by no window, and at stride 2 a formula that rounds the other way is right for half of all sizes: try
# an even and an odd one. `ceil_mode` keeps a last window that hangs over the edge; Caffe pools so, and the
# paper's released networks come from Caffe.
#
# ## Channels
#
# An image has $C$ channels. Each window then is a small block of $C \times k_h \times k_w$ numbers, and so is
# the kernel: it looks at all channels together and adds everything up into *one* number. One kernel gives one
# map. For $O$ maps take $O$ kernels, all different: `w` has the shape $(O, C, k_h, k_w)$. This is equation 1
# of the paper, which writes a $*$ for the sliding and leaves the bias out: $u_c = \sum_s v_c^s * x^s$, with
# the kernels $v$, sums over the channels $s$ of the image, for each output channel $c$.
#
# Two more letters complete the formula. The bias $b_o$ is added to all of map $o$. And **groups** divide the
# channels: with $G$ groups, output channel $o$ belongs to group $g = \lfloor o / (O/G) \rfloor$ and sees only
# the $C/G$ input channels of that group. In full:
#
# $$
# \begin{aligned}
# y_{n,o,i,j} = b_o + {} & \sum_{c=0}^{C/G - 1}\, \sum_{p=0}^{k_h - 1}\, \sum_{q=0}^{k_w - 1} w_{o,c,p,q} \\
# & \cdot x_{n,\; g\,C/G + c,\;\; i\,s + p\,d - \text{pad},\;\; j\,s + q\,d - \text{pad}} ,
# \end{aligned}
# $$
#
# where $n$ is again the image's number in the batch, $p$ and $q$ are the vertical and horizontal tap, and $x$
# is zero outside the image.
#
# ## Seven loops
#
# Count the indices: $n, o, i, j$ say *which* result, $c, p, q$ are summed over. Four loops and three, seven
# in all. The following is the library's slowest code, and the one that everything faster is compared with:

# %%
show(conv2d_loops)

# %% [markdown]
# It reads like the formula, index by index, and that is its whole virtue. The fast version, which
# [lesson 5](05_convolution_matrix.py) derives, has to give the same numbers for any sizes and settings:

# %%
x, w, b = rng.standard_normal((2, 4, 7, 6)), rng.standard_normal((6, 2, 3, 2)), rng.standard_normal(6)
unusual = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 3), "groups": 2}
y = conv2d_loops(x, w, b, **unusual)
print(x.shape, "->", y.shape)
assert np.allclose(y, ops.conv2d_forward(x, w, b, **unusual)[0], rtol=1e-13, atol=1e-13)

# %% [markdown]
# ## What a kernel sees
#
# Four kernels, written by hand, on a digit. A trained network has thousands, all found by gradient descent,
# and yet in its first layer one meets such kinds again: smoothing, edges of one direction, points.

# %%
kernels = {
    "smooth": np.full((3, 3), 1 / 9),
    "edge below": np.array([[1, 1, 1], [0, 0, 0], [-1, -1, -1]]) / 3,  # ink above, none below
    "edge to the right": np.array([[1, 0, -1], [1, 0, -1], [1, 0, -1]]) / 3,
    "outline": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8,
}
image = load_digits().images[0] / 16  # (8, 8)
bank = np.stack(list(kernels.values()))[:, np.newaxis]  # (4, 1, 3, 3)
maps = conv2d_loops(image[np.newaxis, np.newaxis], bank, padding=1)[0]  # (4, 8, 8)

# %% tags=["hide-input"] mystnb={"image": {"alt": "A digit 0 and four feature maps made of it, with their kernels below. Smoothing blurs the ring; the two edge kernels answer positively on one side of each stroke, below or to the right of it, and negatively on the other; the outline kernel is positive on strokes and negative beside them."}}
figure, axes = plt.subplots(2, 5, figsize=(7, 3.3))
axes[0, 0].imshow(image, cmap="gray_r")
axes[0, 0].set_xlabel("image")
axes[1, 0].set_visible(False)
for column, (name, feature) in enumerate(zip(kernels, maps, strict=True), start=1):
    axes[0, column].imshow(feature, cmap="RdBu", vmin=-1, vmax=1)
    axes[0, column].set_xlabel(name)
    axes[1, column].imshow(kernels[name], cmap="RdBu", vmin=-1, vmax=1)
    axes[1, column].set_xlabel("its kernel")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# Blue is positive, red negative. A feature map answers "how much of *this* is *here*?", one number for each
# place. All of them look into the same image but none knows of the others; that a squeeze and a gate let
# channels speak to each other is what this course is about.
#
# ### The mistake: a flipped kernel that nobody sees
#
# Look at the kernels once more. "smooth" and "outline" are the same upside down and left to right. Who flips
# the kernel by mistake, and tests with one of these, passes:


# %%
def flipped(x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **settings: object) -> tuple:
    """Return what a textbook calls a convolution."""
    _, cache = ops.conv2d_forward(x, w, b, **settings)
    return ops.conv2d_forward(x, w[:, :, ::-1, ::-1], b, **settings)[0], cache


for name, kernel in kernels.items():
    small = image[np.newaxis, np.newaxis]
    w = kernel[np.newaxis, np.newaxis]
    same = np.allclose(flipped(small, w)[0], ops.conv2d_forward(small, w)[0])
    print(f"{name:<18} {'passes' if same else 'is noticed'}")
    assert same == (name in ("smooth", "outline"))
report = check_like("conv2d", flipped)
print(report.verdict, report.reasons[0], sep=": ")
assert not report.ok

# %% [markdown]
# Random kernels have no symmetry, and the checker draws nothing else. In the same way, a stride pair taken in
# the wrong order passes every test with equal strides, and a dilation that is ignored every test without one.
# **Test with the least symmetric case that the formula allows.**
#
# ## What groups and strides cost
#
# Each of the $N\,O\,H'W'$ results takes $C/G \cdot k_h k_w$ multiply-adds; their total is what the paper
# calls FLOPs. And `w` has $O \cdot C/G \cdot k_h k_w$ weights, whatever the image's size. So groups divide
# both by $G$. ResNeXt spends the savings on more channels ($G = 32$); with $G = C$ each channel is filtered
# on its own, which is called *depthwise* and is what MobileNet does.


# %%
def cost(shape: tuple, w_shape: tuple, **settings: int) -> tuple[int, int]:
    """Return weights and multiply-adds, from shapes alone."""
    s, pad = settings.get("stride", 1), settings.get("padding", 0)
    height, width = output_size(shape[2:], Window(w_shape[2:], (s, s), (pad, pad), (1, 1)))
    return int(np.prod(w_shape)), shape[0] * height * width * int(np.prod(w_shape))


cases = {
    "ResNet-50, first": ((1, 3, 224, 224), (64, 3, 7, 7), {"stride": 2, "padding": 3}),
    "3x3, 128 channels": ((1, 128, 56, 56), (128, 128, 3, 3), {"padding": 1}),
    "the same, 32 groups": ((1, 128, 56, 56), (128, 4, 3, 3), {"padding": 1}),
    "the same, depthwise": ((1, 128, 56, 56), (128, 1, 3, 3), {"padding": 1}),
}
for name, (shape, w_shape, options) in cases.items():
    weights, products = cost(shape, w_shape, **options)
    print(f"{name:<20} {weights:>8,} weights  {products:>12,} multiply-adds")
first = cost(*cases["ResNet-50, first"][:2], stride=2, padding=3)
assert first == (9_408, 118_013_952)
assert cost(*cases["3x3, 128 channels"][:2], padding=1) == tuple(
    32 * number for number in cost(*cases["the same, 32 groups"][:2], padding=1)
)

# %% [markdown]
# 118 million multiply-adds for the first layer of one image. Python manages one or two million rounds of
# such an inner loop in a second: the seven loops would take a minute or more for it, and half an hour or more
# for all of ResNet-50, which has 3.9 billion. The next lesson does the same by one matrix product.
#
# ## Summary
#
# - A convolution is a linear layer with two restrictions: each output sees a small window, and all windows
#   share one kernel. That takes the first layer of ResNet-50 from 121 billion weights to 9,408.
# - $n' = \lfloor (n + 2\,\text{pad} - d(k-1) - 1)/s \rfloor + 1$ windows fit; tap $p$ of window $i$ looks at
#   entry $is + pd - \text{pad}$, and finds zero outside.
# - One kernel spans all channels of its group and gives one map.
# - A test that can't tell a flipped kernel or swapped strides from the right thing is no test: use no
#   symmetry.
#
# ## Exercises
#
# - `output_size` (1 point): how many windows fit on both axes.
#   `senumpy exercise start output_size`
# - `conv2d_loops` (2 points): the formula, index by index.
#   `senumpy exercise start conv2d_loops`
#
# 1. In ResNet-50 a 224x224 image meets a 7x7 convolution (stride 2, padding 3), a 3x3 max pool (stride
#    2, padding 1), and then three more times a stride of 2. What sizes have the maps?
#
# :::{admonition} Answer
# :class: dropdown
# $\lfloor (224 + 6 - 7)/2 \rfloor + 1 = 112$, then $\lfloor (112 + 2 - 3)/2 \rfloor + 1 = 56$, and 28, 14, 7.
# With a 1x1 kernel and no padding, too: $\lfloor (56 - 1)/2 \rfloor + 1 = 28$.
# :::
#
# 2. Two 3x3 convolutions one after the other: how large is the part of the image that one result depends
#    on? Compare the weights with one 5x5 convolution, for $C$ channels throughout.
#
# :::{admonition} Answer
# :class: dropdown
# 5x5, as a window of 3 windows, each one step on, spans 5 entries. The weights are $2 \cdot 9\,C^2 =
# 18\,C^2$ against $25\,C^2$, and a ReLU fits between. This is the idea of VGG.
# :::
#
# 3. Which padding keeps the size of an axis, at stride 1, for a kernel of $k$ taps and dilation $d$? When is
#    there none?
#
# :::{admonition} Answer
# :class: dropdown
# $2\,\text{pad} = d(k - 1)$. For odd $k$ it is $\text{pad} = d(k-1)/2$; for even $k$ and odd $d$ the two ends
# would need different paddings, which is one reason why kernels have odd sizes.
# :::
#
# 4. Try it: convolve the digit with "edge to the right" at stride 2 and padding 1, then move the image one
#    pixel to the right (`np.roll`) and do it again. Is the second result the first one, moved?
#
# :::{admonition} Answer
# :class: dropdown
# No: at stride 2 the windows now sit on the other pixels of each pair. Moved by *two* pixels the image gives
# the same map, moved by one, apart from the edges. Only at stride 1 does a convolution commute with every
# shift (the edges again apart).
# :::
