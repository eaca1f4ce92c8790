# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 16. Looking inside: the gates
#
# **Question.** A trained SE network computes a gate for every channel of every image. Do the gates know what
# is in the image? In which layers? And if they do: does the network need to be told?
#
# *Paper: section 7.2, figures 6 and 7.*  Reading time: 13 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

import senumpy
from senumpy.data import eval_transform, load_data
from senumpy.engines import default_engine
from senumpy.layers import SEConfig, SqueezeExcite
from senumpy.lessons import show, style
from senumpy.prediction.gates import GateWatcher
from senumpy.training import SGD, cosine, warm_up
from senumpy.training.loop import train_epoch

style()

# %% [markdown]
# ## What the paper looked at
#
# The authors took a trained SE-ResNet-50 and four classes that differ semantically and in appearance:
# goldfish, pug, plane, cliff. For 50 validation images of each class they recorded the gates $s_{n,c}$
# (equation 3; $n$ is the image, $c$ the channel) of six blocks, and drew the mean over the images of a class
# against the channel, for 50 uniformly sampled channels, beside the mean over all 1,000 classes: figure 6.
# Figure 7 has, for two of the classes, mean and standard deviation within the class. `SE_4_6` is the sixth
# block of stage 4; stage 2 is the first with residual units. They report:
#
# 1. in early blocks (`SE_2_3`, `SE_3_4`) the gates are nearly the same for all classes;
# 2. deeper (`SE_4_6`, `SE_5_1`) they become class-specific;
# 3. at the end they stop being so: in `SE_5_2` most are close to 1, where SE does nothing, and in `SE_5_3` the
#    classes share one pattern up to a modest change of scale. So SE in the last stage should matter less.
#    Removing it saves most of the additional parameters and costs less than 0.1 points of top-5 error
#    (section 4);
# 4. gates vary within a class, too, and follow the same trend with depth.
#
# ImageNet and an SE-ResNet-50 are not at hand in a lesson. Digits and an SE-ResNet-20 are, with nine blocks
# in three stages, `SE_2_1` to `SE_4_3`, of 16, 32 and 64 channels. The reduction ratio is $r = 4$: with the
# usual 16, a block of 16 channels would have a hidden layer of one number, and all its gates would be
# functions of that number.
#
# ## Recording gates
#
# A network calls its engine for every operation. So the least intrusive way to see gates is an engine that
# passes every call on to another, and remembers what goes by:

# %%
show(GateWatcher.squeeze_excite_forward)

# %% [markdown]
# Train first (six epochs, as in [lesson 15](15_training.py), three seeds), then copy the weights into a
# network on a `GateWatcher`, and run all 1,797 digits through it. Most of these are training digits, so we
# check below that the 360 test digits alone tell the same story.

# %%
engine = senumpy.engine(default_engine(), **({"threads": 1} if default_engine() == "numba" else {}))
data = load_data("digits")
normalise = eval_transform(data.train)
x = np.stack([normalise(image) for part in (data.train, data.test) for image in part.images])
y = np.concatenate([data.train.labels, data.test.labels])
train = np.arange(len(x)) < len(data.train.labels)
MAKE = {"in_channels": 1, "se": SEConfig(reduction=4)}
EPOCHS = 6


def batches(rng):
    order = rng.permutation(np.flatnonzero(train))
    for start in range(0, len(order), 32):
        chosen = order[start : start + 32]
        yield x[chosen], y[chosen]


def trained(seed):
    model = senumpy.create_model("se_resnet20_cifar", engine=engine, seed=seed, **MAKE)
    sgd = SGD(model, momentum=0.9, weight_decay=1e-3)
    rng, rate = np.random.default_rng(seed), warm_up(cosine(0.1, EPOCHS), 2)
    for epoch in range(EPOCHS):
        train_epoch(model, batches(rng), sgd, rate(epoch))
    return model


def untrained(seed):
    """Return a network whose weights are as drawn; only batch norm has seen the images."""
    model = senumpy.create_model("se_resnet20_cifar", engine=engine, seed=seed, **MAKE)
    for images, _ in batches(np.random.default_rng(seed)):
        model.forward(images)
    return model


def watch(model, watcher=None):
    """Return a copy of the network on a `GateWatcher`."""
    watcher = watcher or GateWatcher(senumpy.engine("numpy"))
    copy = senumpy.create_model("se_resnet20_cifar", engine=watcher, blank=True, **MAKE)
    copy.load_state_dict(model.state_dict())
    return copy


