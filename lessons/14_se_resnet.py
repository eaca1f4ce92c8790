# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 14. Assembling an SE-ResNet
#
# **Question.** All the parts are on the table, each with a gradient that was checked. How do they become a
# network of 28,088,024 parameters, and how can you be sure that it is the paper's network and not a cousin of
# it?
#
# *Paper: section 3.3 with figure 3 and table 1; section 4; section 5, table 2.*  Reading time: 14 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

import senumpy
from senumpy import ops
from senumpy.analysis import complexity
from senumpy.data import Loader, eval_transform, load_data
from senumpy.engines import Engine
from senumpy.layers import Residual
from senumpy.lessons import show, style
from senumpy.training import SGD, evaluate
from senumpy.training.loop import train_epoch
from senumpy.verify import check_gradients
from senumpy.verify.numerical import complex_step

style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## The residual tail
#
# A residual unit computes a branch of two or three convolutions and adds a shortcut
# ([lesson 10](10_residual_unit.py)). Where does SE go? Figure 3 of the paper answers: at the end of the
# branch, before the sum. Let $c$ be the result of the branch's last convolution and $x$ the shortcut. What
# follows the convolution we call the *tail*:
#
# $$v = \mathrm{BN}(c), \qquad y = \mathrm{ReLU}\big(\mathrm{SE}(v) + x\big).$$
#
# So there is no ReLU between batch norm and SE, SE gates what the branch *adds*, and the shortcut passes
# ungated. With all gates near zero and a plain shortcut, $y = \mathrm{ReLU}(x) = x$, as $x$ is a ReLU's
# result: a network can switch off whole units, image by image.
#
# Every part of this has been got wrong somewhere: SE after the sum, a ReLU before SE, SE built but never
# called. None of it raises an error, for shapes and parameter counts are the same. Only numbers tell:

# %%
N, C, h = 4, 6, 3
c, shortcut = rng.normal(size=(2, N, C, 5, 5))
gamma, beta = 1 + 0.2 * rng.normal(size=C), rng.normal(size=C)
w1, b1, w2, b2 = rng.normal(size=(h, C)), rng.normal(size=h), rng.normal(size=(C, h)), rng.normal(size=C)
arguments = (c, gamma, beta, w1, b1, w2, b2, shortcut)


def relu(t):
    return ops.relu_forward(t)[0]


def se(t):
    return ops.squeeze_excite_forward(t, w1, b1, w2, b2)[0]


v, _ = ops.batchnorm2d_forward(c, gamma, beta)
variants = {
    "relu(SE(v) + x), the paper's": relu(se(v) + shortcut),
    "SE(relu(v + x)), after the sum": se(relu(v + shortcut)),
    "relu(SE(relu(v)) + x), a ReLU more": relu(se(relu(v)) + shortcut),
    "relu(v + x), SE never called": relu(v + shortcut),
}
y, cache = ops.residual_tail_forward(*arguments)
for name, result in variants.items():
    difference = np.linalg.norm(result - y) / np.linalg.norm(y)
    print(f"{name:36} shape {result.shape}, differs by {difference:.0%}")
    assert (difference == 0) == ("paper" in name)

# %% [markdown]
# Here is one channel on its way through a tail: a unit of a small SE-ResNet with fresh weights, and a digit.
# The gate shrinks what batch norm made of the branch, the shortcut comes on top, the ReLU cuts off what is
# negative.

# %%
part = load_data("digits").train
x = part.images[:16].transpose(0, 3, 1, 2) / 255
x, labels = (x - x.mean()) / x.std(), part.labels[:16]
small = senumpy.create_model("se_resnet8_cifar", in_channels=1, dtype="float64")
before = relu(small.bn1.forward(small.conv1.forward(x)))  # what the stem hands to the first unit
unit = next(iter(small.layer1))

maps = {"conv": unit.conv2.forward(relu(unit.bn1.forward(unit.conv1.forward(before))))}
maps["BN"] = unit.bn2.forward(maps["conv"])
maps["SE"], cache = ops.squeeze_excite_forward(maps["BN"], *unit.se.weights())
maps["+ shortcut"] = maps["SE"] + before
maps["ReLU"] = relu(maps["+ shortcut"])
np.testing.assert_allclose(maps["ReLU"], unit.forward(before), atol=1e-12)
gates = cache.scale.s  # (16, 16): image, channel
print("all gates exactly 1/2 in", np.sum(np.all(gates == 0.5, axis=1)), "of 16 images")

