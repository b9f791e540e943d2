"""The building blocks: norms, convolution and residual blocks, and the stage, which is a loop over one step.

A stage applies `depth` steps to one image-shaped state. Tied (RecNet) and untied (ResNet) differ in one line of
`Stage`: either one block is applied `depth` times, or `depth` blocks are applied once each. Everything a block does
at a step it does through `step`, a number that only the norms look at: a norm may keep its own statistics and affine
for each step.

Images are (batch, height, width, channels). The compute dtype follows the Keras dtype policy.
"""

from contextvars import ContextVar
from functools import partial

import keras
from keras import ops

from lib import backend

NORMS = ("per_step", "per_step_stats", "shared", "group", None)


def make_norm(kind, steps=1, gamma=1.0, name=None):
    """A normalisation layer, called as `norm(x, step=t, training=...)`.

    kind: "per_step" (own statistics, gamma and beta at each step), "per_step_stats" (own statistics, shared gamma and
    beta), "shared" (one batch norm for all steps), "group" (group norm: no running statistics, hence the same at every
    step) or None (no normalisation).
    steps: how many steps the block around it takes; an untied block takes one, so there the first three kinds are the
    same. gamma: the start value of the scale; Jastrzebski et al. (2018) advise 0.1 where weights are shared. Raises
    ValueError on an unknown kind and a negative number of steps.
    """
    if kind not in NORMS:
        raise ValueError(f"unknown norm {kind!r}; choose one of {', '.join(map(repr, NORMS))}")
    if steps < 0:
        raise ValueError(f"a norm serves 0 or more steps, not {steps}")
    if kind is None:
        return Identity(name=name)
    if kind == "group":
        return GroupNorm(gamma, name=name)
    return BatchNorm(
        statistics=1 if kind == "shared" else steps, affines=steps if kind == "per_step" else 1, gamma=gamma, name=name
    )


class Identity(keras.layers.Layer):
    """No normalisation, with the call signature of a norm."""

    def call(self, x, step=0, training=False):
        return x


class GroupNorm(keras.layers.Layer):
    """Group normalisation over at most eight groups of channels, the same at every step (Wu & He 2018).

    Equal to Keras' own layer, in a third of its time: a channel's moments are taken in the image's own shape, and only
    the small table of them is put into groups.
    """

    def __init__(self, gamma=1.0, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.gamma_start, self.epsilon = gamma, epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        self.groups = next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
        start = keras.initializers.Constant(self.gamma_start)
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer=start, autocast=False)
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros", autocast=False)

    def call(self, x, step=0, training=False):
        y = ops.cast(x, self.gamma.dtype)
        mean = self._by_group(ops.mean(y, axis=(1, 2)))
        variance = self._by_group(ops.mean(ops.square(y), axis=(1, 2))) - ops.square(mean)
        # taken in one pass over the image, so rounding could make it negative where the mean is huge beside the spread
        scale = self.gamma * ops.rsqrt(ops.maximum(variance + self.epsilon, self.epsilon))
        return ops.cast(y * scale[:, None, None] + (self.beta - mean * scale)[:, None, None], x.dtype)

    def _by_group(self, moments):
        """Each channel's entry of (batch, channels) replaced by the mean over its group."""
        size = moments.shape[-1] // self.groups
        return ops.repeat(ops.mean(ops.reshape(moments, (-1, self.groups, size)), axis=-1), size, axis=-1)