def gates_of(model):
    """Return s (1797, C) of each block."""
    copy = watch(model)
    with copy.inference():
        for part in np.array_split(x, 9):  # some 200 images fit the processor's cache, 1,797 don't
            copy.forward(part)
    recorded = copy.engine.gates  # nine blocks of the first part, nine of the second, ...
    return [np.concatenate(recorded[block::9]) for block in range(9)]


models = [trained(seed) for seed in range(3)]
gates = [gates_of(model) for model in models]
raw = [gates_of(untrained(seed)) for seed in range(3)]

layers = [name for name, layer in models[0].named_layers() if isinstance(layer, SqueezeExcite)]
names = [f"SE_{stage}_{unit}" for stage in (2, 3, 4) for unit in (1, 2, 3)]
print(layers[0], "is", names[0], "and", layers[-1], "is", names[-1])
assert [s.shape for s in gates[0]] == [(1797, c) for c in (16, 32, 64) for _ in range(3)]

# %% [markdown]
# Is what was recorded really the gate that was applied? A block's gates are a function of its input alone, so
# take a layer out of the network, give it an input $u$, and work equations 2, 3 and 4 out by hand:

# %%
layer = dict(models[0].named_layers())[layers[-1]]
u = np.random.default_rng(0).normal(size=(5, 64, 2, 2)).astype("float32")
w1, b1, w2, b2 = layer.weights()
hidden = np.maximum(0, u.mean(axis=(2, 3)) @ w1.T + b1)
by_hand = 1 / (1 + np.exp(-(hidden @ w2.T + b2)))
watcher = GateWatcher(senumpy.engine("numpy"))
scaled, _ = watcher.squeeze_excite_forward(u, w1, b1, w2, b2)
np.testing.assert_allclose(watcher.gates[0], by_hand, rtol=1e-5)
np.testing.assert_allclose(scaled, by_hand[:, :, None, None] * u, rtol=1e-5)

# %% [markdown]
# ## Figure 6, on digits
#
# Mean gate by channel for four digits, and for all ten (grey), of the first network: the first and the last
# block of stage 2, the last of stage 3, and, as in the paper, all of the last stage. Channels have no order;
# they are joined by lines only so that the eye can follow a class.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Six panels, one for each of six SE blocks, with the mean gate against the channel for the digits 0, 1, 4 and 7 and for all. In stage 2 the lines nearly coincide, around 0.5; in stage 3 they separate a little; in the three blocks of stage 4 they scatter over most of the range from 0 to 1, each class with a pattern of its own."}}
CLASSES = (0, 1, 4, 7)
PANELS = (0, 2, 5, 6, 7, 8)
figure, axes = plt.subplots(3, 2, figsize=(7, 6.4), sharey=True)
for ax, block in zip(axes.flat, PANELS, strict=True):
    s = gates[0][block]
    for k, digit in enumerate(CLASSES):
        ax.plot(s[y == digit].mean(axis=0), color=f"C{k}", linewidth=1, label=f"{digit}")
    ax.plot(s.mean(axis=0), color="0.55", linewidth=2, zorder=1, label="all")
    ax.text(0.02, 0.9, names[block], transform=ax.transAxes)
    ax.set(
        xlim=(0, s.shape[1] - 1),
        ylim=(0, 1.19),
        yticks=[0, 0.5, 1],
        xticks=range(0, s.shape[1], s.shape[1] // 4),
    )
for ax in axes[:, 0]:
    ax.set_ylabel("mean gate")
for ax in axes[-1]:
    ax.set_xlabel("channel")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5, title="digit")
plt.show()

