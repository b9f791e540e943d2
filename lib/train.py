"""One training run: from (experiment, seed) to a record, resumable and bit-reproducible.

Training goes one epoch at a time. All that is random in an epoch (order, augmentation, dropout) is seeded from (seed,
epoch) alone, and a checkpoint after each epoch holds the weights, the optimiser's state and the curve so far; so a
run that was killed and resumed ends with the same bits as one that was not (same machine, threads and precision).
"""

import dataclasses
import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from lib import data as datasets
from lib import machine
from lib.commands import say
from lib.records import StoreError, archive, arrays, hashed, lock, read_record, read_weights, save, write

TRAIN_VERSION = 1  # raise when a change makes the same experiment give other numbers: it is part of every key
KEPT = "kept.npz"  # in a run's folder: its weights, rounded; the full ones are not committed


@dataclass(frozen=True)
class Recipe:
    """How a net is trained. Derive a variant with `dataclasses.replace`. Raises ValueError on numbers out of range."""

    epochs: int
    learning_rate: float  # the peak
    optimizer: str = "sgd"  # or "adam"
    momentum: float = 0.0  # of sgd; above 0 it is Nesterov's
    # Decoupled, times the learning rate; on kernels only, not on norms and biases. Momentum m multiplies the effect of
    # a gradient by 1 / (1 - m), but not of this: it equals an L2 penalty of (1 - m) times as much.
    weight_decay: float = 0.0
    schedule: str = "constant"  # or "cosine": linear warm-up to the peak, then half a cosine to 0
    warmup: float = 0.0  # share of all steps
    batch: int = 128
    augment: bool = False  # random crop after padding 4, random horizontal flip
    precision: str = "auto"  # of computing: "float32", "bfloat16", or the better of what the machine has
    label_smoothing: float = 0.0  # the share of each target that is spread evenly over all classes

    def __post_init__(self):
        _require(self, int, 1, np.inf, "epochs", "batch")
        _require(self, int | float, 0, np.inf, "learning_rate", "weight_decay")
        _require(self, int | float, 0, 1, "momentum", "warmup", "label_smoothing")


def _require(config, kind, least, most, *names):
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, kind) or not least <= value <= most or value == np.inf:
            raise ValueError(f"{name}={value!r}: choose a number from {least} to {most}")


# The paper names no optimiser, rate or augmentation; Keras' SGD as it comes is the reading fixed in the claims (P1).
PAPER = Recipe(epochs=30, learning_rate=0.01)
# As the field trains these nets: the decay is its L2 penalty of 5e-4.
MODERN = Recipe(
    epochs=30, learning_rate=0.2, momentum=0.9, weight_decay=5e-3, schedule="cosine", warmup=0.1, augment=True
)


@dataclass(frozen=True)
class Experiment:
    """What is trained on what: everything that decides a run but its seed and the machine. Raises ValueError on less
    than one image to evaluate."""

    architecture: str  # a name in models.ARCHITECTURES
    recipe: Recipe
    options: dict = field(default_factory=dict)  # overrides of the architecture's arguments
    dataset: str = "cifar10"
    n_train: int | None = None  # size of the training subset; None: all
    draw: int = 0  # which subset
    held_out: bool = True  # keep the validation images out of training, and measure the curve on them
    test: bool = False  # read the test images, once, at the end
    n_eval: int | None = None  # at most this many images of each set are evaluated; None: all
    probes: tuple[str, ...] = ()  # names in probes.PROBES

    def __post_init__(self):
        if self.n_eval is not None:
            _require(self, int, 1, np.inf, "n_eval")

    @classmethod
    def of(cls, described):
        """The experiment that a record describes, as `dataclasses.asdict` does; fields that came later are off."""
        return cls(**described | {"recipe": Recipe(**described["recipe"])})

    def key(self, seed, identity):
        """The run's name: a hash of all that decides its result."""
        described = dataclasses.asdict(self)
        if not self.recipe.label_smoothing:  # came later; runs without it keep the names they had before
            del described["recipe"]["label_smoothing"]
        parts = [described, seed, identity, TRAIN_VERSION]
        return hashed(parts)[:16]


