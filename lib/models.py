"""The networks, as data: `ARCHITECTURES` names them, `build` makes one, `count` and `flops` measure it.

Every net takes raw images, uint8 (batch, height, width, channels), scales them itself, and returns logits, float32
(batch, classes). Depth counts as in He et al. (2015): n blocks a stage, three stages, 6n + 2 weight layers.
"""

import contextlib
import math
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from lib.data import MEAN_STD
from lib.layers import Conv2D, ConvBlock, ResidualBlock, Stage, make_norm


def scaling(channels):
    """uint8 images to zero mean and unit variance a channel, by the training set's constants; float, same shape.
    Raises ValueError where there are no constants for so many channels."""
    mean, std = MEAN_STD["mnist" if channels == 1 else "cifar10"]
    if channels != len(mean):
        raise ValueError(f"images have 1 channel or 3, not {channels}")
    return layers.Rescaling(
        [1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)], name="scale"
    )


def head(classes):
    # float32 whatever the compute dtype: bfloat16 logits lose the small differences that training lives on
    return layers.Dense(classes, name="logits", dtype="float32")


# kernel and stride of the first convolution, and the max-pool behind it (size, stride 2)
STEMS = {"cifar": (3, 1, None), "pooled": (3, 1, 2), "imagenet": (7, 2, 3), "paper": (5, 2, 2)}


class ResidualNet(keras.Model):
    """Stem, stages, global average pooling, logits: plain nets, ResNets and RecNets of any depth and width.

    shape: of one image. depths: blocks a stage, the transition counted, (n, n, n) for a net of He et al.'s family.
    width: channels of the first stage, doubled from stage to stage. tied: each stage's repeated blocks share their
    weights; a tuple says so of each stage. whole: tied beyond that, one block of one width takes every step of the net,
    and max-pools are the transitions. feed, recompute: as in Stage. norm, gamma: as in `make_norm`. stem: a name in
    STEMS. dropout: rate before the logits. block: further arguments of ResidualBlock (shortcut, activate, norm_place,
    activation).
    """

    def __init__(
        self,
        shape,
        depths,
        width=16,
        tied=False,
        whole=False,
        norm="per_step",
        gamma=1.0,
        stem="cifar",
        dropout=0.0,
        feed=False,
        recompute=False,
        classes=10,
        name=None,
        **block,
    ):
        super().__init__(name=name)
        if min(depths) < 1:
            raise ValueError(f"depths must be at least 1 block a stage, not {tuple(depths)}")
        ties = tuple(tied) if isinstance(tied, list | tuple) else (tied,) * len(depths)
        if len(ties) != len(depths) or not all(isinstance(tie, bool) for tie in ties):
            raise ValueError(f"tied must be True, False or one of these for each stage, not {tied!r}")
        if whole and not all(ties):
            raise ValueError(f"one block for the whole net ties every stage: tied must be True, not {tied!r}")
        if stem not in STEMS:
            raise ValueError(f"unknown stem {stem!r}; choose one of {', '.join(STEMS)}")
        pre = block.get("norm_place") == "pre"
        activation = block.get("activation", "relu")
        kernel, stride, pool = STEMS[stem]
        self.scale = scaling(shape[-1])
        self.stem = ConvBlock(width, kernel, stride, norm, activation=activation, name="stem")
        self.pool = layers.MaxPooling2D(pool, 2, "same", name="pool") if pool else None
        self.stages = []
        make = partial(ResidualBlock, norm=norm, gamma=gamma, **block)
        one = make(width, steps=sum(depths), name="block") if whole else None
        for s, depth in enumerate(depths):
            name, loop = f"stage{s + 1}", {"feed": feed, "recompute": recompute}
            if whole:
                transition = layers.MaxPooling2D(2, name=f"{name}_transition") if s else None
                stage = Stage(lambda **_: one, depth, True, transition, first=sum(depths[:s]), name=name, **loop)
            else:
                own = partial(make, width << s)
                transition = own(stride=2, project=True, name=f"{name}_transition") if s else None
                stage = Stage(own, depth - bool(s), ties[s], transition, name=name, **loop)
            self.stages.append(stage)
        # a pre-activation net ends in a bare sum, which wants its norm and activation before the read-out
        self.last_norm = make_norm(norm if pre else None, name="last_norm")
        self.last_activation = layers.Activation(activation if pre else None, name="last_activation")
        self.average = layers.GlobalAveragePooling2D(name="average")
        self.dropout = layers.Dropout(dropout, name="dropout")
        self.logits = head(classes)
        self(keras.Input(shape, dtype="uint8"))

    def build(self, input_shape):
        """Nothing to do: the symbolic call at the end of `__init__` builds every layer."""

    first_readout = 0  # the number of the first step that can be read out

    @property
    def depth(self):
        """Steps of the last stage."""
        return self.stages[-1].depth

    @property
    def is_recurrent(self):
        """Whether the last stage can take more steps than it was trained with."""
        return self.stages[-1].has_one_block

    def states(self, x, training=False, steps=None, drop=None):
        """Yields (name, state) after the stem, each transition and each step, state (batch, height, width, channels).

        steps: number of steps of the *last* stage (default: its depth). drop: (stage, step) from 0, a step to leave
        out.
        """
        state = self.stem(self.scale(x), training=training)
        state = state if self.pool is None else self.pool(state)
        for s, stage in enumerate(self.stages):
            last = stage is self.stages[-1]
            left_out = drop[1] if drop and drop[0] == s else None
            for t, new in enumerate(stage.states(state, training, steps if last else None, left_out)):
                yield f"stage{s + 1}_step{t}", new
            state = new

    def read_out(self, x, training=False):
        """The logits of a last-stage state x (batch, height, width, channels)."""
        x = self.last_activation(self.last_norm(x, training=training))
        return self.logits(self.dropout(self.average(x), training=training))

    def call(self, x, training=False, steps=None, drop=None):
        *_, (_, x) = self.states(x, training, steps, drop)
        return self.read_out(x, training)

    def readouts(self, x, training=False, steps=None):
        """Logits after every step of the last stage, the transition first: (steps + 1, batch, classes)."""
        last = f"stage{len(self.stages)}"
        return ops.stack(
            [self.read_out(y, training) for name, y in self.states(x, training, steps) if name.startswith(last)]
        )