# %% [markdown]
# The first two observations hold: nearly one line in stage 2, several in stage 3, a different pattern for each
# digit in stage 4. The third one does not. The last blocks are the *most* class-specific of all, and hardly
# any gate is near 1.
#
# ## Figure 7, on digits
#
# The same with the spread: mean and one standard deviation over the images of one class. If bands of two
# classes are apart in a channel, that channel's gate tells the classes apart image by image, not only on
# average.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Mean gate with a band of one standard deviation for the digits 0 and 1, in four blocks. In SE_2_3 and SE_3_3 both stay around 0.5 and the bands overlap in most channels; in SE_4_1 the means are often far apart, with broad bands; in SE_4_3 the bands are narrow and far apart in many channels."}}
figure, axes = plt.subplots(2, 2, figsize=(7, 4.6), sharey=True)
for ax, block in zip(axes.flat, (2, 5, 6, 8), strict=True):
    s = gates[0][block]
    for digit, colour in ((0, "C0"), (1, "C1")):
        centre, spread = s[y == digit].mean(axis=0), s[y == digit].std(axis=0)
        channels = np.arange(s.shape[1])
        ax.fill_between(channels, centre - spread, centre + spread, color=colour, alpha=0.25, linewidth=0)
        ax.plot(channels, centre, color=colour, linewidth=1, label=f"digit {digit}")
    ax.text(0.02, 0.9, names[block], transform=ax.transAxes)
    ax.set(
        xlim=(0, s.shape[1] - 1),
        ylim=(0, 1.19),
        yticks=[0, 0.5, 1],
        xticks=range(0, s.shape[1], s.shape[1] // 4),
    )
for ax in axes[:, 0]:
    ax.set_ylabel("gate, mean and std")
for ax in axes[-1]:
    ax.set_xlabel("channel")
axes[0, 1].legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown]
# ## One number for each block
#
# Pictures of six blocks of one network persuade easily. Let us measure all nine blocks of three networks. The
# variance of a gate over images splits exactly into what lies between the classes and what lies within them:
#
# $$
# \underbrace{\tfrac1N \sum_n (s_{n,c} - \bar s_c)^2}_{\text{total } T_c}
# = \underbrace{\sum_k \tfrac{N_k}{N} (\bar s_{k,c} - \bar s_c)^2}_{\text{between } B_c}
# + \underbrace{\sum_k \tfrac{N_k}{N} V_{k,c}}_{\text{within}} ,
# $$
#
# with $\bar s_c$ the mean over all $N$ images, and $\bar s_{k,c}$ and $V_{k,c}$ the mean and variance over the
# $N_k$ images of class $k$. The *class
# share* of a block is $\sum_c B_c / \sum_c T_c$: 0 for gates whose class means are all equal, 1 for gates that
# are a function of the class. Figure 6 shows $B$, figure 7 both. Every such number needs something to be
# compared with, and we take two:
#
# - *chance*: the same with shuffled labels, near $9/1796$ (question 1);
# - *an untrained network*: its random filters respond to strokes as well, and different digits have different
#   strokes. Whatever class share it has is due to the images and not to learning.


# %%
def variances(s, labels):
    """Return the variances between and within classes, each a sum over channels."""
    share = np.array([np.mean(labels == k) for k in range(10)])
    centres = np.stack([s[labels == k].mean(axis=0) for k in range(10)])
    inside = np.stack([s[labels == k].var(axis=0) for k in range(10)])
    between = (share[:, None] * (centres - s.mean(axis=0)) ** 2).sum()
    return between, (share[:, None] * inside).sum()


def class_share(s, labels):
    s = s.astype("float64")
    between, within = variances(s, labels)
    np.testing.assert_allclose(between + within, s.var(axis=0).sum(), rtol=1e-9, atol=1e-12)
    return between / max(between + within, 1e-12)  # gates that are all the same know no class


shuffled = np.random.default_rng(0).permutation(y)
measured = {
    "trained": [[class_share(s, y) for s in network] for network in gates],
    "untrained": [[class_share(s, y) for s in network] for network in raw],
    "shuffled labels": [[class_share(s, shuffled) for s in network] for network in gates],
}
for title, table in measured.items():
    print(f"{title:16}", *(f"{value:.2f}" for value in np.mean(table, axis=0)))

shares = np.array(measured["trained"])
assert np.all(shares[:, 6:].mean(axis=1) > shares[:, :3].mean(axis=1) + 0.2)  # in each network
assert shares[:, 8].min() > 0.8 > 0.5 > np.max(measured["untrained"])
assert np.max(measured["shuffled labels"]) < 0.03
test_shares = np.array([[class_share(s[~train], y[~train]) for s in network] for network in gates])
assert np.abs(test_shares - shares)[:, 6:].max() < 0.1  # no effect of having seen the training digits

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left, the share of the gates' variance that lies between classes, for nine blocks by depth: in trained networks it rises from between 0.2 and 0.6 in stage 2 to about 0.9 in the last block, in untrained ones it falls from about 0.25 to 0.1, with shuffled labels it is near zero. Right, the standard deviation of gates between and within classes by block: both are small in stages 2 and 3, then the one between classes grows to about 0.16 while the one within classes stays below 0.1."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4))
for (title, table), colour, marker in zip(measured.items(), ("C0", "C1", "0.5"), "osd", strict=True):
    left.plot(np.transpose(table), color=colour, linewidth=0.6, alpha=0.5)
    left.plot(np.mean(table, axis=0), color=colour, marker=marker, markersize=5, label=title)