# %% tags=["hide-input"] mystnb={"image": {"alt": "Five signed 8x8 maps of one channel: the convolution's result, then batch norm's, then the same in paler colours after the gate of 0.33, then the shortcut's strokes added, and at last only the positive part."}}
image, channel = 2, 4
fig, axes = plt.subplots(1, 5, figsize=(7, 1.9))
for ax, (name, t) in zip(axes, maps.items(), strict=True):
    shown = ax.imshow(t[image, channel], cmap="RdBu_r", vmin=-3, vmax=3)
    ax.set_title(name if name != "SE" else f"SE ($s$ = {gates[image, channel]:.2f})")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
fig.colorbar(shown, ax=axes, shrink=0.8)
plt.show()

# %% [markdown]
# With 16 channels and $r = 16$ this unit's excitation has one hidden unit, and in the images for which it is
# off all gates are $\sigma(0) = 1/2$: the dead ReLU of [lesson 12](12_excitation.py), met in a real network.
#
# Behind batch norm the squeeze costs nothing. Batch norm maps each channel by $v = a\,(c - \mu) + \beta$ with
# $a = \gamma / \sqrt{\sigma^2 + \epsilon}$, from the batch's mean $\mu$ and variance $\sigma^2$. The average
# of such a map is the map of the average: if $m_n$ is the mean of $c$ over the pixels of image $n$,
#
# $$z_n = a\,(m_n - \mu) + \beta$$
#
# in each channel, and $\mu$, which batch norm needs anyway, is the average of the $m_n$. A fast engine never
# writes $v$ to memory in order to average it ([lesson 17](17_cost.py)).

# %%
a = gamma / np.sqrt(c.var((0, 2, 3)) + 1e-5)
m = c.mean((2, 3))  # (N, C)
z = a * (m - m.mean(0)) + beta
np.testing.assert_allclose(z, ops.squeeze_forward(v)[0], atol=1e-12)

# %% [markdown]
# ## The tail, backwards
#
# Nothing is new; only the order counts, last step first. From $\bar y$ (bars are gradients of the loss):
#
# 1. the ReLU passes $\bar y$ where $y > 0$; call the result $g$;
# 2. the sum copies it ([lesson 10](10_residual_unit.py)): $g$ is the shortcut's gradient *and* what enters
#    SE;
# 3. SE turns its copy into $\bar v$, along both paths of [lesson 13](13_scale.py), and leaves
#    $\bar W_1, \bar b_1, \bar W_2, \bar b_2$;
# 4. batch norm turns $\bar v$ into $\bar c$, $\bar\gamma$ and $\bar\beta$
#    ([lesson 8](08_batchnorm_backward.py)).
#
# Two things go wrong here. The shortcut gets $\bar y$ in place of the masked $g$; or it gets what SE has made
# of its copy. The exercise `residual_tail_backward` is to write the four steps; the library's version is
# folded away below.

# %%
report = check_gradients(ops.residual_tail_forward, ops.residual_tail_backward, arguments)
print(f"{report.verdict}; eight gradients, largest relative error {report.complex_step_error:.0e}")
assert report.ok


def unmasked(dy, cache):
    return ops.residual_tail_backward(dy, cache)._replace(dshortcut=dy.copy())


print(check_gradients(ops.residual_tail_forward, unmasked, arguments).reasons[0])

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the library's code", "code_prompt_hide": "Hide it"}
show(ops.residual_tail_backward)
show(ops.residual_tail._before_norm)

# %% [markdown]
# One trap is worth a closer look. Drop SE's gate path again, this time inside the tail, and compare
# $\bar c$, with which all earlier layers are trained, for batches of one, two and four images:


# %%
def without_gate_path(dy, cache):
    right = ops.residual_tail_backward(dy, cache)
    wrong_dv = ops.squeeze_excite_backward_paths(right.dshortcut, cache.se).through_scale
    dc, dgamma, dbeta = ops.batchnorm2d_backward(wrong_dv, cache.norm)
    return right._replace(dc=dc, dgamma=dgamma, dbeta=dbeta)


for n in (1, 2, 4):
    y, cache = ops.residual_tail_forward(c[:n], *arguments[1:-1], shortcut[:n])
    dy = rng.normal(size=y.shape)
    right, wrong = ops.residual_tail_backward(dy, cache), without_gate_path(dy, cache)
    error = np.linalg.norm(wrong.dc - right.dc) / np.linalg.norm(right.dc)
    print(f"batch of {n}: relative error of dc {error:.1e}")
    assert (error < 1e-14) == (n == 1)

