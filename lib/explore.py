"""What 10_explore plays with: the trained nets at hand, an image's way through one, a short run to watch."""

from dataclasses import replace

import keras
import pandas as pd
from IPython.display import display

from lib import data, experiments, grid, plots, runs, train

PLAYGROUND = train.Experiment("recnet", replace(train.MODERN, epochs=4), {"n": 1}, n_train=5_000, n_eval=1_000)


def nets(profile="quick"):
    """{what it is: Run} of the residual nets on CIFAR-10 whose weights are at hand, the best on test images first;
    where no tied one is among them, those of C11 are trained first, at this profile."""
    found = _nets()
    if not any(name.startswith("tied") for name in found):
        grid.get("C11", profile)
        found = _nets()
    return found


def _nets():
    standin = data.load("cifar10").standin
    records = {r["key"]: store for store in (runs.LOCAL, runs.QUICK, runs.RESULTS) for r in runs.read(store)}
    found = [train.Run(store / key) for key, store in records.items()]
    usable = [
        run
        for run in found
        if run.kind == "train" and run.weights and run.data["name"] == "cifar10" and run.data["standin"] == standin
        if run.experiment["architecture"] in ("recnet", "resnet") and run.test_error is not None
    ]
    return {name(run): run for run in sorted(usable, key=lambda run: run.test_error)}


def name(run):
    """A run in a few words, with all that tells it from its neighbours."""
    family = {"recnet": "tied", "resnet": "untied"}[run.experiment["architecture"]]
    options = ", ".join(f"{k} = {v}" for k, v in run.experiment["options"].items())
    return (
        f"{family}, {options}, seed {run.seed}: {run.n_train:,} images, {len(run.curve)} epochs, {run.test_error:.1f} %"
    )


def depth(run):
    """How many steps the last stage of a run's net was trained with."""
    return run.model.depth


def course(run, index, steps=None):
    """The class probabilities of test image `index` read out after every step of the last stage, as a Picture.

    steps: how many to take, also more than the net was trained with (those use the last one's norm); only a tied net
    can. Default: the trained number.
    """
    images = data.load(run.data["name"])
    steps = steps if run.experiment["architecture"] == "recnet" else None
    logits = run.model.readouts(images.x_test[index : index + 1], steps=steps)
    chances = 100 * keras.ops.convert_to_numpy(keras.ops.softmax(logits))[:, 0].T  # (classes, steps + 1)
    return plots.course(images.x_test[index], chances, images.classes, images.y_test[index], depth(run))


def watch(experiment, seed=0):
    """Trains a run (or takes it, if it was trained before) while its curve grows on the page; returns the Run."""
    shown = display(plots.nothing(), display_id=True)

    def draw(done, curve):
        shown.update(plots.learning_curves(pd.DataFrame([{"arm": "this run", "seed": seed, "curve": curve}])))

    run = train.train(experiment, seed, runs.LOCAL, on_epoch=draw)
    draw(len(run.curve), run.curve)
    return run


def beside(run):
    """A run of one's own and the quick runs of C11, made here or recorded, as one table like those of `grid.get`."""
    stores = [("quick", runs.read(store)) for store in (runs.LOCAL, runs.QUICK)]
    others = experiments.fullest(stores, "C11", standin=run.data["standin"])[1]
    return pd.concat([pd.DataFrame([{"arm": "this run"} | run.record]), others], ignore_index=True)