split = np.array([[variances(s, y) for s in network] for network in gates])  # (network, block, 2)
deviation = np.sqrt(split / [[[s.shape[1]] for s in gates[0]]])
for k, (title, colour, marker) in enumerate((("between classes", "C2", "^"), ("within a class", "C3", "v"))):
    right.plot(deviation[:, :, k].T, color=colour, linewidth=0.6, alpha=0.5)
    right.plot(deviation[:, :, k].mean(axis=0), color=colour, marker=marker, markersize=5, label=title)
for ax, label in ((left, "class share of the variance"), (right, "standard deviation of gates")):
    ax.set_xticks(range(9), [name[3:] for name in names], fontsize=9)
    ax.set(xlabel="block (stage_unit)", ylabel=label, ylim=(-0.02 * (ax is left), None))
    ax.legend(loc="upper left")
left.set_ylim(-0.02, 1.35)
left.set_yticks([0, 0.25, 0.5, 0.75, 1])
right.set_ylim(0, 0.28)
plt.show()

# %% [markdown]
# The control was worth its cost. Random gates have a class share of a quarter in stage 2, and some trained ones
# are no higher: that much a network knows of the class without having learned anything. With depth the share
# rises in trained networks and falls in untrained ones, so the rise is learned. The right panel says how much
# there is to share: in stage 2 the class moves a gate by 0.01 to 0.03, in stage 4 by about 0.15.
#
# Saturation, the paper's third observation, would show as gates near 1 (or 0):

# %%
for block in (2, 5, 8):
    s = np.concatenate([network[block].ravel() for network in gates])
    high, low = np.mean(s > 0.95), np.mean(s < 0.05)
    print(f"{names[block]}: mean {s.mean():.2f}, above 0.95: {high:.1%}, below 0.05: {low:.1%}")
last = np.concatenate([network[8].ravel() for network in gates])
assert np.mean(last > 0.95) < 0.1
assert 0.4 < last.mean() < 0.6

# %% [markdown]
# Next to none. On average the gates stay at 0.5, where random weights put them. Nothing in the loss pushes them
# towards 1: a factor of one half that all images share costs nothing, since $\gamma$ and $\beta$ of the batch
# norm in front of the gate can make up for it. Why the paper's last stage saturates, this experiment can't
# say. It only shows that last stages need not.
#
# ## Seen is not needed
#
# Gates of the last stage carry the class. It is tempting to conclude that the network *uses* them to
# classify. That is another question, and it takes an intervention: hold the gates of a stage at their mean
# over the training images, $s_{n,c} \to \bar s_c$, the same for every image, and test again. What the gates
# say about the image is gone; everything else stays. If the network needs what they say, its test loss rises.
# A positive control tells whether the experiment could have noticed anything: gates set to zero, which
# silences the stage's branches altogether.


# %%
class HeldGates(GateWatcher):
    """Gates of some blocks are given instead of computed."""

    def __init__(self, inner):
        super().__init__(inner)
        self.held, self.block = {}, 0

    def squeeze_excite_forward(self, u, *weights, squeeze="avg", gate="sigmoid"):
        block, self.block = self.block, self.block + 1
        if block not in self.held:
            return super().squeeze_excite_forward(u, *weights, squeeze=squeeze, gate=gate)
        s = np.broadcast_to(self.held[block], (len(u), u.shape[1]))
        return self.inner.scale_forward(u, np.ascontiguousarray(s, dtype=u.dtype))


def test(model, held):
    """Return the test loss and the errors among 360 test digits with these gates held."""
    copy = watch(model, HeldGates(senumpy.engine("numpy")))
    copy.engine.held = held
    with copy.inference():
        logits = copy.forward(x[~train])
    loss, _ = copy.engine.softmax_cross_entropy_forward(logits, y[~train])
    return float(loss), int((logits.argmax(axis=1) != y[~train]).sum())


results = {}
for model, network in zip(models, gates, strict=True):
    means = {block: s[train].mean(axis=0) for block, s in enumerate(network)}
    trials = {"as trained": {}}
    trials |= {f"stage {k}, held": {b: means[b] for b in range(3 * k - 6, 3 * k - 3)} for k in (2, 3, 4)}
    trials |= {"all, held": means}
    trials |= {"all, as for a 1": {b: s[train & (y == 1)].mean(axis=0) for b, s in enumerate(network)}}
    trials |= {"stage 4, zero": {b: 0 * means[b] for b in (6, 7, 8)}}
    for title, held in trials.items():
        results.setdefault(title, []).append(test(model, held))
