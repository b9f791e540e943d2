"""What the claims need that is no training run: counts, identities, and the cost of a step. Each makes a record of
kind "check".

Keras is imported where it is needed, so that counting the data (page 01) needs none."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import data as datasets
from lib import machine, train
from lib.records import Busy, hashed, lock, read_record, save

STEPS = {"smoke": (1, 2), "quick": (1, 2, 7), "paper": (1, 2, 7, 20)}  # numbers of tied steps tried by `equivalence`
COST = {  # the nets that `cost` times, with their options
    "ResNet-18": ("resnet18", {}),
    "ResNet-18, ImageNet stem": ("resnet18", {"stem": "imagenet"}),
    "ResNet-20": ("resnet", {"n": 3}),
    "RecNet, n = 3": ("recnet", {"n": 3}),
    "RecNet, n = 7": ("recnet", {"n": 7}),
    "the paper's RecNet": ("paper_recnet", {}),
}


def softplus(profile):
    """C2: the largest gap between ReLU and ln(1 + e^x), and where. By hand: ln 2, at 0."""
    x = np.linspace(-20, 20, 40_001)
    gap = np.logaddexp(0, x) - np.maximum(x, 0)
    return {"gap": float(gap.max()), "at": float(x[gap.argmax()]), "everywhere_above": bool((gap > 0).all())}, {}


def cifar10(profile):
    """C14: what section 4.1 says of CIFAR-10, counted from the files."""
    data = datasets.load("cifar10")
    parts = data.y_train.reshape(5, -1)
    return {
        "training": len(data.x_train),
        "test": len(data.x_test),
        "shape": list(data.x_train.shape[1:]),
        "per_class_training": np.bincount(data.y_train).tolist(),
        "per_class_test": np.bincount(data.y_test).tolist(),
        "per_class_batch": [np.bincount(part, minlength=10).tolist() for part in parts],
        "classes": list(data.classes),
        "absent": [name for name in ("airplane", "bird", "boats", "automobile", "train") if name not in data.classes],
    }, {}


def recurrence(profile):
    """C9: whether the paper's flatten -> SimpleRNN x 7 can be seven residual blocks. Three properties that tell them
    apart.

    bounded: largest |state| of the RNN, and of a residual stage, for inputs of growing size. identity: what is left
    of the state when all weights of the step are 0. input_again: how far the RNN's last state moves when the input of
    the last step alone changes.
    """
    import keras
    from keras import ops

    from lib.layers import ResidualBlock, Stage

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    rnn = keras.layers.SimpleRNN(16, unroll=True)
    stage = Stage(lambda **kw: ResidualBlock(16, norm=None, **kw), 7, tied=True)
    x = rng.normal(size=(4, 16)).astype("float32")

    def repeat(x):
        return np.repeat(x[:, None], 7, axis=1)

    def image(x):
        return np.tile(x[:, None, None], (1, 4, 4, 1))

    scales = (1, 10, 100, 1000)
    bounded = {
        "scale": scales,
        "rnn": [float(np.abs(ops.convert_to_numpy(rnn(repeat(s * x)))).max()) for s in scales],
        "residual": [float(np.abs(ops.convert_to_numpy(stage(image(s * x)))).max()) for s in scales],
    }
    changed = repeat(x)
    changed[:, -1] += 1
    again = float(np.abs(ops.convert_to_numpy(rnn(changed) - rnn(repeat(x)))).max())
    kernels = len({id(w) for w in stage.trainable_weights}), len(rnn.trainable_weights)
    for weight in (*rnn.weights, *stage.weights):
        weight.assign(ops.zeros_like(weight))
    positive = np.abs(image(x))  # the block ends in a ReLU, which passes what is positive
    identity = {
        "rnn": float(np.abs(ops.convert_to_numpy(rnn(repeat(x)))).max()),
        "residual": float(np.abs(ops.convert_to_numpy(stage(positive)) - positive).max()),
    }
    return {
        "bounded": bounded,
        "identity": identity,
        "input_again": again,
        "tied_weights": {"residual": kernels[0], "rnn": kernels[1]},
    }, {}


def equivalence(profile):
    """C10: tied stage, untied stage with copied weights, and `keras.layers.RNN` over one step, in float64.

    For each norm and number of steps, the largest differences from the tied stage: of the outputs, relative to their
    largest value, and of the shared weights' gradient (for the untied stage: the sum of its blocks' gradients). A row
    says whether the cell knows its step.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        rows = [
            row
            for norm in (None, "shared", "per_step")
            for steps in STEPS[profile]
            for row in _equivalence(norm, steps)
        ]
    finally:
        keras.config.set_dtype_policy(before)
    return {"rows": rows}, {}


