"""Getting many runs done: a notebook asks for a claim's runs, gets those that exist, and the rest is trained."""

import os
import sys
import time
from collections import Counter, deque
from pathlib import Path

from lib import data as datasets
from lib import experiments, forecast, live, machine, runs, train
from lib.commands import say
from lib.records import Busy, StoreError

PAUSE = runs.BUILD / ".pause"  # while this file exists, training waits between epochs: something is being timed


class Stopped(RuntimeError):
    """The time given is up; what was under way has a checkpoint."""


class PoolError(RuntimeError):
    """The workers or the backend asked for can't be had, or can't go on; what was finished is in the store."""


def get(claim, profile, seed=0, seeds=1):
    """The runs of a claim as a tidy table, a row a run with its `arm` (see experiments.select); trains what is missing.

    Where nothing may be trained (see runs.read_only) missing runs have no row, and a claim whose full-scale runs are
    not all recorded is shown by the recorded quick ones.
    """
    store = store_of(profile)
    wanted = experiments.wanted([claim], profile, seed, seeds)
    standin = any(datasets.load(name).standin for name in {e.dataset for e, _ in wanted})
    if not runs.read_only():
        if profile == "paper":
            need_real_data()
        view = live.Watch() if live.watched() else None
        complete(wanted, store, tell=view)
        if view:
            view.clear()
    stores = ((level, runs.read(folder)) for level, folder in runs.stores(profile))
    return experiments.fullest(stores, claim, seed, seeds, standin)[1]


def compared(profile, seed=0, seeds=1):
    """The tied and untied nets to be drawn beside each other, and the column with their errors: C11's; while its
    full-scale runs are not all there, those of `early`, which tell more than quick ones."""
    main, early = (get(claim, profile, seed, seeds) for claim in ("C11", "early"))
    images = max(main.n_train, default=0), max(early.n_train, default=0)
    return (main, "test_error") if images[0] >= images[1] else (early, "val_error")


def check(name, profile):
    """The record of a check at a profile: the finished one, or made now (see checks.CHECKS).

    Raises StoreError where it is missing and nothing may be made.
    """
    from lib import checks

    store = store_of(profile)
    if experiments.find_check(runs.read(store), name, profile) is None:
        if runs.read_only():
            raise StoreError(f"the check {name!r} is not recorded: `make record` makes it")
        if profile == "paper":
            need_real_data()
    return checks.check(name, profile, store)


def need_real_data():
    """Raises DataError where runs on stand-in data would get among the recorded ones."""
    if any(datasets.load(name).standin for name in datasets.SPECS):
        raise datasets.DataError(f"results/ takes runs on the real data only: {datasets.HOW_TO_GET}")


def store_of(profile):
    """The store of a profile. Smoke, which is there to try things out, takes stand-in data until another is asked for:
    in a notebook that goes on with another profile they must not stay."""
    if profile == "smoke" and not datasets.wants_standin():
        os.environ["RECNET_STANDIN"] = "smoke"
    elif profile != "smoke" and os.environ.get("RECNET_STANDIN") == "smoke":
        del os.environ["RECNET_STANDIN"]
    return runs.store(profile)


def run(row, profile):
    """The Run of a row of `get`'s table at that profile: its record and, where the weights were kept, its trained
    model. Raises StoreError where it is gone."""
    return train.find(row.key, [folder for _, folder in runs.stores(profile)])


def missing(wanted, store):
    """Those of [(experiment, seed), ...] that the store has no record of."""
    return [(e, s) for e, s in wanted if not train.finished(Path(store) / e.key(s, datasets.load(e.dataset).identity))]


def begun_in(store):
    """The precision of most of a store's runs whose recipes leave it open, or "auto" without any.

    A store goes on in the one that it was begun in, on whatever machine, because comparisons never mix two. Raises
    StoreError on a damaged record.
    """
    past = (r for r in runs.read(store) if r["kind"] == "train" and r["experiment"]["recipe"]["precision"] == "auto")
    made = Counter(record["machine"]["precision"] for record in past)
    return made.most_common(1)[0][0] if made else "auto"


