"""Bad input of every kind to the public functions: an error of the documented type that names the value, never a wrong
number. (That of the command line is in test_commands, that of files in test_data and test_faults.)"""

import math

import numpy as np
import pytest
from conftest import tiny_dataset
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lib import claims, data, experiments, layers, models, runs, stats, train
from lib.layers import ConvBlock, ResidualBlock, Stage
from lib.records import StoreError
from lib.train import Experiment, Recipe, Run

some = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
negative = st.integers(max_value=-1)
unordered = st.none() | st.text(max_size=5) | st.just(math.nan) | st.just([])  # what is no number to count with
known = {*data.SPECS, *models.ARCHITECTURES, *experiments.NAMES, *claims.CLAIMS, *experiments.PROFILES}
words = st.text(max_size=12).filter(lambda word: word not in known)


@pytest.fixture(scope="module")
def images():
    return tiny_dataset("cifar10")


# --- data ---


@some
@given(name=words)
def test_an_unknown_data_set(name):
    with pytest.raises(ValueError, match=r"unknown data set .*choose from mnist, cifar10"):
        data.load(name)


@some
@given(n=negative | unordered | st.integers(min_value=201) | st.floats())
@example(n=0)
@example(n=2.5)
def test_no_number_of_images(images, n):
    with pytest.raises(ValueError, match=r"images asked of cifar10, 'train': choose from 1 to 200"):
        images.subset(n)


@some
@given(draw=negative | unordered | st.floats())
def test_no_draw_of_a_subset(images, draw):
    with pytest.raises(ValueError, match=r"^draw=.*: choose 0, 1"):
        images.subset(20, draw)


@some
@given(shape=st.lists(st.integers(1, 5), max_size=6).filter(lambda shape: len(shape) != 4))
def test_no_images_to_augment_or_shift(shape):
    x = np.zeros(shape, np.uint8)
    for change in (lambda: data.augment(x, np.random.default_rng(0)), lambda: data.shift(x, 1, 1)):
        with pytest.raises(ValueError, match=r"\(N, H, W, C\), these have the shape \(") as caught:
            change()
        assert str(tuple(shape)) in str(caught.value)


@some
@given(pad=st.integers(-99, -1))
def test_no_padding_below_zero(pad):
    with pytest.raises(ValueError, match="negative"):
        data.augment(np.zeros((1, 4, 4, 3), np.uint8), np.random.default_rng(0), pad)


# --- nets ---


@some
@given(architecture=words, option=st.from_regex("[a-z]{3,9}", fullmatch=True))
def test_no_net(architecture, option):
    with pytest.raises(ValueError, match=r"unknown architecture .*; choose one of softmax"):
        models.build(architecture, (32, 32, 3))
    with pytest.raises(ValueError, match=f"softmax does not take these options: .*'{option}_'"):
        models.build("softmax", (32, 32, 3), **{f"{option}_": 1})


@some
@given(
    architecture=st.sampled_from(sorted(models.ARCHITECTURES)),
    shape=st.lists(st.integers(1, 40), max_size=5).filter(lambda shape: len(shape) != 3) | st.none() | st.integers(),
    channels=st.integers(4, 9),
)
def test_no_shape_of_an_image(architecture, shape, channels):
    with pytest.raises(ValueError, match=r"\(height, width, channels\), not "):
        models.build(architecture, shape)
    with pytest.raises(ValueError, match=f"images have 1 channel or 3, not {channels}"):
        models.build(architecture, (32, 32, channels))


@settings(deadline=None, max_examples=60)
@given(
    net=st.sampled_from(
        [
            *(("recnet", name) for name in ("n", "width", "norm", "stem", "dropout", "classes", "norm_place")),
            *(("recnet", "activation"), ("recnet", "tied")),
            *(("mlp", "units"), ("mnist_cnn", "filters"), ("mnist_cnn", "stride"), ("mnist_cnn", "activation")),
            *(("feedback", name) for name in ("states", "steps", "width", "norm")),
            *(("paper_recnet", name) for name in ("wiring", "steps", "units", "padding", "dropout", "activation")),
        ]
    ),
    value=st.integers(-9, -1) | st.text("xyz", min_size=1, max_size=5) | st.just([]),
)
def test_no_value_of_an_option_makes_another_error(net, value):
    architecture, option = net
    with pytest.raises(ValueError, match=r"\w"):
        models.build(architecture, (32, 32, 3), **{option: value})


# --- layers ---


@some
@given(count=st.integers(-9, -1), kind=st.sampled_from(layers.NORMS), tied=st.booleans())
def test_no_number_of_steps(count, kind, tied):
    with pytest.raises(ValueError, match=f"a norm serves 0 or more steps, not {count}"):
        layers.make_norm(kind, count)
    with pytest.raises(ValueError, match=f"a stage has 0 or more steps, not {count}"):
        Stage(lambda **more: ConvBlock(2, **more), count, tied)
    stage = Stage(lambda **more: ConvBlock(2, norm=None, **more), 2, tied)
    with pytest.raises(ValueError, match=f"can't take {count} steps and leave out step None"):
        list(stage.states(np.zeros((1, 4, 4, 2), "float32"), steps=count))
    with pytest.raises(ValueError, match=f"can't take 2 steps and leave out step {count}"):
        list(stage.states(np.zeros((1, 4, 4, 2), "float32"), drop=count))


