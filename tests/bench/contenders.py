"""What the benchmarks time, each in a process of its own that waits until it is its turn.

`python -m tests.bench.contenders NAME '{"argument": ...}'` calls the function NAME below, which works in equal chunks
and calls `tick(units)` after each: the seconds of the chunk go to stdout, and the next one starts with the next line
on stdin. The first chunk holds building and compiling, and is for warming up.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace

import numpy as np

STEPS, BATCH, SHAPE = 30, 128, (32, 32, 3)
_started = time.perf_counter()


def tick(units):
    """Ends a chunk of so many units of work; returns when the next one is to start."""
    global _started
    print(json.dumps({"units": units, "seconds": time.perf_counter() - _started}), flush=True)
    if not sys.stdin.readline():
        raise SystemExit
    _started = time.perf_counter()


def random_images(count=STEPS * BATCH):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8), rng.integers(0, 10, count)


def compiled(architecture, precision, recipe=None, **options):
    """A net of ours, ready to train."""
    from lib import train

    recipe = recipe or train.MODERN
    model = train.build(architecture, options, SHAPE, train.real_precision(precision))
    train.compile_model(model, recipe, 390)
    return model, recipe


# --- ours ---


def ours(architecture, precision="auto", **options):
    """Our real `train()`: augmentation, metrics, checkpoint after each epoch."""
    from lib import train

    recipe = replace(train.MODERN, epochs=10_000, precision=precision)
    experiment = train.Experiment(architecture, recipe, options, n_train=STEPS * BATCH, held_out=False)
    with tempfile.TemporaryDirectory() as store:
        train.train(experiment, 0, store, on_epoch=lambda done, curve: tick(STEPS * BATCH))


def bare_step(architecture, precision="auto", **options):
    """The same net's training step alone: a batch that lies ready, no augmentation, no metric, nothing written."""
    import keras
    import tensorflow as tf

    model, _ = compiled(architecture, precision, **options)
    x, y = (tf.constant(part) for part in random_images(BATCH))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = model.trainable_variables

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        model.optimizer.apply(tape.gradient(value, [w.value for w in weights]), weights)

    while True:
        for _ in range(STEPS):
            step()
        tick(STEPS * BATCH)


def convolutions(architecture, precision="auto", **options):
    """The same net's convolutions alone, forward and both gradients, on tensors that lie ready."""
    import tensorflow as tf
    from keras import layers, ops

    from lib import models, train

    model = train.build(architecture, options, SHAPE, "float32")
    calls = []

    def note(layer, call, x, **kwargs):
        calls.append((tuple(x.shape[1:]), tuple(layer.kernel.shape), layer.strides[0], layer is model.stem.conv))
        return call(x, **kwargs)

    with models.watched(models.sublayers(model, layers.Conv2D), note):
        model(ops.zeros((1, *SHAPE), "uint8"))
    dtype = train.real_precision(precision)

    def ready(*shape):
        return tf.Variable(
            tf.cast(tf.random.normal(shape), dtype)
        )  # a constant would be computed with, once, beforehand

    tensors = {key: (ready(BATCH, *key[0]), ready(*key[1])) for key in set(calls)}
    slopes = {key: ready(*tf.nn.conv2d(*tensors[key], key[2], "SAME").shape) for key in tensors}

    @tf.function
    def step():
        done, results = [], []
        for key in calls:  # one after the other, as the net has to
            (x, w), dy, (_, _, stride, first) = tensors[key], slopes[key], key
            with tf.control_dependencies(done):
                y = tf.nn.conv2d(x, w, stride, "SAME")
            arguments = {"out_backprop": dy, "strides": [1, stride, stride, 1], "padding": "SAME"}
            with tf.control_dependencies([y]):  # the two gradients may run side by side, as in the net
                done = [tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=w.shape, **arguments)]
                if not first:  # nobody asks for the gradient of the images
                    done.append(tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=w, **arguments))
            results += [y[0, 0, 0], *(d[0, 0] for d in done)]  # what nobody asks for is not computed
        return results

    while True:
        for _ in range(STEPS):
            step()
        tick(STEPS * BATCH)


# --- peers ---


def keras_fit(n=3, precision="auto", batch=BATCH):
    """Stock Keras: the same ResNet of Keras' own layers, trained by `fit` on arrays, without augmentation."""
    import keras
    from keras import layers

    from lib import models, train

    def conv(x, width, kernel=3, stride=1, activate=True):
        x = layers.Conv2D(width, kernel, stride, "same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.ReLU()(x) if activate else x

    if train.real_precision(precision) == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input(SHAPE, dtype="uint8")
    x = conv(models.scaling(3)(inputs), 16)
    for stage in range(3):
        for block in range(n):
            change, width = stage > 0 and block == 0, 16 << stage
            y = conv(conv(x, width, stride=1 + change), width, activate=False)
            x = layers.ReLU()(y + (conv(x, width, 1, 2, activate=False) if change else x))
    model = keras.Model(inputs, models.head(10)(layers.GlobalAveragePooling2D()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, 0.9, nesterov=True, weight_decay=5e-4), loss, metrics=["accuracy"])
    x, y = random_images()
    while True:
        model.fit(x, y, batch, verbose=0)
        tick(len(x))


def torch(n=3, tied=False, precision="auto", compile=False):
    """PyTorch on the same net, batch, augmentation, optimiser and precision, channels last."""
    import torch
    from torch.nn import functional

    from lib import data, train
    from tests.bench import torch_nets

    low = train.real_precision(precision) == "bfloat16"
    torch.set_num_threads(len(__import__("os").sched_getaffinity(0)))
    model = torch_nets.ResidualNet(n, tied).to(memory_format=torch.channels_last).train()
    run = torch.compile(model) if compile else model
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, nesterov=True, weight_decay=5e-4)
    (x, y), rng = random_images(), np.random.default_rng(0)
    while True:
        for start in range(0, len(x), BATCH):
            batch = torch.from_numpy(data.augment(x[start : start + BATCH], rng)).permute(0, 3, 1, 2)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                logits = run(batch)
            loss = functional.cross_entropy(logits, torch.from_numpy(y[start : start + BATCH]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        tick(STEPS * BATCH)


if __name__ == "__main__":
    sys.path.insert(0, ".")
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
