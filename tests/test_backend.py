"""What is done differently on TensorFlow equals what is done elsewhere."""

import dataclasses
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from lib import backend, data, runs, train
from lib.layers import BatchNorm
from lib.train import Experiment, Recipe


@pytest.mark.parametrize(("batch", "used"), [(48, 3), (50, 2), (7, 1)])
def test_as_many_devices_are_used_as_share_a_batch_evenly(monkeypatch, batch, used):
    devices = [SimpleNamespace(name=f"GPU:{i}") for i in range(3)]
    monkeypatch.setenv("RECNET_MIRROR", "1")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: SimpleNamespace(scope=lambda: names))
    scope = backend.spread(batch)
    assert (len(scope) if isinstance(scope, list) else 1) == used


def test_gradients_are_those_of_the_tape():
    layer = keras.layers.Dense(3)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    layer(x)

    def loss():
        return tf.reduce_sum(layer(x) ** 2)

    kernel, bias = backend.gradients(loss, layer.trainable_variables)
    y = np.asarray(layer(x))
    np.testing.assert_allclose(kernel, 2 * x.T @ y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bias, 2 * y.sum(0), rtol=1e-5, atol=1e-6)


def optimised(optimizer, steps=5):
    """A kernel and a bias after some steps along made-up gradients."""
    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in ((3, 2), (2,))]
    optimizer.exclude_from_weight_decay(var_list=weights[1:])
    optimizer.build(weights)

    @tf.function
    def step(*gradients):
        optimizer.apply(gradients, weights)

    for _ in range(steps):
        step(*(tf.constant(rng.normal(size=w.shape), tf.float32) for w in weights))
    return [np.asarray(v) for v in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [None, 0.1])
def test_sgd_is_that_of_keras(momentum, weight_decay):
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 6, warmup_target=0.5, warmup_steps=2)
    ours, theirs = (
        optimised(kind(schedule, momentum, nesterov=momentum > 0, weight_decay=weight_decay))
        for kind in (backend.SGD, keras.optimizers.SGD)
    )
    assert len(ours) == len(theirs) == (5 if momentum else 3)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def operations(function, *arguments):
    graph = tf.function(function).get_concrete_function(*arguments).graph
    return {operation.type for operation in graph.get_operations()}


def test_the_fused_operations_are_used_on_tensorflow_alone(monkeypatch):
    x = tf.zeros((2, 3, 3, 4))

    def norm():
        layer = BatchNorm()
        layer.build(x.shape)
        return operations(lambda: layer(x, training=True))

    def sgd():
        weight, optimizer = keras.Variable(np.zeros(2)), backend.SGD(0.1, 0.9, nesterov=True)
        optimizer.build([weight])
        return operations(lambda: optimizer.apply([tf.ones(2)], [weight]))

    assert "FusedBatchNormV3" in norm()
    assert "ResourceApplyKerasMomentum" in sgd()
    monkeypatch.setattr(backend, "is_tensorflow", lambda: False)
    assert "FusedBatchNormV3" not in norm()
    assert "ResourceApplyKerasMomentum" not in sgd()


PROGRAM = """
import json, sys
import tensorflow as tf

processor, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from lib import train

class Stop(Exception):
    pass

def stop(done, curve):
    raise Stop

experiment = train.Experiment.of(json.loads(sys.argv[2]))
try:
    train.train(experiment, 0, sys.argv[1], on_epoch=stop)
except Stop:  # after one epoch; the next is a resumed run's
    train.train(experiment, 0, sys.argv[1])
"""


def test_a_run_on_several_devices_is_that_on_one(monkeypatch, tmp_path):
    """One processor stands for two devices. All that is summed over images is summed in another order, so a small rate:
    a larger one makes rounding grow."""
    monkeypatch.setenv("RECNET_STANDIN", "1")
    recipe = Recipe(2, 0.002, momentum=0.9, weight_decay=1e-3, augment=True, batch=50, precision="float32")
    experiment = Experiment("recnet", recipe, {"n": 1, "width": 4}, n_train=200, n_eval=100, probes=("gradients",))
    found = []
    for mirror in ("0", "1"):
        # with oneDNN, two devices in one processor corrupt each other's memory, and the process dies
        settings = {"RECNET_MIRROR": mirror, "TF_ENABLE_ONEDNN_OPTS": "0"}
        command = [sys.executable, "-c", PROGRAM, tmp_path / mirror, json.dumps(dataclasses.asdict(experiment))]
        done = subprocess.run(command, cwd=runs.ROOT, env=os.environ | settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(train.Run(tmp_path / mirror / experiment.key(0, data.load("cifar10").identity)))
    one, two = found
    assert (one.machine["replicas"], two.machine["replicas"]) == (1, 2)
    for a, b in zip(one.curve, two.curve, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a == pytest.approx(b, abs=1.5)  # an error moves by an image or none
    for a, b in zip(one.model.variables, two.model.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert one.probes["gradients_epoch1"]["ratio"] == pytest.approx(two.probes["gradients_epoch1"]["ratio"], rel=1e-2)
