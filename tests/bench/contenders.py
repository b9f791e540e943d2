"""What the benchmarks time, each in a process of its own that waits until it is its turn.

`python -m tests.bench.contenders NAME '{"argument": ...}'` calls the function NAME below, which works in equal chunks
and calls `tick(units)` after each: the chunk's seconds and the peak memory so far go to stdout, and the next chunk
starts with the next line on stdin. The first chunk holds building and compiling, and is for warming up.
"""

import json
import os
import re
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

STEPS, BATCH, SHAPE = 40, 128, (32, 32, 3)
_started = time.perf_counter()


def tick(units):
    """Ends a chunk of so many units of work; returns when the next one is to start."""
    global _started
    seconds = time.perf_counter() - _started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
    print(json.dumps({"units": units, "seconds": seconds, "MiB": peak}), flush=True)
    if not sys.stdin.readline():
        raise SystemExit
    _started = time.perf_counter()


def random_images(count=STEPS * BATCH):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8), rng.integers(0, 10, count)


# --- ours ---


def ours(architecture, precision="auto", promises=True, onednn=True, **options):
    """Our real `train()`: augmentation, metrics, checkpoint after each epoch.

    promises: whether it keeps those that may cost time: a checkpoint on disk, and the same bits from the same seed.
    onednn: whether TensorFlow uses oneDNN's kernels.
    """
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(onednn))
    import keras

    from lib import backend, train

    if not promises:
        train._checkpoint = lambda *_: None
        backend.make_deterministic = keras.utils.set_random_seed
    recipe = replace(train.MODERN, epochs=10_000, precision=precision)
    experiment = train.Experiment(architecture, recipe, options, n_train=STEPS * BATCH, held_out=False)
    with tempfile.TemporaryDirectory() as store:
        train.train(experiment, 0, store, on_epoch=lambda done, curve: tick(STEPS * BATCH))


def bare_step(architecture, precision="auto", portable=False, **options):
    """The same net's training step alone: a batch that lies ready, no augmentation, no metric, nothing written.

    portable: by the operations that serve every backend.
    """
    from lib import backend, machine, train

    if portable:
        backend.is_tensorflow = lambda: False
    model = train.build(architecture, options, SHAPE, machine.real_precision(precision))
    _repeat(_training_step(model), STEPS, STEPS * BATCH)


# Kinds of operations, by what their names in TensorFlow's profile hold; the first that fits counts.
KINDS = {"convolutions": "Conv2D", "norms": "BatchNorm", "ReLU": "Relu", "additions": "Add"}


def parts(architecture, precision="auto", **options):
    """Where a training step's time goes: ticks of milliseconds by kind of operation, out of TensorFlow's profiler."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from lib import machine, train

    tf.config.threading.set_inter_op_parallelism_threads(1)  # one operation at a time: their times add up
    step = _training_step(train.build(architecture, options, SHAPE, machine.real_precision(precision)))
    for _ in range(5):
        step()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(STEPS):
                step()
        space = xplane_pb2.XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    found = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            if re.fullmatch(r"[^:]*:_?[A-Z]\w+", name) and not name.startswith(("Eager", "gradient_tape:")):
                operation = name.rpartition(":")[2]
                kind = next((kind for kind, part in KINDS.items() if part in operation), "the rest")
                found[kind] += event.duration_ps / 1e9 / STEPS
    tick(found)


def growing(steps, recompute=False, batch=BATCH):
    """The training step of a net of one stage with this many tied steps."""
    import keras

    from lib import machine, models

    keras.config.set_dtype_policy("mixed_bfloat16" if machine.real_precision() == "bfloat16" else "float32")
    _repeat(_training_step(models.ResidualNet(SHAPE, (steps,), tied=True, recompute=recompute), batch), 3, 3)


def own_step():
    """One step of that stage alone: forward, and the gradients of its state and its weights."""
    import keras
    import tensorflow as tf

    from lib import layers, machine

    precision = machine.real_precision()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    block = layers.ResidualBlock(16)
    x = tf.Variable(tf.cast(tf.random.normal((BATCH, 32, 32, 16)), precision))
    block(x)
    weights = [x, *(w.value for w in block.trainable_weights)]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            y = block(tf.convert_to_tensor(x), training=True)
        return tape.gradient(y, weights, output_gradients=x)

    _repeat(step, 50, 50)


def _training_step(model, batch=BATCH):
    import keras
    import tensorflow as tf

    from lib import train

    train.compile_model(model, train.MODERN, 390)
    x, y = (tf.constant(part) for part in random_images(batch))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = model.trainable_variables

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        model.optimizer.apply(tape.gradient(value, [w.value for w in weights]), weights)

    return step


def _repeat(step, times, units):
    while True:
        for _ in range(times):
            step()
        tick(units)


def convolutions(architecture, precision="auto", **options):
    """The same net's convolutions alone, forward and both gradients, on tensors that lie ready."""
    import tensorflow as tf
    from keras import layers, ops

    from lib import machine, models, train

    model = train.build(architecture, options, SHAPE, "float32")
    calls = []

    def note(layer, call, x, **kwargs):
        calls.append((tuple(x.shape[1:]), tuple(layer.kernel.shape), layer.strides[0], layer is model.stem.conv))
        return call(x, **kwargs)

    with models.watched(models.sublayers(model, layers.Conv2D), note):
        model(ops.zeros((1, *SHAPE), "uint8"))
    dtype = machine.real_precision(precision)

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

    _repeat(step, STEPS, STEPS * BATCH)


# --- peers ---


def keras_fit(n=3, precision="auto", wait=True):
    """Stock Keras: the same ResNet of Keras' own layers, trained by `fit`, without augmentation.

    wait: as it comes, `fit` ends each epoch by waiting for a thread of tf.data that tunes what needs no tuning and
    sleeps for longer and longer; False switches that thread off.
    """
    import keras
    import tensorflow as tf
    from keras import layers

    from lib import machine, models

    def conv(x, width, kernel=3, stride=1, activate=True):
        x = layers.Conv2D(width, kernel, stride, "same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.ReLU()(x) if activate else x

    if machine.real_precision(precision) == "bfloat16":
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
    images = tf.data.Dataset.from_tensor_slices(random_images()).batch(BATCH)
    if not wait:
        quiet = tf.data.Options()
        quiet.autotune.enabled = False
        images = images.with_options(quiet)
    while True:
        model.fit(images, verbose=0)
        tick(STEPS * BATCH)


def torch(n=3, tied=False, precision="auto", jit=False):
    """PyTorch on the same net, batch, augmentation, optimiser and precision, channels last."""
    import torch
    from torch.nn import functional

    from lib import data, machine
    from tests.bench import torch_nets

    low = machine.real_precision(precision) == "bfloat16"
    torch.set_num_threads(machine.threads())
    model = torch_nets.ResidualNet(n, tied).to(memory_format=torch.channels_last).train()
    run = torch.compile(model) if jit else model
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
    globals()[sys.argv[1]](**json.loads(sys.argv[2]))
