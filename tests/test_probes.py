"""Each probe, on one tiny net, against the same quantity computed directly; and that none of them leaves a trace."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import randomise

from lib import data, models, probes
from lib.layers import BatchNorm

SHAPE = (8, 8, 3)
rng = np.random.default_rng(0)


def images(n):
    """Noise around a colour, another for each image, so that the net does not take them all for one class."""
    noise = rng.integers(0, 256, (n, *SHAPE)) // 4 + rng.integers(0, 192, (n, 1, 1, 3))
    return noise.astype(np.uint8), rng.integers(0, 10, n)


TRAIN, HELD = images(60), images(40)


def make(tied=True, depths=(2, 3), **options):
    return models.ResidualNet(SHAPE, depths, width=4, tied=tied, dropout=0.5, **options)


def undecided(model):
    """Random weights, but no class is preferred over all images: a net that always says the same hides differences."""
    randomise(model)
    model.logits.bias.assign(np.zeros(10))
    model.logits.bias.assign(-np.asarray(model(HELD[0])).mean(0))
    return model


@pytest.fixture(scope="module")
def nets():
    return {"tied": make(), "untied": make(tied=False)}


@pytest.fixture(params=["tied", "untied"])
def net(nets, request):
    """A net of two stages, of two steps and of a transition and two steps; random weights, anew for each test."""
    return undecided(nets[request.param])


@pytest.fixture
def tied(nets):
    return undecided(nets["tied"])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """So that a few images make several batches, the last of them an incomplete one."""
    monkeypatch.setattr(probes, "EVALUATION_BATCH", 16)
    monkeypatch.setattr(probes, "PROBE_BATCH", 16)
    monkeypatch.setattr(probes, "REESTIMATION", 50)
    monkeypatch.setattr(probes, "REESTIMATION_BATCH", 20)
    monkeypatch.setattr(probes, "DROP_IMAGES", 30)


def percent_wrong(logits, y):
    return 100 * sum(np.asarray(logits).argmax(-1) != y) / len(y)


def snapshot(model):
    return [np.asarray(v) for v in model.variables], [norm.momentum for norm in models.sublayers(model, BatchNorm)]


def assert_same(a, b):
    for x, y in zip(a[0], b[0], strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    assert a[1] == b[1]


# --- measuring ---


@pytest.mark.parametrize("n", [1, 16, 40])
def test_predict_is_the_model_batch_by_batch(net, n):
    x = HELD[0][:n]
    logits = probes.predict(net, x)
    assert logits.shape == (n, 10)
    np.testing.assert_allclose(logits, np.asarray(net(x)), rtol=1e-4, atol=1e-5)


def test_error_is_the_share_of_wrong_images_in_percent(net):
    guesses = np.asarray(net(HELD[0])).argmax(-1)
    assert probes.error(net, HELD[0], guesses) == 0
    wrong = guesses.copy()
    wrong[:10] = (wrong[:10] + 1) % 10
    assert probes.error(net, HELD[0], wrong) == 25


# --- leaving no trace ---


def test_untouched_undoes_whatever_was_done(tied):
    before = snapshot(tied)

    def change():
        with probes.untouched(tied):
            for v in tied.variables:
                v.assign(np.ones(v.shape))
            tied(TRAIN[0][:4], training=True)
            for norm in models.sublayers(tied, BatchNorm):
                norm.momentum = 0.5
            raise ZeroDivisionError  # an exception on the way included

    with pytest.raises(ZeroDivisionError):
        change()
    assert_same(snapshot(tied), before)


@pytest.mark.parametrize("name", sorted(probes.PROBES))
def test_a_probe_leaves_the_net_as_it_found_it(tied, name):
    before = snapshot(tied)
    value = probes.PROBES[name].measure(tied, TRAIN, HELD)
    assert_same(snapshot(tied), before)
    json.dumps(value, allow_nan=False)  # it goes into a record
    assert set(probes.PROBES[name].when) <= {"start", "epoch1", "end"}


# --- re-estimated statistics ---


def batches():
    return np.array_split(TRAIN[0][:50], 2)


def moments(parts):
    """Plain averages of the means and the variances of several batches of activations."""
    parts = [np.asarray(part) for part in parts]
    return np.mean([p.mean((0, 1, 2)) for p in parts], 0), np.mean([p.var((0, 1, 2)) for p in parts], 0)


def test_reestimated_statistics_are_the_mean_of_the_batches_statistics(net):
    probes.reestimate(net, TRAIN[0][:50])
    stem, entering = [], []
    for batch in batches():
        stem.append(net.stem.conv(net.scale(batch)))
        first = next(net.states(batch, training=True))[1]
        entering.append(net.stages[0].blocks[0].conv1.conv(first))
    probes.reestimate(net, TRAIN[0][:50])  # what came before is forgotten
    for norm, parts in ((net.stem.norm, stem), (net.stages[0].blocks[0].conv1.norm, entering)):
        mean, variance = moments(parts)
        np.testing.assert_allclose(np.asarray(norm.mean[0]), mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(np.asarray(norm.variance[0]), variance, rtol=1e-3, atol=1e-4)


def entering_steps(net, batch, steps):
    """What the norm of a tied last stage sees at each step, in training mode."""
    states = [x for name, x in net.states(batch, training=True, steps=steps) if name.startswith("stage2")]
    return [net.stages[1].blocks[0].conv1.conv(x) for x in states[:steps]]


def test_statistics_that_steps_share_are_averaged_over_the_steps():
    net = randomise(make(norm="shared"))
    seen = [x for batch in batches() for x in entering_steps(net, batch, 2)]
    probes.reestimate(net, TRAIN[0][:50])
    mean, variance = moments(seen)
    norm = net.stages[1].blocks[0].conv1.norm
    np.testing.assert_allclose(np.asarray(norm.mean[0]), mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.asarray(norm.variance[0]), variance, rtol=1e-3, atol=1e-4)


def test_past_the_trained_number_the_last_statistics_are_averaged_over_the_steps_that_use_them(tied):
    seen = [entering_steps(tied, batch, 4) for batch in batches()]
    probes.reestimate(tied, TRAIN[0][:50], steps=4)
    norm = tied.stages[1].blocks[0].conv1.norm
    np.testing.assert_allclose(np.asarray(norm.mean[0]), moments([s[0] for s in seen])[0], rtol=1e-3, atol=1e-4)
    last = moments([x for s in seen for x in s[1:]])[0]
    np.testing.assert_allclose(np.asarray(norm.mean[1]), last, rtol=1e-3, atol=1e-4)


def test_reestimation_counts_its_own_batches_whatever_the_momentum_was(tied):
    probes.reestimate(tied, TRAIN[0][:50])
    expected = snapshot(tied)[0]
    for norm in models.sublayers(tied, BatchNorm):
        norm.momentum = 0.123
    probes.reestimate(tied, TRAIN[0][:50])
    for a, b in zip(snapshot(tied)[0], expected, strict=True):
        if a.dtype == "float32":  # not the state of the dropout's random numbers
            np.testing.assert_allclose(a, b, rtol=1e-5)


# --- the probes ---


def test_gradient_norms_are_those_of_every_convolution_from_first_to_last(net):
    x, y = TRAIN[0][:16], TRAIN[1][:16]
    transition, stages = net.stages[1].transition, net.stages
    blocks = [*dict.fromkeys(stages[0].blocks), transition, *dict.fromkeys(stages[1].blocks)]
    kernels = [net.stem.conv.kernel, *(c.conv.kernel for b in blocks for c in (b.conv1, b.conv2))]
    net.dropout.rate, rate = 0, net.dropout.rate
    try:
        with probes.untouched(net), tf.GradientTape() as tape:
            z = net(x, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z))
        expected = [np.linalg.norm(g) for g in tape.gradient(loss, [k.value for k in kernels])]
        result = probes.gradient_norms(net, TRAIN, HELD)
    finally:
        net.dropout.rate = rate
    np.testing.assert_allclose(result["layers"], expected, rtol=1e-4)
    assert result["ratio"] == pytest.approx(expected[0] / expected[-1], rel=1e-4)


def test_the_ratio_of_a_vanished_gradient_is_null(tied):
    tied.stages[1].blocks[0].conv2.conv.kernel.assign(np.zeros((3, 3, 8, 8)))
    tied.logits.kernel.assign(np.zeros((8, 10)))  # no gradient comes back from the read-out
    result = probes.gradient_norms(tied, TRAIN, HELD)
    assert set(result["layers"]) == {0.0}
    assert result["ratio"] is None


def test_activation_norms_are_root_mean_squares_of_the_states_while_training(net):
    result = probes.activation_norms(net, TRAIN, HELD)
    assert list(result) == [*(f"stage1_step{t}" for t in range(3)), *(f"stage2_step{t}" for t in range(3))]
    with probes.untouched(net):
        states = dict(net.states(TRAIN[0][:16], training=True))
    for name, value in result.items():
        assert value == pytest.approx(np.sqrt((np.asarray(states[name]).astype(float) ** 2).mean()), rel=1e-4)


def test_statistics_compares_running_batch_and_reestimated(net):
    x, y = HELD
    result = probes.statistics(net, TRAIN, HELD)
    assert result["running"] == pytest.approx(percent_wrong(net(x), y))
    net.dropout.rate, rate = 0, net.dropout.rate  # a run with dropout is not to be judged with it
    try:
        with probes.untouched(net):
            own = np.concatenate([np.asarray(net(x[i : i + 16], training=True)) for i in (0, 16, 32)])
    finally:
        net.dropout.rate = rate
    assert result["batch"] == pytest.approx(percent_wrong(own, y))
    with probes.untouched(net):
        probes.reestimate(net, TRAIN[0][:50])
        assert result["reestimated"] == pytest.approx(percent_wrong(net(x), y))
    assert len(set(result.values())) > 1


def test_readouts_of_every_step_and_beyond(net):
    x, y = HELD
    result = probes.readouts(net, TRAIN, HELD)
    states = [state for name, state in net.states(x) if name.startswith("stage2")]
    expected = [percent_wrong(net.logits(np.asarray(state).mean((1, 2))), y) for state in states]
    assert result["trained"] == pytest.approx(expected)
    assert result["trained"][-1] == pytest.approx(probes.error(net, x, y))
    if len({id(block) for block in net.stages[1].blocks}) > 1:
        assert result["beyond"] == {}
    else:
        assert list(result["beyond"]) == ["3", "4"]
        for steps, error in result["beyond"].items():
            with probes.untouched(net):
                probes.reestimate(net, TRAIN[0][:50], steps=int(steps))
                assert error == pytest.approx(percent_wrong(net(x, steps=int(steps)), y))


def test_readouts_of_a_net_of_several_states_start_where_it_can_be_read_out():
    x, y = HELD
    net = randomise(models.build("feedback", x.shape[1:], states=3, steps=4, width=4))
    result = probes.readouts(net, TRAIN, HELD)
    assert (result["first"], len(result["trained"]), list(result["beyond"])) == (2, 3, ["5", "8"])
    assert result["trained"][-1] == pytest.approx(probes.error(net, x, y))


def test_a_last_stage_without_repeated_blocks_is_not_run_beyond():
    result = probes.readouts(randomise(make(depths=(1, 1))), TRAIN, HELD)
    assert len(result["trained"]) == 1
    assert result["beyond"] == {}


def test_updates_are_relative_sizes_and_cosines_with_the_gradient(net):
    x, y = HELD[0][:16], HELD[1][:16]
    result = probes.updates(net, TRAIN, HELD)
    assert list(result) == ["stage1_step1", "stage1_step2", "stage2_step1", "stage2_step2"]
    states = dict(net.states(x))
    for stage, step in ((1, 1), (1, 2), (2, 1), (2, 2)):
        before, after = (tf.constant(states[f"stage{stage}_step{t}"]) for t in (step - 1, step))
        with tf.GradientTape() as tape:  # the rest of the net, run from that state on
            tape.watch(before)
            z = before
            for t in range(step - 1, 2):
                z = net.stages[stage - 1].blocks[t](z, step=t)
            z = net.stages[1](z) if stage == 1 else z
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, net.read_out(z)))
        slope = np.asarray(tape.gradient(loss, before)).reshape(16, -1)
        update, state = (np.asarray(v).reshape(16, -1) for v in (after - before, before))
        length = np.linalg.norm(update, axis=1)
        size = (length / np.linalg.norm(state, axis=1)).mean()
        cosine = ((update * slope).sum(1) / length / np.linalg.norm(slope, axis=1)).mean()
        found = result[f"stage{stage}_step{step}"]
        assert found["size"] == pytest.approx(size, rel=1e-3)
        assert found["cosine"] == pytest.approx(cosine, rel=1e-2, abs=1e-4)


def test_dropped_steps_are_left_out_one_at_a_time(net):
    x, y = HELD[0][:30], HELD[1][:30]
    result = probes.dropped_steps(net, TRAIN, HELD)
    assert list(result) == ["none", "stage1_step1", "stage1_step2", "stage2_step1", "stage2_step2"]
    for name, error in result.items():
        z = net.stem(net.scale(x))
        for s, stage in enumerate(net.stages):
            z = z if stage.transition is None else stage.transition(z)
            for t, block in enumerate(stage.blocks):
                z = z if name == f"stage{s + 1}_step{t + 1}" else block(z, step=t)
        assert error == pytest.approx(percent_wrong(net.read_out(z), y))
    assert len(set(result.values())) > 1


def test_shifts_are_the_mean_over_four_directions(tied):
    x, y = HELD
    result = probes.shifts(tied, TRAIN, HELD)
    assert len(result) == 7
    assert result[0] == pytest.approx(percent_wrong(tied(x), y))
    for d in (1, 6):
        moved = [np.zeros_like(x) for _ in range(4)]
        moved[0][:, d:] = x[:, :-d]
        moved[1][:, :-d] = x[:, d:]
        moved[2][:, :, d:] = x[:, :, :-d]
        moved[3][:, :, :-d] = x[:, :, d:]
        assert result[d] == pytest.approx(np.mean([percent_wrong(tied(m), y) for m in moved]))
    np.testing.assert_array_equal(data.shift(x, 1, 0)[:, 1:], x[:, :-1])


def test_mistakes_are_the_wrong_ones_the_net_is_surest_of(tied):
    x, y = HELD
    z = np.asarray(tied(x)).astype(float)
    scores = np.exp(z - z.max(1, keepdims=True))
    scores /= scores.sum(1, keepdims=True)
    worst = sorted((i for i in range(40) if z[i].argmax() != y[i]), key=lambda i: -scores[i].max())[:16]
    result = probes.mistakes(tied, TRAIN, HELD)
    assert [m["index"] for m in result] == worst
    for m in result:
        assert m["label"] == y[m["index"]]
        assert m["guess"] == z[m["index"]].argmax() != m["label"]
        assert m["confidence"] == pytest.approx(scores[m["index"]].max(), rel=1e-3)


def test_a_net_without_mistakes_has_none(tied):
    x = HELD[0]
    assert probes.mistakes(tied, TRAIN, (x, np.asarray(tied(x)).argmax(-1))) == []


def test_probes_of_a_net_in_bfloat16_are_plain_numbers():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        net = make()
    finally:
        keras.config.set_dtype_policy("float32")
    for name in ("activations", "updates", "gradients"):
        json.dumps(probes.PROBES[name].measure(net, TRAIN, HELD), allow_nan=False)
