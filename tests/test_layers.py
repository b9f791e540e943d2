"""The bricks against numpy, keras.layers and each other; above all: tied and untied stages are one computation."""

from functools import cache, partial
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import randomise
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from lib import backend
from lib.layers import NORMS, BatchNorm, Conv2D, ConvBlock, GroupNorm, ResidualBlock, Stage, StepCell, make_norm

CHANNELS = 4


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape or (3, 6, 6, CHANNELS)).astype("float32")


def weights(layer):
    """{"conv1/conv/kernel": array, ...} of a built layer."""
    return {inner_path(w, layer): np.asarray(w) for w in layer.weights}


def inner_path(weight, layer):
    """The path of a layer's weight as seen from inside the layer."""
    return weight.path.split(f"{layer.name}/")[-1]


# --- numpy references ---


def np_conv(x, kernel, stride=1, bias=0.0):
    """Convolution with "same" padding as TensorFlow lays it: what is odd goes to the bottom and the right."""
    size = kernel.shape[0]
    total = [max((-(-length // stride) - 1) * stride + size - length, 0) for length in x.shape[1:3]]
    padded = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias


def np_norm(x, w, name, step=0):
    """Batch norm at inference with the weights `w` of the norm `name`: per-step ones where there are any."""
    if f"{name}/gamma" not in w and f"{name}/gamma1" not in w:
        return x
    gamma, beta, mean, variance = (
        w[f"{name}/{kind}{step + 1}"] if f"{name}/{kind}1" in w else w[f"{name}/{kind}"]
        for kind in ("gamma", "beta", "mean", "variance")
    )
    return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta


def relu(x):
    return np.maximum(x, 0)


def np_block(x, w, stride=1, step=0, place="before", shortcut=True, activate=True):
    """The formulas of He et al. 2015 (norm before or after the addition) and 2016 (pre-activation), written out."""

    def conv(x, name, stride=1):
        return np_conv(x, w[f"{name}/conv/kernel"], stride, w.get(f"{name}/conv/bias", 0.0))

    if place == "pre":
        y = conv(relu(np_norm(x, w, "conv1/norm", step)), "conv1", stride)
        y = conv(relu(np_norm(y, w, "conv2/norm", step)), "conv2")
    else:
        y = relu(np_norm(conv(x, "conv1", stride), w, "conv1/norm", step))
        y = conv(y, "conv2")
        y = np_norm(y, w, "conv2/norm", step) if place == "before" else y
    if shortcut:
        y += np_norm(conv(x, "project", stride), w, "project/norm", step) if "project/conv/kernel" in w else x
    y = np_norm(y, w, "norm", step) if place == "after" else y
    return relu(y) if activate and place != "pre" else y


# --- tied == untied ---


def matching(tied, untied):
    """[(tied weight, untied weight), ...]: which weight of the shared block each weight of each untied block copies.

    Of a norm with a weight for each step ("gamma1", "gamma2", ...) block t takes that of step t.
    """
    shared = {inner_path(w, tied.blocks[0]): w for w in tied.blocks[0].weights}
    pairs = []
    for t, block in enumerate(untied.blocks):
        for w in block.weights:
            path = inner_path(w, block)
            pairs.append((shared[f"{path}{t + 1}" if f"{path}{t + 1}" in shared else path], w))
    return pairs


@cache
def built_twins(depth, norm, transition):
    def block(**options):
        return ResidualBlock(CHANNELS, norm=norm, **options)

    def stage(tied):
        entry = ResidualBlock(CHANNELS, stride=2, project=True, norm=norm, name="entry") if transition else None
        return Stage(block, depth, tied, entry, name="tied" if tied else "untied")

    tied, untied = stage(True), stage(False)
    tied(images()), untied(images())
    return tied, untied


def twin_stages(depth, norm, transition=False):
    """A tied and an untied stage of random weights that are the same function, and the pairs of weights."""
    tied, untied = built_twins(depth, norm, transition)  # building takes the time; each test gets its weights anew
    randomise(tied)
    pairs = matching(tied, untied)
    if transition:
        pairs += zip(tied.transition.weights, untied.transition.weights, strict=True)
    for source, target in pairs:
        target.assign(source)
    return tied, untied, pairs


def slopes(stage, x, variables, training=False):
    with tf.GradientTape() as tape:
        y = stage(x, training=training)
        loss = tf.reduce_sum(y * images(*y.shape, seed=9))
    return [np.asarray(g) for g in tape.gradient(loss, [v.value for v in variables])]


@pytest.mark.parametrize(("norm", "transition"), [*((norm, False) for norm in NORMS), ("per_step", True), (None, True)])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_tied_stage_is_an_untied_one_with_copied_weights(depth, norm, transition):
    tied, untied, pairs = twin_stages(depth, norm, transition)
    y = np.asarray(tied(images()))
    assert y.shape == ((3, 3, 3, 4) if transition else (3, 6, 6, 4))
    np.testing.assert_allclose(np.asarray(untied(images())), y, rtol=1e-5, atol=1e-5)

    # the gradient of a shared weight is the sum of the gradients of its copies
    pairs = [(a, b) for a, b in pairs if a.trainable]
    shared = list({id(a): a for a, _ in pairs}.values())
    copies = slopes(untied, images(), [b for _, b in pairs])
    for weight, gradient in zip(shared, slopes(tied, images(), shared), strict=True):
        summed = sum(g for (source, _), g in zip(pairs, copies, strict=True) if source is weight)
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(gradient, summed, rtol=1e-4, atol=1e-4 * np.abs(summed).max())


@pytest.mark.parametrize("norm", ["per_step", "per_step_stats"])
def test_with_statistics_of_its_own_each_step_trains_as_an_untied_block_does(norm):
    tied, untied, pairs = twin_stages(3, norm)
    y, z = tied(images(), training=True), untied(images(), training=True)
    np.testing.assert_allclose(np.asarray(y), np.asarray(z), rtol=1e-5, atol=1e-5)
    for source, target in pairs:  # the running statistics, which that call has moved, among them
        np.testing.assert_allclose(np.asarray(source), np.asarray(target), rtol=1e-5, atol=1e-6)


def test_sharing_is_identity():
    tied, untied, _ = twin_stages(3, "shared")
    assert all(block is tied.blocks[0] for block in tied.blocks)
    assert len({id(block) for block in untied.blocks}) == 3
    assert 3 * len(tied.trainable_weights) == len(untied.trainable_weights)
    for a, b in zip(untied.blocks[0].weights, untied.blocks[1].weights, strict=True):
        assert a is not b


def test_moving_the_shared_block_moves_every_step_but_an_untied_block_only_its_own():
    tied, untied, _ = twin_stages(3, None)

    def changed(stage, kernel):
        before = [np.asarray(x) for x in stage.states(images())]
        kernel.assign(kernel + 0.1)
        after = [np.asarray(x) for x in stage.states(images())]
        return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]

    assert changed(tied, tied.blocks[2].conv1.conv.kernel) == [False, True, True, True]
    assert changed(untied, untied.blocks[2].conv1.conv.kernel) == [False, False, False, True]


def test_a_stage_of_no_repeated_block_is_its_transition():
    for tied in (True, False):
        entry = ResidualBlock(8, stride=2, project=True)
        stage = Stage(lambda **options: ResidualBlock(8, **options), 0, tied, entry)
        y = stage(images())
        assert len(stage.weights) == len(entry.weights)
        np.testing.assert_array_equal(np.asarray(y), np.asarray(entry(images())))


# --- steps ---


def test_states_are_the_entry_and_one_after_each_step():
    tied, _, _ = twin_stages(3, "per_step", transition=True)
    states = [np.asarray(x) for x in tied.states(images())]
    expected = [np_block(images(), weights(tied.transition), stride=2)]
    for t in range(3):
        expected.append(np_block(expected[-1], weights(tied.blocks[0]), step=t))
    assert len(states) == 4
    for state, right in zip(states, expected, strict=True):
        np.testing.assert_allclose(state, right, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(states[-1], np.asarray(tied(images())))


def test_a_fed_stage_shows_its_input_to_every_step_and_adds_it_to_none():
    stage = Stage(partial(ResidualBlock, CHANNELS), 3, True, feed=True, name="stage")
    stage(images())
    (block,) = set(randomise(stage).blocks)
    x = images()
    for t in range(3):
        inner = block.conv2(block.conv1(x + images(), step=t), step=t)
        x = np.maximum(x + np.asarray(inner), 0)
    np.testing.assert_allclose(np.asarray(stage(images())), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_the_number_of_steps_is_a_choice_at_call_time(steps):
    tied, _, _ = twin_stages(2, "per_step")
    expected = images()
    for t in range(steps):  # past the trained number the last step's norm serves on
        expected = np_block(expected, weights(tied.blocks[0]), step=min(t, 1))
    np.testing.assert_allclose(np.asarray(tied(images(), steps=steps)), expected, rtol=1e-3, atol=1e-4)


def test_an_untied_stage_can_stop_early_but_not_go_on():
    _, untied, _ = twin_stages(2, None)
    one = np.asarray(untied(images(), steps=1))
    np.testing.assert_array_equal(one, np.asarray(untied.blocks[0](images())))
    with pytest.raises(ValueError, match=r"untied has 2 steps; only a stage of one block can take more \(asked: 3\)"):
        untied(images(), steps=3)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("drop", [0, 1, 2])
def test_a_dropped_step_leaves_the_state_as_it_is(tied, drop):
    stage = twin_stages(3, "per_step")[0 if tied else 1]
    x = images()
    for t in range(3):
        if t != drop:  # the steps that are left keep their own norms
            x = stage.blocks[t](x, step=t)
    np.testing.assert_array_equal(np.asarray(stage(images(), drop=drop)), np.asarray(x))
    states = [np.asarray(x) for x in stage.states(images(), drop=drop)]
    assert [np.array_equal(a, b) for a, b in pairwise(states)] == [t == drop for t in range(3)]


@pytest.mark.parametrize("unroll", [False, True])
def test_a_step_cell_in_a_keras_rnn_is_the_tied_stage(unroll):
    tied, _, _ = twin_stages(3, "per_step")
    rnn = keras.layers.RNN(StepCell(tied.blocks[0], (6, 6, CHANNELS)), unroll=unroll)
    numbers = np.tile(np.arange(3.0)[None, :, None], (3, 1, 1)).astype("float32")
    y = np.asarray(rnn(numbers, initial_state=images().reshape(3, -1)))
    np.testing.assert_allclose(y.reshape(images().shape), np.asarray(tied(images())), rtol=1e-5, atol=1e-5)
    assert {id(w) for w in rnn.trainable_weights} == {id(w) for w in tied.trainable_weights}


# --- norms ---


def trained(norm, x, dtype="float32", dy=None):
    """(y, dx, dgamma, dbeta, mean, variance) of a norm in training mode, all float32."""
    x = tf.cast(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, "float32") * dy)
    gradients = tape.gradient(loss, [x, norm.gamma[0].value, norm.beta[0].value])
    return [np.asarray(ops.cast(v, "float32")) for v in (y, *gradients, norm.mean[0], norm.variance[0])]


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 3e-2)])
def test_the_fused_kernel_is_its_portable_twin(dtype, tolerance, slow, monkeypatch):
    monkeypatch.setattr(backend, "slow_bfloat16", lambda: slow)
    x, dy = 2 * images(8, 5, 5, 6) + 1, images(8, 5, 5, 6, seed=1)
    results = []
    for fused in (True, False):
        norm = BatchNorm(fused=fused, dtype=dtype)
        norm.build(x.shape)
        randomise(norm)
        results.append(trained(norm, x, norm.compute_dtype, dy))
    for name, a, b in zip(("y", "dx", "dgamma", "dbeta", "mean", "variance"), *results, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(), err_msg=name)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
@pytest.mark.parametrize(("kernel", "height", "width"), [(3, 4, 4), (3, 3, 2), (1, 4, 4), (5, 2, 4)])
def test_a_kernels_gradient_by_products_is_the_convolutions_own(kernel, height, width, dtype, tolerance):
    random = np.random.default_rng(0)
    x, weights, dy = (
        tf.cast(random.normal(size=size), dtype)
        for size in ((8, height, width, 6), (kernel, kernel, 6, 10), (8, height, width, 10))
    )
    results = []
    for convolve in (backend.kernel_by_products, partial(ops.conv, padding="same")):
        with tf.GradientTape() as tape:
            tape.watch([x, weights])
            y = convolve(x, weights)
        results.append([np.asarray(v, "float32") for v in (y, *tape.gradient(y, [x, weights], dy))])
    for name, a, b in zip(("y", "dx", "dkernel"), *results, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(), err_msg=name)


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize(
    ("side", "dtype", "options"),
    [
        (4, "mixed_bfloat16", {}),
        (5, "mixed_bfloat16", {}),
        (4, "float32", {}),
        (4, "mixed_bfloat16", {"strides": 2}),
        (4, "mixed_bfloat16", {"padding": "valid"}),
    ],
)
def test_convolutions_take_products_where_their_own_gradient_is_slow(side, dtype, options, slow, monkeypatch):
    monkeypatch.setattr(backend, "slow_bfloat16", lambda: False)  # a convolution of the same kind as its twin's
    monkeypatch.setattr(backend, "slow_kernel_gradients", lambda: slow)
    taken = []
    by_products = backend.kernel_by_products
    monkeypatch.setattr(backend, "kernel_by_products", lambda *inputs: taken.append(1) or by_products(*inputs))
    conv = Conv2D(5, 3, dtype=dtype, **{"padding": "same"} | options)
    y = conv(images(2, side, side, 3))
    assert bool(taken) == (slow and (side, dtype, options) == (4, "mixed_bfloat16", {}))
    twin = keras.layers.Conv2D(5, 3, dtype=dtype, **{"padding": "same"} | options)
    twin(images(2, side, side, 3))
    twin.set_weights(conv.get_weights())
    np.testing.assert_array_equal(np.asarray(y, "float32"), np.asarray(twin(images(2, side, side, 3)), "float32"))


@pytest.mark.parametrize("options", [{"strides": 2}, {"padding": "same"}, {"kernel_size": 1}])
def test_a_convolution_in_bfloat16_rounds_once_where_it_is_slow(options, monkeypatch):
    def results(dtype, slow):
        monkeypatch.setattr(backend, "slow_bfloat16", lambda: slow)
        conv = Conv2D(**{"filters": 5, "kernel_size": 3, "use_bias": False, "dtype": dtype} | options)
        x = tf.cast(tf.cast(images(4, 7, 7, 3), "bfloat16"), conv.compute_dtype)
        conv(x)
        conv.set_weights([tf.cast(tf.cast(w, "bfloat16"), "float32") for w in randomise(conv).get_weights()])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = conv(x)
        assert y.dtype == conv.compute_dtype
        dy = tf.cast(tf.cast(images(*y.shape, seed=1), "bfloat16"), y.dtype)
        slopes = tape.gradient(y, [x, *(w.value for w in conv.trainable_weights)], dy)
        return [np.asarray(v, "float64") for v in (y, *slopes)]

    once, own, exact = results("mixed_bfloat16", True), results("mixed_bfloat16", False), results("float64", False)
    for name, a, b, c in zip(("y", "dx", "dkernel"), once, own, exact, strict=True):
        np.testing.assert_allclose(a, c, rtol=2**-8, atol=1e-5, err_msg=name)  # half of the last of 8 bits, beside 1
        np.testing.assert_allclose(a, b, rtol=3e-2, atol=3e-2 * np.abs(c).max(), err_msg=f"{name} of the processor")


@pytest.mark.parametrize("side", [32, 15])
@pytest.mark.parametrize("channels", [1, 3, 4, 7, 8, 15, 16])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (5, 2)])
def test_a_convolution_and_its_gradients_are_those_of_float64(side, channels, kernel, stride):
    results = []
    for dtype in ("float32", "float64"):
        conv = Conv2D(2 * channels, kernel, stride, padding="same", dtype=dtype)
        x = tf.constant(images(20, side, side, channels), dtype)
        conv(x)
        weights = [w.value for w in randomise(conv).trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = conv(x)
        dy = tf.constant(images(*y.shape, seed=1), dtype)
        results.append([np.asarray(v, "float64") for v in (y, *tape.gradient(y, [x, *weights], dy))])
    for ours, exact in zip(*results, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


def test_batch_norm_is_that_of_keras():
    ours, theirs = BatchNorm(), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    for seed in range(3):
        x = 3 * images(8, 5, 5, 6, seed=seed) - 1
        a, b = ours(x, training=True), theirs(x, training=True)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.asarray(ours.mean[0]), np.asarray(theirs.moving_mean), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.asarray(ours.variance[0]), np.asarray(theirs.moving_variance), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(ours(x)), np.asarray(theirs(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("feed", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_recomputing_changes_nothing_but_the_memory(tied, feed, graph):
    results = []
    for recompute in (False, True):
        stage = Stage(partial(ResidualBlock, CHANNELS), 3, tied, feed=feed, recompute=recompute, name="stage")
        stage(images())
        weights, x = [w.value for w in randomise(stage).trainable_weights], tf.constant(images())

        def step(stage=stage, weights=weights, x=x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = stage(x, training=True)
                loss = tf.reduce_sum(y * images(seed=1))
            return [y, *tape.gradient(loss, [x, *weights])]

        step = tf.function(step) if graph else step
        results.append([*step(), *step(), *stage.non_trainable_weights])  # twice: the statistics moved in between
    assert len(results[0]) > 8
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)


def test_float64_takes_the_portable_way_and_is_exact():
    norm = BatchNorm(dtype="float64")
    assert not norm.fused
    x = np.random.default_rng(0).normal(5, 2, (4, 3, 3, 2))
    y = np.asarray(norm(x, training=True))
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.asarray(norm.mean[0]), 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(norm.variance[0]), 0.9 + 0.1 * variance, rtol=1e-12)


def test_statistics_and_affine_stay_float32_under_bfloat16():
    norm = BatchNorm(dtype="mixed_bfloat16")
    assert str(norm(images(), training=True).dtype).endswith("bfloat16'>")
    assert {str(w.dtype) for w in norm.weights} == {"float32"}


def test_a_step_moves_its_own_statistics_and_no_others():
    norm = BatchNorm(statistics=3, affines=3)
    norm(images())
    before = [np.asarray(w) for w in (*norm.mean, *norm.variance)]
    norm(images() + 1, step=1, training=True)
    after = [np.asarray(w) for w in (*norm.mean, *norm.variance)]
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True] * 2


def test_a_step_beyond_the_list_uses_its_last_entry():
    norm = randomise_built(BatchNorm(statistics=3, affines=3))
    last, beyond, first = (np.asarray(norm(images(), step=t)) for t in (2, 7, 0))
    np.testing.assert_array_equal(beyond, last)
    assert not np.allclose(first, last)


@pytest.mark.parametrize("statistics", [1, 3])
def test_a_step_known_at_run_time_only_is_the_same_step(statistics):
    norm = randomise_built(BatchNorm(statistics=statistics, affines=statistics))
    call = tf.function(lambda x, step: norm(x, step=step))
    for step in (0, 1, 2, 5):
        symbolic = call(images(), tf.constant(step))
        np.testing.assert_allclose(symbolic, norm(images(), step=step), rtol=1e-6, atol=1e-6)


def test_statistics_per_step_are_not_trained_by_a_step_known_at_run_time_only():
    norm = BatchNorm(statistics=3, affines=3)
    norm(images())
    with pytest.raises(ValueError, match="statistics per step are trained by a Stage"):
        norm(images(), step=tf.constant(1), training=True)


def randomise_built(norm):
    norm(images())
    return randomise(norm)


@pytest.mark.parametrize(
    ("kind", "statistics", "affines"),
    [("per_step", 3, 3), ("per_step_stats", 3, 1), ("shared", 1, 1)],
)
def test_what_each_kind_of_batch_norm_keeps_a_step(kind, statistics, affines):
    norm = make_norm(kind, steps=3, gamma=0.1)
    norm(images())
    assert (len(norm.mean), len(norm.variance)) == (statistics, statistics)
    assert (len(norm.gamma), len(norm.beta)) == (affines, affines)
    assert all(np.all(np.asarray(g) == np.float32(0.1)) for g in norm.gamma)
    assert all(not w.trainable for w in (*norm.mean, *norm.variance))


@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (8, 8), (12, 4), (6, 2), (7, 1)])
def test_group_norm_is_its_formula_at_every_step(channels, groups):
    norm = make_norm("group", steps=3, gamma=0.5)
    x = 2 * images(3, 5, 5, channels) + 1
    norm(x)
    norm.beta.assign(images(channels))
    parts = x.reshape(3, 25, groups, channels // groups)
    mean, variance = parts.mean((1, 3), keepdims=True), parts.var((1, 3), keepdims=True)
    expected = 0.5 * ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape) + images(channels)
    for step, training in ((0, False), (2, True)):
        y = np.asarray(norm(x, step=step, training=training))
        np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    assert isinstance(norm, GroupNorm)
    assert not norm.non_trainable_weights


def test_group_norm_of_images_without_spread_is_finite():
    x = np.float32(1e4) + 1e-2 * images(3, 5, 5, 16)  # E[y^2] - E[y]^2 is negative here in float32
    norm = make_norm("group")
    with tf.GradientTape() as tape:
        x = tf.Variable(x)
        y = norm(x)
    assert np.isfinite(y).all()
    assert np.isfinite(tape.gradient(y, x)).all()


def test_no_norm_is_the_identity():
    norm = make_norm(None)
    assert not norm.weights
    np.testing.assert_array_equal(np.asarray(norm(images(), step=1, training=True)), images())


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown norm 'batch'; choose one of 'per_step', 'per_step_stats', 'shared'"):
        make_norm("batch")
    with pytest.raises(ValueError, match="unknown norm_place 'behind'; choose 'before', 'after' or 'pre'"):
        ResidualBlock(4, norm_place="behind")
    with pytest.raises(ValueError, match="strides"):  # no option is swallowed
        ResidualBlock(4, strides=2)


# --- blocks ---


@pytest.mark.parametrize("norm", ["per_step", None])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2), (5, 2)])
def test_conv_block_is_convolution_norm_activation(norm, kernel, stride):
    block = ConvBlock(6, kernel, stride, norm, name="block")
    block(images())
    w = weights(randomise(block))
    assert ("conv/bias" in w) == (norm is None)
    y = np_conv(images(), w["conv/kernel"], stride, w.get("conv/bias", 0.0))
    expected = relu(np_norm(y, w, "norm"))
    np.testing.assert_allclose(np.asarray(block(images())), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["per_step", None])