# %% [markdown]
# With one image the mistake leaves no trace in $\bar c$. The reason is batch norm. The gate path adds a
# constant to each map, and batch norm's backward subtracts the mean over images and pixels: with one image,
# all of it. Forwards one sees the same: with one image $m_1 = \mu$, so $z_1 = \beta$ whatever the image
# (exercise 2 of [lesson 11](11_squeeze.py)), and its gates are constants. Only $\bar\beta$ gives the mistake
# away. Test with batches.
#
# ## From units to a network
#
# The rest is bookkeeping, and table 1 of the paper is the book. ResNet-50 has a stem (7x7 convolution with
# stride 2, 64 channels, max pool) and four stages of bottleneck units. A bottleneck of width $w$ reduces by a
# 1x1 convolution to $w$ channels, computes a 3x3 there, and expands by a 1x1 to $4w$. The first unit of a
# stage changes the number of channels, so its shortcut is a 1x1 convolution with batch norm. SE stands in
# every unit, with $C = 4w$ and $h = C/16$. At the end come a global average pool and a linear layer for 1000
# classes.
#
# That is enough to count. A convolution has $C_{in} C_{out} k^2$ weights and no bias, a batch norm $2C$.


# %%
def conv_bn(c_in, c_out, k):
    return c_in * c_out * k * k + 2 * c_out


stages = {2: (3, 64), 3: (4, 128), 4: (6, 256), 5: (3, 512)}  # the paper's stage number: (units, width)
channels, plain, se_part = 64, {"stem": conv_bn(3, 64, 7)}, {}
for stage, (units, w) in stages.items():
    C = 4 * w
    branch = sum(
        conv_bn(channels if k == 0 else C, w, 1) + conv_bn(w, w, 3) + conv_bn(w, C, 1) for k in range(units)
    )
    plain[f"stage {stage}"] = branch + conv_bn(channels, C, 1)
    se_part[f"stage {stage}"] = units * (2 * C * C // 16 + C // 16 + C)
    channels = C
plain["classifier"] = 2048 * 1000 + 1000

total = sum(plain.values()) + sum(se_part.values())
print(f"ResNet-50 {sum(plain.values()):,} + SE {sum(se_part.values()):,} = {total:,}")

# %% [markdown]
# Now the network itself. Layers own parameters and call the operations that you know;
# {py:func}`senumpy.create_model` builds networks by name from a small configuration. This is the forward pass
# of a unit, and the names of one:

# %%
show(Residual.forward)
model = senumpy.create_model("se_resnet50", blank=True)  # zeros for weights: we only count
prefix = "layer1.1."  # first stage, second unit
print(
    prefix, *(n.removeprefix(prefix) for n, _ in model.named_parameters() if n.startswith(prefix)), sep="\n  "
)
assert model.num_parameters() == total == 28_088_024
assert senumpy.create_model("resnet50", blank=True).num_parameters() == sum(plain.values()) == 25_557_032

# %% [markdown]
# The names are those of timm, so weights can travel. The total agrees, digit for digit, with the authors'
# released Caffe model. Equality of *one* number is a strong test: a missing bias, a wrong hidden width, a
# shortcut too many would show.
#
# It does not see everything. Where a stage halves the image, the paper's ResNet has the stride in the first
# 1x1 convolution, torchvision's and timm's in the 3x3. All arrays have the same shapes, but it is another
# network. The multiply-adds tell them apart; table 2 has 3.86 billion, and 3.87 with SE:

# %%
cost = complexity("se_resnet50")
assert cost.total("parameters") == total
without, with_se = cost.total("multiply_adds", in_se=False), cost.total("multiply_adds")
print(f"stride in the 1x1: {without / 1e9:.3f} billion, with SE {with_se / 1e9:.3f}")
print(
    f"stride in the 3x3: {complexity('resnet50', stride_in='3x3').total('multiply_adds') / 1e9:.3f} billion"
)
assert (without, with_se - without) == (3_857_973_248, 8_034_304)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Stacked bars for SE-ResNet-50 by stem, stages 2 to 5 and classifier. Left, parameters in millions: stage 5 has 15.0 without SE and 1.6 in SE; SE is a sliver in stages 2 and 3. Right, multiply-adds in billions: at most 1.4 in stage 4, and SE is too thin to see anywhere."}}
where = {"conv1": "stem", "fc": "classifier", **{f"layer{k - 1}": f"stage {k}" for k in stages}}
multiply_adds = {part: {False: 0, True: 0} for part in plain}
for row in cost.layers:
    if row.multiply_adds:
        multiply_adds[where[row.name.split(".")[0]]][row.in_se] += row.multiply_adds
fig, (left, right_ax) = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True)
parts = list(plain)[::-1]
rest, gates = np.array([(plain[p] / 1e6, se_part.get(p, 0) / 1e6) for p in parts]).T
left.barh(parts, rest, label="without SE")
left.barh(parts, gates, left=rest, label="SE")
left.set_xlabel("parameters (millions)")
left.legend(loc="center right", fontsize=9)
rest, gates = np.array([(multiply_adds[p][False] / 1e9, multiply_adds[p][True] / 1e9) for p in parts]).T
right_ax.barh(parts, rest)
right_ax.barh(parts, gates, left=rest)
right_ax.set_xlabel("multiply-adds (billions, an image)")
plt.show()