@pytest.mark.parametrize(
    ("block", "shape", "fed", "words"),
    [
        ({"width": 8}, (1, 4, 4, 2), None, r"\(1, 4, 4, 8\) and \(1, 4, 4, 2\) can't be added"),
        ({"width": 8}, (1, 4, 4, 1), None, r"\(1, 4, 4, 8\) and \(1, 4, 4, 1\)"),  # numpy would repeat it
        ({"width": 2, "stride": 2}, (1, 2, 2, 2), None, r"\(1, 1, 1, 2\) and \(1, 2, 2, 2\)"),
        ({"width": 2}, (1, 4, 4, 2), (1, 1, 1, 2), r"\(1, 4, 4, 2\) and \(1, 1, 1, 2\)"),
    ],
)
def test_images_that_cannot_be_added(block, shape, fed, words):
    fed = None if fed is None else np.zeros(fed, "float32")
    with pytest.raises(ValueError, match=words):
        ResidualBlock(**block)(np.zeros(shape, "float32"), fed=fed)


# --- experiments and claims ---


@some
@given(name=words)
def test_no_claim_and_no_profile(name):
    for ask in (experiments.arms, lambda claim, profile: experiments.wanted([claim], profile)):
        with pytest.raises(ValueError, match=r"unknown claim .*; choose one of C1, C2"):
            ask(name, "quick")
        with pytest.raises(ValueError, match=r"unknown profile .*; choose one of smoke, quick, paper"):
            ask("C1", name)
    with pytest.raises(ValueError, match=r"unknown profile .*; choose one of smoke, quick, paper"):
        claims.judge(name, [])
    with pytest.raises(ValueError, match=r"unknown claim .*; choose from C1, C2"):
        claims.judge("paper", [], only=[name])


@some
@given(seed=negative, count=st.integers(max_value=0))
def test_no_seeds(seed, count):
    for bad in ({"seed": seed}, {"count": count}):
        with pytest.raises(ValueError, match=f"^{bad.get('count', 1)} seeds from {bad.get('seed', 0)} on: take"):
            experiments.wanted(["C1"], "quick", **bad)


# --- statistics ---


@some
@given(n=st.integers(1, 300), more=st.integers(1, 3))
def test_mistakes_of_another_number_of_images(n, more):
    packed = np.packbits(np.ones(n, bool)).tobytes()
    for wrong in (packed[:-1], packed + bytes(more)):
        with pytest.raises(ValueError, match=rf"{n} images are {len(packed)} bytes of bits, not {len(wrong)}"):
            stats.unpack(wrong.hex(), n)


@some
@given(shape=st.sampled_from([(), (0,), (0, 5), (3, 0), (2, 2, 2)]))
def test_no_arm(shape):
    arm = np.zeros(shape)
    for ask in (lambda: stats.mean(arm), lambda: stats.difference(np.ones(3), arm)):
        with pytest.raises(ValueError, match=r"an arm is \(seeds,\) or \(seeds, images\)") as caught:
            ask()
        assert str(shape) in str(caught.value)


@some
@given(level=st.floats(max_value=0) | st.floats(min_value=1) | st.just(math.nan), count=st.integers(2, 5))
def test_no_level_and_not_as_many_weights(level, count):
    with pytest.raises(ValueError, match="a weight an arm, a level within"):
        stats.mean([1.0, 2.0], level)
    with pytest.raises(ValueError, match=r"1 arms, weights \(1(, 1)*\), level 0.95"):
        stats.contrast([np.ones(3)], (1,) * count)


# --- training and its records ---


@some
@given(name=st.sampled_from(["epochs", "batch"]), value=st.integers(max_value=0) | st.floats() | unordered)
@example(name="epochs", value=1.5)
def test_no_count_of_a_recipe(name, value):
    with pytest.raises(ValueError, match=f"^{name}=.*: choose a number from 1 to"):
        Recipe(**{"epochs": 1, "learning_rate": 0.1} | {name: value})
    with pytest.raises(ValueError, match=r"^n_eval=.*: choose a number from 1 to"):
        Experiment("softmax", Recipe(1, 0.1), n_eval=0 if value is None else value)


@some
@given(
    name=st.sampled_from(["learning_rate", "weight_decay", "momentum", "warmup"]),
    value=st.floats(max_value=0, exclude_max=True) | st.just(math.inf) | unordered,
)
@example(name="momentum", value=1.5)
@example(name="warmup", value=2)
def test_no_number_of_a_recipe(name, value):
    with pytest.raises(ValueError, match=f"^{name}=.*: choose a number from 0 to"):
        Recipe(**{"epochs": 1, "learning_rate": 0.1} | {name: value})


@some
@given(name=words, key=st.from_regex("[0-9a-f]{16}", fullmatch=True))
def test_no_run(tmp_path, monkeypatch, images, name, key):
    monkeypatch.setattr(data, "load", lambda dataset: images)
    with pytest.raises(ValueError, match="unknown architecture"):
        train.train(Experiment(name, Recipe(1, 0.1), n_train=128), 0, tmp_path)
    with pytest.raises((FileNotFoundError, StoreError), match=key):
        Run(tmp_path / key)
    assert experiments.find_check([], name, "quick") is None
    assert runs.read(tmp_path / key) == []
    assert runs.ledger([]).empty
