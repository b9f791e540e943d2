"""The one switch between Keras' backends: what TensorFlow does by operations of its own, faster or
not otherwise at all, each beside the portable twin that every other backend takes.
"""

import contextlib
import logging
import os
import random
from functools import lru_cache

import keras
import numpy as np
from keras import ops
from keras.src.random import seed_generator  # nothing public says where Keras draws seeds from

from lib import machine

# A page trains and evaluates many nets in one process; TensorFlow's advice against building many functions is beside
# the point there.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


def is_tensorflow():
    return keras.backend.backend() == "tensorflow"


def is_jax():
    return keras.backend.backend() == "jax"


def make_deterministic(seed):
    """The same seed gives the same bits from here on, on the same machine."""
    keras.utils.set_random_seed(seed)
    if is_tensorflow():
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def own_draws(seed):
    """A context: the seeds of weights and dropout that Keras draws come from a generator of its own, seeded as
    `make_deterministic` does.

    Keras draws them from Python's global generator, of which other threads of the process draw too; Dask's do, at any
    moment, and a net that is built just then would start from other weights.
    """
    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)  # noqa: S311, nothing is kept secret by it
    try:
        yield
    finally:
        seed_generator.python_random = shared


def spread(batch):
    """A context: the nets made and compiled in it train on several devices at once (tf.distribute.MirroredStrategy).

    Only where RECNET_MIRROR=1 asks for it, on TensorFlow, and several GPUs are seen (or, without any, several logical
    processors): small nets are faster on one. As many of them are used as share batches of `batch` images evenly.
    """
    if not (is_tensorflow() and os.environ.get("RECNET_MIRROR") == "1"):
        return contextlib.nullcontext()
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    count = max(n for n in range(1, len(devices) + 1) if batch % n == 0)
    if count == 1:
        return contextlib.nullcontext()
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]]).scope()


def replicas(model):
    """The number of devices that a net trains on."""
    return model.distribute_strategy.num_replicas_in_sync if is_tensorflow() else 1


def _spread_out():
    """Whether this is computed on several devices, each with its share of a batch."""
    if not is_tensorflow():
        return False
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def split_batches(model):
    """Has each device of a net made in `spread` train on its part of every batch; otherwise, each takes it whole."""
    if replicas(model) == 1:
        return
    import tensorflow as tf

    whole = model.train_step

    def train_step(data):
        here = tf.distribute.get_replica_context()
        own = slice(here.replica_id_in_sync_group, None, here.num_replicas_in_sync)
        return whole([None if part is None else part[own] for part in data])

    model.train_step = train_step


def train_on_batches(model, batches):
    """Trains a compiled model on each (images, labels) of `batches` in turn; returns their [{"loss", "accuracy"}].

    On a GPU under JAX all of them are one program: a small net's step takes a GPU less time than it takes Python to
    start it.
    """
    if not (is_jax() and machine.gpus()):
        return [model.train_on_batch(x, y, return_dict=True) for x, y in batches]
    return train_in_one_program(model, batches)


def train_in_one_program(model, batches):
    """`train_on_batches` for JAX: the same steps as those of Keras' `train_on_batch`, in a loop that XLA compiles. All
    batches must have one size; they are brought to the device at once."""
    images, labels = (np.stack(part) for part in zip(*batches, strict=True))
    kinds = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
    state = [[variable.value for variable in kind] for kind in kinds]
    state, (losses, accuracies) = _steps(model)(state, (images, labels))
    for kind, values in zip(kinds, state, strict=True):
        for variable, value in zip(kind, values, strict=True):
            variable.assign(value)
    logs = zip(np.asarray(losses), np.asarray(accuracies), strict=True)
    return [{"loss": float(loss), "accuracy": float(accuracy)} for loss, accuracy in logs]


@lru_cache(maxsize=8)  # a run trains one net, the check of costs six in turn
def _steps(model):
    import jax

    def loss(trainable, fixed, images, labels):
        logits, fixed = model.stateless_call(trainable, fixed, images, training=True)
        return ops.mean(model.loss(labels, logits)), (logits, fixed)

    def step(state, batch):
        trainable, fixed, slots = state
        differentiate = jax.value_and_grad(loss, has_aux=True)
        (value, (logits, fixed)), grads = differentiate(trainable, fixed, *batch)
        trainable, slots = model.optimizer.stateless_apply(slots, grads, trainable)
        accuracy = ops.mean(ops.cast(ops.argmax(logits, -1) == batch[1], "float32"))
        return [trainable, fixed, slots], (value, accuracy)

    return jax.jit(lambda state, batches: jax.lax.scan(step, state, batches), donate_argnums=0)


def values(variables):
    """Their values as arrays; under JAX all are asked for before the first is waited for."""
    if is_jax():
        import jax

        return jax.device_get([variable.value for variable in variables])
    return [np.asarray(variable) for variable in variables]