class BatchNorm(keras.layers.Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) with a list of running statistics and a list of affines, each indexed
    by the step. After a training step, running = momentum x running + (1 - momentum) x the batch's, variance biased.

    A step beyond the end of a list uses its last entry: an untied block (one entry) serves any step, and a tied one
    that is run past its trained number of steps keeps the last step's statistics and affine.

    fused: as in `backend.normalise_batch`.
    """

    def __init__(self, statistics=1, affines=1, gamma=1.0, momentum=0.9, epsilon=1e-5, fused=True, **kwargs):
        super().__init__(**kwargs)
        self.statistics, self.affines, self.gamma_start = statistics, affines, gamma
        self.momentum, self.epsilon = momentum, epsilon
        self.fused = fused and self.compute_dtype != "float64"  # the kernel has no float64

    def build(self, input_shape):
        def weights(name, count, start, trainable):
            # float32 also under bfloat16 compute: statistics and affines are tiny and sensitive
            return [
                self.add_weight(
                    name=f"{name}{t + 1}" if count > 1 else name,
                    shape=input_shape[-1:],
                    autocast=False,
                    initializer=keras.initializers.Constant(start),
                    trainable=trainable,
                    aggregation="none" if trainable else "mean",  # on several devices, whose values are the same
                )
                for t in range(count)
            ]

        self.gamma = weights("gamma", self.affines, self.gamma_start, True)
        self.beta = weights("beta", self.affines, 0.0, True)
        self.mean = weights("mean", self.statistics, 0.0, False)
        self.variance = weights("variance", self.statistics, 1.0, False)

    def call(self, x, step=0, training=False):
        """Raises ValueError in training where the step is a tensor and the statistics are a list: they are written by
        a step's number."""
        if training and len(self.mean) > 1 and not isinstance(step, int):
            raise ValueError("statistics per step are trained by a Stage, whose steps are counted in Python")
        gamma, beta, mean, variance = (_at(step, w) for w in (self.gamma, self.beta, self.mean, self.variance))
        if not training:
            return backend.normalise(x, gamma, beta, mean, variance, self.epsilon)
        y, batch_mean, batch_variance = backend.normalise_batch(x, gamma, beta, self.epsilon, self.fused)
        updates = [
            (running, running * self.momentum + ops.stop_gradient(batch) * (1 - self.momentum))
            for running, batch in ((mean, batch_mean), (variance, batch_variance))
        ]
        if (put_off := _PUT_OFF.get()) is None:
            _assign(updates)
        else:
            put_off += updates
        return y


# Where a list is set here, norms add their updates of running statistics, (variable, new value), to it instead of
# making them: a step that will be computed twice must not make them twice.
_PUT_OFF = ContextVar("updates put off", default=None)


def _assign(updates):
    for variable, value in updates:
        variable.assign(value)


def recomputed(call, *inputs):
    """call(*inputs), whose inner activations are not kept for the backward pass but computed again there.

    Equal to call(*inputs) in value, gradients and running statistics. (`keras.remat` alone would update the statistics
    once more in the backward pass.)
    """
    variables = []

    def forward(*inputs):
        updates = []
        token = _PUT_OFF.set(updates)
        try:
            y = call(*inputs)
        finally:
            _PUT_OFF.reset(token)
        variables[:] = [variable for variable, _ in updates]
        return y, [value for _, value in updates]

    y, values = keras.remat(forward)(*inputs)
    _assign(zip(variables, values, strict=True))
    return y


def _at(step, weights):
    """The entry of a list of weights for a step: a Python int, or an integer tensor where the step is known at run
    time only."""
    if isinstance(step, int):
        return weights[min(step, len(weights) - 1)]
    return ops.take(ops.stack([w.value for w in weights]), ops.minimum(step, len(weights) - 1), axis=0)


class Conv2D(keras.layers.Conv2D):
    """Keras' convolution; where it or its kernel's gradient would be slow in bfloat16, or that gradient wrong, it is
    computed in another way with the same result."""

    def convolution_op(self, inputs, kernel):
        kind = keras.backend.standardize_dtype(inputs.dtype), self.padding, self.strides, self.dilation_rate
        if kind[0] == "bfloat16" and backend.slow_bfloat16():
            wide = (ops.cast(ops.cast(x, "bfloat16"), "float32") for x in (inputs, kernel))
            return ops.cast(self._convolve(*wide), "bfloat16")
        small = max(inputs.shape[1:3]) <= backend.SMALL and all(side % 2 for side in self.kernel_size)
        if small and kind == ("bfloat16", "same", (1, 1), (1, 1)) and backend.slow_kernel_gradients():
            return backend.kernel_by_products(inputs, ops.cast(kernel, inputs.dtype))
        return self._convolve(inputs, kernel)

    def _convolve(self, inputs, kernel):
        if self.kernel_size == (1, 1) != self.strides and backend.wrong_kernel_gradients(inputs.shape[-1]):
            rows, columns = self.strides  # a kernel of one pixel sees no others than these
            return ops.conv(inputs[:, ::rows, ::columns], kernel, padding=self.padding)
        return super().convolution_op(inputs, kernel)