def complete(wanted, store, until=None, tell=None):
    """Trains what is missing, one run after the other, and tells of each epoch.

    until: time.monotonic() at which to stop, between epochs (raises Stopped); a run that would not get to a checkpoint
    by then is not begun, and one that would is taken instead. tell: see `progress`.
    """
    todo = deque(missing(wanted, store))
    whole, busy = len(todo), 0  # how many in a row are in another process' hands
    precision, clock = begun_in(store) if todo else "auto", Clock(store, until)
    while todo:
        if (first := clock.first(todo)) is None:
            raise Stopped(f"stopped in time, {count(todo)} still missing")
        todo.rotate(-first)
        experiment, seed = todo[0]
        place = f"[{whole - len(todo) + 1} of {whole}]"
        on_epoch = progress(place, experiment, seed, until, tell)
        try:
            train.train(experiment, seed, store, on_epoch=on_epoch, precision=precision)
        except Busy as other:
            todo.rotate(-1)  # the others first: so processes side by side share the work
            busy += 1
            if busy == len(todo):
                say(f"{other}; waiting for it")
            if busy >= len(todo):
                time.sleep(2)  # then it is done, or its process has died and the run is ours to go on with
        else:
            todo.popleft()
            busy = 0


class Clock:
    """What can still be begun by `until`, a time.monotonic() or None: runs whose next checkpoint should be there in
    time, after the recorded runs of a store. Where there are none to learn from, whatever there is time for."""

    def __init__(self, store, until):
        self.until, self.forecast = until, None
        if until is not None:
            self.forecast = forecast.Forecast(runs.read(store), machine.kind())

    def first(self, todo):
        """The place in a list of runs, [(experiment, seed), ...], of the first that can be begun; None where none can
        be, which is said if there is time left."""
        if self.until is None:
            return 0
        left = self.until - time.monotonic()
        needs = [self.forecast.epoch(experiment) if self.forecast.runs else 0 for experiment, _ in todo]
        place = next((i for i, seconds in enumerate(needs) if seconds < left), None)
        if place is None and left > 0:
            say(f"none of them is begun: an epoch takes at least {min(needs):.0f} s, {left:.0f} s are left")
        return place


def count(wanted):
    """How many runs these are: `1 run is`, `2 runs are`."""
    return "1 run is" if len(wanted) == 1 else f"{len(wanted)} runs are"


def describe(experiment, seed):
    """A run in a few words: `recnet n=3 on cifar10, rate 0.2, seed 0`."""
    options, recipe = " ".join(f"{name}={value}" for name, value in experiment.options.items()), experiment.recipe
    words = [f"{experiment.architecture} {options}".strip() + f" on {experiment.dataset}"]
    words += [f"draw {experiment.draw}"] if experiment.draw else []
    words += [f"rate {recipe.learning_rate:g}", *([] if recipe.precision == "auto" else [recipe.precision])]
    return ", ".join([*words, f"seed {seed}"])


def progress(place, experiment, seed, until=None, tell=None):
    """What is called after each epoch of a run, on_epoch(done, curve): tells how far it is, waits while something is
    being timed, and raises Stopped when the time is up.

    tell: called as tell(line, experiment, seed, curve); without, lines go to stderr.
    """
    tell = tell or (lambda line, *_: say(line))
    run, epochs, start, first = describe(experiment, seed), experiment.recipe.epochs, time.monotonic(), None

    def on_epoch(done, curve):
        nonlocal first
        first = done - 1 if first is None else first  # a resumed run has done some epochs already
        left = (time.monotonic() - start) / (done - first) * (epochs - done)
        last = curve[-1]
        shown = f"error {last['train_error'] if last['val_error'] is None else last['val_error']:.1f} %"
        tell(f"{place} {run}: epoch {done} of {epochs}, {shown}, {left:.0f} s left", experiment, seed, curve)
        if PAUSE.exists():
            tell(f"waiting while {PAUSE} exists: something is being timed", experiment, seed, curve)
        while PAUSE.exists():
            time.sleep(1)
        if until is not None and time.monotonic() > until and done < epochs:
            raise Stopped(f"stopped in time after epoch {done} of {run}; the next start goes on from there")

    return on_epoch


def start_keras():
    """Imports Keras quietly: no setting stops the notes that TensorFlow writes to stderr on starting. Raises PoolError
    where the backend asked for is unavailable."""
    # several processes may share a GPU, of which the first would take all memory
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        machine.real_precision()
    except (ImportError, ValueError) as error:
        if name := os.environ.get("KERAS_BACKEND"):
            raise PoolError(f"KERAS_BACKEND={name} can't be used here: {error}") from None
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