def gradients(function, variables):
    """d function() / d variables as a list of arrays; function takes nothing and returns a scalar."""
    if is_tensorflow():
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = function()
        return [ops.convert_to_numpy(g) for g in tape.gradient(loss, [v.value for v in variables])]
    import jax

    def stateless(values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function()

    return [ops.convert_to_numpy(g) for g in jax.grad(stateless)([v.value for v in variables])]


def states_and_gradients(function):
    """function() returns (a scalar, a list of tensors that it depends on): that list, and d scalar / d tensor for each,
    None where the backend has no tape to tell."""
    if not is_tensorflow():
        _, states = function()
        return states, [None] * len(states)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss, states = function()
    return states, tape.gradient(loss, states)


@lru_cache(maxsize=1)
def slow_bfloat16():
    """Whether operations in bfloat16 take longer than in float32. On a processor without instructions for it TensorFlow
    takes 25 times as long for a convolution, twice as long for a batch norm (forward and backward, AVX2 alone).
    So both are computed in float32 there and rounded once, as the instructions do: exact products, summed in float32.

    Dense and SimpleRNN are left to TensorFlow, whose products are quick there, but are cut off instead of rounded.
    """
    return is_tensorflow() and not (machine.gpus() or machine.fast_bfloat16())


def normalise_batch(x, gamma, beta, epsilon, fused=True):
    """Batch normalisation in training: (y, mean, variance), moments over all axes but the last, in gamma's dtype.

    Keras' own layer takes moments, scale and shift as separate operations; TensorFlow's fused kernel (`fused`) takes
    half the time on a CPU. On several devices (see `spread`) the moments are those of the whole batch.
    """
    spread_out = _spread_out()
    if spread_out or not (fused and is_tensorflow()):
        axes = tuple(range(x.ndim - 1))
        mean, variance = ops.moments(ops.cast(x, gamma.dtype), axes, synchronized=spread_out)
        return normalise(x, gamma, beta, mean, variance, epsilon), mean, variance
    if x.dtype == "bfloat16" and slow_bfloat16():
        y, mean, variance = normalise_batch(ops.cast(x, "float32"), gamma, beta, epsilon)
        return ops.cast(y, "bfloat16"), mean, variance
    import tensorflow as tf

    out = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // tf.shape(x)[-1], gamma.dtype)
    # the kernel's variance is unbiased, ours, like Keras', is not
    return out.y, out.batch_mean, out.batch_variance * ((count - 1) / count)


def normalise(x, gamma, beta, mean, variance, epsilon):
    """x with this mean and variance, over the last axis, brought to beta and gamma; x's dtype."""
    scale = gamma * ops.rsqrt(variance + epsilon)
    return ops.cast(ops.cast(x, scale.dtype) * scale + (beta - mean * scale), x.dtype)


def wrong_kernel_gradients(channels):
    """Whether the gradient of a strided 1x1 kernel over so few channels may be wrong, without a warning: oneDNN takes
    channels in blocks, and writes beyond its memory where there are fewer than one block of them
    (https://github.com/uxlfoundation/oneDNN/issues/6035). Seen with AVX2, whose blocks have 8; those of AVX-512 have
    16."""
    return is_tensorflow() and channels < 16


SMALL = 4  # the side, in pixels, of the largest feature map that `kernel_by_products` is for


@lru_cache(maxsize=1)
def slow_kernel_gradients():
    """Whether convolutions in bfloat16 take long for the gradient of their kernel on small feature maps: oneDNN's
    program for matrix tiles (AMX) does, seven times as long as for the output with 256 channels on 4x4 pixels."""
    return is_tensorflow() and not machine.gpus() and "amx_bf16" in machine.cpu_info("flags").split()


def kernel_by_products(x, kernel):
    """keras.ops.conv(x, kernel, padding="same") whose gradient by the kernel is a matrix product for each of its
    places. Equal to the convolution's own but for rounding.

    x: (batch, height, width, channels); kernel: (rows, columns, channels, filters), odd in rows and columns. Needs
    TensorFlow.
    """
    import tensorflow as tf

    rows, columns, channels, filters = kernel.shape
    height, width = x.shape[1:3]

    @tf.custom_gradient
    def convolve(x, kernel):
        def gradient(dy):
            dx = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), 1, "SAME")
            padded = tf.pad(x, [[0, 0], [rows // 2] * 2, [columns // 2] * 2, [0, 0]])
            outputs = tf.reshape(dy, (-1, filters))
            products = [
                tf.matmul(tf.reshape(padded[:, i : i + height, j : j + width], (-1, channels)), outputs, True)
                for i, j in np.ndindex(rows, columns)
            ]
            return dx, tf.reshape(tf.stack(products), kernel.shape)

        return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient

    return convolve(x, kernel)


class SGD(keras.optimizers.SGD):
    """Keras' SGD; with Nesterov's momentum on TensorFlow, one fused operation a weight instead of seven."""

    def update_step(self, gradient, variable, learning_rate):
        if not (self.nesterov and is_tensorflow()):
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        momentum = self.momentums[self._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,  # here Keras hands over TensorFlow's own variable
            accum=momentum.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=True,
        )