class ConvBlock(keras.layers.Layer):
    """Convolution, norm, activation, in this order; with `pre` norm, activation, convolution.

    filters, kernel, stride, padding: as in keras.layers.Conv2D. activation: a Keras name, or None.
    norm, steps, gamma: as in `make_norm`. bias: whether the convolution has one; by default only where no norm follows.
    """

    def __init__(
        self,
        filters,
        kernel=3,
        stride=1,
        norm="per_step",
        steps=1,
        gamma=1.0,
        activation="relu",
        pre=False,
        padding="same",
        bias=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.pre = pre
        self.conv = Conv2D(
            filters,
            kernel,
            stride,
            padding,
            kernel_initializer="he_normal",
            name="conv",
            use_bias=norm is None if bias is None else bias,
        )
        self.norm = make_norm(norm, steps, gamma, name="norm")
        self.activation = keras.layers.Activation(activation, name="activation")

    def build(self, input_shape):
        """Nothing to do: each part builds itself when called; without this, Keras would trace `call` a second time."""

    def call(self, x, step=0, training=False):
        if self.pre:
            return self.conv(self.activation(self.norm(x, step=step, training=training)))
        return self.activation(self.norm(self.conv(x), step=step, training=training))


class ResidualBlock(keras.layers.Layer):
    """Two 3x3 convolutions F and a shortcut: x -> activation(x + F(x)), one step of a stage (He et al. 2015, figure 2).

    width: channels out. stride: of the first convolution. project: the shortcut is a strided 1x1 convolution with a
    norm (needed where the shape changes), else the identity. norm, steps, gamma: as in `make_norm`. shortcut: False
    gives the plain net's block, F alone. activate: an activation follows the addition. norm_place: "before" or
    "after" the addition, or "pre" for the pre-activation block of He et al. (2016), whose shortcut carries nothing
    else. Raises ValueError on an unknown norm_place.
    """

    def __init__(
        self,
        width,
        stride=1,
        project=False,
        norm="per_step",
        steps=1,
        gamma=1.0,
        shortcut=True,
        activate=True,
        norm_place="before",
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if norm_place not in ("before", "after", "pre"):
            raise ValueError(f"unknown norm_place {norm_place!r}; choose 'before', 'after' or 'pre'")
        pre, after = norm_place == "pre", norm_place == "after"
        common = {"norm": norm, "steps": steps, "gamma": gamma}
        bias = norm is None
        self.shortcut = shortcut
        self.conv1 = ConvBlock(width, stride=stride, activation=activation, pre=pre, bias=bias, name="conv1", **common)
        self.conv2 = ConvBlock(
            width,
            activation=activation if pre else None,
            pre=pre,
            bias=bias,
            name="conv2",
            **common | ({"norm": None} if after else {}),
        )
        self.project = None
        if project and shortcut:
            self.project = ConvBlock(
                width, kernel=1, stride=stride, activation=None, bias=bias, name="project", **common
            )
        self.norm = make_norm(norm if after else None, steps, gamma, name="norm")
        self.activation = keras.layers.Activation(activation if activate and not pre else None, name="activation")

    def build(self, input_shape):
        """Nothing to do, as in ConvBlock."""

    def call(self, x, fed=None, step=0, training=False):
        """x: (batch, height, width, channels) -> (batch, height / stride, width / stride, width).

        fed: an image of x's shape that F sees added to x, while the shortcut carries x alone.
        Raises ValueError where what is to be added differs in shape: it would be repeated to fit.
        """
        y = x if fed is None else _sum(x, fed)
        y = self.conv2(self.conv1(y, step=step, training=training), step=step, training=training)
        if self.shortcut:
            y = _sum(y, x if self.project is None else self.project(x, step=step, training=training))
        return self.activation(self.norm(y, step=step, training=training))


def _sum(a, b):
    if tuple(a.shape[1:]) != tuple(b.shape[1:]):
        raise ValueError(f"images of {tuple(a.shape)} and {tuple(b.shape)} can't be added; project=True may help")
    return a + b


class Stage(keras.layers.Layer):
    """The loop: `depth` steps at one resolution, after an optional transition block that changes the resolution.

    block: makes a block, as `block(steps=..., name=...)`. transition: a block applied once before the loop, outside
    the tie, or None. tied: one block for all steps (RecNet) or one block a step (ResNet). feed: the state that enters
    the loop is fed to every step again, as the constant input of a recurrent net. first: the number of the first step,
    for a block that another stage has applied before. recompute: training keeps each step's state alone and computes
    what is inside a step again for the gradients, more time for less memory. Raises ValueError on a negative depth.
    """

    def __init__(self, block, depth, tied, transition=None, feed=False, first=0, recompute=False, **kwargs):
        super().__init__(**kwargs)
        if depth < 0:
            raise ValueError(f"a stage has 0 or more steps, not {depth}")
        self.built = True  # it has no weights of its own, and `states` is run without a call: say so to `summary()`
        self.depth, self.transition, self.feed, self.first = depth, transition, feed, first
        self.tied, self.recompute = tied, recompute
        if tied:
            self.blocks = [block(steps=depth, name=f"{self.name}_block")] * depth
        else:
            self.blocks = [block(steps=1, name=f"{self.name}_block{t + 1}") for t in range(depth)]

    @property
    def has_one_block(self):
        """Whether one block takes every step, so that there can be any number of them: in a tied
        stage, and in an untied one of one step; not in one without any step."""
        return len(set(map(id, self.blocks))) == 1

    def states(self, x, training=False, steps=None, drop=None):
        """Yields the state after the transition (or as it came in) and after each of `steps` steps
        (default: `depth`).

        A stage of one block can be run for any number of steps, another for at most its depth.
        drop: the number (from 0) of a step to leave out. Raises ValueError on another number of
        steps, and on a drop that is none of them.
        """
        steps = self.depth if steps is None else steps
        if steps < 0 or drop not in (None, *range(steps)):
            raise ValueError(f"{self.name} can't take {steps} steps and leave out step {drop}")
        if steps > self.depth and not self.has_one_block:
            raise ValueError(
                f"{self.name} has {self.depth} steps; only a stage of one block can take more (asked: {steps})"
            )
        if self.transition is not None:
            x = self.transition(x, training=training)
        yield x
        fed = [x] if self.feed else []
        for t in range(steps):
            if t != drop:
                call = partial(self.blocks[min(t, self.depth - 1)], step=self.first + t, training=training)
                x = recomputed(call, x, *fed) if self.recompute and training else call(x, *fed)
            yield x

    def call(self, x, training=False, steps=None, drop=None):
        """x: (batch, height, width, channels) -> the last state."""
        *_, x = self.states(x, training, steps, drop)
        return x


class StepCell(keras.layers.Layer):
    """A block as the cell of a `keras.layers.RNN`, whose state is an image: what makes a tied
    stage an RNN in Keras' sense.

    block: maps (batch, *shape) to itself. shape: (height, width, channels) of the state, which
    Keras wants flat: the RNN's `initial_state` and output are (batch, height * width * channels).
    The input sequence (batch, steps, 1) holds the number of each step, for a block whose norm must
    know it (`knows_step`); a block that need not know is fed 0 throughout.
    """

    def __init__(self, block, shape, knows_step=True, **kwargs):
        super().__init__(**kwargs)
        self.block, self.shape, self.knows_step = block, tuple(shape), knows_step
        self.state_size = self.output_size = self.shape[0] * self.shape[1] * self.shape[2]

    def call(self, inputs, states, training=False):
        step = ops.cast(inputs[0, 0], "int32") if self.knows_step else 0
        x = ops.reshape(states[0], (-1, *self.shape))
        y = ops.reshape(self.block(x, step=step, training=training), (-1, self.state_size))
        return y, [y]