# %% [markdown]
# SE adds 9.9 % to the parameters and 0.2 % to the multiply-adds. [Lesson 17](17_cost.py) asks why the clock
# disagrees.
#
# ## One gradient through the whole network
#
# Every part passed its check. Does the whole? A caller may pass gradients in the wrong order,
# forget to add the shortcut's, store a gradient under another's name. So we check the derivative of the loss
# by every one of the 41 parameter arrays of SE-ResNet-8, the smallest of the family, from digits to
# cross-entropy, along one random direction each. The complex step ([lesson 2](02_gradients_and_checking.py))
# goes through the whole network: give a parameter an imaginary part of $10^{-30}$, and the loss comes out
# with one.


# %%
def gradients(engine):
    model = senumpy.create_model("se_resnet8_cifar", in_channels=1, dtype="float64", engine=engine)
    _, cache = ops.softmax_cross_entropy_forward(model.forward(x), labels)
    model.backward(ops.softmax_cross_entropy_backward(1.0, cache).dlogits)
    return model, {name: parameter.grad for name, parameter in model.named_parameters()}


def errors(engine):
    """For each parameter array, how far backward's derivative is from the complex step's."""
    directions = np.random.default_rng(1)
    model, grads = gradients(engine)
    for _, holder in [*model.named_parameters(), *model.named_buffers()]:
        holder.value = holder.value.astype(complex)
    found = {}
    for name, parameter in model.named_parameters():
        value = parameter.value

        def loss(changed, parameter=parameter):
            parameter.value = changed
            return ops.softmax_cross_entropy_forward(model.forward(x.astype(complex)), labels)[0]

        v = directions.normal(size=value.shape)
        expected = complex_step(loss, value, v)[0]
        parameter.value = value
        size = np.linalg.norm(grads[name]) * np.linalg.norm(v) / np.sqrt(v.size)  # of a typical derivative
        found[name] = abs(np.sum(grads[name] * v) - expected) / size
    return found


class Mistaken(Engine):
    residual_tail_backward = staticmethod(without_gate_path)


right, wrong = errors(Engine()), errors(Mistaken())
print(f"{len(right)} arrays, largest relative error {max(right.values()):.0e}")
assert max(right.values()) < 1e-11

# %% [markdown]
# For comparison the same network with the gate path dropped in its three tails. The figure tells where in the
# network the mistake sits, as such a plot always does: read it from the right, from the loss backwards.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Relative error of each parameter's gradient on a logarithmic axis, from the stem on the left to the classifier on the right. The right code stays around ten to the minus fifteen everywhere. Without the gate path the classifier, the last downsampling and the last SE block are as exact, and everything before them is wrong, mostly by ten to a hundred per cent."}}
names = list(right)
fig, ax = plt.subplots(figsize=(7, 3.4))
position = np.arange(len(names))
ax.semilogy(
    position, np.maximum([wrong[n] for n in names], 1e-17), "C1s", markersize=5, label="gate path dropped"
)
ax.semilogy(position, np.maximum([right[n] for n in names], 1e-17), "C0o", markersize=4, label="right")
edges, titles = [], []
for title, prefix in (("stem", ("conv1", "bn1")), *((p, p) for p in ("layer1", "layer2", "layer3", "fc"))):
    inside = [k for k, n in enumerate(names) if n.startswith(prefix)]
    edges.append(inside[0] - 0.5)
    titles.append((np.mean(inside), title))
for edge in edges[1:]:
    ax.axvline(edge, color="0.8", linewidth=1)
