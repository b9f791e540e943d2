"""The grid of runs on Dask workers: the same records as in one process, whatever is lost on the way."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import essence

pytest.importorskip("distributed", reason="the extra `cluster` is not installed: `make record WORKERS=2` installs it")

import dask

from lib import cluster, experiments, grid, machine, recorder, runs, train
from lib.records import lock
from lib.train import Experiment, Recipe

# Dask's own threads and sockets end when they end
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

NET = Experiment("softmax", Recipe(epochs=3, learning_rate=0.01, momentum=0.9, batch=20), n_train=60, test=True)
SLOW = Experiment("softmax", Recipe(epochs=40, learning_rate=0.1, momentum=0.9, batch=50), n_train=2000)


@pytest.fixture(autouse=True)
def _standin(monkeypatch, tmp_path):
    """Workers are processes of their own: they draw stand-in data as this one does."""
    monkeypatch.setenv("RECNET_STANDIN", "1")
    monkeypatch.setattr(runs, "BUILD", tmp_path / "build")
    monkeypatch.setattr(grid, "PAUSE", tmp_path / ".pause")


def records(store):
    return [json.loads(path.read_text()) for path in Path(store).glob("*/record.json")]


def finished(store):
    """{key: record}, but for what may differ between two identical runs."""
    return {r["key"]: essence(r) for r in records(store)}


def when(condition, act, seconds=300):
    """Calls act() once condition() holds, in a thread of its own, which is returned."""

    def watch():
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def fake(experiment, seed, identity, place, session):
    """A run that takes no time and makes a record of its seed."""
    time.sleep(0.2)
    return {"record.json": json.dumps({"seed": seed}).encode()}


def test_workers_make_what_one_process_makes(tmp_path, capfd):
    wanted = [(NET, seed) for seed in range(4)]
    (begun_in,) = {"float32", "bfloat16"} - {machine.real_precision()}  # as a store from another machine may be
    for name in ("alone", "many"):
        train.train(NET, 0, tmp_path / name, precision=begun_in)
    grid.complete(wanted, tmp_path / "alone")
    capfd.readouterr()
    with cluster.connect(workers=2) as client:
        cluster.complete(wanted, tmp_path / "many", client=client)
        threads = client.run(machine.threads)
        listening = [client.scheduler.address, *client.scheduler_info()["workers"], client.dashboard_link]
    assert all(re.match(r"\w+://127\.0\.0\.1:", address) for address in listening), "nobody else is let in"
    alone, many = finished(tmp_path / "alone"), finished(tmp_path / "many")
    assert len(many) == 4
    assert many.keys() == alone.keys()
    for key, record in many.items():  # another number of threads sums in another order
        assert record["curve"][-1]["loss"] == pytest.approx(alone[key]["curve"][-1]["loss"], rel=1e-4)
        assert record["experiment"] == alone[key]["experiment"]
    assert not list((tmp_path / "many").glob("*/checkpoint*"))
    assert all((folder / "weights.npz").exists() for folder in (tmp_path / "many").iterdir())
    shares = [len(range(index, machine.threads(), 2)) or machine.threads() for index in range(2)]
    assert sorted(threads.values()) == sorted(shares)
    made = records(tmp_path / "many")
    assert {record["machine"]["precision"] for record in made} == {begun_in}
    assert all(record["machine"]["threads"] in shares for record in made if record["seed"])
    lines = capfd.readouterr().err.splitlines()
    for seed in range(1, 4):
        assert sum(f"seed {seed}: epoch 3 of 3, error" in line for line in lines) == 1
    assert all(line.startswith("[") for line in lines), lines


@pytest.mark.parametrize(("visible", "seen"), [(None, ["0", "1", "0"]), ("5,7", ["5", "7", "5"])])
def test_each_worker_has_a_gpu_of_its_own_where_there_are_several(monkeypatch, visible, seen):
    monkeypatch.setattr(os, "sched_setaffinity", lambda *arguments: None, raising=False)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    found = []
    for name in ("0", "1", "2"):
        with monkeypatch.context() as worker:
            worker.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            if visible:
                worker.setenv("CUDA_VISIBLE_DEVICES", visible)
            cluster.Local(3, 2).setup(SimpleNamespace(name=name))
            found.append(os.environ.pop("CUDA_VISIBLE_DEVICES"))
    assert found == seen


def test_a_run_whose_worker_is_killed_goes_on_from_its_last_epoch(tmp_path, monkeypatch):
    grid.complete([(SLOW, 0)], tmp_path / "alone")
    store, begun = tmp_path / "store", []
    monkeypatch.setattr(grid, "say", begun.append)
    with cluster.connect(workers=1) as client:
        (victim,) = client.run(os.getpid).values()
        killer = when(lambda: len(begun) > 10, partial(os.kill, victim, signal.SIGKILL))
        cluster.complete([(SLOW, 0)], store, client=client)
        killer.join()
        assert victim not in client.run(os.getpid).values()
    assert finished(store) == finished(tmp_path / "alone")
    epochs = [int(line.split("epoch ")[1].split()[0]) for line in begun]
    assert epochs[:10] == list(range(1, 11))
    assert epochs.count(1) == 1  # it did not begin anew
    assert epochs[-1] == 40


def test_a_stop_in_time_leaves_checkpoints_that_the_next_start_goes_on_from(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(grid, "say", said.append)
    clock = SimpleNamespace(monotonic=lambda: len(said), sleep=time.sleep)  # one that counts epochs
    monkeypatch.setattr(cluster, "time", clock)
    monkeypatch.setattr(grid, "time", clock)
    with cluster.connect(workers=1) as client:
        with pytest.raises(grid.Stopped, match="2 runs are still missing"):
            cluster.complete([(SLOW, 0), (SLOW, 1)], tmp_path, until=0.5, client=client)
        assert (tmp_path / SLOW.key(0, _identity()) / "checkpoint.npz").exists()
        assert not (tmp_path / SLOW.key(1, _identity()) / "checkpoint.npz").exists(), "it has not begun"
        done = len(said)
        assert done > 0
        cluster.complete([(SLOW, 0)], tmp_path, client=client)
    assert f"epoch {done + 1} of 40" in said[done]
    grid.complete([(SLOW, 0)], tmp_path / "alone")
    assert finished(tmp_path) == finished(tmp_path / "alone")


def test_a_lost_scheduler_is_one_clear_line_and_what_was_finished_is_kept(tmp_path):
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--host"]
    file = tmp_path / "address.json"
    scheduler = subprocess.Popen(
        [*command, "127.0.0.1", "--scheduler-file", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    worker = None
    try:
        while not (file.exists() and file.read_text().strip()):
            assert scheduler.poll() is None
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard", "--death-timeout", "5"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(runs.ROOT)},
        )
        store = tmp_path / "store"
        quick, slow = NET.key(0, _identity()), SLOW.key(0, _identity())
        killer = when(lambda: (store / slow / "checkpoint.npz").exists(), scheduler.kill, 120)
        with cluster.connect(scheduler=address) as client, pytest.raises(grid.PoolError, match="was lost; what was"):
            cluster.complete([(NET, 0), (SLOW, 0)], store, client=client)
        killer.join()
        assert list(finished(store)) == [quick]
        with lock(store / slow):  # it is free for the next start
            pass
    finally:
        for process in (scheduler, worker):
            if process is not None:
                process.kill()
                process.wait()


@pytest.mark.parametrize(
    ("number", "workers"),
    [(100, 2), *(pytest.param(1000, workers, marks=pytest.mark.faults) for workers in (2, 4))],
)
def test_no_run_is_lost_while_workers_are_killed_at_random(tmp_path, number, workers):
    wanted = [(NET, seed) for seed in range(number)]
    kills, done, rng = [], threading.Event(), random.Random(0)  # noqa: S311

    with cluster.connect(workers=workers) as client:

        def kill_now_and_then():
            """By what was finished, not by the clock: a slow machine would start no worker between two kills."""
            due = 0
            while not done.wait(0.2):
                if len(records(tmp_path)) >= due:
                    with contextlib.suppress(OSError, IndexError):  # just killed, it does not answer
                        os.kill(rng.choice(list(client.run(os.getpid).values())), signal.SIGKILL)
                        kills.append(1)
                        due = len(records(tmp_path)) + rng.randint(5, 50)

        killer = threading.Thread(target=kill_now_and_then)
        killer.start()
        try:
            cluster.complete(wanted, tmp_path, client=client, work=fake)
        finally:
            done.set()
            killer.join()
    assert sorted(record["seed"] for record in records(tmp_path)) == list(range(number))
    assert len(kills) >= number // 100


@pytest.mark.faults
def test_a_worker_that_is_slow_to_come_back_is_waited_for(tmp_path):
    """Slower than 15 s, after which Dask gives one up if it is not told otherwise."""
    with (
        dask.config.set({"distributed.worker.preload": ["import time; time.sleep(20)"]}),
        cluster.connect(workers=1) as client,
    ):
        (victim,) = client.run(os.getpid).values()
        os.kill(victim, signal.SIGKILL)
        cluster.complete([(NET, 0)], tmp_path, client=client, work=fake)
    assert len(records(tmp_path)) == 1


def _dies(*run):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_that_keeps_losing_its_workers_is_given_up_in_one_line_and_freed(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "LOSSES", 0)
    with (
        cluster.connect(workers=1) as client,
        pytest.raises(grid.PoolError, match=r"^softmax on cifar10, rate 0.01, seed 0: its workers were lost again"),
    ):
        cluster.complete([(NET, 0)], tmp_path, client=client, work=_dies)
    with lock(tmp_path / NET.key(0, _identity())):
        pass


def test_a_scheduler_without_workers_is_told_of_and_waited_for_no_longer_than_asked(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(grid, "say", said.append)
    monkeypatch.setattr(cluster, "ALONE", 0)
    with cluster.connect(workers=0) as client, pytest.raises(grid.Stopped, match="1 run is still missing"):
        cluster.complete([(NET, 0)], tmp_path, until=time.monotonic() + 3, client=client)
    assert said == ["the scheduler has no worker; waiting for one"]
    with lock(tmp_path / NET.key(0, _identity())):
        pass


def test_a_run_in_another_process_hands_is_left_to_it(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(grid, "say", lambda line: said.append(str(line)))
    theirs = tmp_path / NET.key(0, _identity())
    theirs.mkdir()
    with lock(theirs), cluster.connect(workers=1) as client:
        cluster.complete([(NET, 0), (NET, 1)], tmp_path, client=client, work=fake)
    assert [record["seed"] for record in records(tmp_path)] == [1]
    (line,) = said
    assert line == f"run {theirs.name} is being trained by another process; left to it"


def test_ctrl_c_ends_caller_and_workers_with_one_line(tmp_path):
    """As a terminal sends it: to all processes at once."""
    command = [sys.executable, "-m", "lib.recorder", "--profile", "smoke", "--only", "C2", "--workers", "1"]
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background ignores it
    caller = subprocess.Popen(
        command,
        env=os.environ | {"RECNET_BUILD": str(tmp_path)},
        cwd=runs.ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, inherited)
    try:
        while "epoch 1 of 1" not in (line := caller.stderr.readline()):
            assert line, "it ended too early"
        os.killpg(caller.pid, signal.SIGINT)
        *progress, last = caller.stderr.read().splitlines()
        assert caller.wait() == 130
    finally:
        caller.kill()
        caller.stderr.close()
    assert last == "interrupted; finished epochs are kept"
    assert all(line.startswith("[") for line in progress), progress
    assert records(tmp_path / "runs")


def test_a_worker_with_other_images_is_refused(tmp_path):
    with cluster.connect(workers=1) as client:
        work = partial(_elsewhere, cluster.train_there)
        with pytest.raises(grid.datasets.DataError, match="the worker's images are others"):
            cluster.complete([(NET, 0)], tmp_path, client=client, work=work)
    assert finished(tmp_path) == {}


def _elsewhere(work, experiment, seed, identity, *rest):
    return work(experiment, seed, "other images", *rest)


def _identity():
    return grid.datasets.load("cifar10").identity


def test_no_scheduler_at_an_address_is_one_line(capfd, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", "1s")
    assert recorder.main(["--profile", "smoke", "--only", "C2", "--scheduler", "tcp://127.0.0.1:9"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("no scheduler answers at tcp://127.0.0.1:9")
    assert recorder.main(["--profile", "smoke", "--only", "C2", "--scheduler", "nonsense://x"]) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert recorder.main(["--profile", "smoke", "--only", "C2", "--scheduler", "tls://127.0.0.1:9"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("no scheduler answers at tls://127.0.0.1:9: TLS expects")


@pytest.mark.parametrize("arguments", ["--workers 0", "--workers two", "--workers 1 --scheduler x"])
def test_bad_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        recorder.main(arguments.split())
    assert stopped.value.code == 2
    assert "--workers" in capsys.readouterr().err


def test_the_command_line_trains_on_workers(tmp_path):
    command = [sys.executable, "-m", "lib.recorder", "--profile", "smoke", "--only", "C2", "--workers", "2"]
    done = subprocess.run(
        command, env=os.environ | {"RECNET_BUILD": str(tmp_path)}, cwd=runs.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 1 + len(experiments.arms("C2", "smoke"))
    assert all(line.startswith("[") or " runs are missing: about " in line for line in done.stderr.splitlines()), (
        done.stderr
    )
