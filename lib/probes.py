"""Measuring a net: predictions and errors, and the probes a run may ask for: gradients, activations, read-outs,
dropped steps, statistics, shifts, mistakes.

A probe leaves the net as it found it, so a run with probes and one without give the same curve. Held-out images are
the validation images where the experiment has them, else the test images (at the end only).
"""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from lib import backend, models
from lib import data as datasets
from lib.layers import BatchNorm

EVALUATION_BATCH = 500
PROBE_BATCH = 128  # images a gradient or an activation norm is taken over
REESTIMATION = 2000  # training images that running statistics are estimated anew from ...
REESTIMATION_BATCH = 250  # ... in batches of about this size
DROP_IMAGES = 1000  # held-out images each dropped step is judged on


@dataclass(frozen=True)
class Probe:
    when: tuple[str, ...]  # "start" (before training), "epoch1" (after the first epoch), "end"
    measure: Callable  # (model, (x_train, y_train), (x_held_out, y_held_out)) -> JSON


def predict(model, x):
    """Logits (N, classes) of x (N, H, W, C) uint8, in inference mode; every batch has one shape, so nothing is traced
    twice."""
    out = []
    for start in range(0, len(x), EVALUATION_BATCH):
        batch = x[start : start + EVALUATION_BATCH]
        padding = [(0, EVALUATION_BATCH - len(batch))] + [(0, 0)] * (x.ndim - 1)
        out.append(np.asarray(model.predict_on_batch(np.pad(batch, padding)))[: len(batch)])
    return np.concatenate(out)


def error(model, x, y):
    """Misclassified images in %, in inference mode."""
    return float(100 * np.mean(predict(model, x).argmax(-1) != y))


@contextlib.contextmanager
def untouched(model):
    """Whatever happens to the model's variables inside is undone at the end."""
    before = [np.asarray(v) for v in model.variables]
    momenta = {norm: norm.momentum for norm in models.sublayers(model, BatchNorm)}
    try:
        yield
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def reestimate(model, x, **call):
    """Sets the running statistics, as the net stands now, to the plain average over batches of x (N, H, W, C), and over
    the steps where steps share them.

    call: passed on to the model (`steps=...`). Changes the model; wrap it in `untouched` to undo that.
    """
    seen = Counter()

    def average(norm, call, x, step=0, training=False):
        entry = norm, min(step, norm.statistics - 1)
        norm.momentum = seen[entry] / (seen[entry] + 1)
        seen[entry] += 1
        return call(x, step=step, training=training)

    with models.watched(models.sublayers(model, BatchNorm), average):
        for batch in np.array_split(x, max(1, len(x) // REESTIMATION_BATCH)):
            model(batch, training=True, **call)


def _errors(function, x, y):
    """Error in % of each row of logits that function(images) returns, (rows, batch, classes), over all of x."""
    wrong = 0
    for start in range(0, len(x), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        wrong = wrong + (ops.convert_to_numpy(function(x[part])).argmax(-1) != y[part]).sum(-1)
    return [float(e) for e in np.atleast_1d(100 * wrong / len(x))]


def gradient_norms(model, train, held):
    """Norm of the loss gradient for each convolution's kernel, 1x1 projections left out, from the first layer to the
    last, on one training batch."""
    x, y = (part[:PROBE_BATCH] for part in train)
    kernels = [layer.kernel for layer in models.sublayers(model, keras.layers.Conv2D) if layer.kernel_size != (1, 1)]

    def loss():
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=True), from_logits=True))

    with untouched(model):
        norms = [float(np.linalg.norm(g)) for g in backend.gradients(loss, kernels)]
    return {"layers": norms, "ratio": norms[0] / norms[-1] if norms[-1] else None}


def activation_norms(model, train, held):
    """Root mean square of the state after each step, in training mode, on one training batch; by step name."""
    with untouched(model):
        states = [
            (name, ops.convert_to_numpy(ops.cast(x, "float32")))
            for name, x in model.states(train[0][:PROBE_BATCH], training=True)
        ]
    return {name: float(np.sqrt(np.mean(x**2))) for name, x in states}


