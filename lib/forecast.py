"""How long training will take here: after the runs that a store holds, else after a matrix product."""

import os
import time

import numpy as np

from lib import machine

IMAGE = 1e-4  # seconds: an image's share in what a training step takes beside its arithmetic


def seconds(experiment, pace):
    """Seconds of an epoch of an experiment, about; pace: as `pace` gives it."""
    return pace * _work(_flops(experiment), experiment.n_train or 50_000)


def total(experiments, pace):
    """Seconds of training whole experiments one after the other, about."""
    return sum(e.recipe.epochs * seconds(e, pace) for e in experiments)


def words(seconds):
    """A long time in words: "1 minute", "90 minutes", "3 hours"."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes > 1)}" if minutes < 120 else f"{minutes / 60:.0f} hours"


def pace(records):
    """How many times as long as on a machine of 100 GFLOP/s training takes: in the runs among the records, which need
    not be of this machine; without any, by the time of a matrix product here."""
    past = [
        (r["machine"]["seconds"], work)
        for r in records
        if r["kind"] == "train" and (work := _work(r["flops"], r["n_train"]) * r["experiment"]["recipe"]["epochs"]) > 1
    ]  # a run of less is all start-up
    if past:
        return sum(seconds for seconds, _ in past) / sum(work for _, work in past)
    a, flops, start = np.ones((1024, 1024), np.float32), 0, time.process_time()
    while time.process_time() - start < 0.3:
        a @ a
        flops += 2 * len(a) ** 3
    speed = flops / (time.process_time() - start) * os.cpu_count()  # of a core, so that other programs do not count
    return 1e11 / speed * (1 if machine.fast_bfloat16() else 2)


def _work(flops, images):
    """Seconds of an epoch on a machine of 100 GFLOP/s; a backward pass costs two forward passes."""
    return images * (3 * flops / 1e11 + IMAGE)


def _flops(experiment):
    """Forward FLOPs an image, roughly: 6n convolutions of width 16 on 32 x 32 pixels, or what costs the same."""
    n, width = experiment.options.get("n"), experiment.options.get("width", 16)
    if not n:
        return {"resnet18": 1.1e9, "feedback": 2.2e8}.get(experiment.architecture, 2e6)
    return 28e6 * np.mean(n) * (width / 16) ** 2 / (4 if experiment.options.get("stem") == "pooled" else 1)
