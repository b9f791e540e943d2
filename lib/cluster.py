"""Many runs on a Dask cluster: the same `train` on every worker, and all that it makes sent back to the caller.

A task is a whole run. After each epoch its worker leaves the checkpoint in a variable on the scheduler and tells the
caller, who writes it into the store. So a run whose worker was lost goes on from its last epoch on another worker, one
whose scheduler was lost goes on from there at the next start, and the workers need not share a disk.
"""

import contextlib
import logging
import math
import os
import queue
import signal
import tempfile
import threading
import time
import uuid
from collections import deque
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import dask
from distributed import Client, Event, KilledWorker, LocalCluster, Variable, WorkerPlugin, get_worker
from distributed.comm import CommClosedError

from lib import data as datasets
from lib import grid, machine, runs, train
from lib.records import Busy, lock, write

PATIENCE = "20s"  # with a scheduler that does not answer
ALONE = 60  # seconds without any worker, after which that is said
LOSSES = 10  # how many workers may be lost in one run's hands before it is given up

# A worker takes one run at a time, whatever its number of threads: Keras' seeds and precision are the process's.
_ONE_RUN = threading.Lock()


class Local(WorkerPlugin):
    """What a worker on the caller's machine must know: each of `workers` gets its share of the cores, and of the GPUs
    where there are several, and leaves Ctrl-C, which a terminal sends to all processes, to the caller."""

    def __init__(self, workers, gpus):
        self.workers, self.gpus = workers, gpus

    def setup(self, worker):
        index = int(worker.name)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[index :: self.workers] or cores)
        if self.gpus > 1:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self.gpus)))
            os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index % self.gpus]