class Run:
    """A finished run: its record, and the trained net where its weights are kept. Fields of the record are
    attributes. Raises StoreError where the record is damaged."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.record = read_record(self.folder)

    def __getattr__(self, name):
        record = self.__dict__.get("record", {})  # while a run is copied it has none yet
        if name in record:
            return record[name]
        raise AttributeError(f"a run has no {name!r}; it has {', '.join(record)}")

    @property
    def weights(self):
        """The file of the trained weights: all of them as they were, else those that `keep` left; or None."""
        return next(filter(Path.exists, (self.folder / name for name in ("weights.npz", KEPT))), None)

    @cached_property
    def model(self):
        """The trained Keras model, in float32. Raises FileNotFoundError where only the record is there."""
        return self.load("float32")

    def load(self, precision, weights=None):
        """The trained model, computing in `precision`. weights: another file of them than `self.weights`. Raises
        FileNotFoundError where only the record is there, StoreError where the weights are damaged."""
        weights = weights or self.weights
        if weights is None:
            raise FileNotFoundError(f"the weights of run {self.key} were not kept; train it again")
        experiment = self.record["experiment"]
        net = build(experiment["architecture"], experiment["options"], self.record["data"]["shape"], precision)
        try:
            _assign(net.variables, read_weights(weights))
        except ValueError:
            raise StoreError.damaged("the file of weights", self.folder) from None
        return net

    @property
    def sets(self):
        """The images that the run was trained and evaluated on, as `images` gives them."""
        return images(Experiment.of(self.experiment), datasets.load(self.data["name"]))

    def keep(self):
        """Writes the weights small enough to commit: kernels of convolutions as float16, all else as it is."""
        from ml_dtypes import bfloat16

        # a net that computes in bfloat16 rounds its kernels to that; done first, float16 loses nothing it could see
        half = bfloat16 if self.machine["precision"] == "bfloat16" else np.float16
        full = read_weights(self.folder / "weights.npz")
        kept = [a.astype(half).astype(np.float16) if a.ndim == 4 else a for a in full]
        write(self.folder / KEPT, lambda file: np.savez_compressed(file, *kept))

    def _repr_html_(self):
        from html import escape

        cells = {
            "architecture": self.experiment["architecture"],
            "options": ", ".join(f"{k}={v}" for k, v in self.experiment["options"].items()) or "defaults",
            "data": self.data["name"] + (" (stand-in)" if self.data["standin"] else ""),
            "training images": f"{self.n_train:,}",
            "parameters": f"{self.parameters:,}",
            "error, %: training, validation, test": " · ".join(
                "-" if e is None else f"{e:.2f}" for e in (self.train_error, self.val_error, self.test_error)
            ),
            "seconds": f"{self.machine['seconds']:.0f}",
        }
        rows = "".join(f"<tr><th scope='row'>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in cells.items())
        return f"<table><caption>Run {escape(self.key)}, seed {self.seed}</caption>{rows}</table>"


def build(architecture, options, shape, precision):
    """A net from models.ARCHITECTURES, computing in `precision` ("float32" or "bfloat16"; weights are float32 in
    both)."""
    import keras

    from lib import models

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        return models.build(architecture, shape, **options)
    finally:
        keras.config.set_dtype_policy(before)


def finished(folder):
    """Whether a run's folder holds its record, which is written last."""
    return (folder / "record.json").exists()


def find(key, stores):
    """The finished run of that name in the first of several stores that has its weights, else in the first that has its
    record. Raises StoreError where none has one."""
    found = [Run(folder) for store in stores if finished(folder := Path(store) / key)]
    if not found:
        raise StoreError(f"no run {key} is finished in {' or '.join(Path(store).name for store in stores)}")
    return next((run for run in found if run.weights), found[0])


def train(experiment, seed, store, on_epoch=None, precision="auto"):
    """Trains one run, or resumes it, or returns it at once where it is finished.

    store: the folder that holds `<key>/record.json`. on_epoch: called as on_epoch(epochs done, curve) after each
    epoch's checkpoint; what it raises ends the run, to be resumed later. precision: what a recipe that leaves it open
    computes in. Returns a Run. Raises Busy when another process works on the same run, ValueError on arguments that
    make no net.
    """
    data = datasets.load(experiment.dataset)
    key = experiment.key(seed, data.identity)
    folder = Path(store) / key
    if not finished(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder):
            if not finished(folder):
                _train(experiment, seed, data, folder, on_epoch, precision)
    return Run(folder)


