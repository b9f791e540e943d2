"""Training runs: the same bits every time, however often interrupted; nothing read that must not be; exact recipes."""

import copy
import dataclasses
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import essence, randomise

from lib import backend, data, models, probes, records, train
from lib.records import Busy, write
from lib.train import Experiment, Recipe, Run

TESTS = Path(__file__).parent

# All that is random is in use, and all that an optimiser remembers.
RECIPE = Recipe(
    epochs=3,
    learning_rate=0.05,
    momentum=0.9,
    weight_decay=1e-3,
    schedule="cosine",
    warmup=0.3,
    batch=16,
    augment=True,
    precision="float32",
)
EXPERIMENT = Experiment(
    "tiny", RECIPE, {"width": 4, "dropout": 0.5}, n_train=56, test=True
)  # three steps an epoch, 8 images left out
FAST = Experiment("softmax", Recipe(epochs=2, learning_rate=0.1, batch=20), n_train=60)
PRECISIONS = ["float32", "bfloat16"]


def weights(run):
    with np.load(run.folder / "weights.npz") as file:
        return [file[name] for name in file.files]


def assert_same_weights(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def assert_identical(a, b):
    assert essence(a.record) == essence(b.record)
    assert_same_weights(a, b)


def computed_in(precision):
    return replace(EXPERIMENT, recipe=replace(RECIPE, precision=precision))


class Interruption(Exception):
    pass


def interrupt_after(epoch):
    def on_epoch(done, curve):
        if done == epoch:
            raise Interruption

    return on_epoch


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """uninterrupted("float32"): the run that all others are to equal, trained once in each precision."""
    runs = {}

    def get(precision="float32"):
        if precision not in runs:
            runs[precision] = train.train(computed_in(precision), 0, tmp_path_factory.mktemp("runs"))
        return runs[precision]

    return get


@pytest.fixture(scope="module", autouse=True)
def _tiny(tiny):
    """Every run here is on the tiny data."""


def fail(*args, **kwargs):
    raise AssertionError("this must not be called")


# --- bit for bit ---


def test_the_same_seed_gives_the_same_run(uninterrupted, tmp_path):
    expected = uninterrupted()
    keras.utils.set_random_seed(123)  # whatever happened in this process since
    assert_identical(train.train(EXPERIMENT, 0, tmp_path), expected)


def test_threads_that_draw_random_numbers_meanwhile_change_nothing(uninterrupted, tmp_path):
    """As Dask's do in a worker, and those of a notebook's kernel may."""
    done = threading.Event()

    def draw():
        while not done.is_set():
            random.random()  # noqa: S311

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        run = train.train(EXPERIMENT, 0, tmp_path)
    finally:
        done.set()
        thread.join()
    assert_identical(run, uninterrupted())


def test_keras_own_seed_is_heeded_again_after_a_run(uninterrupted):
    uninterrupted()
    drawn = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        drawn.append(np.asarray(keras.layers.Dense(3)(np.ones((1, 4)))).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_another_seed_gives_another_run(uninterrupted, tmp_path):
    other = train.train(replace(EXPERIMENT, recipe=replace(RECIPE, epochs=1)), 1, tmp_path)
    assert other.curve[0]["loss"] != uninterrupted().curve[0]["loss"]
    assert other.key != uninterrupted().key


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_run_interrupted_between_epochs_goes_on_to_the_same_bits(uninterrupted, tmp_path, precision):
    with pytest.raises(Interruption):
        train.train(computed_in(precision), 0, tmp_path, on_epoch=interrupt_after(1))
    assert not list(tmp_path.glob("*/record.json"))
    epochs = []
    run = train.train(
        computed_in(precision), 0, tmp_path, on_epoch=lambda done, curve: epochs.append((done, len(curve)))
    )
    assert epochs == [(2, 2), (3, 3)]
    assert_identical(run, uninterrupted(precision))


def test_a_run_interrupted_after_its_last_epoch_is_only_finished(uninterrupted, tmp_path, monkeypatch):
    with pytest.raises(Interruption):
        train.train(EXPERIMENT, 0, tmp_path, on_epoch=interrupt_after(3))
    monkeypatch.setattr(train, "run_epoch", fail)
    assert_identical(train.train(EXPERIMENT, 0, tmp_path), uninterrupted())


KILLED = """
import os, signal, sys
import pytest
from conftest import install_tiny
from test_train import computed_in
install_tiny(pytest.MonkeyPatch())
from lib import data, train

augment, steps = data.augment, []
def dying(*args):
    steps.append(args)
    if len(steps) == 5:  # in the middle of the second epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return augment(*args)
data.augment = dying
train.train(computed_in(sys.argv[2]), 0, sys.argv[1])
"""


@contextmanager
def python(code, *arguments, **environment):
    """A Python process that can import lib and these tests; it ends with the block."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A store for each precision, left by a process that was killed in its second epoch; they run side by side."""
    stores = {precision: tmp_path_factory.mktemp(precision) for precision in PRECISIONS}
    with ExitStack() as stack:
        processes = [stack.enter_context(python(KILLED, store, precision)) for precision, store in stores.items()]
        for process in processes:
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == -signal.SIGKILL, stderr
    return stores


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_killed_run_goes_on_to_the_same_bits(uninterrupted, killed, precision):
    assert [path.parent.name for path in killed[precision].glob("*/checkpoint.npz")] == [uninterrupted(precision).key]
    epochs = []
    run = train.train(computed_in(precision), 0, killed[precision], on_epoch=lambda done, curve: epochs.append(done))
    assert epochs == [2, 3]  # the first epoch's checkpoint was found, and nothing held the lock
    assert_identical(run, uninterrupted(precision))


# --- checkpoints ---


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, uninterrupted):
    """A sound checkpoint after the first epoch, as bytes."""
    store = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(Interruption):
        train.train(EXPERIMENT, 0, store, on_epoch=interrupt_after(1))
    return next(store.glob("*/checkpoint.npz")).read_bytes()


@pytest.mark.parametrize("damage", ["none", "truncated", "flipped"])
def test_a_damaged_checkpoint_starts_the_run_over(uninterrupted, checkpoint, tmp_path, damage, capsys):
    folder = tmp_path / uninterrupted().key
    folder.mkdir()
    damaged = bytearray(checkpoint)
    if damage == "truncated":
        del damaged[len(checkpoint) // 2 :]
    elif damage == "flipped":
        damaged[checkpoint.index(b"NUMPY", len(checkpoint) // 2) + 130] ^= 1  # a bit of a weight, behind a header
    (folder / "checkpoint.npz").write_bytes(damaged)
    epochs = []
    run = train.train(EXPERIMENT, 0, tmp_path, on_epoch=lambda done, curve: epochs.append(done))
    assert epochs == ([2, 3] if damage == "none" else [1, 2, 3])
    assert ("is damaged: the run starts over" in capsys.readouterr().err) == (damage != "none")
    assert_identical(run, uninterrupted())


class Variable(np.ndarray):
    """As much of a Keras variable as a checkpoint needs."""

    def __new__(cls, values):
        return np.array(values, "float32").view(cls)

    def assign(self, values):
        self[...] = values


class Model:
    """As much of a Keras model as a checkpoint needs."""

    def __init__(self, *values):
        self.variables, self.optimizer = [Variable(v) for v in values], self
        self.optimizer = type("Optimizer", (), {"variables": []})


def test_no_damaged_byte_of_a_checkpoint_gets_through(tmp_path):
    sound, state = Model([[1.5, 2.5], [3.5, 4.5]], [5.0, 6.0]), {"precision": "float32", "curve": []}
    train._checkpoint(tmp_path, sound, state)
    content = (tmp_path / "checkpoint.npz").read_bytes()

    def restore(damaged):
        """Either nothing of it is taken over, or the damage was to no more than a date, say."""
        (tmp_path / "checkpoint.npz").write_bytes(damaged)
        model = Model(np.zeros((2, 2)), np.zeros(2))
        restored = train._restore(tmp_path, model, "float32")
        arrays = [np.asarray(v).tolist() for v in model.variables]
        if restored is None:
            assert arrays == [[[0, 0], [0, 0]], [0, 0]]
        else:
            assert (restored, arrays) == (state, [[[1.5, 2.5], [3.5, 4.5]], [5, 6]])
        return restored

    assert restore(content) == state
    assert restore(b"not a checkpoint") is None
    assert not any(restore(content[:length]) for length in range(len(content)))
    flipped = [
        content[:i] + bytes([content[i] ^ flip]) + content[i + 1 :] for i in range(len(content)) for flip in (1, 6)
    ]
    assert sum(restore(damaged) is None for damaged in flipped) > len(flipped) / 2


def test_a_checkpoint_of_another_net_is_not_taken(tmp_path):
    train._checkpoint(tmp_path, Model([1.0, 2.0]), {"precision": "float32"})
    assert train._restore(tmp_path, Model([[1.0], [2.0]]), "float32") is None


@pytest.mark.parametrize("refusal", [MemoryError("no room"), PermissionError(13, "Permission denied")])
def test_what_cannot_be_read_now_is_not_called_damaged(uninterrupted, checkpoint, tmp_path, monkeypatch, refusal):
    """Else a checkpoint would be trained over, and the user told to delete a finished run."""
    folder = tmp_path / uninterrupted().key
    folder.mkdir()
    for name, content in (("checkpoint.npz", checkpoint), (train.KEPT, b"")):
        (folder / name).write_bytes(content)
    monkeypatch.setattr(np, "load", lambda *args, **kwargs: (_ for _ in ()).throw(refusal))
    with pytest.raises(type(refusal)):
        train.train(EXPERIMENT, 0, tmp_path)
    with pytest.raises(type(refusal)):
        records.read_weights(folder / train.KEPT)
    assert (folder / "checkpoint.npz").read_bytes() == checkpoint
    monkeypatch.setattr(Path, "read_text", lambda path: (_ for _ in ()).throw(refusal))
    with pytest.raises(type(refusal)):
        records.read_record(folder)


def test_a_checkpoint_of_another_precision_is_not_taken_and_it_is_said(tmp_path, capsys):
    train._checkpoint(tmp_path, Model([1.0, 2.0]), {"precision": "bfloat16"})
    model = Model([0.0, 0.0])
    assert train._restore(tmp_path, model, "float32") is None
    assert model.variables[0].tolist() == [0, 0]
    assert "is in bfloat16, not float32: it starts over" in capsys.readouterr().err
    assert train._restore(tmp_path, model, "bfloat16") == {"precision": "bfloat16"}


def test_a_run_is_found_where_its_weights_are(tmp_path):
    stores = [tmp_path / name for name in ("bare", "whole", "begun")]
    for store in stores[:2]:
        key = train.train(FAST, 0, store).key
    (stores[0] / key / "weights.npz").unlink()
    (stores[2] / key).mkdir(parents=True)
    assert train.find(key, stores).folder == stores[1] / key
    assert train.find(key, stores[:1]).folder == stores[0] / key
    with pytest.raises(train.StoreError, match=f"no run {key} is finished in begun"):
        train.find(key, stores[2:])


def test_a_run_is_done_when_its_record_exists(tmp_path, monkeypatch):
    """The record is the last thing written, so that what is interrupted before is not taken for finished."""
    written = []

    def watched(path, dump):
        written.append(path.name)
        write(path, dump)

    for module in (train, records):
        monkeypatch.setattr(module, "write", watched)
    folder = tmp_path / FAST.key(0, data.load("cifar10").identity)
    folder.mkdir()
    for name in ("checkpoint.npz", "weights.npz", "record.json"):
        (folder / f"{name}.7.part").touch()  # what a process killed while it wrote leaves behind
    run = train.train(FAST, 0, tmp_path)
    assert written == ["checkpoint.npz", "checkpoint.npz", "weights.npz", "record.json"]
    assert {path.name for path in run.folder.iterdir()} == {"lock", "weights.npz", "record.json"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_kept_weights_are_small_and_give_the_very_same_scores(precision, tmp_path):
    run = train.train(computed_in(precision), 0, tmp_path)
    x, full = data.load("cifar10").x_test, run.weights
    before, size = probes.predict(run.load(precision), x), full.stat().st_size
    run.keep()
    full.unlink()
    assert run.weights.name == train.KEPT
    assert run.weights.stat().st_size < 0.8 * size  # the tiny net is half vectors
    after = probes.predict(Run(run.folder).load(precision), x)
    np.testing.assert_allclose(after, before, atol=0 if precision == "bfloat16" else 0.02)
    run.weights.unlink()
    with pytest.raises(FileNotFoundError, match=f"the weights of run {run.key} were not kept"):
        Run(run.folder).load(precision)


def test_a_run_that_diverges_leaves_a_record_that_any_parser_reads(tmp_path):
    recipe = replace(FAST.recipe, learning_rate=1e38)
    run = train.train(replace(FAST, architecture="mlp", recipe=recipe), 0, tmp_path)
    record = json.loads((run.folder / "record.json").read_text(), parse_constant=pytest.fail)
    assert record["curve"][-1]["loss"] is None
    assert 0 <= record["train_error"] <= 100


# --- one process a run, and none for a finished one ---


def test_a_second_process_is_told_that_the_run_is_busy(tmp_path):
    key = FAST.key(0, data.load("cifar10").identity)
    (tmp_path / key).mkdir()
    code = (
        "import sys; from pathlib import Path; from lib.records import lock\n"
        "with lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with python(code, tmp_path / key) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match=f"run {key} is being trained by another process"):
            train.train(FAST, 0, tmp_path)
    assert train.train(FAST, 0, tmp_path).key == key  # the lock went with its process


def test_a_finished_run_is_returned_at_once(uninterrupted, monkeypatch):
    run = uninterrupted()
    monkeypatch.setattr(train, "run_epoch", fail)
    monkeypatch.setattr(models, "build", fail)
    assert train.train(EXPERIMENT, 0, run.folder.parent).record == run.record


# --- what is read ---


class Poison:
    """An array that must not be looked at."""

    def __getattribute__(self, name):
        raise AssertionError("the test images were read")

    __getitem__ = __len__ = __iter__ = __array__ = __getattribute__


def test_an_exploratory_run_never_reads_the_test_images(tmp_path, monkeypatch, tiny):
    poisoned = replace(tiny, x_test=Poison(), y_test=Poison())
    monkeypatch.setattr(data, "load", lambda name: poisoned)
    run = train.train(replace(EXPERIMENT, test=False, recipe=replace(RECIPE, epochs=1)), 0, tmp_path)
    assert (run.test_error, run.predictions, run.wrong) == (None, None, None)
    assert run.val_error is not None
    with pytest.raises(AssertionError, match="the test images were read"):
        train.train(replace(FAST, test=True), 0, tmp_path)


@pytest.mark.parametrize("n_train", [None, 60])
def test_validation_images_are_never_trained_on(tmp_path, monkeypatch, tiny, n_train):
    trained_on, run_epoch = [], train.run_epoch

    def watched(model, recipe, x, y, seed, epoch):
        trained_on.append(x)
        return run_epoch(model, recipe, x, y, seed, epoch)

    monkeypatch.setattr(train, "run_epoch", watched)
    run = train.train(replace(FAST, n_train=n_train), 0, tmp_path)
    validation = {image.tobytes() for image in tiny.x_train[tiny.split()[1]]}
    assert len(validation) == 40
    assert all(len(x) == run.n_train == (n_train or 200) for x in trained_on)
    assert not validation & {image.tobytes() for x in trained_on for image in x}


def test_which_images_an_experiment_takes(tiny):
    training, validation = tiny.split()

    def sets(**changes):
        return train.images(replace(FAST, n_train=None, **changes), tiny)

    exploratory, final = sets(), sets(held_out=False, test=True)
    assert sorted(exploratory) == ["train", "validation"]
    np.testing.assert_array_equal(exploratory["train"][0], tiny.x_train[training])
    np.testing.assert_array_equal(exploratory["train"][1], tiny.y_train[training])
    np.testing.assert_array_equal(exploratory["validation"][0], tiny.x_train[validation])
    assert sorted(final) == ["test", "train"]
    np.testing.assert_array_equal(final["train"][0], tiny.x_train)
    np.testing.assert_array_equal(final["test"][1], tiny.y_test)

    few = train.images(replace(FAST, n_train=50, draw=1, test=True, n_eval=7), tiny)
    np.testing.assert_array_equal(few["train"][0], tiny.x_train[tiny.subset(50, 1, "train")])
    assert len(few["validation"][0]) == len(few["test"][1]) == 7
    all_of_it = train.images(replace(FAST, n_train=50, held_out=False), tiny)
    np.testing.assert_array_equal(all_of_it["train"][0], tiny.x_train[tiny.subset(50, 0, "all")])

    with pytest.raises(ValueError, match="a batch of 61 needs as many training images, there are 60"):
        train.images(replace(FAST, recipe=replace(FAST.recipe, batch=61)), tiny)


def test_probes_do_not_change_the_run(uninterrupted, tmp_path):
    run = train.train(replace(EXPERIMENT, probes=tuple(probes.PROBES)), 0, tmp_path)
    a, b = essence(run.record), essence(uninterrupted().record)
    for name in ("experiment", "key", "probes"):
        del a[name], b[name]
    assert a == b
    assert_same_weights(run, uninterrupted())
    expected = {f"{name}_{when}" for name, probe in probes.PROBES.items() for when in probe.when}
    assert set(run.probes) == expected
    assert uninterrupted().probes == {}


def test_probes_are_taken_when_they_say(tmp_path, monkeypatch, tiny):
    """On the net as it is then, with the validation images where there are any, else the test images."""
    seen = []

    def measure(model, training, held):
        seen.append((int(model.optimizer.iterations.value), len(training[0]), held[0]))
        return len(seen)

    probe = probes.Probe(("start", "epoch1", "end"), measure)
    monkeypatch.setitem(probes.PROBES, "watch", probe)
    run = train.train(replace(FAST, probes=("watch",)), 0, tmp_path)
    assert run.probes == {"watch_start": 1, "watch_epoch1": 2, "watch_end": 3}
    assert [steps for steps, _, _ in seen] == [0, 3, 6]
    assert {n for _, n, _ in seen} == {60}
    np.testing.assert_array_equal(seen[-1][2], tiny.x_train[tiny.split()[1]])
    train.train(replace(FAST, probes=("watch",), held_out=False, test=True), 0, tmp_path)
    np.testing.assert_array_equal(seen[-1][2], tiny.x_test)


def test_an_unknown_probe_is_refused_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "run_epoch", fail)
    with pytest.raises(ValueError, match="unknown probe 'gradient'; choose from gradients, activations"):
        train.train(replace(FAST, probes=("gradient",)), 0, tmp_path)


# --- learning ---


def test_a_tiny_net_learns_32_images_by_heart(tmp_path):
    recipe = replace(train.MODERN, epochs=30, batch=16, augment=False, weight_decay=0.0, precision="float32")
    run = train.train(Experiment("tiny", recipe, {"width": 16}, n_train=32, held_out=False), 0, tmp_path)
    assert run.curve[0]["train_error"] > 50
    assert run.train_error == 0
    assert run.curve[-1]["loss"] < 0.1


def test_the_record_says_what_happened(uninterrupted, tiny):
    run = uninterrupted()
    assert run.experiment == json.loads(json.dumps(dataclasses.asdict(EXPERIMENT)))
    assert (run.kind, run.seed, run.n_train) == ("train", 0, 56)
    assert run.key == run.folder.name == EXPERIMENT.key(0, tiny.identity)
    assert run.data == {"name": "cifar10", "identity": tiny.identity, "standin": True, "shape": [32, 32, 3]}
    assert [point["epoch"] for point in run.curve] == [1, 2, 3]
    assert all(set(point) == {"epoch", "loss", "train_error", "val_error"} for point in run.curve)
    assert run.val_error == run.curve[-1]["val_error"]
    assert run.curve[-1]["loss"] < run.curve[0]["loss"]
    assert (run.parameters, run.statistics) == models.count(run.model)
    assert run.flops == models.flops(run.model, (32, 32, 3))
    machine = run.machine
    assert machine["precision"] == "float32"
    assert machine["backend"] == "tensorflow"
    assert (machine["gpu"] is None) == (machine["device"] == "cpu")
    assert machine["versions"]["keras"] == keras.__version__
    assert machine["seconds"] >= machine["seconds_per_epoch"] > 0
    assert machine["seconds_per_step"] == pytest.approx(machine["seconds"] / 9)


def test_the_model_of_a_run_reproduces_its_predictions(uninterrupted, tiny):
    run = uninterrupted()
    guesses = np.concatenate([np.asarray(run.model(tiny.x_test[i : i + 30])).argmax(-1) for i in (0, 30)])
    assert "".join(map(str, guesses)) == run.predictions
    wrong = guesses != tiny.y_test
    assert run.test_error == pytest.approx(100 * wrong.mean())
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(run.wrong), np.uint8))[: len(run.predictions)]
    np.testing.assert_array_equal(bits.astype(bool), wrong)
    for images, error in (
        (tiny.subset(56, 0, "train"), run.train_error),
        (tiny.split()[1], run.val_error),
    ):
        guesses = np.asarray(run.model(tiny.x_train[images])).argmax(-1)
        assert error == pytest.approx(100 * np.mean(guesses != tiny.y_train[images]))
    for variable, saved in zip(run.model.variables, weights(run), strict=True):
        np.testing.assert_array_equal(np.asarray(variable), saved)


def test_a_run_without_weights_still_has_its_record(uninterrupted, tmp_path):
    folder = tmp_path / uninterrupted().key
    folder.mkdir()
    (folder / "record.json").write_text((uninterrupted().folder / "record.json").read_text())
    run = Run(folder)
    assert run.test_error == uninterrupted().test_error
    with pytest.raises(FileNotFoundError):
        run.model  # noqa: B018


def test_fields_of_a_record_are_attributes_of_its_run(uninterrupted):
    run = uninterrupted()
    assert run.seed == run.record["seed"]
    with pytest.raises(AttributeError, match="a run has no 'accuracy'; it has key, kind, experiment"):
        run.accuracy  # noqa: B018
    assert copy.copy(run).key == run.key


def test_a_run_shows_itself_as_a_table(uninterrupted):
    html = uninterrupted()._repr_html_()
    assert uninterrupted().key in html
    for text in ("tiny", "width=4, dropout=0.5", "cifar10 (stand-in)", f"{uninterrupted().test_error:.2f}"):
        assert text in html
    record = uninterrupted().record
    record["experiment"]["options"]["name"] = "<script>"
    try:
        assert "<script>" not in uninterrupted()._repr_html_()
    finally:
        del record["experiment"]["options"]["name"]


# --- an epoch ---


class Untrained:
    """What takes the batches of an epoch in a model's stead."""

    non_trainable_variables = ()

    def __init__(self, see):
        self.see = see

    def reset_metrics(self):
        """There are none."""

    def train_on_batch(self, images, labels, return_dict):
        self.see(images, labels)
        return {"loss": float(labels[0]), "accuracy": 0.5}


def test_an_epoch_takes_every_image_once_in_an_order_of_its_own():
    x, y = np.arange(50, dtype=np.uint8)[:, None, None, None], np.arange(50)
    orders = {}

    def order(seed, epoch):
        seen = []
        model = Untrained(lambda images, labels: seen.extend(zip(images[:, 0, 0, 0], labels, strict=True)))
        train.run_epoch(model, Recipe(1, 0.1, batch=16), x, y, seed, epoch)
        assert all(image == label for image, label in seen)
        return [label for _, label in seen]

    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        orders[seed, epoch] = order(seed, epoch)
        assert len(set(orders[seed, epoch])) == len(orders[seed, epoch]) == 48  # the incomplete batch is left out
        assert order(seed, epoch) == orders[seed, epoch]
    assert orders[0, 0] != orders[0, 1] != orders[1, 0] != orders[0, 0]


def test_images_are_augmented_only_where_the_recipe_says():
    x, y = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8), np.arange(32)
    for augment in (False, True):
        same = []
        model = Untrained(lambda images, labels, same=same: same.append(np.array_equal(images, x[labels])))
        train.run_epoch(model, Recipe(1, 0.1, batch=16, augment=augment), x, y, 0, 0)
        assert same == [not augment] * 2


def test_an_epoch_drops_out_by_its_seed_and_number_alone(tiny):
    keras.utils.set_random_seed(1)
    model = train.build("tiny", {"width": 4, "dropout": 0.5}, (32, 32, 3), "float32")
    recipe = Recipe(1, learning_rate=0.0, batch=20)
    train.compile_model(model, recipe, 2)
    (state,) = (v for v in model.non_trainable_variables if "seed" in v.path)
    losses, drawn = {}, {}
    for run in ((0, 0), (0, 1), (1, 0), (0, 0)):
        loss = train.run_epoch(model, recipe, tiny.x_train[:40], tiny.y_train[:40], *run)["loss"]
        assert losses.setdefault(run, loss) == loss
        first, end = np.asarray(state)
        drawn[run] = {(int(first), int(end) - i) for i in (1, 2)}  # the states that its two batches drew from
    assert len({round(loss, 4) for loss in losses.values()}) == 3
    assert len(set.union(*drawn.values())) == 6  # no batch of one epoch has the mask of another's


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_epoch_reports_means_over_all_its_batches(tiny, smoothing):
    x, y = tiny.x_train[:40], tiny.y_train[:40]
    model = train.build("softmax", {}, (32, 32, 3), "float32")
    # a net that stays as it is can be asked afterwards
    recipe = Recipe(1, learning_rate=0.0, batch=8, label_smoothing=smoothing)
    train.compile_model(model, recipe, 5)
    logs = train.run_epoch(model, recipe, x, y, 0, 0)
    z = np.asarray(model(x)).astype(float)
    losses = np.log(np.exp(z).sum(1)) - (1 - smoothing) * z[np.arange(40), y] - smoothing * z.mean(1)
    assert logs["loss"] == pytest.approx(losses.mean(), rel=1e-4)
    assert logs["accuracy"] == pytest.approx((z.argmax(1) == y).mean())


# --- recipes ---


def softmax(recipe, steps_per_epoch=10):
    model = train.build("softmax", {}, (32, 32, 3), "float32")
    train.compile_model(model, recipe, steps_per_epoch)
    return model


def rate_at(model, step):
    model.optimizer.iterations.assign(step)
    return float(model.optimizer.learning_rate)


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_cosine_schedule(warmup):
    """Linear from 0 to the peak over `warmup` of the 40 steps, then half a cosine to 0 (Loshchilov & Hutter 2017)."""
    model = softmax(Recipe(epochs=4, learning_rate=0.3, schedule="cosine", warmup=warmup))
    first = 40 * warmup
    for step in (0, 1, 4, 8, 20, 32, 39, 40):
        falling = 0.3 * (1 + np.cos(np.pi * (step - first) / (40 - first))) / 2
        expected = 0.3 * step / first if step < first else falling
        assert rate_at(model, step) == pytest.approx(expected, abs=1e-6)


def test_smoothed_labels_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 10, 20), rng.normal(size=(20, 10)).astype("float32")
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    right = log_p[np.arange(20), labels]
    for smoothing in (0.0, 0.1, 0.5):
        expected = -np.mean((1 - smoothing) * right + smoothing * log_p.mean(axis=1))
        found = np.mean(train.smoothed_cross_entropy(smoothing)(labels, logits))
        assert found == pytest.approx(expected, rel=1e-5), smoothing


def test_constant_schedule():
    model = softmax(Recipe(epochs=4, learning_rate=0.3))
    assert [rate_at(model, step) for step in (0, 17, 40)] == pytest.approx([0.3] * 3)


def test_sgd_with_nesterov_momentum_is_its_formula():
    """Sutskever et al. 2013 as Keras has it: v = m v - r g, then w += m v - r g; without momentum w -= r g."""
    x, y = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), np.arange(8)
    for momentum in (0.0, 0.9):
        model = softmax(Recipe(epochs=1, learning_rate=0.01, momentum=momentum))
        w, v = np.asarray(model.trainable_variables[0]), 0
        for _ in range(3):
            g = backend.gradients(lambda m=model: m.compute_loss(x, y, m(x, training=True)), model.trainable_variables)[
                0
            ]
            v = momentum * v - 0.01 * g
            w = w + (momentum * v - 0.01 * g if momentum else v)
            model.train_on_batch(x, y)
            np.testing.assert_allclose(np.asarray(model.trainable_variables[0]), w, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_net_trains_by_products_as_by_convolutions(monkeypatch, recompute):
    x, y = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8), np.arange(8)
    options = {"n": [1, 1, 2], "width": 4, "stem": "pooled", "recompute": recompute}  # the last maps are 2x2
    monkeypatch.setattr(backend, "slow_bfloat16", lambda: False)
    after, taken, by_products = [], [], backend.kernel_by_products
    monkeypatch.setattr(backend, "kernel_by_products", lambda *inputs: taken.append(1) or by_products(*inputs))
    for slow in (False, True):
        monkeypatch.setattr(backend, "slow_kernel_gradients", lambda slow=slow: slow)
        model = train.build("recnet", options, (16, 16, 3), "bfloat16")
        assert bool(taken) == slow
        randomise(model)  # the same weights both times
        train.compile_model(model, Recipe(1, 0.1, batch=8), 1)
        before = [np.asarray(v) for v in model.trainable_variables]
        model.train_on_batch(x, y)
        after.append([np.asarray(v) - b for v, b in zip(model.trainable_variables, before, strict=True)])
    for variable, a, b in zip(model.trainable_variables, *after, strict=True):
        assert np.abs(a - b).max() <= 0.05 * np.abs(a).max() + 1e-6, variable.path


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weight_decay_shrinks_kernels_and_nothing_else(optimizer):
    x, y = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), np.arange(8)
    start, after = None, []
    for decay in (0.0, 0.5):
        model = train.build("tiny", {"width": 4}, (32, 32, 3), "float32")
        randomise(model)  # the same weights both times
        start = [np.asarray(v) for v in model.trainable_variables]
        train.compile_model(model, Recipe(1, 0.01, optimizer=optimizer, weight_decay=decay), 1)
        model.train_on_batch(x, y)
        after.append([np.asarray(v) for v in model.trainable_variables])
    decayed = []
    for variable, before, without, with_decay in zip(model.trainable_variables, start, *after, strict=True):
        kernel = variable.path.endswith("/kernel")
        decayed.append(kernel)
        change = (
            -0.01 * 0.5 * before if kernel else np.zeros_like(before)
        )  # decoupled: times the rate, not in the gradient
        np.testing.assert_allclose(with_decay - without, change, rtol=1e-3, atol=1e-6, err_msg=variable.path)
    assert sum(decayed) == 4  # stem, two of the block, logits


