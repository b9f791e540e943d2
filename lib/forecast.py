"""How long training will take here: learnt from recorded runs, else from the time of a matrix product."""

import json
import time
from functools import cached_property

import numpy as np

from lib import machine
from lib.prose import counted

IMAGE = 1e-4  # seconds: an image's share in what a training step takes beside its arithmetic


class Forecast:
    """Seconds of training, learnt from records, the more alike the better; of training alone, without what a run takes
    to start and to be evaluated.

    records: as `runs.read` gives them; they may be of other machines. device: "cpu" or "gpu", to learn from runs of
    that kind alone.
    """

    def __init__(self, records, device=None):
        kinds = (device,) if device else ("cpu", "gpu")
        self.runs = [r for r in records if r["kind"] == "train" and r["machine"]["device"].partition(":")[0] in kinds]
        self.runs = [r for r in self.runs if _work(r["flops"], _images(r)) > 1]  # a run of less is all start-up
        self.known = {}  # seconds an image of runs of one net
        for r in self.runs:
            self.known.setdefault(_net(**r["experiment"]), []).append(r["machine"]["seconds"] / _images(r))

    def epoch(self, experiment):
        """Seconds of an epoch: after runs of the same net, else by the pace of all."""
        images = experiment.n_train or 50_000
        if alike := self.known.get(_net(experiment.architecture, experiment.options, experiment.dataset)):
            return images * float(np.median(alike))
        return self.pace * _work(_flops(experiment), images)

    def total(self, experiments):
        """Seconds of whole runs, one after the other."""
        return sum(e.recipe.epochs * self.epoch(e) for e in experiments)

    @cached_property
    def pace(self):
        """Time of training as a multiple of that on a machine of 100 GFLOP/s."""
        if self.runs:
            work = sum(_work(r["flops"], _images(r)) for r in self.runs)
            return sum(r["machine"]["seconds"] for r in self.runs) / work
        a, flops, start = np.ones((1024, 1024), np.float32), 0, time.process_time()
        while time.process_time() - start < 0.3:
            a @ a
            flops += 2 * len(a) ** 3
        speed = flops / (time.process_time() - start)  # of a core, so that other programs do not count
        return 1e11 / (speed * machine.threads()) * (1 if machine.fast_bfloat16() else 2)


def words(seconds):
    """A long time in words: "1 minute", "90 minutes", "3 hours"."""
    minutes = max(1, round(seconds / 60))
    return counted(minutes, "minute") if minutes < 120 else f"{minutes / 60:.0f} hours"


def _net(architecture, options, dataset, **_):
    return json.dumps([architecture, options, dataset], sort_keys=True)


def _images(record):
    """How many images a run was trained on, each counted once an epoch."""
    return record["n_train"] * record["experiment"]["recipe"]["epochs"]


def _work(flops, images):
    """Seconds that images take on a machine of 100 GFLOP/s; a backward pass costs two forward passes."""
    return images * (3 * flops / 1e11 + IMAGE)


def _flops(experiment):
    """Forward FLOPs an image, roughly: 6n convolutions of width 16 on 32 x 32 pixels, or what costs the same."""
    n, width = experiment.options.get("n"), experiment.options.get("width", 16)
    if not n:
        return {"resnet18": 1.1e9, "feedback": 2.2e8}.get(experiment.architecture, 2e6)
    return 28e6 * np.mean(n) * (width / 16) ** 2 / (4 if experiment.options.get("stem") == "pooled" else 1)
