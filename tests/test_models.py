"""The named networks: their exact sizes by hand-derived formulas, what they compute, and what they refuse."""

from functools import cache

import keras
import numpy as np
import pytest
from conftest import randomise
from keras import layers

from lib import backend, models
from lib.data import MEAN_STD
from lib.layers import NORMS, BatchNorm, GroupNorm

CIFAR, MNIST = (32, 32, 3), (28, 28, 1)


def images(n=2, shape=CIFAR, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


@cache
def net(architecture, shape=CIFAR, **options):
    """Built once: building is what takes the time. Tests that need particular weights assign them all."""
    return models.build(architecture, shape, **options)


# --- weights, counted by hand ---


def conv(kernel, channels_in, channels_out):
    return kernel**2 * channels_in * channels_out


def he_net(n, width=16, tied=False, classes=10):
    """(trainable weights, running statistics) of ResNet-(6n + 2) with 1x1 projections and a norm at each convolution.

    Tied, the repeated blocks of a stage have one set of kernels, but gamma, beta, mean and variance at each step.
    """
    kernels, norms = conv(3, 3, width), width  # norms: channels that pass through one, a mean and a gamma for each
    for stage, c in enumerate((width, 2 * width, 4 * width)):
        repeated = n if stage == 0 else n - 1
        kernels += min(repeated, 1 if tied else repeated) * 2 * conv(3, c, c)
        norms += repeated * 2 * c
        if stage:
            kernels += conv(3, c // 2, c) + conv(3, c, c) + conv(1, c // 2, c)
            norms += 3 * c
    return kernels + 2 * norms + (4 * width + 1) * classes, 2 * norms


@pytest.mark.parametrize(("n", "millions", "weights"), [(3, 0.27, 272_474), (7, 0.66, 661_338), (18, 1.7, 1_730_714)])
def test_resnets_have_the_size_of_he_et_al(n, millions, weights):
    assert round(weights / 1e6, 1 if n == 18 else 2) == millions  # their table 6, for ResNet-20, -44 and -110
    assert models.count(net("resnet", n=n)) == he_net(n)
    assert he_net(n)[0] == weights


@pytest.mark.parametrize(("n", "weights"), [(3, 171_098), (7, 172_890), (18, 177_818)])
def test_recnets_have_their_size(n, weights):
    assert models.count(net("recnet", n=n)) == he_net(n, tied=True)
    assert he_net(n, tied=True)[0] == weights
    assert he_net(n, tied=True)[1] == he_net(n)[1]  # each step keeps its own statistics


@pytest.mark.parametrize("tied", [True, False])
def test_width_and_channels_of_the_images_count(tied):
    assert models.count(net("recnet" if tied else "resnet", n=2, width=4)) == he_net(2, 4, tied)
    grey = net("recnet" if tied else "resnet", MNIST, n=2, width=4)
    assert models.count(grey)[0] == he_net(2, 4, tied)[0] - 2 * 9 * 4


def test_at_n_1_there_is_nothing_to_share():
    tied, untied = net("recnet", n=1, width=4), net("resnet", n=1, width=4)
    assert models.count(tied) == models.count(untied) == he_net(1, 4)
    untied.set_weights(randomise(tied).get_weights())
    np.testing.assert_array_equal(np.asarray(tied(images())), np.asarray(untied(images())))


# gamma and beta, and statistics, of the repeated blocks' norms: a step's worth is 2 norms of 4 + 8 + 16 channels
STEP = 2 * 2 * (4 + 8 + 16)


@pytest.mark.parametrize(
    ("norm", "trainable", "statistics"),
    [("per_step", STEP, STEP), ("per_step_stats", 0, STEP), ("shared", 0, 0), ("group", 0, 0), (None, 0, 0)],
)
def test_a_recnet_grows_with_each_step_by_its_own_norms_only(norm, trainable, statistics):
    two, three = (models.count(net("recnet", n=n, width=4, norm=norm)) for n in (2, 3))
    assert three == (two[0] + trainable, two[1] + statistics)


@pytest.mark.parametrize("norm", NORMS)
def test_every_kind_of_norm_reaches_every_block(norm):
    """The weights of each kind, from those of "per_step", at n = 2 and width 4; no norm means a bias instead."""
    channels = (
        4 + 4 * 4 + 3 * 8 + 2 * 8 + 3 * 16 + 2 * 16
    )  # stem, stage 1, and transition and repeated block of 2 and 3
    kernels = he_net(2, 4)[0] - 2 * channels
    expected = {None: (kernels + channels, 0), "group": (kernels + 2 * channels, 0)}
    untied = models.count(net("resnet", n=2, width=4, norm=norm))
    assert untied == expected.get(norm, (kernels + 2 * channels, 2 * channels))
    # tied, stage 1 has two steps of one block: 2 norms of 4 channels are no longer there a second time
    saved = {
        "per_step": (0, 0),
        "per_step_stats": (2 * 8, 0),
        "shared": (2 * 8, 2 * 8),
        "group": (2 * 8, 0),
        None: (8, 0),
    }
    tied = models.count(net("recnet", n=2, width=4, norm=norm))
    assert tied == (untied[0] - 2 * conv(3, 4, 4) - saved[norm][0], untied[1] - saved[norm][1])


@pytest.mark.parametrize(
    ("options", "norms"),
    [
        ({}, 6 * 3 + 1 + 2),  # stem, two a block, a projection in each later stage
        ({"shortcut": False}, 6 * 3 + 1),
        ({"norm_place": "after"}, 6 * 3 + 1 + 2),
        ({"norm_place": "pre"}, 6 * 3 + 1 + 2 + 1),  # and one before the read-out
        ({"activate": False}, 6 * 3 + 1 + 2),
        ({"tied": True}, 1 + 2 * 5 + 2),  # three shared blocks, two transitions
    ],
)
def test_a_net_has_as_many_norms_as_its_formula_says(options, norms):
    model = net("resnet", n=3, width=4, **options)
    assert len(models.sublayers(model, BatchNorm)) == norms
    assert not models.sublayers(model, GroupNorm)


def test_group_norm_stands_where_batch_norm_would():
    model = net("resnet", n=2, width=4, norm="group")
    assert len(models.sublayers(model, GroupNorm)) == 6 * 2 + 1 + 2
    assert not models.sublayers(model, BatchNorm)


def test_sizes_of_the_block_variants():
    channels = 4
    plain = he_net(2, channels)
    projections = conv(1, 4, 8) + conv(1, 8, 16)
    assert models.count(net("plain", n=2, width=4)) == (plain[0] - projections - 2 * (8 + 16), plain[1] - 2 * (8 + 16))
    assert models.count(net("resnet", n=2, width=4, norm_place="after")) == plain
    # pre-activation: a transition's first norm sees the narrower state; one more norm before the read-out
    extra = -2 * (4 + 8) + 2 * 16
    assert models.count(net("resnet", n=2, width=4, norm_place="pre")) == (plain[0] + extra, plain[1] + extra)


def test_resnet18_has_its_published_size():
    kernels, norms = conv(3, 3, 64), 64
    for c, c_in in ((64, 64), (128, 64), (256, 128), (512, 256)):
        kernels += conv(3, c_in, c) + 3 * conv(3, c, c) + (conv(1, c_in, c) if c != c_in else 0)
        norms += 4 * c + (c if c != c_in else 0)
    expected = (kernels + 2 * norms + 513 * 10, 2 * norms)
    assert expected[0] == 11_173_962
    assert models.count(net("resnet18")) == expected
    stem = 49 - 9  # a 7x7 stem instead of a 3x3 one
    assert models.count(net("resnet18", width=4, stem="imagenet"))[0] == (
        models.count(net("resnet18", width=4))[0] + stem * 3 * 4
    )


PAPER_TRUNK = conv(5, 3, 20) + 2 * conv(3, 20, 20) + 3 * 2 * 20  # stem and block, with their three norms
VECTOR = 4 * 4 * 20  # 32 / 2 (stem) / 2 / 2 (pools)


def rnn(inputs, units):
    return (inputs + units + 1) * units


@pytest.mark.parametrize(
    ("architecture", "shape", "options", "weights"),
    [
        ("softmax", CIFAR, {}, 3072 * 10 + 10),
        ("softmax", MNIST, {}, 784 * 10 + 10),
        ("mlp", MNIST, {}, 785 * 512 + 513 * 512 + 513 * 10),
        ("mlp", MNIST, {"units": 5, "depth": 1}, 785 * 5 + 6 * 10),
        # 28 / 2 (stride) / 2 / 2 (pools) -> 3
        ("mnist_cnn", MNIST, {}, 26 * 20 + (conv(5, 20, 20) + 20) + (3 * 3 * 20 + 1) * 10),
        # 28 / 2 / 2 (pools alone) -> 7
        ("mnist_cnn", MNIST, {"stride": "pool"}, 26 * 20 + (conv(5, 20, 20) + 20) + (7 * 7 * 20 + 1) * 10),
        ("mnist_cnn", CIFAR, {}, 76 * 20 + (conv(5, 20, 20) + 20) + (4 * 4 * 20 + 1) * 10),
        ("paper_resnet", CIFAR, {}, PAPER_TRUNK + (VECTOR + 1) * 10),
        ("paper_recnet", CIFAR, {}, PAPER_TRUNK + rnn(VECTOR, 128) + 129 * 10),
        ("paper_recnet", CIFAR, {"steps": 2}, PAPER_TRUNK + rnn(VECTOR, 128) + 129 * 10),
        ("paper_recnet", CIFAR, {"wiring": "stack"}, PAPER_TRUNK + rnn(VECTOR, 128) + 6 * rnn(128, 128) + 129 * 10),
        ("paper_recnet", CIFAR, {"wiring": "rows", "padding": "valid"}, PAPER_TRUNK + rnn(7 * 20, 128) + 129 * 10),
        ("paper_recnet", CIFAR, {"wiring": "state"}, PAPER_TRUNK + rnn(1, VECTOR) + (VECTOR + 1) * 10),
        ("paper_resnet", CIFAR, {"padding": "valid"}, PAPER_TRUNK + (7 * 7 * 20 + 1) * 10),
    ],
)
def test_the_other_nets_by_hand(architecture, shape, options, weights):
    statistics = 3 * 2 * 20 if architecture.startswith("paper") else 0
    assert models.count(net(architecture, shape, **options)) == (weights, statistics)


def test_a_count_leaves_out_the_state_of_random_numbers():
    with_dropout = net("recnet", n=1, width=4, dropout=0.5)
    assert any("seed" in v.path for v in with_dropout.non_trainable_variables)
    assert models.count(with_dropout) == he_net(1, 4)


# --- operations, counted by hand: two for each multiply-add ---


def he_net_flops(n, width=16):
    total, size = 2 * 32**2 * conv(3, 3, width), 32
    for stage, c in enumerate((width, 2 * width, 4 * width)):
        size = 32 >> stage
        total += 2 * size**2 * 2 * conv(3, c, c) * (n if stage == 0 else n - 1)
        if stage:
            total += 2 * size**2 * (conv(3, c // 2, c) + conv(3, c, c) + conv(1, c // 2, c))
    return total + 2 * 4 * width * 10


@pytest.mark.parametrize(("n", "width"), [(3, 16), (2, 4)])
def test_flops_of_a_resnet_and_its_recnet(n, width):
    options = {"n": n} if width == 16 else {"n": n, "width": width}
    resnet, recnet = net("resnet", **options), net("recnet", **options)
    assert models.flops(resnet, CIFAR) == models.flops(recnet, CIFAR) == he_net_flops(n, width)


PAPER_FLOPS = 2 * (16**2 * conv(5, 3, 20) + 8**2 * 2 * conv(3, 20, 20))


@pytest.mark.parametrize(
    ("architecture", "shape", "options", "expected"),
    [
        ("softmax", CIFAR, {}, 2 * 3072 * 10),
        ("mnist_cnn", MNIST, {}, 2 * (14**2 * conv(5, 1, 20) + 7**2 * conv(5, 20, 20) + 180 * 10)),
        ("mnist_cnn", MNIST, {"stride": "pool"}, 2 * (28**2 * conv(5, 1, 20) + 14**2 * conv(5, 20, 20) + 980 * 10)),
        ("paper_resnet", CIFAR, {}, PAPER_FLOPS + 2 * VECTOR * 10),
        ("paper_recnet", CIFAR, {}, PAPER_FLOPS + 2 * (7 * (VECTOR + 128) * 128 + 128 * 10)),
        ("paper_recnet", CIFAR, {"steps": 2}, PAPER_FLOPS + 2 * (2 * (VECTOR + 128) * 128 + 128 * 10)),
        (
            "paper_recnet",
            CIFAR,
            {"wiring": "stack"},
            PAPER_FLOPS + 2 * (7 * (VECTOR + 128) * 128 + 6 * 7 * 256 * 128 + 128 * 10),
        ),
        ("paper_recnet", CIFAR, {"wiring": "state"}, PAPER_FLOPS + 2 * (7 * (1 + VECTOR) * VECTOR + VECTOR * 10)),
    ],
)
def test_flops_of_the_other_nets(architecture, shape, options, expected):
    model = net(architecture, shape, **options)
    before = np.asarray(model(images(shape=shape)))
    assert models.flops(model, shape) == expected
    assert models.flops(model, shape) == expected  # counting leaves nothing behind
    np.testing.assert_array_equal(np.asarray(model(images(shape=shape))), before)


# --- what they compute ---


def test_images_are_scaled_by_the_training_sets_constants():
    for shape, name in ((CIFAR, "cifar10"), (MNIST, "mnist")):
        mean, std = (np.array(values) for values in MEAN_STD[name])
        x = images(shape=shape)
        scaled = np.asarray(net("softmax", shape).get_layer("scale")(x))
        np.testing.assert_allclose(scaled, (x / 255 - mean) / std, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", sorted(models.ARCHITECTURES))
def test_every_net_takes_bytes_and_gives_float32_logits(architecture):
    y = net(architecture)(images(3))
    assert y.shape == (3, 10)
    assert y.dtype == "float32"


def test_logits_are_float32_and_weights_too_where_the_rest_computes_in_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.build("recnet", CIFAR, n=1, width=4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {str(v.dtype) for v in model.trainable_variables} == {"float32"}
    states = dict(model.states(images()))
    assert {x.dtype.name for x in states.values()} == {"bfloat16"}
    assert model(images()).dtype == "float32"


def tied_and_untied(n=3, **options):
    """A RecNet and the ResNet that is the same function: norms shared, so that every block copies the same weights."""
    tied, untied = (net(name, n=n, width=4, norm="shared", **options) for name in ("recnet", "resnet"))
    randomise(tied)
    for a, b in zip(tied.stages, untied.stages, strict=True):
        parts = [(a.transition, b.transition)] * (a.transition is not None) + list(zip(a.blocks, b.blocks, strict=True))
        for source, target in parts:
            target.set_weights(source.get_weights())
    for part in ("stem", "logits"):
        getattr(untied, part).set_weights(getattr(tied, part).get_weights())
    return tied, untied


def test_a_recnet_is_a_resnet_with_repeated_weights():
    tied, untied = tied_and_untied()
    np.testing.assert_allclose(np.asarray(tied(images())), np.asarray(untied(images())), rtol=1e-4, atol=1e-4)


def test_stages_share_within_and_not_between():
    tied, untied = tied_and_untied()
    for a, b in zip(tied.stages, untied.stages, strict=True):
        assert len({id(block) for block in a.blocks}) == 1
        assert len({id(block) for block in b.blocks}) == len(b.blocks) == a.depth
    blocks = [stage.blocks[0] for stage in tied.stages] + [stage.transition for stage in tied.stages[1:]]
    assert len({id(block) for block in blocks}) == 5


def test_depth_is_counted_as_he_et_al_do():
    for n in (1, 3):
        convolutions = [
            c for c in models.sublayers(net("resnet", n=n, width=4), layers.Conv2D) if c.kernel_size != (1, 1)
        ]
        assert len(convolutions) + 1 == 6 * n + 2  # and the logits


def test_states_are_named_by_stage_and_step_and_halve_at_each_transition():
    names, states = zip(*tied_and_untied()[0].states(images()), strict=True)
    assert names == (*(f"stage1_step{t}" for t in range(4)), *(f"stage{s}_step{t}" for s in (2, 3) for t in range(3)))
    assert [x.shape[1:] for x in states] == [(32, 32, 4)] * 4 + [(16, 16, 8)] * 3 + [(8, 8, 16)] * 3


@pytest.mark.parametrize(("stem", "size"), [("cifar", 32), ("pooled", 16), ("paper", 8), ("imagenet", 8)])
def test_stems_differ_in_kernel_stride_and_pool(stem, size):
    model = net("resnet", n=1, width=4, stem=stem)
    _, state = next(model.states(images()))
    assert state.shape == (2, size, size, 4)
    assert model.stem.conv.kernel_size == {"cifar": (3, 3), "pooled": (3, 3), "paper": (5, 5), "imagenet": (7, 7)}[stem]


@pytest.mark.parametrize("which", ["tied", "untied"])
def test_the_last_readout_is_the_call(which):
    model = dict(zip(("tied", "untied"), tied_and_untied(), strict=True))[which]
    readouts, logits = np.asarray(model.readouts(images())), np.asarray(model(images()))
    assert readouts.shape == (3, 2, 10)  # the transition and two steps
    np.testing.assert_array_equal(readouts[-1], logits)
    for steps in (0, 1, 2):
        np.testing.assert_array_equal(np.asarray(model(images(), steps=steps)), readouts[steps])
    by_hand = model.logits(np.asarray(dict(model.states(images()))["stage3_step1"]).mean((1, 2)))
    np.testing.assert_allclose(readouts[1], np.asarray(by_hand), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tied", [(False, False, True), (True, False, False)])
def test_a_net_is_tied_in_the_stages_that_it_is_told_to(tied):
    model = net("recnet", n=3, width=4, tied=tied)
    assert tuple(stage.has_one_block for stage in model.stages) == tied
    assert model.is_recurrent == tied[-1]
    assert net("recnet", n=3, width=4, tied=(True,) * 3).count_params() == net("recnet", n=3, width=4).count_params()


def test_n_may_differ_from_stage_to_stage():
    net = models.build("recnet", (32, 32, 3), n=[1, 2, 3], width=4)
    assert [stage.depth for stage in net.stages] == [1, 1, 2]
    assert models.flops(models.build("resnet", (32, 32, 3), n=(2, 2, 2), width=4), (32, 32, 3)) == models.flops(
        models.build("resnet", (32, 32, 3), n=2, width=4), (32, 32, 3)
    )


def test_one_block_for_all_steps_of_the_net():
    model = randomise(models.build("recnet", CIFAR, n=2, width=4, whole=True))
    assert len({id(block) for stage in model.stages for block in stage.blocks}) == 1
    kernels = conv(3, 3, 4) + 2 * conv(3, 4, 4) + (4 + 1) * 10
    norms = 4 + 6 * 2 * 4  # the stem, and six steps of two norms
    assert models.count(model) == (kernels + 2 * norms, 2 * norms)
    x = model.stem(model.scale(images()))
    for step in range(6):  # each with the norms of its own number
        x = layers.MaxPooling2D(2)(x) if step in (2, 4) else x
        x = model.stages[0].blocks[0](x, step=step)
    np.testing.assert_allclose(np.asarray(model.read_out(x)), np.asarray(model(images())), rtol=1e-4, atol=1e-4)


def test_a_net_of_several_states_is_its_formula():
    model = randomise(models.build("feedback", CIFAR, states=2, steps=3, width=4))
    one, two = model.stem(model.scale(images())), None
    path, relu, readouts = model.paths, keras.ops.relu, []
    for t in range(3):
        new_one = one + path[0, 0](one, step=t)
        new_two = path[0, 1](one, step=t)
        if two is not None:  # it is reached by the first step, and counts its own from there
            new_one = new_one + keras.ops.repeat(keras.ops.repeat(path[1, 0](two, step=t - 1), 2, 1), 2, 2)
            new_two = new_two + two + path[1, 1](two, step=t - 1)
        one, two = relu(new_one), relu(new_two)
        readouts.append(np.asarray(model.logits(np.asarray(two).mean((1, 2)))))
    np.testing.assert_allclose(np.asarray(model.readouts(images())), np.stack(readouts), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(model(images())), np.asarray(model.readouts(images()))[-1])


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("feedback", [True, False])
def test_a_net_of_several_states_has_no_weight_that_its_answer_does_not_depend_on(steps, feedback):
    states = min(3, steps + 1)
    model = randomise(models.build("feedback", CIFAR, states=states, steps=steps, width=4, feedback=feedback))
    loss = lambda: keras.ops.sum(model(images(), training=True) ** 2)  # noqa: E731
    gradients = backend.gradients(loss, model.trainable_variables)
    still = [w.path for w, g in zip(model.trainable_variables, gradients, strict=True) if not np.any(np.asarray(g))]
    assert still == []


def test_states_are_reached_one_after_another_and_may_go_on():
    model = net("feedback", states=3, steps=4, width=4)
    reached = [[state is not None for state in states] for states in model.states(images())]
    assert [sum(known) for known in reached] == [1, 2, 3, 3, 3]
    assert [*next(s for s in model.states(images()) if s[-1] is not None)[-1].shape] == [2, 8, 8, 16]
    assert (model.first_readout, model.depth) == (2, 4)
    assert model.readouts(images()).shape == (3, 2, 10)
    assert model.readouts(images(), steps=7).shape == (6, 2, 10)


def test_several_states_take_the_steps_that_reach_the_last():
    model = net("feedback", states=3, steps=4, width=4)
    assert model(images(), steps=2).shape == (len(images()), 10)
    with pytest.raises(ValueError, match="the last state is reached at step 2: 1 can give no answer"):
        model(images(), steps=1)


def test_without_feedback_no_path_leads_back():
    back = {(source, target) for source, target in net("feedback", states=3, steps=4, width=4).paths if source > target}
    assert back == {(1, 0), (2, 1)}
    alone = net("feedback", states=3, steps=4, width=4, feedback=False)
    assert not any(source > target for source, target in alone.paths)
    assert alone.count_params() < net("feedback", states=3, steps=4, width=4).count_params()


def test_a_tied_net_takes_more_steps_and_an_untied_one_says_that_it_cannot():
    tied, untied = tied_and_untied()
    longer = np.asarray(tied.readouts(images(), steps=5))
    np.testing.assert_array_equal(longer[:3], np.asarray(tied.readouts(images())))
    np.testing.assert_array_equal(longer[-1], np.asarray(tied(images(), steps=5)))
    state = dict(tied.states(images()))["stage3_step2"]
    for _ in range(3):
        state = tied.stages[-1].blocks[0](state)
    np.testing.assert_allclose(longer[-1], np.asarray(tied.read_out(state)), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"stage3 has 2 steps; only a stage of one block can take more \(asked: 3\)"):
        untied(images(), steps=3)


def test_a_step_of_any_stage_can_be_dropped():
    model, _ = tied_and_untied()
    states = dict(model.states(images(), drop=(1, 0)))
    np.testing.assert_array_equal(np.asarray(states["stage2_step1"]), np.asarray(states["stage2_step0"]))
    assert not np.array_equal(np.asarray(states["stage2_step2"]), np.asarray(states["stage2_step1"]))
    assert not np.array_equal(np.asarray(states["stage1_step1"]), np.asarray(states["stage1_step0"]))
    np.testing.assert_array_equal(
        np.asarray(model(images(), drop=(1, 0))), np.asarray(model.read_out(states["stage3_step2"]))
    )


def test_block_options_reach_every_block():
    model = net("resnet", n=2, width=4, activation="tanh", norm_place="after", activate=False, gamma=0.25)
    blocks = [b for stage in model.stages for b in (stage.transition, *stage.blocks) if b is not None]
    assert len(blocks) == 6
    for block in blocks:
        assert block.conv1.activation.activation is keras.activations.tanh
        assert block.activation.activation is keras.activations.linear
        assert isinstance(block.norm, BatchNorm)
    fresh = models.build("resnet", CIFAR, n=1, width=4, gamma=0.25)
    gammas = {float(g) for b in fresh.stages for block in b.blocks for g in np.asarray(block.conv1.norm.gamma[0])}
    assert gammas == {0.25}


def test_a_preactivation_net_normalises_before_its_readout():
    model = randomise(net("resnet", n=2, width=4, norm_place="pre"))
    state = np.asarray(dict(model.states(images()))["stage3_step1"])
    norm = model.last_norm
    gamma, beta, mean, variance = (np.asarray(w[0]) for w in (norm.gamma, norm.beta, norm.mean, norm.variance))
    features = np.maximum(gamma * (state - mean) / np.sqrt(variance + 1e-5) + beta, 0).mean((1, 2))
    expected = features @ np.asarray(model.logits.kernel) + np.asarray(model.logits.bias)
    np.testing.assert_allclose(np.asarray(model(images())), expected, rtol=1e-3, atol=1e-4)


def test_sublayers_come_in_the_order_of_the_forward_pass():
    model = net("resnet", n=2, width=4)
    one, two, three = model.stages
    blocks = [*one.blocks, two.transition, *two.blocks, three.transition, *three.blocks]
    expected = [model.stem.conv, *(b.conv for block in blocks for b in (block.conv1, block.conv2))]
    found = [c for c in models.sublayers(model, layers.Conv2D) if c.kernel_size == (3, 3)]
    assert len(found) == len(expected) == 13
    assert all(a is b for a, b in zip(found, expected, strict=True))
    names = [layer.name for layer in models.sublayers(net("mnist_cnn", MNIST), (layers.Conv2D, layers.Dense))]
    assert names == ["conv1", "conv2", "logits"]


def test_dropout_acts_in_training_only():
    model = net("recnet", n=1, width=4, dropout=0.5, norm="group")
    a, b, c, d = (np.asarray(model(images(), training=t)) for t in (True, True, False, False))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(c, d)


def test_summary_counts_every_stage(capsys):
    net("recnet", n=2, width=4).summary()
    assert "unbuilt" not in capsys.readouterr().out


def test_every_layer_of_a_stage_bears_its_name():
    paths = [v.path for v in net("resnet", n=2, width=4).variables]
    assert len(set(paths)) == len(paths)
    assert sum("stage2_transition" in path for path in paths) == 3 * 5
    assert sum("stage1_block2" in path for path in paths) == 2 * 5


# --- the paper's own two nets: each reading of its wiring, against numpy ---


def np_rnn(sequence, kernel, recurrent, bias, state=None, activation=np.tanh):
    """All states of a simple RNN over (batch, steps, inputs), as (batch, steps, units)."""
    h = np.zeros((len(sequence), recurrent.shape[0])) if state is None else state
    states = []
    for t in range(sequence.shape[1]):
        h = activation(sequence[:, t] @ kernel + h @ recurrent + bias)
        states.append(h)
    return np.stack(states, 1)


def paper_net(**options):
    """(net, output of its convolutional part, weights of its RNN layers), with random weights and small RNNs."""
    model = randomise(net("paper_recnet", units=6, **options))
    last = "block" if options.get("padding") == "valid" else "pool2"
    trunk = keras.Model(model.input, model.get_layer(last).output)
    rnns = [layer for layer in model.layers if isinstance(layer, layers.SimpleRNN)]
    for layer in rnns:  # a wide input would saturate the tanh, where all wirings look alike
        layer.set_weights([w / 10 for w in layer.get_weights()])
    return model, np.asarray(trunk(images())), [layer.get_weights() for layer in rnns]


def logits(model, features):
    return features @ np.asarray(model.get_layer("logits").kernel) + np.asarray(model.get_layer("logits").bias)


def same(model, expected):
    np.testing.assert_allclose(np.asarray(model(images())), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("activation", "function"), [("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))])
@pytest.mark.parametrize("steps", [7, 2])
def test_wiring_repeat_feeds_the_same_vector_at_every_step(steps, activation, function):
    model, features, (weights,) = paper_net(steps=steps, activation=activation)
    vector = features.reshape(2, -1)
    fed = np.asarray(keras.Model(model.input, model.get_layer("rnn").input)(images()))
    np.testing.assert_array_equal(fed, np.repeat(vector[:, None], steps, axis=1))
    same(model, logits(model, np_rnn(fed, *weights, activation=function)[:, -1]))


def test_wiring_stack_is_seven_rnns_on_top_of_each_other():
    model, features, weights = paper_net(wiring="stack")
    assert len(weights) == 7
    sequence = np.repeat(features.reshape(2, 1, -1), 7, axis=1)
    for layer in weights:
        sequence = np_rnn(sequence, *layer)
    same(model, logits(model, sequence[:, -1]))


def test_wiring_rows_takes_the_seven_rows_of_a_7x7_map_as_steps():
    model, features, (weights,) = paper_net(wiring="rows", padding="valid")
    assert features.shape == (2, 7, 7, 20)
    fed = np.asarray(keras.Model(model.input, model.get_layer("rnn").input)(images()))
    for row in range(7):
        np.testing.assert_array_equal(fed[:, row], features[:, row].reshape(2, -1))
    same(model, logits(model, np_rnn(fed, *weights)[:, -1]))


def test_wiring_state_starts_from_the_vector_and_is_fed_nothing():
    model, features, (weights,) = paper_net(wiring="state")
    kernel, recurrent, bias = weights
    assert recurrent.shape == (VECTOR, VECTOR)
    states = np_rnn(np.zeros((2, 7, 1)), kernel, recurrent, bias, state=features.reshape(2, -1))
    same(model, logits(model, states[:, -1]))
    model.get_layer("rnn").set_weights([kernel + 100, recurrent, bias])
    same(model, logits(model, states[:, -1]))


def test_the_depth_1_net_has_no_rnn():
    model = randomise(net("paper_resnet"))
    assert not models.sublayers(model, layers.SimpleRNN)
    trunk = keras.Model(model.input, model.get_layer("pool2").output)
    same(model, logits(model, np.asarray(trunk(images())).reshape(2, -1)))


@pytest.mark.parametrize("rate", [0.5, 0.0])
def test_dropout_of_the_papers_nets(rate):
    model = net("paper_recnet", units=6, dropout=rate)
    a, b = (np.asarray(model(images(), training=True)) for _ in range(2))
    assert np.allclose(a, b, atol=1e-5) == (rate == 0)


def test_the_mnist_cnn_activates_where_its_reading_says():
    for relu, activation in (("once", "relu"), ("each", "relu"), ("each", "softplus")):
        model = net("mnist_cnn", MNIST, relu=relu, activation=activation)
        assert model.get_layer("activation").activation.__name__ == activation
        for name in ("conv1", "conv2"):
            assert model.get_layer(name).activation.__name__ == (activation if relu == "each" else "linear")
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Activation", "Flatten", "Dense"]


# --- what is refused ---


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("vgg", {}, "unknown architecture 'vgg'; choose one of softmax, mlp, mnist_cnn, plain, resnet, recnet"),
        ("resnet", {"n": 0}, r"depths must be at least 1 block a stage, not \(0, 0, 0\)"),
        ("recnet", {"tied": (True, False)}, r"tied must be .* one of these for each stage, not \(True, False\)"),
        ("resnet", {"whole": True}, "ties every stage: tied must be True, not False"),
        ("feedback", {"states": 1}, "needs 2 to steps . 1 = 8 of them, not 1"),
        ("feedback", {"states": 4, "steps": 2}, "needs 2 to steps . 1 = 3 of them, not 4"),
        ("resnet", {"norm": "batch"}, "unknown norm 'batch'; choose one of 'per_step'"),
        ("resnet", {"stem": "mnist"}, "unknown stem 'mnist'; choose one of cifar, pooled, imagenet, paper"),
        ("resnet", {"norm_place": "on"}, "unknown norm_place 'on'; choose 'before', 'after' or 'pre'"),
        ("resnet", {"depht": 3}, "depht"),
        ("softmax", {"units": 3}, "softmax does not take these options: {'units': 3}"),
        ("mnist_cnn", {"stride": "both"}, "stride is 'conv' or 'pool', relu 'once' or 'each'; not 'both', 'once'"),
        ("mnist_cnn", {"relu": "never"}, "not 'conv', 'never'"),
        ("paper_recnet", {"wiring": "ring"}, "unknown wiring 'ring'; choose one of none, repeat, stack, rows, state"),
    ],
)
def test_what_makes_no_net_is_refused_with_the_choices(architecture, options, message):
    with pytest.raises(ValueError, match=message):
        models.build(architecture, CIFAR, **options)