def test_unknown_words_of_a_recipe_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown schedule 'linear'; choose 'constant' or 'cosine'"):
        softmax(Recipe(1, 0.1, schedule="linear"))
    with pytest.raises(ValueError, match="unknown optimizer 'lion'; choose 'sgd' or 'adam'"):
        softmax(Recipe(1, 0.1, optimizer="lion"))


def test_what_makes_no_net_is_refused(tmp_path):
    for bad, message in (
        (replace(FAST, architecture="vgg"), "unknown architecture 'vgg'"),
        (replace(FAST, options={"depth": 3}), "softmax does not take these options"),
        (replace(FAST, recipe=replace(FAST.recipe, batch=500)), "a batch of 500 needs as many training images"),
    ):
        with pytest.raises(ValueError, match=message):
            train.train(bad, 0, tmp_path)
    with pytest.raises(ValueError, match="unknown precision 'float16'; choose one of auto, float32, bfloat16"):
        train.train(replace(FAST, recipe=replace(FAST.recipe, precision="float16")), 0, tmp_path)


def test_recipes_and_experiments_cannot_be_changed():
    for frozen, name in ((RECIPE, "epochs"), (EXPERIMENT, "architecture")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, name, None)


# another value for each field
OTHER = {
    "epochs": 9,
    "learning_rate": 0.7,
    "optimizer": "adam",
    "momentum": 0.1,
    "weight_decay": 0.2,
    "schedule": "constant",
    "warmup": 0.5,
    "batch": 4,
    "augment": False,
    "precision": "auto",
    "label_smoothing": 0.1,
    "architecture": "mlp",
    "recipe": train.PAPER,
    "options": {"width": 4},
    "dataset": "mnist",
    "n_train": 57,
    "draw": 1,
    "held_out": False,
    "test": False,
    "n_eval": 5,
    "probes": ("gradients",),
}


