"""The command behind `make record`, `python -m lib.recorder`: runs what a store lacks, here or on a Dask cluster.

It exits 0 done or stopped in time, 1 failed, 2 bad arguments, 130 interrupted.
"""

import argparse
import contextlib
import math
import signal
import sys
import time
from functools import partial

from lib import commands, experiments, forecast, grid, machine, runs, train
from lib import data as datasets
from lib.records import StoreError


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m lib.recorder", description="Run what a store lacks, most wanted first."
    )
    parser.add_argument("--profile", default="paper", choices=experiments.PROFILES)
    parser.add_argument(
        "--only", default=None, metavar="CLAIM", choices=experiments.NAMES, help=", ".join(experiments.NAMES)
    )
    parser.add_argument("--hours", type=_hours, default=None, help="stop in this many hours, between epochs")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=_count, help="train on this many Dask workers of this machine")
    where.add_argument("--scheduler", metavar="ADDRESS", help="train on the workers of this Dask scheduler, tcp://...")
    args = parser.parse_args(argv)
    until = None if args.hours is None else time.monotonic() + 3600 * args.hours
    store = runs.QUICK if args.profile == "quick" else grid.store_of(args.profile)

    def work():
        try:
            with _pool(args.workers, args.scheduler) as finish:
                _record(args.profile, args.only, store, until, finish)
        except grid.Stopped as stopped:
            grid.say(stopped)

    known = datasets.DataError, StoreError, grid.PoolError
    return commands.ended(work, *known, interrupted="interrupted; finished epochs are kept")


def _hours(text):
    """A number of hours of the command line."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours: 0, 0.5, 2, ...")


def _count(text):
    """A positive whole number of the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers: 1, 2, ...")
    return int(text)


@contextlib.contextmanager
def _pool(workers, scheduler):
    """What completes a grid of runs: `complete` in this process, or on a Dask cluster where one is asked for."""
    if workers is None and scheduler is None:
        yield grid.complete
        return
    try:
        from lib import cluster
    except ImportError as error:
        raise grid.PoolError(
            f"workers need the extra `cluster`, which `make record WORKERS=2` installs ({error})"
        ) from None
    with cluster.connect(workers, scheduler) as client:
        yield partial(cluster.complete, client=client)


def _record(profile, only, store, until, finish):
    """Makes the checks and the runs that a store lacks, of one claim or of all: full-scale and quick ones to keep.

    finish: what completes the runs, see `_pool`."""
    from lib import checks

    if profile != "smoke":
        grid.need_real_data()
    grid.start_keras()
    wanted = experiments.wanted([only] if only else experiments.DESIGNS, profile)
    todo = grid.missing(wanted, store)
    text = f"{len(todo)} of {len(wanted)} runs are missing" if wanted else f"{only} trains nothing"
    if todo:
        training = forecast.Forecast(runs.read(store), machine.kind()).total(experiment for experiment, _ in todo)
        text += f": about {forecast.words(training)} of training, after the runs that are recorded"
    grid.say(text)
    if todo:
        _compare(store)
    for claim in [only] if only else experiments.CHECKS:
        for name in experiments.CHECKS.get(claim, ()):
            checks.check(name, profile, store)
    try:
        finish(wanted, store, until)
    finally:
        for experiment, seed in experiments.headlines(profile):
            folder = store / experiment.key(seed, datasets.load(experiment.dataset).identity)
            if train.finished(folder) and (folder / "weights.npz").exists() and not (folder / train.KEPT).exists():
                train.Run(folder).keep()


def _compare(store):
    """Says what the runs to come share with those that the store holds, and what they don't."""
    if (precision := grid.begun_in(store)) != "auto":
        slow = "" if precision == machine.real_precision() else ", which is slower on this machine than its own"
        grid.say(f"going on in {precision}, as {store.name}/ was begun{slow}")
    devices = {r["machine"]["device"].partition(":")[0] for r in runs.read(store) if r["kind"] == "train"}
    if devices - {machine.kind()}:
        kinds = " and a ".join(sorted(devices))
        grid.say(f"{store.name}/ holds runs of a {kinds}: no claim is judged by runs of both kinds")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    sys.exit(main())
