# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 19. One step on a GPU
#
# **Question.** The squeeze adds up all pixels of a channel. On a GPU, thousands of threads run at once, in
# an order that nobody fixes. How do they add to one sum without getting into each other's way, and so that
# the same bits come out every time? And when is such a machine slower than a laptop's processor?
#
# *Paper: section 3.1, equation 2, on the hardware of section 4.*  Reading time: 14 minutes.

# %%
import time
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np

import senumpy
from senumpy import ops
from senumpy.data import Loader, load_data, train_transform
from senumpy.errors import InputError
from senumpy.lessons import style
from senumpy.training import SGD
from senumpy.training.loop import train_epoch

style()
rng = np.random.default_rng(19)

# %% [markdown]
# You need no GPU for this lesson. Its kernel is CUDA C++ from the library; we run the same arithmetic in
# NumPy, block by block.
#
# ## Threads, warps, blocks
#
# A *kernel* is a function that a great many threads execute, each with its own number. They are organised
# in three levels, and each level shares something:
#
# | level | how many | shares |
# |---|---|---|
# | thread | | registers of its own |
# | warp | 32 threads | its instructions: one load fetches for all 32 |
# | block | here 256 threads | *shared memory* on the chip, and barriers to wait for each other |
# | grid | as many blocks as the work asks for | the GPU's main memory |
#
# Blocks start in any order, and one may have ended before another begins. So they cannot wait for each
# other; to add up their sums, let a second kernel do it.
#
# What makes it worth while is bandwidth. Batch norm, SE, ReLU and the shortcut do little with each number,
# so they are as fast as memory is ([lesson 17](17_cost.py)). Among this project's measurements, a large
# copy moves 4.3 TB/s on an H200 and 26 GB/s on a two-core processor.

# %%
gpu_bandwidth, cpu_bandwidth = 4.3e12, 26e9  # bytes a second, read and written
traffic = 4 * 11e6 * 11  # SE-ResNet-50: 11 M values an image, touched some eleven times in a training step
print(f"{gpu_bandwidth / cpu_bandwidth:.0f} times the bandwidth;", end=" ")
print(f"an image's activations: {1e3 * traffic / cpu_bandwidth:.0f} ms against", end=" ")
print(f"{1e3 * traffic / gpu_bandwidth:.2f} ms")

# %% [markdown]
# ## Neighbours read neighbours
#
# The 32 threads of a warp read in one instruction, and memory answers in *sectors* of 32 bytes. If their
# addresses lie side by side, every byte that comes is wanted; if they are far apart, a sector comes for each
# of them, and most of it is thrown away. Let the threads of a warp take 32 neighbouring channels of one pixel
# of an image with 256 channels of $28\times28$. Which sectors do they touch in both memory orders?


# %%
def sectors_touched(addresses, size):
    """Count the 32-byte sectors that reads of `size` bytes touch, and how much of them is used."""
    sectors = len(np.unique(addresses[:, None] + np.arange(0, size, 4)[None] >> 5))
    return sectors, len(addresses) * size / (32 * sectors)


lane, channels, pixels, pixel = np.arange(32), 256, 28 * 28, 100
for text, addresses, size in (
    ("(N, C, H, W), 4 bytes each", 4 * (lane * pixels + pixel), 4),
    ("(N, H, W, C), 4 bytes each", 4 * (pixel * channels + lane), 4),
    ("(N, H, W, C), 16 bytes each", 4 * (pixel * channels + 4 * lane), 16),
):
    sectors, used = sectors_touched(addresses, size)
    print(f"{text:<28} {sectors:3} sectors, {100 * used:5.1f} % of them used")
assert sectors_touched(4 * (lane * pixels + pixel), 4) == (32, 4 / 32)
assert sectors_touched(4 * (pixel * channels + lane), 4) == (4, 1.0)
assert sectors_touched(4 * (pixel * channels + 4 * lane), 16) == (16, 1.0)