def statistics(model, train, held):
    """Held-out error with running statistics, with each batch's own, and with statistics re-estimated from training
    images."""
    result = {"running": error(model, *held)}

    def own(x):  # read out as in inference: only the norms are to differ, dropout is not
        *_, (_, state) = model.states(x, training=True)
        return model.read_out(state)[None]

    with untouched(model):
        (result["batch"],) = _errors(own, *held)
    with untouched(model):
        reestimate(model, train[0][:REESTIMATION])
        result["reestimated"] = error(model, *held)
    return result


def readouts(model, train, held):
    """Held-out error read out by the trained head after every step of the last stage (of a net of several states,
    after every step from the first that reaches the last state); where one block takes every step of it also past the
    trained number (one more, and twice as many), with statistics re-estimated for that number."""
    result = {"first": model.first_readout, "trained": _errors(lambda x: model.readouts(x), *held), "beyond": {}}
    if model.is_recurrent:
        for steps in sorted({model.depth + 1, 2 * model.depth}):
            with untouched(model):
                reestimate(model, train[0][:REESTIMATION], steps=steps)
                result["beyond"][str(steps)] = _errors(lambda x, steps=steps: model(x, steps=steps)[None], *held)[0]
    return result


def updates(model, train, held):
    """For each step, by name: norm of its update over the norm of the state it changes, and (TensorFlow only, else
    null) the cosine between the update and the loss gradient with respect to that state; means over one held-out
    batch."""
    x, y = (part[:PROBE_BATCH] for part in held)
    names = []

    def forward():
        names[:], states = zip(*model.states(x), strict=True)
        logits = model.read_out(states[-1])
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)), states

    states, gradients = backend.states_and_gradients(forward)
    states, gradients = ([None if s is None else _rows(s) for s in many] for many in (states, gradients))
    result = {}
    for t in range(1, len(states)):
        if names[t].endswith("step0"):  # a transition changes the shape: there is no update to speak of
            continue
        update, size = states[t] - states[t - 1], np.linalg.norm(states[t - 1], axis=1)
        cosine = None
        if gradients[t - 1] is not None:
            lengths = np.linalg.norm(update, axis=1) * np.linalg.norm(gradients[t - 1], axis=1)
            cosine = float(np.mean((update * gradients[t - 1]).sum(1) / np.maximum(lengths, 1e-12)))
        result[names[t]] = {
            "size": float(np.mean(np.linalg.norm(update, axis=1) / np.maximum(size, 1e-12))),
            "cosine": cosine,
        }
    return result


def _rows(x):
    return ops.convert_to_numpy(ops.cast(x, "float32")).reshape(len(x), -1)


def dropped_steps(model, train, held):
    """Held-out error with one repeated step left out, by step name, and with none ("none")."""
    x, y = (part[:DROP_IMAGES] for part in held)
    result = {"none": _errors(lambda x: model(x)[None], x, y)[0]}
    for s, stage in enumerate(model.stages):
        for t in range(stage.depth):
            result[f"stage{s + 1}_step{t + 1}"] = _errors(lambda x, drop=(s, t): model(x, drop=drop)[None], x, y)[0]
    return result


def shifts(model, train, held):
    """Held-out error on images shifted by 0 to 6 pixels, the mean over the four directions."""
    x, y = held
    moves = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    return [
        float(np.mean([error(model, datasets.shift(x, d * dy, d * dx), y) for dy, dx in (moves if d else moves[:1])]))
        for d in range(7)
    ]


def mistakes(model, train, held):
    """The sixteen held-out images that the net gets wrong with the most confidence: index, label, prediction,
    confidence."""
    x, y = held
    scores = ops.convert_to_numpy(ops.softmax(predict(model, x)))
    guess, confidence = scores.argmax(-1), scores.max(-1)
    wrong = np.flatnonzero(guess != y)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:16]
    return [
        {"index": int(i), "label": int(y[i]), "guess": int(guess[i]), "confidence": float(confidence[i])} for i in worst
    ]


PROBES = {
    "gradients": Probe(("start", "epoch1"), gradient_norms),
    "activations": Probe(("start", "end"), activation_norms),
    "statistics": Probe(("end",), statistics),
    "readouts": Probe(("end",), readouts),
    "updates": Probe(("end",), updates),
    "drops": Probe(("end",), dropped_steps),
    "shifts": Probe(("end",), shifts),
    "mistakes": Probe(("end",), mistakes),
}