for title, rows in results.items():
    print(f"{title:15} loss", *(f"{loss:.3f}" for loss, _ in rows), "  errors of 360:", *(e for _, e in rows))

trained_loss = np.array(results["as trained"])[:, 0]
assert np.abs(np.array(results["all, held"])[:, 0] - trained_loss).max() < 0.05
assert np.all(np.array(results["stage 4, zero"])[:, 0] > trained_loss + 0.2)

# %% [markdown]
# With *every* gate of the network held at its mean, one constant for each channel, the loss changes in the
# third decimal and no more than an error or two comes or goes. Even a wrong answer changes little: give every
# image the gates of the average 1, and the loss rises by a tenth to a half. The positive control multiplies
# it by seven or more. So on digits the gates of these trained networks are easily read and of next to no use.
# (Whether they were of use while the network was learning, this can't show.) One explanation: the features
# tell the classes apart, a channel that responds to a 4 gets a gate that responds to a 4, and the classifier
# does not need to be told twice. It fits what [lesson 15](15_training.py) found: on this task, SE can't be
# told from plain.
#
# Here is the caution for figures 6 and 7, in the paper or anywhere else. A pattern that differs between
# classes shows what a gate *contains*. Whether the network relies on it, only taking it away can tell. The
# paper took away, too: SE in the last stage (section 4), and SE in all stages but one (table 13). Its answer
# is not ours: on ImageNet, SE is worth a point.
#
# | observation | paper, ImageNet | here, digits |
# |---|---|---|
# | early gates hardly depend on the class | yes | yes, by 0.01 to 0.03 |
# | deeper gates do | yes | yes, class share up to 0.9 |
# | last blocks saturate or share a pattern | yes | no, they are the most specific |
# | spread within a class | follows the same trend | grows, but less than that between classes |
# | last stage can do without | SE removed: less than 0.1 points of top-5 error | gates held: so can every stage |
#
# ## Summary
#
# - Gates of early blocks are nearly the same for all classes; with depth they become class-specific. Digits
#   show it as ImageNet did, and comparison with untrained networks shows that it is learned.
# - The saturation of the paper's last blocks is not a law: a small network on digits has none of it.
# - That gates differ by class does not mean that the network needs it. Held at their means, these classify as
#   well as before. Look first, then intervene.
#
# ## Exercises
#
# 1. With shuffled labels, why is the class share about $9/1796$ and not 0?
#
# :::{admonition} Answer
# :class: dropdown
# Ten random groups of images have slightly different means. If labels are independent of the gates, the
# expected share is (number of classes − 1)/(number of images − 1), as in a one-way analysis of variance. With
# few images it is not small: with 5 images of each class it would be $9/49 = 0.18$. The paper's 50 images of
# each of four classes give $3/199$.
# :::
#
# 2. Repeat the lesson with `SEConfig()`, that is $r = 16$. What do you expect of the gates of stage 2, and
#    what do you see?
#
# :::{admonition} Answer
# :class: dropdown
# The hidden layer has $16/16 = 1$ unit. All 16 gates are monotonic functions of one number per image. If its
# ReLU is dead for all images, which happens to one unit more easily than to four at once, the gates of that
# block are constants, $\sigma(b_2)$, and its class share is 0/0, for which `class_share` returns 0. In
# our runs with three seeds, two to four of the nine blocks of stage 2 ended that way.
# :::
#
# 3. Hold the gates of the last block at the mean of a *wrong* class instead of the mean of all. Predict the
#    loss, then try it.
#
# :::{admonition} Answer
# :class: dropdown
# `held = {8: s[train & (y == k)].mean(axis=0)}`, with `s = network[8]`. The loss changes by a few per cent, and
# for some $k$ it goes *down*. Setting the block's gates to zero raises it by a tenth or two, and hardly an
# error comes or goes: the shortcut alone gives almost the same result, so the whole last unit is hardly
# needed. Digits are too easy for 20 layers.
# :::
#
# 4. The class share says nothing about *how many* channels carry the class. How would you find out which of
#    them a classifier could use?
#
# :::{admonition} Answer
# :class: dropdown
# Fit something simple to the gates of training images and test it on the others: the nearest class mean will
# do. From the gates of the last block alone, more than nine in ten of the test digits are classified
# correctly; from those of `SE_2_1`, a fifth to a third. Then leave channels out. This measures what can be
# read, and again not what the network reads.
# :::