# %% [markdown]
# An eighth is left of the bandwidth in the first case. So shapes remain $(N, C, H, W)$ in this library, but
# on the GPU activations lie in memory as rows of channels, and a thread takes four channels at a time: 16
# bytes by one instruction. (In the other order one would hand out pixels to neighbouring threads. Layout and
# work have to fit, that is all.)
#
# ## A kernel, line by line
#
# This is the library's kernel for the squeeze, and the function that deals out its work:

# %% tags=["hide-input"]
folder = resources.files("senumpy") / "engines" / "cupy" / "kernels"


def listing(file, start, end):
    """Return a file's text from `start` up to and including the first `end`."""
    text = (folder / file).read_text(encoding="utf-8")
    begin = text.index(start)
    return text[begin : text.index(end, begin) + len(end)]


print(listing("prelude.cu", "__device__ __forceinline__ Span span", "\n}"))
print()
print(listing("statistics.cu", "// Sum of each part", "\n}"))

# %% [markdown]
# 1. `extern "C" __global__` makes it a kernel: it is launched from Python, for a grid of blocks. `Real` is
#    `float` or `double`, `Vec` four or two of them, 16 bytes; both are set when the file is compiled.
# 2. `__shared__ Vec shared[THREADS]` is the block's common memory, a place for each of its 256 threads. All
#    other variables exist once *per thread*.
# 3. `span` tells a thread what is its own. With 128 channels or more a block is 32 threads wide and 8 high,
#    so that each row of threads is a warp. `threadIdx.x` and `blockIdx.x` say which channels; `blockIdx.z`
#    says which image; `blockIdx.y` which part of its pixels, for one block per image would leave most of a
#    large GPU idle. `threadIdx.y`, from 0 to 7, is the first row (a row is a pixel) and `step` is 8: the
#    threads of a block take turns.
# 4. In the loop every thread sums its rows in a register. `y` may be absent: then $\sum x$ is the squeeze.
#    With a `y` it is $\sum x\,y$, which is the gate's gradient $ds_{nc} = \sum_{i,j} d\tilde x\,u$. One
#    kernel for both.
# 5. `shared[me] = sum` puts the eight partial sums of a channel where the others see them. Then a **tree**:
#    the upper half of the rows' sums is added to the lower half, 8 to 4 to 2 to 1.
# 6. `__syncthreads()` is the barrier: no thread goes on until all of the block are there.
# 7. Threads of row 0 write, times `factor` ($1/HW$ for an average). Not to one sum for all blocks: each
#    part has a place of its own, and a small second kernel, `column_sums`, adds the parts.
#
# ## The same in NumPy
#
# Blocks are loops, for nothing connects them. The threads of a block are axes of an array, as they run side
# by side.