def _train(experiment, seed, data, folder, on_epoch, precision):
    from lib import backend, models, probes

    recipe, shape = experiment.recipe, data.x_train.shape[1:]
    for name in experiment.probes:
        if name not in probes.PROBES:
            raise ValueError(f"unknown probe {name!r}; choose from {', '.join(probes.PROBES)}")
    sets = images(experiment, data)
    backend.make_deterministic(seed)
    precision = machine.real_precision(precision if recipe.precision == "auto" else recipe.precision)
    with backend.spread(recipe.batch), backend.own_draws(seed):
        model = build(experiment.architecture, experiment.options, shape, precision)
        compile_model(model, recipe, len(sets["train"][0]) // recipe.batch)
    state = _restore(folder, model, precision) or {"precision": precision, "curve": [], "probes": {}, "seconds": []}
    curve = state["curve"]
    held = sets.get("validation", sets.get("test"))

    def probe(when):
        for name in experiment.probes:
            if when in probes.PROBES[name].when:
                state["probes"][f"{name}_{when}"] = probes.PROBES[name].measure(model, sets["train"], held)

    if not curve:
        probe("start")
    while len(curve) < recipe.epochs:
        epoch = len(curve)
        start = time.perf_counter()
        logs = run_epoch(model, recipe, *sets["train"], seed, epoch)
        state["seconds"].append(time.perf_counter() - start)
        curve.append(
            {
                "epoch": epoch + 1,
                "loss": logs["loss"],
                "train_error": 100 * (1 - logs["accuracy"]),
                "val_error": probes.error(model, *sets["validation"]) if "validation" in sets else None,
            }
        )
        if epoch == 0:
            probe("epoch1")
        _checkpoint(folder, model, state)
        if on_epoch:
            on_epoch(len(curve), curve)
    probe("end")
    labels = probes.predict(model, sets["test"][0]).argmax(-1) if experiment.test else None
    trainable, statistics = models.count(model)
    steps = recipe.epochs * (len(sets["train"][0]) // recipe.batch)
    save(
        folder,
        {
            "key": folder.name,
            "kind": "train",
            "experiment": dataclasses.asdict(experiment),
            "seed": seed,
            "train_version": TRAIN_VERSION,
            "data": {"name": data.name, "identity": data.identity, "standin": data.standin, "shape": list(shape)},
            "n_train": len(sets["train"][0]),
            "curve": curve,
            "train_error": probes.error(model, *(part[: experiment.n_eval] for part in sets["train"])),
            "val_error": curve[-1]["val_error"],
            "test_error": None if labels is None else float(100 * np.mean(labels != sets["test"][1])),
            "predictions": None if labels is None else "".join(map(str, labels)),
            "wrong": None if labels is None else np.packbits(labels != sets["test"][1]).tobytes().hex(),
            "parameters": trainable,
            "statistics": statistics,
            "flops": models.flops(model, shape),
            "probes": state["probes"],
            "machine": machine.describe(precision)
            | {
                "replicas": backend.replicas(model),
                "seconds": sum(state["seconds"]),
                "seconds_per_epoch": float(np.median(state["seconds"])),
                "seconds_per_step": float(np.sum(state["seconds"]) / max(steps, 1)),
            },
        },
        model,
    )


def images(experiment, data):
    """The sets of an experiment, {"train", "validation", "test"} -> (images uint8, labels); the last two only where
    it has them."""
    index, validation = data.split()
    if not experiment.held_out:
        index = np.arange(len(data.x_train))
    if experiment.n_train is not None:
        index = data.subset(experiment.n_train, experiment.draw, "train" if experiment.held_out else "all")
    sets = {"train": (data.x_train[index], data.y_train[index])}
    if experiment.held_out:
        part = validation[: experiment.n_eval]
        sets["validation"] = (data.x_train[part], data.y_train[part])
    if experiment.test:
        sets["test"] = (data.x_test[: experiment.n_eval], data.y_test[: experiment.n_eval])
    if experiment.recipe.batch > len(index):
        raise ValueError(f"a batch of {experiment.recipe.batch} needs as many training images, there are {len(index)}")
    return sets


def run_epoch(model, recipe, x, y, seed, epoch):
    """One pass over x (N, H, W, C) uint8 and y (N,), the incomplete last batch left out. Returns {"loss", "accuracy"}
    as Keras prints them."""
    from lib import backend

    rng = np.random.default_rng([seed, epoch])
    for variable in model.non_trainable_variables:
        if "seed_generator" in variable.path:  # dropout's random state, whose second half counts the batches
            variable.assign(np.array([seed, epoch * len(x)], dtype=variable.dtype))
    order = rng.permutation(len(x))[: len(x) // recipe.batch * recipe.batch].reshape(-1, recipe.batch)
    batches = ((datasets.augment(x[index], rng) if recipe.augment else x[index], y[index]) for index in order)
    logs = backend.train_on_batches(model, batches)
    # each batch's metrics start anew; over batches of one size their mean is the running mean that fit prints
    return {name: float(np.mean([log[name] for log in logs])) for name in logs[0]}


def compile_model(model, recipe, steps_per_epoch):
    """Readies a model for training by a recipe. Raises ValueError on an unknown schedule or optimiser."""
    import keras

    from lib import backend

    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = recipe.epochs * steps_per_epoch
        warmup = round(recipe.warmup * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate, steps - warmup, warmup_target=rate if warmup else None, warmup_steps=warmup
        )
    elif recipe.schedule != "constant":
        raise ValueError(f"unknown schedule {recipe.schedule!r}; choose 'constant' or 'cosine'")
    decay = recipe.weight_decay or None
    if recipe.optimizer == "sgd":
        optimizer = backend.SGD(rate, recipe.momentum, nesterov=recipe.momentum > 0, weight_decay=decay)
    elif recipe.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate, weight_decay=decay)
    else:
        raise ValueError(f"unknown optimizer {recipe.optimizer!r}; choose 'sgd' or 'adam'")
    optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if v.name != "kernel"])
    optimizer.build(model.trainable_variables)
    # XLA halves the speed on a CPU; under JAX it is the only way to run
    model.compile(
        optimizer,
        smoothed_cross_entropy(recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=backend.is_jax(),
    )
    backend.split_batches(model)


def smoothed_cross_entropy(smoothing=0.0):
    """Keras' cross entropy of labels (N,) and logits (N, classes), the labels smoothed (Szegedy et al. 2016): so much
    of each target is spread evenly over all classes. Keras itself smooths one-hot targets only."""
    import keras
    from keras import ops

    if not smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def loss(labels, logits):
        targets = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), logits.shape[-1], dtype=logits.dtype)
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=smoothing)

    return loss


def _state(model):
    return [*model.variables, *model.optimizer.variables]


def _assign(variables, values):
    if [tuple(v.shape) for v in variables] != [v.shape for v in values]:
        raise ValueError("these weights are of another net")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _checkpoint(folder, model, state):
    from lib import backend

    values = backend.values(_state(model))
    write(folder / "checkpoint.npz", lambda file: np.savez(file, *values, state=np.array(json.dumps(state))))


def _restore(folder, model, precision):
    """What `_checkpoint` saved, put into the model; None where there is none, or one of another machine's precision,
    or a damaged one, which is said. The next epoch's takes its place."""
    try:
        with archive(folder / "checkpoint.npz") as saved:
            state = json.loads(str(saved["state"]))
            if state["precision"] != precision:
                say(f"the checkpoint of run {folder.name} is in {state['precision']}, not {precision}: it starts over")
                return None
            _assign(_state(model), arrays(saved, also="state"))
    except FileNotFoundError:
        return None
    except (MemoryError, PermissionError):  # the file may be whole
        raise
    except Exception:  # a damaged file can take a parser anywhere
        say(f"the checkpoint of run {folder.name} is damaged: the run starts over")
        return None
    return state