@contextlib.contextmanager
def connect(workers=None, scheduler=None):
    """A Dask client: of `workers` new processes on this machine, or of the scheduler at an address.

    Raises PoolError where the scheduler can't be reached.
    """
    if scheduler is None:
        runs.BUILD.mkdir(parents=True, exist_ok=True)
        grid.start_keras()  # which knows the GPUs
        with (
            dask.config.set(
                {
                    "distributed.scheduler.allowed-failures": LOSSES,
                    "distributed.deploy.lost-worker-timeout": "1h",  # one that starts slowly is not given up after 15 s
                }
            ),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",  # nobody else: a scheduler runs what it is sent
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                local_directory=str(runs.BUILD / "dask"),
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            client.register_plugin(Local(workers, len(machine.gpus())))
            yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # a TypeError: tls:// without certificates
        raise grid.PoolError(f"no scheduler answers at {scheduler}: {error}") from None
    with client:
        yield client


def complete(wanted, store, until=None, *, client, work=None):
    """Trains what is missing on the client's workers; as `grid.complete`, which does it in this process.
    Whether a run can be begun in time is asked when it is sent, up to two for each worker.

    work: what a worker does for a run, called as work(experiment, seed, identity, place, session) -> {file name:
    bytes}. Raises PoolError when the scheduler is lost or a run keeps losing its workers, Stopped when the time is
    up.
    """
    todo = deque(enumerate(grid.missing(wanted, store), 1))
    whole, flying, session, news = len(todo), {}, uuid.uuid4().hex, queue.SimpleQueue()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what a reader can act on is said below
    client.subscribe_topic(session, lambda event: news.put(event[1]))
    stop, seen = Event(session, client=client), time.monotonic()  # when a worker was last seen
    stopped, clock = False, grid.Clock(store, until)
    work = work or partial(train_there, precision=grid.begun_in(store) if todo else "auto")
    try:
        while todo or flying:
            if until is not None and time.monotonic() > until and not stop.is_set():
                stop.set()  # each run under way ends after its epoch
                stopped = True
                todo.clear()
            workers = len(client.nthreads())
            if not workers and stop.is_set():
                break  # nobody is left to end the runs; their checkpoints are in the store
            if not workers and time.monotonic() - seen > ALONE:
                grid.say("the scheduler has no worker; waiting for one")
                seen = math.inf  # said once
            elif workers:
                seen = time.monotonic()
            # a few ahead keep every worker busy; the rest stays free for other processes
            while todo and len(flying) < 2 * max(1, workers):
                if (first := clock.first([run for _, run in todo])) is None:
                    stopped = True
                    todo.clear()
                    break
                todo.rotate(-first)
                number, (experiment, seed) = todo.popleft()
                place = f"[{number} of {whole}]"
                flight = _Flight(experiment, seed, store, place, session, client, work)
                if flight.launch(news):
                    flying[flight.key] = flight
            with contextlib.suppress(queue.Empty):
                kind, key, line = news.get(timeout=1)
                if kind == "epoch" and key in flying:
                    flying[key].take_checkpoint()
                    grid.say(line)
                elif kind == "done":
                    flying[key].land()
                    del flying[key]
    except (CommClosedError, CancelledError, TimeoutError):
        address = client.scheduler.address if client.scheduler else "its address"
        raise grid.PoolError(f"the scheduler at {address} was lost; what was finished is kept, start again") from None
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be the one that is gone
            client.unsubscribe_topic(session)
            stop.set()
        for flight in flying.values():
            flight.close()
    if stopped and (left := grid.missing(wanted, store)):
        raise grid.Stopped(f"stopped in time, {grid.count(left)} still missing")


class _Flight:
    """A run on the cluster: its lock in the store, its checkpoint on the scheduler, its future."""

    def __init__(self, experiment, seed, store, place, session, client, work):
        self.experiment, self.seed, self.place, self.session = experiment, seed, place, session
        self.client, self.work = client, work
        self.identity = datasets.load(experiment.dataset).identity
        self.key = experiment.key(seed, self.identity)
        self.folder = Path(store) / self.key
        self.holds = contextlib.ExitStack()

    def launch(self, news):
        """Sends the run off; False where another process has it in hand or has finished it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.holds.enter_context(lock(self.folder))
        except Busy as busy:
            grid.say(f"{busy}; left to it")
            return False
        if train.finished(self.folder):
            self.close()
            return False
        path = self.folder / "checkpoint.npz"
        self.checkpoint = _checkpoint(self.session, self.key, self.client)
        self.checkpoint.set(path.read_bytes() if path.exists() else b"")
        self.future = self.client.submit(
            self.work,
            self.experiment,
            self.seed,
            self.identity,
            self.place,
            self.session,
            key=f"{self.key}-{self.session}",
            pure=False,
        )
        self.future.add_done_callback(lambda _: news.put(("done", self.key, "")))
        return True

    def take_checkpoint(self):
        """Writes what the worker left into the store."""
        if saved := self.checkpoint.get(timeout=PATIENCE):  # none from a run that waited all the time
            write(self.folder / "checkpoint.npz", saved)

    def land(self):
        """Writes the finished run into the store, the record last. Raises what ended it otherwise, but for a stop."""
        try:
            files = self.future.result()
        except grid.Stopped:
            self.take_checkpoint()
            files = {}
        except KilledWorker:
            run = grid.describe(self.experiment, self.seed)
            raise grid.PoolError(f"{run}: its workers were lost again and again (out of memory?)") from None
        for name in sorted(files, key=lambda name: name == "record.json"):
            write(self.folder / name, files[name])
        if files:
            (self.folder / "checkpoint.npz").unlink(missing_ok=True)
        self.checkpoint.delete()
        self.close()

    def close(self):
        self.holds.close()


def _checkpoint(session, key, client=None):
    return Variable(f"{session}-{key}", client=client)


def train_there(experiment, seed, identity, place, session, precision="auto"):
    """On a worker: one run, from its last checkpoint on, as {file name: bytes}; in the precision that `train` takes.

    Raises Stopped when the caller wants no more, DataError where the worker's data are not the caller's.
    """
    stop = Event(session)
    with _ONE_RUN, tempfile.TemporaryDirectory() as store:
        grid.start_keras()
        if stop.is_set():
            raise grid.Stopped
        found = datasets.load(experiment.dataset).identity
        if found != identity:
            raise datasets.DataError(f"{experiment.dataset}: the worker's images are others ({found}, not {identity})")
        key = experiment.key(seed, identity)
        folder, checkpoint = Path(store) / key, _checkpoint(session, key)
        folder.mkdir()
        if saved := checkpoint.get(timeout=PATIENCE):
            (folder / "checkpoint.npz").write_bytes(saved)

        def tell(line, *_):
            get_worker().log_event(session, ("epoch", key, line))

        report = grid.progress(place, experiment, seed, tell=tell)

        def on_epoch(done, curve):
            checkpoint.set((folder / "checkpoint.npz").read_bytes())
            report(done, curve)
            if stop.is_set() and done < experiment.recipe.epochs:
                raise grid.Stopped

        train.train(experiment, seed, store, on_epoch=on_epoch, precision=precision)
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}