# %%
def part_sums(x, y, rows_a_part, factor, block=(32, 8), width=4):
    """Do what the kernel does: x is (images, rows, C); return (images, parts, C)."""
    images, rows, channels = x.shape
    across, down = block
    vecs, parts = channels // width, -(-rows // rows_a_part)
    x, y = (None if a is None else a.reshape(images, rows, vecs, width) for a in (x, y))
    sums = np.full((images, parts, vecs, width), np.nan, x.dtype)
    for z, part, first in np.ndindex(images, parts, -(-vecs // across)):  # the grid
        c = slice(first * across, min((first + 1) * across, vecs))  # threadIdx.x
        end = min((part + 1) * rows_a_part, rows)
        shared = np.zeros((down, c.stop - c.start, width), x.dtype)
        for begin in range(part * rows_a_part, end, down):  # a round: row begin + threadIdx.y
            row = slice(begin, min(begin + down, end))
            here = shared[: row.stop - row.start]
            here += x[z, row, c] if y is None else x[z, row, c] * y[z, row, c]
        half = down // 2
        while half:  # a barrier stands between two rounds
            shared[:half] += shared[half : 2 * half]
            half //= 2
        sums[z, part, c] = shared[0] * x.dtype.type(factor)
    return sums.reshape(images, parts, channels)


N, C, H = 2, 256, 28
u, dy = rng.normal(size=(2, N, C, H, H)).astype(np.float32)


def rows_of(x):
    """Return an activation (N, C, H, W) as rows of channels (N, H W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(len(x), -1, x.shape[1])


z = part_sums(rows_of(u), None, rows_a_part=200, factor=1 / H**2).sum(axis=1)
assert np.allclose(z, ops.squeeze_forward(u)[0], atol=1e-6)

_, cache = ops.scale_forward(u, z)
ds = part_sums(rows_of(dy), rows_of(u), rows_a_part=200, factor=1).sum(axis=1)
assert np.allclose(ds, ops.scale_backward(dy, cache).ds, atol=1e-4)
lengths = [min(200, H**2 - start) for start in range(0, H**2, 200)]
print(f"parts of {lengths} rows: squeeze and ds agree with ops")

# %% [markdown]
# (200 does not divide 784 on purpose: the last part is short. Sizes that divide hide half of all mistakes.)
#
# ## A tree, and the barrier that it needs
#
# Here is the tree of one block for one channel: eight partial sums (rounded, so that you can follow), three
# rounds. Sequential code would take seven additions one after the other; the tree takes as many, but only
# three *deep*.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A grid of eight threads and four rows of numbers. At the top eight partial sums; in each round the lower half of the remaining threads adds the number of a thread to the right, first four places away, then two, then one, drawn by lines; after three rounds thread 0 holds the total. A barrier is drawn before each round."}}
partial = rows_of(u)[0, :200, 3].astype(float).reshape(25, 8).sum(axis=0).round(1)
rounds = [partial]
for half in (4, 2, 1):
    rounds.append(rounds[-1].copy())
    rounds[-1][:half] += rounds[-1][half : 2 * half]
assert abs(rounds[-1][0] - rows_of(u)[0, :200, 3].astype(float).sum()) < 8 * 0.05

fig, ax = plt.subplots(figsize=(7, 3.2))
for depth, values in enumerate(rounds):
    alive = 8 >> depth
    for thread, value in enumerate(values[: 2 * alive if depth else 8]):
        lives = thread < alive
        face = ("C0" if depth == 3 else "C5") if lives else "0.93"
        ink = ("white" if depth == 3 else "black") if lives else "0.6"
        box = {"facecolor": face, "edgecolor": "none", "boxstyle": "round,pad=0.35"}
        ax.text(thread, -depth, f"{value:.1f}", ha="center", va="center", color=ink, bbox=box)
        if depth and lives:
            ax.plot([thread, thread], [1 - depth - 0.25, -depth + 0.25], color="C0", linewidth=1.2, zorder=0)
            ax.plot(
                [thread + alive, thread],
                [1 - depth - 0.25, -depth + 0.25],
                color="C1",
                linewidth=1.2,
                zorder=0,
            )
for depth in range(3):
    ax.axhline(-depth - 0.5, color="0.75", linestyle=":", linewidth=1)
    ax.text(
        7.45,
        -depth - 0.5,
        "barrier",
        ha="right",
        va="center",
        color="0.4",
        backgroundcolor="white",
        fontsize=9,
    )
ax.set(xlabel="thread (threadIdx.y)", xlim=(-0.5, 7.5), ylim=(-3.4, 0.4), xticks=range(8))
ax.set_yticks(range(0, -4, -1), ["partial sums", "half = 4", "half = 2", "half = 1"])
ax.tick_params(length=0)
ax.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# Now leave out the barriers within the loop. Each row of 32 threads is a warp and runs by itself; let one
# finish its whole loop before the next begins, from the first to the last, and then from the last to the
# first.


# %%
def without_barrier(partial, order):
    """Run the tree's loop warp by warp, in the given order."""
    shared = partial.copy()
    for warp in order:
        for half in (4, 2, 1):
            if warp < half:
                shared[warp] += shared[warp + half]
    return shared[0]


total = partial.sum()
upwards, downwards = without_barrier(partial, range(8)), without_barrier(partial, reversed(range(8)))
print(f"right {total:.1f}, warps upwards {upwards:.1f}, warps downwards {downwards:.1f}")
assert not np.isclose(upwards, total)
assert np.isclose(downwards, total)

# %% [markdown]
# Upwards, warp 0 adds numbers that the others have not finished. Downwards everything is right, by luck. That
# is what makes such mistakes expensive: a test passes on one machine and fails on another. The tests of this
# library compile the kernels for the processor and run a block's threads one after the other, forwards and
# backwards in turns: what was right by luck the one time is wrong the next, and it takes no GPU to see it.
#
# ## The same bits again
#
# There is a shorter way to sum: `atomicAdd(&sum, value)` from every thread, and the hardware lines them up,
# in the order in which they happen to arrive. But floating-point addition is not associative, and another
# order is another result:

# %%
values = rng.normal(size=1 << 14).astype(np.float32)


def one_by_one(values):
    """Return the sum in the given order, in float32."""
    return np.cumsum(values)[-1]


def tree(values):
    """Return the sum by halves, in float32."""
    while len(values) > 1:
        values = values[: len(values) // 2] + values[len(values) // 2 :]
    return values[0]


arrivals = {one_by_one(rng.permutation(values)).item() for _ in range(20)}
print(f"20 orders of arrival give {len(arrivals)} different sums of the same {len(values):,} numbers")
assert len(arrivals) > 1

sizes = 2 ** np.arange(6, 21, 2)
error = {one_by_one: [], tree: []}
for size in sizes:
    samples = (1 + rng.normal(size=(10, size))).astype(np.float32)
    exact = samples.sum(axis=1, dtype=float)
    for way, found in error.items():
        off = np.array([way(sample) for sample in samples]) / exact - 1
        found.append(np.sqrt(np.mean(off**2)))
assert error[one_by_one][-1] > 10 * error[tree][-1]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Relative error of float32 sums against how many numbers are added, both logarithmic. One by one it grows with the count, to about one part in a hundred thousand at a million numbers; by a tree it stays about the rounding of one addition, six parts in a hundred million."}}
fig, ax = plt.subplots(figsize=(7, 2.7))
ax.plot(sizes, error[one_by_one], "s-", color="C1", label="one by one")
ax.plot(sizes, error[tree], "o-", color="C0", label="tree")
ax.axhline(2.0**-24, color="0.5", linestyle=":", linewidth=1)
ax.text(
    sizes[-1], 2.0**-24 * 1.15, "rounding of one addition", ha="right", va="bottom", color="0.4", fontsize=9
)
ax.set(xscale="log", yscale="log", xlabel="numbers added", ylabel="relative error", ylim=(5e-9, 1e-4))
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# A number that goes through a tree is rounded $\log_2 n$ times and not up to $n$ times, so the tree is more
# precise as well. No kernel of this library adds by atomics: parts are written side by side and added by
# another kernel, in a fixed order. The same bits on the same GPU also ask for the same ways of convolving,
# which are otherwise chosen by measurement: `--deterministic` chooses them by rule.
#
# Batch norm needs means *and* variances. Its kernel, `part_moments`, is the same tree, only that the values
# at its nodes are triples (count, mean, sum of squared deviations), merged by Chan's formula. With $d = m_b
# - m_a$:
#
# $$n = n_a + n_b, \qquad m = m_a + d\,\frac{n_b}{n}, \qquad Q = Q_a + Q_b + d^2\,\frac{n_a n_b}{n} .$$


# %%
def merge(a, b):
    """Merge two triples (count, mean, squared deviations)."""
    (na, ma, qa), (nb, mb, qb) = a, b
    n, d = na + nb, mb - ma
    return n, ma + d * (nb / n), qa + qb + d * d * (na * nb / n)


x = (1000 + rows_of(u).reshape(-1, C)).astype(np.float32)  # large mean: differences of sums would cancel
pieces = np.split(x, 32)
moments = [(len(p), p.mean(axis=0, dtype=float), np.square(p - p.mean(axis=0)).sum(axis=0)) for p in pieces]
while len(moments) > 1:
    half = len(moments) // 2
    moments = [merge(a, b) for a, b in zip(moments[:half], moments[half:], strict=True)]
count, mean, squares = moments[0]
image = (u + np.float32(1000)).astype(float)
_, norm = ops.batchnorm2d_forward(image, np.ones(C), np.zeros(C))
assert count == N * H**2
assert np.allclose(mean, norm.mean, rtol=1e-6)
assert np.allclose(squares / count, norm.var, rtol=1e-4)

# %% [markdown]
# With these moments, the squeeze follows from batch norm's own sums, as on the processor, and the residual
# tail is seven launches forward: `part_moments` reads the activation, `batch_moments` merges the parts, then
# two small matrix products with `add_bias` and `gates` after them, and `normalise`, the pass that writes the
# result. Without SE it is three.
#
# ## Where a GPU loses
#
# A launch costs some microseconds, whatever it does. Call that latency $L$; then a pass over $n$ float32
# values, read once and written once, takes
#
# $$t_{\text{GPU}} = L + \frac{8n}{4.3\ \text{TB/s}}, \qquad t_{\text{CPU}} = \frac{8n}{26\ \text{GB/s}} ,$$
#
# and below $n \approx L \cdot 26\ \text{GB/s} / 8$ the processor is done before the GPU has started. Here
# are both models, with the two bandwidths measured by this project, an *assumed* $L$ of 5 to 20 µs, and
# copies just made by the processor that ran this lesson:

# %% tags=["hide-input"]
for latency in (5e-6, 20e-6):
    crossover = latency / (8 / cpu_bandwidth - 8 / gpu_bandwidth)
    print(f"L = {1e6 * latency:2.0f} µs: they are level at {crossover:9,.0f} values")

counts = 2 ** np.arange(8, 25, 2)
copied = []
for size in counts:
    source, target = np.ones(size, np.float32), np.empty(size, np.float32)
    runs = []
    for _ in range(9):
        start = time.perf_counter()
        np.copyto(target, source)
        runs.append(time.perf_counter() - start)
    copied.append(min(runs))

# %% tags=["hide-input"] mystnb={"image": {"alt": "Time of a pass in microseconds against the number of values, both logarithmic. The processor's line rises from the start; the GPU's band is flat at 5 to 20 microseconds up to millions of values and then rises. They cross between 16,000 and 65,000 values: the largest activation of a ResNet for CIFAR for one image lies at the left end of that, the largest one that SE meets in SE-ResNet-50 to the right of it."}}
fig, ax = plt.subplots(figsize=(7, 3.2))
n = np.logspace(2.3, 7.3, 100)
ax.fill_between(
    n, *(1e6 * (latency + 8 * n / gpu_bandwidth) for latency in (5e-6, 20e-6)), color="C2", alpha=0.35
)
ax.text(300, 10, "model: GPU, L = 5 to 20 µs", va="center")
ax.plot(n, 1e6 * 8 * n / cpu_bandwidth, color="C0")
ax.text(4e6, 2.2e3, "model: processor, 26 GB/s", ha="right", color="C0")
ax.plot(counts, 1e6 * np.array(copied), "o", color="C1", label="measured: NumPy's copy, here")
for size, label in (
    (16 * 32 * 32, "16 ch., 32x32,\none image"),
    (256 * 56 * 56, "256 ch., 56x56,\none image"),
):
    ax.axvline(size, color="0.6", linestyle=":", linewidth=1)
    ax.text(size * 1.1, 0.04, label, fontsize=9, va="bottom")
ax.set(
    xscale="log",
    yscale="log",
    xlabel="values in the activation",
    ylabel="time of a pass (µs)",
    ylim=(0.03, 2e4),
)
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# Real copies deviate from the processor's model where a call's own time counts (left) and where arrays stay
# in a cache (middle). By the model, a ResNet for CIFAR with one image is the processor's: its largest
# activation is level at $L$ = 5 µs already, and those of later stages are a half and a quarter of that. On
# SE-ResNet-50 the GPU wins, with a batch by far. It is a model of one pass, without products of matrices;
# `senumpy bench --engine cupy crossover` measures where the lines cross on your machines. What helps a GPU is
# more work for each launch: larger batches, and fused passes.
#
# ## One step
#
# A training step asks an engine for nothing but operations, so the device is a matter of one argument. If
# there is a GPU that CuPy can use, the cell below runs the step there, too. Where there is none, you read the
# message that the library gives.

# %%
data = load_data("digits")
loader = Loader(data.train, 32, transform=train_transform(data.train, augment=False))
images, labels = next(loader.epoch(0))


def step(engine):
    """Train a small SE-ResNet for one step; return the loss and weights of SE, in NumPy."""
    model = senumpy.create_model("se_resnet8_cifar", in_channels=1, engine=engine, seed=0)
    loss = train_epoch(model, [(engine.asarray(images), labels)], SGD(model, momentum=0.9), lr=0.1)
    weights = dict(model.named_parameters())["layer1.0.se.fc1.weight"].value
    return float(loss), engine.to_numpy(weights)


loss, weights = step(senumpy.engine("numpy"))
print(f"numpy: loss {loss:.6f}")
try:
    gpu = senumpy.engine("cupy")
except InputError as reason:
    print(f"No step on a GPU here. {reason}")
else:
    gpu_loss, gpu_weights = step(gpu)
    print(f"{gpu.describe()}: loss {gpu_loss:.6f}")
    assert np.isclose(loss, gpu_loss, rtol=1e-4)
    assert np.allclose(weights, gpu_weights, atol=1e-4)

# %% [markdown]
# Where both run, expect agreement to rounding and not to the bit: the sums are the same, their order is not.
#
# ## Summary
#
# - Threads of a block share fast memory and barriers; blocks can't wait for each other, so a sum over all of
#   them is two kernels.
# - The squeeze on a GPU: each thread sums rows, a tree of halves adds the threads, a second kernel the
#   parts. A barrier stands between the tree's rounds; without it the result is a matter of luck.
# - No atomics: a fixed order gives the same bits, and a tree is more precise than adding one by one.
# - Neighbouring threads should read neighbouring addresses: channels by threads, so channels last in memory.
# - A launch costs microseconds: small activations are faster on a processor.
#
# ## Exercises
#
# Pen and paper, or this page's code.
#
# 1. A block sums 200 rows with 8 threads high. How many additions does each thread make, and how many
#    rounds does the tree have? What would 32 threads high change?
#
# :::{admonition} Answer
# :class: dropdown
# 25 rows each, so 25 additions (to a sum that starts at zero), then 3 rounds. With 32: 7 or 6 rows and 5
# rounds. The chain of dependent additions falls from 28 to 12, but fewer threads are left for channels.
# :::
#
# 2. Write the loop of `without_barrier` so that the upward order is right, and the downward one wrong.
#
# :::{admonition} Answer
# :class: dropdown
# Sum into the upper half: `if warp >= 8 - half: shared[warp] += shared[warp - half]`, with the total in
# thread 7. Now warp 7 needs all others to have finished, and it comes last when going upwards. It is the
# mirror image, and no more correct.
# :::
#
# 3. Why does `part_sums` divide an image into parts at all, when that makes a second kernel necessary?
#
# :::{admonition} Answer
# :class: dropdown
# With one block for each image and 128 channels, a batch of one image of 256 channels would be two blocks,
# on a GPU that can run hundreds at once. Bandwidth is reached only when all of it reads.
# :::
#
# 4. SE adds four launches to the forward tail. At $L = 10$ µs and 16 units, what does that cost the forward
#    half of a training step of SE-ResNet-50, and with which batches does it cease to matter?
#
# :::{admonition} Answer
# :class: dropdown
# 64 launches, 0.64 ms, whatever the batch. It ceases to matter when the rest takes much longer, or when the
# launches are issued while the GPU is still busy with earlier work: they are asynchronous, and latency that
# is hidden costs nothing. That is why it is felt with one image, and not with a batch of large ones.
# :::

# %%
# Answer 2, run: the mirror image.
mirrored = partial.copy()
for warp in range(8):
    for half in (4, 2, 1):
        if warp >= 8 - half:
            mirrored[warp] += mirrored[warp - half]
assert np.isclose(mirrored[7], total)
downwards = partial.copy()
for warp in reversed(range(8)):
    for half in (4, 2, 1):
        if warp >= 8 - half:
            downwards[warp] += downwards[warp - half]
assert not np.isclose(downwards[7], total)