ax.set_xticks([at for at, _ in titles], [title for _, title in titles])
ax.tick_params(axis="x", length=0)
cut = names.index("layer3.0.se.fc1.weight")
arrow = {"arrowstyle": "->"}
ax.annotate("last SE block", (cut, 3e-15), (cut - 7, 3e-9), arrowprops=arrow, ha="center")
ax.set_ylim(1e-18, 10)
ax.set_ylabel("relative error of the derivative")
ax.set_xlabel("parameter arrays, in the order of the network")
ax.legend(loc="center left")
plt.show()

# %%
assert all(wrong[name] < 1e-11 for name in names[cut:])
assert all(wrong[name] > 1e-4 for name in names[:cut])

# %% [markdown]
# What comes after the last SE block's multiplication is exact, and so are that block's own weights, which
# need only the gate's gradient. Everything before is wrong, mostly by tens of per cent: a mistake that passed
# a sloppy test of the block on its own.
#
# Would training have told? Here both learn the digits, two epochs from two seeds each
# ([lesson 15](15_training.py) explains the loop):


# %%
def accuracy(engine, seed):
    """Return the accuracy on the 360 test images after two epochs."""
    data = load_data("digits")
    transform = eval_transform(data.train)
    train = Loader(data.train, 32, transform=transform, shuffle=True, seed=seed)
    model = senumpy.create_model("se_resnet8_cifar", in_channels=1, engine=engine, seed=seed)
    sgd = SGD(model, momentum=0.9, weight_decay=1e-4)
    for epoch in range(2):
        train_epoch(model, train.epoch(epoch), sgd, lr=0.025)
    return evaluate(model, Loader(data.test, 32, transform=transform)).accuracy


for seed in (0, 1):
    found = accuracy(Engine(), seed), accuracy(Mistaken(), seed)
    print(f"seed {seed}: {found[0]:.1%} with the right gradient, {found[1]:.1%} without the gate path")
    assert min(found) > 0.9

# %% [markdown]
# An image is 0.3 points, so the two are no more than a few images apart. A network learns with a gradient
# that is roughly right, and nobody suspects a thing. Accuracy is no test of a gradient.
#
# ## Summary
#
# - SE stands at the end of the branch: batch norm, SE, sum, ReLU. Its squeeze follows from the means of
#   images that batch norm averages.
# - Shapes and parameter counts do not see a wrong order; exact counts see a wrong configuration;
#   multiply-adds see a wrong stride; a gradient through the whole network sees a wrong backward, and where it
#   sits.
# - SE-ResNet-50 has 25,557,032 + 2,530,992 parameters, as table 1 demands and the released model has.
#
# ## Exercises
#
# - `residual_tail_forward` (2 points): batch norm, SE, sum and ReLU, with and without SE.
#   `senumpy exercise start residual_tail_forward`
# - `residual_tail_backward` (3 points): all eight gradients. `senumpy exercise start residual_tail_backward`
#
# 1. Count the parameters of SE-ResNet-101 (3, 4, 23 and 3 units) from those of SE-ResNet-50.
#
#    :::{admonition} Answer
#    :class: dropdown
#    Seventeen units more in stage 4, each with $1024 \cdot 256 + 9 \cdot 256^2 + 256 \cdot 1024$ weights,
#    $2 \cdot (256 + 256 + 1024)$ of batch norm and $2 \cdot 1024 \cdot 64 + 64 + 1024$ of SE: 1,117,184 +
#    132,160 = 1,249,344. Together $28{,}088{,}024 + 17 \cdot 1{,}249{,}344 = 49{,}326{,}872$. Check it with
#    `create_model("se_resnet101", blank=True)`.
#    :::
#
# 2. In the last figure, why is the gradient of `layer3.0.downsample.0.weight` right although it stands before
#    the sum?
#
#    :::{admonition} Answer
#    :class: dropdown
#    It belongs to the last unit's shortcut, which receives $g$ without passing SE. The shortcuts of the
#    earlier units pass the later units' branches, and are wrong.
#    :::
#
# 3. With small weights and no biases SE's logits are near 0 at the start of training. By what factor does a
#    unit's branch shrink, and how would you make an SE-ResNet that starts as the plain ResNet does?
#
#    :::{admonition} Answer
#    :class: dropdown
#    By about one half. With $W_2 = 0$ and a large bias, say $b_2 = 4$, the gates begin at $\sigma(4) = 0.98$;
#    or double $\gamma$ of the last batch norm. The paper mentions neither.
#    :::