def test_the_key_depends_on_all_that_decides_the_result(monkeypatch):
    variants = [replace(EXPERIMENT, **{f.name: OTHER[f.name]}) for f in dataclasses.fields(Experiment)]
    variants += [
        replace(EXPERIMENT, recipe=replace(RECIPE, **{f.name: OTHER[f.name]})) for f in dataclasses.fields(Recipe)
    ]
    assert all(variant != EXPERIMENT for variant in variants)
    keys = [variant.key(0, "identity") for variant in (EXPERIMENT, *variants)]
    keys += [EXPERIMENT.key(1, "identity"), EXPERIMENT.key(0, "other")]
    monkeypatch.setattr(train, "TRAIN_VERSION", train.TRAIN_VERSION + 1)
    keys.append(EXPERIMENT.key(0, "identity"))
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_the_key_is_the_same_in_any_process_and_after_json():
    assert replace(EXPERIMENT).key(0, "identity") == EXPERIMENT.key(0, "identity")
    again = Experiment.of(json.loads(json.dumps(dataclasses.asdict(EXPERIMENT))))
    assert again.key(0, "identity") == EXPERIMENT.key(0, "identity")
    code = f"from lib.train import Experiment, Recipe; print({EXPERIMENT!r}.key(0, 'identity'))"
    with python(code, PYTHONHASHSEED="7") as process:
        stdout, stderr = process.communicate(timeout=120)
    assert stdout.strip() == EXPERIMENT.key(0, "identity"), stderr