@pytest.mark.parametrize("change", [False, True])  # of shape: stride 2 and a projection
@pytest.mark.parametrize(
    ("place", "activate"), [("before", True), ("before", False), ("after", True), ("after", False), ("pre", True)]
)
@pytest.mark.parametrize("shortcut", [True, False])
def test_every_block_variant_is_its_formula(place, activate, shortcut, change, norm):
    stride = 2 if change else 1
    options = {"norm_place": place, "activate": activate, "shortcut": shortcut, "norm": norm}
    block = ResidualBlock(4, stride=stride, project=change, steps=2, **options)
    block(images())
    w = weights(randomise(block))
    assert ("project/conv/kernel" in w) == (change and shortcut)
    assert any("bias" in name for name in w) == (norm is None)
    assert ("norm/gamma1" in w) == (norm is not None and place == "after")
    assert ("conv2/norm/gamma1" in w) == (norm is not None and place != "after")
    for step in (0, 1):
        expected = np_block(images(), w, stride, step, place, shortcut, activate)
        np.testing.assert_allclose(np.asarray(block(images(), step=step)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_with_the_last_scale_at_zero_a_stage_is_its_shortcut(tied, depth):
    stage = twin_stages(depth, "per_step")[0 if tied else 1]
    for block in stage.blocks:
        for w in (*block.conv2.norm.gamma, *block.conv2.norm.beta):
            w.assign(np.zeros(w.shape))
    np.testing.assert_array_equal(np.asarray(stage(images())), relu(images()))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"norm_place": "pre"}, "x"), ({"activate": False}, "x"), ({"norm": None}, "relu"), ({"shortcut": False}, "zero")],
)
def test_with_the_last_convolution_at_zero_a_block_is_its_shortcut(options, expected):
    block = ResidualBlock(CHANNELS, **options)
    block(images())
    block.conv2.conv.kernel.assign(np.zeros((3, 3, CHANNELS, CHANNELS)))
    x = images()
    right = {"x": x, "relu": relu(x), "zero": 0 * x}[expected]
    np.testing.assert_array_equal(np.asarray(block(x)), right)


def test_activation_is_an_option_of_the_whole_block():
    block = ResidualBlock(CHANNELS, norm=None, activation="tanh")
    block(images())
    w = weights(randomise(block))
    y = np_conv(np.tanh(np_conv(images(), w["conv1/conv/kernel"], 1, w["conv1/conv/bias"])), w["conv2/conv/kernel"])
    expected = np.tanh(images() + y + w["conv2/conv/bias"])
    np.testing.assert_allclose(np.asarray(block(images())), expected, rtol=1e-4, atol=1e-5)
