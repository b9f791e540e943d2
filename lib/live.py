"""What is seen of training in a notebook that somebody watches: a line and a curve, which change in place."""

import os
import sys
import time
from dataclasses import asdict

import pandas as pd

SHARE = 10  # drawing takes at most one part in so many of the time


def watched():
    """Whether this is the kernel of a notebook that may be open somewhere: neither a command, nor a kernel of the
    report, whose progress is told in the terminal (RECNET_REPORT in the environment)."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel") and not os.environ.get("RECNET_REPORT")


class Watch:
    """Tells of training, as `grid.progress` asks: a line, and the curve of the run under way below it."""

    def __init__(self):
        self.places, self.drawn, self.took = {}, 0.0, 0.0

    def __call__(self, line, experiment, seed, curve):
        from IPython.display import Markdown

        self._put("line", Markdown(line))
        if time.monotonic() - self.drawn >= SHARE * self.took:
            self.draw(experiment, seed, curve)

    def draw(self, experiment, seed, curve):
        """Shows the curve of a run, as far as it is trained."""
        from lib import data, plots

        start = time.monotonic()
        images = experiment.n_train or len(data.load(experiment.dataset).x_train)
        run = {"arm": "this run", "seed": seed, "n_train": images, "curve": curve}
        self._put("curve", plots.learning_curves(pd.DataFrame([run | {"experiment": asdict(experiment)}])))
        self.drawn = time.monotonic()
        self.took = self.drawn - start

    def clear(self):
        """Takes away what was shown."""
        from IPython.display import HTML

        for place in self.places:
            self._put(place, HTML(""))

    def _put(self, place, what):
        from IPython.display import display

        if place in self.places:
            self.places[place].update(what)
        else:
            self.places[place] = display(what, display_id=True)