class FeedbackNet(keras.Model):
    """Several states, each of half the resolution and twice the channels of the one before it, that change together
    step by step and feed each other: a recurrent net after Liao & Poggio (2016), with all weights shared over time.

        h_i(t+1) = ReLU(h_i(t) + F_i(h_i(t)) + forth_i(h_(i-1)(t)) + back_i(h_(i+1)(t)))

    F_i are the two convolutions of a residual block, forth a 3x3 convolution with stride 2, back a 1x1 convolution
    and then up-sampling; a term whose state has not been reached yet is left out, and so is a change that could not
    reach the last state any more before the read-out. The last state is reached at step states - 1 and can be read out
    from then on. shape: of one image. states: how many, at least 2. steps: at the read-out. feedback: whether there is
    back_i. width: channels of the first state. norm: as in `make_norm`.
    """

    def __init__(self, shape, states=3, steps=7, feedback=True, width=16, norm="per_step", classes=10, name=None):
        super().__init__(name=name)
        self.depth, self.first_readout = steps, states - 1
        if not 2 <= states <= steps + 1:
            raise ValueError(f"a net of several states needs 2 to steps + 1 = {steps + 1} of them, not {states}")
        self.scale = scaling(shape[-1])
        self.stem = ConvBlock(width, norm=norm, name="stem")
        self.paths = {}
        for source in range(states):
            nearest = max(0, source - 1) if feedback else source
            for target in range(nearest, min(source + 2, states)):
                # its norms count the steps since its source was reached, and up to the last that matters
                taken = self.last_change(target, steps) - source
                if taken < 1:
                    continue
                common = {"norm": norm, "steps": taken, "name": f"path{source + 1}{target + 1}"}
                if source == target:
                    path = ResidualBlock(width << target, shortcut=False, activate=False, **common)
                else:
                    kernel, stride = (3, 2) if source < target else (1, 1)
                    path = ConvBlock(width << target, kernel, stride, activation=None, **common)
                self.paths[source, target] = path
        self.up = layers.UpSampling2D(2, name="up")
        self.activation = layers.Activation("relu", name="activation")
        self.average = layers.GlobalAveragePooling2D(name="average")
        self.logits = head(classes)
        self(keras.Input(shape, dtype="uint8"))

    is_recurrent = True

    def build(self, input_shape):
        """Nothing to do, as in ResidualNet."""

    def last_change(self, state, steps):
        """The number of the last step whose change of a state comes to the last state within `steps`."""
        return steps - (self.first_readout - state)

    def states(self, x, training=False, steps=None):
        """Yields the list of states before the first step and after each, None for a state not reached yet; one that
        can't reach the last state any more stays as it is. Raises ValueError on too few steps for the last one to be
        reached."""
        steps = self.depth if steps is None else steps
        if steps < self.first_readout:
            raise ValueError(f"the last state is reached at step {self.first_readout}: {steps} can give no answer")
        states = [self.stem(self.scale(x), training=training)] + [None] * self.first_readout
        yield states
        for t in range(steps):
            sums = list(states)
            for (source, target), path in self.paths.items():
                if states[source] is not None and t < self.last_change(target, steps):
                    sent = path(states[source], step=t - source, training=training)
                    sent = self.up(sent) if source > target else sent
                    sums[target] = sent if sums[target] is None else sums[target] + sent
            states = [None if x is None else self.activation(x) for x in sums]
            yield states

    def call(self, x, training=False, steps=None):
        *_, states = self.states(x, training, steps)
        return self.logits(self.average(states[-1]))

    def readouts(self, x, training=False, steps=None):
        """Logits after every step from the one that reaches the last state: (steps - states + 2, batch, classes)."""
        reached = (states[-1] for states in self.states(x, training, steps) if states[-1] is not None)
        return ops.stack([self.logits(self.average(state)) for state in reached])


