"""The kept nets, evaluated again: `python -m lib.evaluate` recomputes their test errors from the kept weights."""

import argparse
import sys

from lib import commands, data, experiments, grid, runs, train
from lib.records import StoreError

TOLERANCE = 0.05  # pp between the recorded error and that of the rounded weights


def kept():
    """The recorded runs in results/ whose weights are kept, of full scale first. Raises StoreError where there are
    none, and where the weights of one are missing."""
    stores = ((runs.RESULTS, "paper"), (runs.QUICK, "quick"))
    folders = (
        store / experiment.key(seed, data.load(experiment.dataset).identity)
        for store, profile in stores
        for experiment, seed in experiments.headlines(profile)
    )
    folders = [folder for folder in folders if train.finished(folder)]
    if not folders:
        raise StoreError("results/ holds none of the runs whose weights are kept")
    for folder in folders:
        if not (folder / train.KEPT).exists():
            raise StoreError(f"{train.KEPT} of run {folder.name} is missing from results/ (git checkout results)")
    return [train.Run(folder) for folder in folders]


def test_error(run):
    """A run's test error in %, computed anew from its kept weights in the precision that it was trained in."""
    from lib import probes  # brings Keras, which grid.start_keras starts quietly

    net = run.load(run.machine["precision"], run.folder / train.KEPT)  # not the full ones, which lie beside them here
    return probes.error(net, *run.sets["test"])


def main(argv=None):
    argparse.ArgumentParser(
        prog="python -m lib.evaluate", description="The kept nets, evaluated again from their weights."
    ).parse_args(argv)
    return commands.ended(_evaluate, StoreError, data.DataError, grid.PoolError)


def _evaluate():
    if any(data.load(name).standin for name in data.SPECS):
        print(f"the kept nets are evaluated on the real data: {data.HOW_TO_GET}", file=sys.stderr)
        return 1
    grid.start_keras()
    off = []
    for run in kept():
        error = test_error(run)
        off.append(round(abs(error - run.test_error), 6))  # of five images in 10,000 exactly 0.05
        text = grid.describe(train.Experiment.of(run.experiment), run.seed)
        size = f"{text}, {run.n_train:,} images"
        print(f"{run.key} {size}: recorded {run.test_error:.2f} %, from its kept weights {error:.2f} %", flush=True)
    agree = sum(gap <= TOLERANCE for gap in off)
    print(f"{agree} of {len(off)} agree within {TOLERANCE} pp")
    if agree < len(off):
        print(f"off by {max(off):.2f} pp: more than the {TOLERANCE} that rounding explains", file=sys.stderr)
    return int(agree < len(off))


if __name__ == "__main__":
    sys.exit(main())