def _equivalence(norm, steps, shape=(6, 6, 4)):
    """The rows of `equivalence` for one norm and number of steps."""
    import keras
    from keras import ops

    from lib import backend
    from lib.layers import ResidualBlock, Stage, StepCell

    rng = np.random.default_rng(steps)
    x = rng.normal(size=(3, *shape))

    def block(**kwargs):
        return ResidualBlock(shape[-1], norm=norm, **kwargs)

    tied, untied = Stage(block, steps, True, name="tied"), Stage(block, steps, False, name="untied")
    tied(x), untied(x)
    for weight in tied.weights:  # random statistics and affines too: a norm that does nothing would prove nothing
        low, high = (0.5, 1.5) if weight.name.startswith(("gamma", "variance")) else (-0.3, 0.3)
        weight.assign(rng.uniform(low, high, weight.shape))
    for t, copy in enumerate(untied.blocks):
        _copy_step(tied.blocks[0], copy, t)

    def scalar(y):  # a fixed random projection of the output, so that every entry of it matters to the gradient
        y = ops.reshape(y, (len(x), -1))
        return ops.sum(y * np.random.default_rng(0).normal(size=y.shape))

    def recurrent(unroll, knows_step):
        rnn = keras.layers.RNN(StepCell(tied.blocks[0], shape, knows_step), unroll=unroll)
        numbers = np.tile(np.arange(steps)[None, :, None], (len(x), 1, 1)).astype("float64")
        return lambda: rnn(numbers, initial_state=x.reshape(len(x), -1))

    shared = [w for w in tied.trainable_weights if w.name == "kernel"]
    copies = [[w for w in b.trainable_weights if w.name == "kernel"] for b in untied.blocks]
    expected, slopes = (
        ops.convert_to_numpy(tied(x)).reshape(len(x), -1),
        backend.gradients(lambda: scalar(tied(x)), shared),
    )
    flat = backend.gradients(lambda: scalar(untied(x)), [w for block in copies for w in block])
    summed = [sum(flat[i :: len(shared)]) for i in range(len(shared))]
    forms = {("untied", None): (lambda: untied(x), summed)}
    for unroll in (False, True):
        for knows in (True, False) if norm == "per_step" and steps > 1 else (norm == "per_step",):
            call = recurrent(unroll, knows)
            forms["RNN, unrolled" if unroll else "RNN, looped", knows] = (
                call,
                backend.gradients(lambda call=call: scalar(call()), shared),
            )
    for (form, knows), (call, gradient) in forms.items():
        output = ops.convert_to_numpy(call()).reshape(len(x), -1)
        yield {
            "norm": norm or "none",
            "steps": steps,
            "form": form,
            "cell_knows_step": knows,
            "output": float(np.abs(output - expected).max() / np.abs(expected).max()),
            "gradient": float(
                max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(gradient, slopes, strict=True))
            ),
        }


def _copy_step(source, target, step):
    """Copies a tied block's weights into an untied block's, from the norms those of one step."""
    import keras

    from lib.layers import BatchNorm
    from lib.models import sublayers

    kinds = BatchNorm, keras.layers.Conv2D
    for a, b in zip(sublayers(source, kinds), sublayers(target, kinds), strict=True):
        if isinstance(a, BatchNorm):
            for name in ("gamma", "beta", "mean", "variance"):
                entries = getattr(a, name)
                getattr(b, name)[0].assign(entries[min(step, len(entries) - 1)])
        else:
            for v, w in zip(a.weights, b.weights, strict=True):
                w.assign(v)


def cost(profile):
    """C6: parameters, FLOPs and seconds of a training step, for the nets in COST, in this machine's best precision,
    augmentation included.

    The seconds are medians over steps taken in turn, net after net, so that a slow moment of the machine does not hit
    one net alone.
    """
    from lib import models

    batch, repeats = (128, 7) if profile == "paper" else (64, 3) if profile == "quick" else (8, 1)
    shape = (32, 32, 3)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (batch, *shape), dtype=np.uint8), rng.integers(0, 10, batch)
    recipe = replace(train.MODERN, batch=batch)
    result, nets, seconds = {}, {}, {}
    for label, (architecture, options) in COST.items():
        options = options | ({"width": 4} if profile == "smoke" and not architecture.startswith("paper") else {})
        net = train.build(architecture, options, shape, machine.real_precision())
        train.compile_model(net, recipe, 1000)
        trainable, statistics = models.count(net)
        result[label] = {"parameters": trainable, "statistics": statistics, "flops": models.flops(net, shape)}
        nets[label], seconds[label] = net, []
        train.run_epoch(net, recipe, x, y, 0, 0)  # traces the graph
    for i in range(repeats):
        for label, net in nets.items():
            start = time.perf_counter()
            train.run_epoch(net, recipe, x, y, 0, i)
            seconds[label].append((time.perf_counter() - start) / batch)
    return {"batch": batch, "nets": result}, {
        "seconds_per_image": {label: float(np.median(s)) for label, s in seconds.items()}
    }


CHECKS = {check.__name__: check for check in (softplus, cifar10, recurrence, equivalence, cost)}
# What a check computes in; None: no network does. `cost` takes what the machine is best in.
PRECISIONS = {"softplus": None, "cifar10": None, "recurrence": "float32", "equivalence": "float64"}


def check(name, profile, store):
    """The record of a check: the finished one, or made now. Raises ValueError on an unknown name, StoreError on a
    damaged record."""
    if name not in CHECKS:
        raise ValueError(f"unknown check {name!r}; choose one of {', '.join(CHECKS)}")
    data = datasets.load("cifar10")
    parts = [name, profile, data.identity if name == "cifar10" else None, train.TRAIN_VERSION]
    key = hashed(parts)[:16]
    folder = Path(store) / key
    while not train.finished(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with lock(folder):
                if not train.finished(folder):
                    _make(name, profile, data, folder)
        except Busy:
            time.sleep(0.5)  # another process is at it
    return read_record(folder)


def _make(name, profile, data, folder):
    """Makes a check and writes its record."""
    start = time.perf_counter()
    result, measured = CHECKS[name](profile)
    precision = machine.real_precision() if name == "cost" else PRECISIONS[name]
    save(
        folder,
        {
            "key": folder.name,
            "kind": "check",
            "name": name,
            "profile": profile,
            "train_version": train.TRAIN_VERSION,
            "data": {"name": data.name, "identity": data.identity, "standin": data.standin},
            "result": result,
            "machine": machine.describe(precision) | measured | {"seconds": time.perf_counter() - start},
        },
    )