# --- the module ---


@pytest.mark.parametrize(("precision", "policy"), [("float32", "float32"), ("bfloat16", "mixed_bfloat16")])
def test_a_net_is_built_in_its_precision_and_the_policy_put_back(precision, policy):
    model = train.build("tiny", {"width": 4}, (32, 32, 3), precision)
    assert model.stem.conv.dtype_policy.name == policy
    assert {str(v.dtype) for v in model.trainable_variables} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    with pytest.raises(ValueError, match="unknown architecture"):
        train.build("vgg", {}, (32, 32, 3), precision)
    assert keras.config.dtype_policy().name == "float32"


# --- another backend ---

JAX = """
import sys
import numpy as np
import pytest
from dataclasses import replace
from conftest import install_tiny
install_tiny(pytest.MonkeyPatch())
import keras
from lib import backend, train
from lib.train import Experiment, Recipe

assert keras.backend.backend() == "jax"
recipe = Recipe(epochs=3, learning_rate=0.05, momentum=0.9, schedule="cosine", warmup=0.3, batch=16,
    augment=True, precision="float32")
measured = ("gradients", "updates", "statistics")
experiment = Experiment("tiny", recipe, {"width": 4, "dropout": 0.5}, n_train=48, test=True, probes=measured)
def stop(done, curve):
    raise InterruptedError
try:
    train.train(experiment, 0, sys.argv[1], on_epoch=stop)
except InterruptedError:
    pass
stopped = train.train(experiment, 0, sys.argv[1])
whole = train.train(experiment, 0, sys.argv[2])
for name in set(whole.record) - {"machine", "digest"}:
    assert stopped.record[name] == whole.record[name], name
assert whole.machine["backend"] == "jax"
assert whole.curve[-1]["loss"] < whole.curve[0]["loss"]
assert not np.allclose(np.asarray(whole.model.stem.norm.mean[0]), 0)  # running statistics were kept
guesses = np.asarray(whole.model(train.datasets.load("cifar10").x_test)).argmax(-1)
assert "".join(map(str, guesses)) == whole.predictions

losses = []
for steps in (backend.train_on_batches, backend.train_in_one_program):  # the latter is for GPUs
    backend.make_deterministic(0)
    with backend.own_draws(0):
        model = train.build("tiny", {"width": 4}, (32, 32, 3), "float32")
        train.compile_model(model, recipe, 3)
    images = train.images(experiment, train.datasets.load("cifar10"))["train"]
    batches = [[part[i : i + 16] for part in images] for i in (0, 16, 32)]
    losses.append([log["loss"] for log in steps(model, batches)] + [np.asarray(model.stem.norm.mean[0])])
assert all(np.allclose(a, b, rtol=1e-3) for a, b in zip(*losses))
print("trained")
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed: it is an extra")
def test_the_same_code_trains_under_jax(tmp_path):
    with python(JAX, tmp_path / "a", tmp_path / "b", KERAS_BACKEND="jax") as process:
        stdout, stderr = process.communicate(timeout=300)
    assert stdout == "trained\n", stderr