def he_net(shape, n=3, **options):
    """A net of He et al.'s CIFAR family, `recnet` and `resnet`: three stages of n blocks, 6n + 2
    weight layers; or stages of n[0], n[1], ... blocks."""
    return ResidualNet(shape, n if isinstance(n, list | tuple) else (n, n, n), **options)


def resnet18(shape, **options):
    """The 18-layer ResNet of He et al. (2015), table 1: four stages of two blocks, 64 to 512 channels."""
    return ResidualNet(shape, (2, 2, 2, 2), **{"width": 64} | options)


def sequential(shape, name, *stack):
    """Scaling, the given layers, logits."""
    return keras.Sequential([keras.Input(shape, dtype="uint8"), scaling(shape[-1]), *stack, head(10)], name=name)


def softmax_regression(shape):
    return sequential(shape, "softmax", layers.Flatten())


def mlp(shape, units=512, depth=2):
    """Fully connected, `depth` hidden layers of `units` ReLUs."""
    return sequential(
        shape, "mlp", layers.Flatten(), *(layers.Dense(units, "relu", name=f"dense{i + 1}") for i in range(depth))
    )


def mnist_cnn(shape, stride="conv", relu="once", activation="relu", filters=20):
    """The paper's section 3.1.1: convolution of 5x5, pool, twice; activation, fully connected.

    stride: the text's "stride of 2" is of the first convolution ("conv") or the pooling ("pool").
    relu: "once", at the end as written, or "each", after both convolutions. activation: "relu" or
    "softplus". Raises ValueError on another stride or relu.
    """
    if stride not in ("conv", "pool") or relu not in ("once", "each"):
        raise ValueError(f"stride is 'conv' or 'pool', relu 'once' or 'each'; not {stride!r}, {relu!r}")
    each = activation if relu == "each" else None
    return sequential(
        shape,
        "mnist_cnn",
        Conv2D(filters, 5, 2 if stride == "conv" else 1, "same", activation=each, name="conv1"),
        layers.MaxPooling2D(2, name="pool1"),
        Conv2D(filters, 5, padding="same", activation=each, name="conv2"),
        layers.MaxPooling2D(2, name="pool2"),
        layers.Activation(activation, name="activation"),
        layers.Flatten(),
    )


def paper_net(shape, wiring="none", steps=7, units=128, activation="tanh", dropout=0.5, padding="same", filters=20):
    """The paper's own two nets (section 5, figure 7), in every reading of the closed list of claims.

    wiring: how the flattened vector meets the RNN. "none": no RNN, the depth-1 ResNet. "repeat": the vector repeated
    `steps` times. "stack": that, through `steps` stacked RNN layers. "rows": the rows of the map are the steps.
    "state": the vector is the initial state, the input is empty, so units = its length. padding: of the stem; "valid"
    leaves a 7x7 map, kept whole for "rows".
    """
    wirings = ("none", "repeat", "stack", "rows", "state")
    if wiring not in wirings:
        raise ValueError(f"unknown wiring {wiring!r}; choose one of {', '.join(wirings)}")

    def rnn(units=units, **kwargs):
        return layers.SimpleRNN(units, activation=activation, unroll=True, **kwargs)

    x = inputs = keras.Input(shape, dtype="uint8", name="image")
    x = ConvBlock(filters, kernel=5, stride=2, padding=padding, name="stem")(scaling(shape[-1])(x))
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = ResidualBlock(filters, name="block")(x)
    if padding == "same":
        x = layers.MaxPooling2D(2, name="pool2")(x)
    if wiring == "rows":
        x = rnn(name="rnn")(layers.Reshape((x.shape[1], x.shape[2] * filters))(x))
    else:
        x = layers.Flatten(name="flatten")(x)
    if wiring in ("repeat", "stack"):
        x = layers.RepeatVector(steps, name="repeat")(x)
        for i in range(steps - 1 if wiring == "stack" else 0):
            x = rnn(return_sequences=True, name=f"rnn{i + 1}")(x)
        x = rnn(name="rnn")(x)
    elif wiring == "state":
        x = rnn(x.shape[-1], name="rnn")(ops.zeros_like(layers.RepeatVector(steps)(x[:, :1])), initial_state=x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, head(10)(x), name="paper_net")


ARCHITECTURES = {
    "softmax": softmax_regression,
    "mlp": mlp,
    "mnist_cnn": mnist_cnn,
    "plain": partial(he_net, shortcut=False),
    "resnet": he_net,
    "recnet": partial(he_net, tied=True),
    "resnet18": resnet18,
    "feedback": FeedbackNet,
    "paper_resnet": paper_net,
    "paper_recnet": partial(paper_net, wiring="repeat"),
}


def build(architecture, shape, **options):
    """The named net for images of `shape` (height, width, channels). Raises ValueError on an unknown name or option,
    and on what makes no net."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; choose one of {', '.join(ARCHITECTURES)}")
    if np.shape(shape) != (3,):
        raise ValueError(f"the shape of an image is (height, width, channels), not {shape!r}")
    try:
        return ARCHITECTURES[architecture](tuple(shape), **options)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{architecture} does not take these options: {options} ({error})") from error


def count(model):
    """(trainable weights, running statistics) of a net, as exact integers; random-number states are not counted."""
    statistics = [v for v in model.non_trainable_variables if "float" in str(v.dtype)]
    return tuple(sum(math.prod(v.shape) for v in vs) for vs in (model.trainable_variables, statistics))


def sublayers(model, kind):
    """All layers of the given class (or classes) inside a model, each once, in the order of the forward pass."""
    # level by level: Keras' own recursion reverses the inner levels
    layers_inside = model._flatten_layers(include_self=False, recursive=False)
    found = []
    for layer in layers_inside:
        if isinstance(layer, kind):
            found.append(layer)
        found += sublayers(layer, kind)
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def watched(found, watch):
    """Inside, each call of these layers goes through watch(layer, call, x, ...), where `call` is what it was before."""
    calls = {layer: layer.call for layer in found}
    try:
        for layer, call in calls.items():
            layer.call = partial(watch, layer, call)
        yield
    finally:
        for layer, call in calls.items():
            layer.call = call


def flops(model, shape):
    """Forward floating-point operations for one image: two a multiply-add, of convolutions, dense and recurrent layers.

    Norms, activations and pooling are left out, as is usual; in these nets they are below 2 %. The layers are watched
    while one image passes, so a layer that is applied seven times counts seven times.
    """
    total = 0

    def add(layer, call, x, *args, **kwargs):
        nonlocal total
        y = call(x, *args, **kwargs)
        if isinstance(layer, layers.SimpleRNN):
            cell = layer.cell
            total += 2 * x.shape[1] * (cell.kernel.shape[0] + cell.units) * cell.units
        else:  # every output value of a convolution or a dense layer sums as many products as its kernel has rows
            total += 2 * math.prod(y.shape[:-1]) * math.prod(layer.kernel.shape)
        return y

    with watched(sublayers(model, (layers.Conv2D, layers.Dense, layers.SimpleRNN)), add):
        model(ops.zeros((1, *shape), "uint8"))
    return total
