"""Getting runs done: what exists is taken, what is missing is trained, and the command line says what it does."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import checks, data, experiments, grid, machine, recorder, runs, train
from lib.records import Busy, StoreError
from lib.train import Experiment, Recipe

TWO_EPOCHS = Experiment("softmax", Recipe(epochs=2, learning_rate=0.1, batch=20), n_train=60)
WANTED = [(TWO_EPOCHS, 0), (TWO_EPOCHS, 1)]


@pytest.fixture(scope="module", autouse=True)
def _tiny(tiny):
    """Every run here is on the tiny data."""


@pytest.fixture(autouse=True)
def _empty(monkeypatch, tmp_path):
    """Stores of their own for every test."""
    monkeypatch.setattr(runs, "LOCAL", tmp_path / "local")
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(grid, "PAUSE", tmp_path / ".pause")
    monkeypatch.delenv("RECNET_READ_ONLY", raising=False)
    monkeypatch.setenv("RECNET_STANDIN", "0")  # smoke sets it: noted here, it is put back after the test


@pytest.fixture
def trained(monkeypatch):
    """A list of (experiment, seed) that grows by each run that is really trained."""
    begun, train_one = [], train._train

    def watched(experiment, seed, *rest):
        begun.append((experiment, seed))
        train_one(experiment, seed, *rest)

    monkeypatch.setattr(train, "_train", watched)
    return begun


def lines(capsys):
    return capsys.readouterr().err.splitlines()


# --- get ---


def test_get_trains_what_is_missing_and_nothing_twice(trained, capsys, monkeypatch):
    table = grid.get("C2", "smoke")
    arms = experiments.arms("C2", "smoke")
    assert list(table.arm) == list(arms) == ["ReLU", "softplus"]
    assert trained == [(experiment, 0) for experiment in arms.values()]
    assert [row.experiment["options"] for row in table.itertuples()] == [{}, {"activation": "softplus"}]
    assert table.test_error.between(0, 100).all()
    assert all(data["standin"] for data in table.data)

    again = grid.get("C2", "smoke")
    assert list(again.key) == list(table.key)
    shared = grid.get("C1", "smoke")  # its run on the first draw is C2's with ReLU
    assert list(shared.key) == [table.key[0]]
    assert len(trained) == 2

    monkeypatch.setattr(train, "train", lambda experiment, seed, store, **options: trained.append((experiment, seed)))
    grid.get("C2", "smoke", seed=3, seeds=2)
    assert [seed for _, seed in trained[2:]] == [3, 3, 4, 4]
    assert all(line.startswith("[") for line in lines(capsys))


def test_get_trains_only_the_rest_and_read_only_not_even_that(trained, monkeypatch):
    relu, softplus = experiments.arms("C2", "smoke").values()
    monkeypatch.setenv("RECNET_READ_ONLY", "1")
    assert len(grid.get("C2", "smoke")) == 0
    train.train(softplus, 0, runs.LOCAL)
    assert list(grid.get("C2", "smoke").arm) == ["softplus"]
    assert trained == [(softplus, 0)]
    monkeypatch.delenv("RECNET_READ_ONLY")
    assert list(grid.get("C2", "smoke").arm) == ["ReLU", "softplus"]
    assert trained == [(softplus, 0), (relu, 0)]


def test_a_published_page_shows_quick_runs_until_every_net_has_one_of_full_scale(tmp_path, monkeypatch):
    stores = {"paper": tmp_path / "results", "quick": tmp_path / "quick"}
    monkeypatch.setattr(runs, "RESULTS", stores["paper"])
    monkeypatch.setattr(runs, "QUICK", stores["quick"])
    monkeypatch.setenv("RECNET_READ_ONLY", "1")
    monkeypatch.setattr(experiments, "seeds", lambda claim, profile, *rest: range(2 if profile == "paper" else 1))
    quick, other = (
        replace(TWO_EPOCHS, recipe=Recipe(epochs=epochs, learning_rate=rate, batch=20))
        for epochs, rate in ((1, 0.1), (2, 0.3))
    )
    arms = {"paper": {"net": TWO_EPOCHS, "other": other}, "quick": {"net": quick}}
    monkeypatch.setattr(experiments, "arms", lambda claim, profile: arms[profile])

    def epochs():
        return [len(curve) for curve in grid.get("C1", "paper").curve]

    train.train(TWO_EPOCHS, 0, stores["paper"])
    assert epochs() == [2]  # better than nothing
    train.train(quick, 0, stores["quick"])
    assert epochs() == [1]
    train.train(TWO_EPOCHS, 1, stores["paper"])
    assert epochs() == [1]
    train.train(other, 1, stores["paper"])
    assert epochs() == [2, 2, 2]  # all there are
    row = grid.get("C1", "paper").iloc[0]
    assert grid.run(row, "paper").record["key"] == row.key


def test_a_claim_that_needs_no_training_has_no_runs(trained):
    assert len(grid.get("C14", "smoke")) == 0
    assert trained == []


def test_nothing_on_stand_in_data_gets_among_the_recorded_runs(trained):
    with pytest.raises(data.DataError, match="takes runs on the real data only"):
        grid.get("C2", "paper")
    assert trained == []


def test_a_row_gives_its_run_and_its_model(tiny):
    row = grid.get("C2", "smoke").iloc[1]
    run = grid.run(row, "smoke")
    assert (run.key, run.test_error) == (row.key, row.test_error)
    images = data.load("mnist").x_test
    assert run.model(images).shape == (60, 10)


def test_check_is_kept_in_the_profiles_store(monkeypatch):
    with monkeypatch.context() as published:
        published.setenv("RECNET_READ_ONLY", "1")
        with pytest.raises(StoreError, match="the check 'softplus' is not recorded"):
            grid.check("softplus", "paper")
    with pytest.raises(data.DataError, match="takes runs on the real data only"):
        grid.check("softplus", "paper")
    assert not runs.RESULTS.exists()
    record = grid.check("softplus", "smoke")
    assert record["result"]["gap"] == pytest.approx(np.log(2))
    assert experiments.find_check(runs.read(runs.LOCAL), "softplus", "smoke", standin=True) == record
    with pytest.raises(ValueError, match="unknown check 'speed'"):
        grid.check("speed", "smoke")


# --- complete ---


def test_progress_says_which_run_of_how_many_how_far_and_how_good(capsys):
    grid.complete(WANTED, runs.LOCAL)
    records = [train.Run(runs.LOCAL / e.key(s, "tiny cifar10")) for e, s in WANTED]
    found = lines(capsys)
    assert len(found) == 4
    for line, (i, done) in zip(found, [(0, 1), (0, 2), (1, 1), (1, 2)], strict=True):
        error = records[i].curve[done - 1]["val_error"]
        assert line.startswith(
            f"[{i + 1} of 2] softmax on cifar10, rate 0.1, seed {i}: epoch {done} of 2, error {error:.1f} %, "
        )
        assert line.endswith(" s left")
    assert found[1].endswith(", 0 s left")


def test_describe():
    assert grid.describe(TWO_EPOCHS, 3) == "softmax on cifar10, rate 0.1, seed 3"
    other = replace(TWO_EPOCHS, architecture="recnet", options={"n": 3, "norm": "shared"}, dataset="mnist")
    assert grid.describe(other, 0) == "recnet n=3 norm=shared on mnist, rate 0.1, seed 0"
    low = replace(other, draw=2, recipe=replace(other.recipe, precision="float32"))
    assert grid.describe(low, 0) == "recnet n=3 norm=shared on mnist, draw 2, rate 0.1, float32, seed 0"


def test_stand_ins_do_not_stay_when_another_profile_follows(monkeypatch):
    monkeypatch.delenv("RECNET_STANDIN", raising=False)
    grid.store_of("smoke")
    assert data.wants_standin()
    grid.store_of("quick")
    assert not data.wants_standin()
    monkeypatch.setenv("RECNET_STANDIN", "1")  # asked for by the user
    for profile in ("smoke", "quick"):
        grid.store_of(profile)
        assert data.wants_standin()


def test_missing_is_what_has_no_record():
    assert grid.missing(WANTED, runs.LOCAL) == WANTED
    train.train(*WANTED[0], runs.LOCAL)
    assert grid.missing(WANTED, runs.LOCAL) == WANTED[1:]


def test_a_deadline_stops_between_epochs_and_the_next_start_goes_on(monkeypatch, capsys):
    trained, run_epoch = [], train.run_epoch
    monkeypatch.setattr(train, "run_epoch", lambda *arguments: trained.append(1) or run_epoch(*arguments))
    monkeypatch.setattr(grid, "time", SimpleNamespace(monotonic=lambda: len(trained), sleep=time.sleep))
    with pytest.raises(grid.Stopped, match="stopped in time after epoch 1 of softmax on cifar10"):
        grid.complete(WANTED, runs.LOCAL, until=0.5)
    assert grid.missing(WANTED, runs.LOCAL) == WANTED
    grid.complete(WANTED, runs.LOCAL, until=600)
    assert grid.missing(WANTED, runs.LOCAL) == []
    assert [line.split(": ")[1].split(",")[0] for line in lines(capsys)] == [
        *("epoch 1 of 2", "epoch 2 of 2", "epoch 1 of 2", "epoch 2 of 2")
    ]


def test_a_run_that_would_not_get_to_a_checkpoint_in_time_is_not_begun(monkeypatch, capsys):
    """The first that would is taken instead."""
    slow, quick = WANTED[0], (replace(WANTED[0][0], n_train=80), 0)
    epochs = {60: 3600, 80: 1}
    known = SimpleNamespace(runs=["one"], epoch=lambda experiment: epochs[experiment.n_train])
    monkeypatch.setattr(grid.forecast, "Forecast", lambda records, kind: known)
    with pytest.raises(grid.Stopped, match="stopped in time, 1 run is still missing"):
        grid.complete([slow, quick], runs.LOCAL, until=time.monotonic() + 60)
    assert grid.missing([slow, quick], runs.LOCAL) == [slow]
    assert re.search(r"^none of them is begun: an epoch takes at least 3600 s, \d\d s are left$", lines(capsys)[-1])


def test_a_pause_is_waited_out_between_epochs_and_said(monkeypatch, capsys):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        grid.PAUSE.unlink()

    monkeypatch.setattr(time, "sleep", sleep)
    grid.PAUSE.touch()
    grid.complete(WANTED[:1], runs.LOCAL)
    assert len(slept) == 1
    assert f"waiting while {grid.PAUSE} exists: something is being timed" in lines(capsys)


def test_a_run_that_another_process_trains_is_waited_for(monkeypatch, capsys):
    """It is there when the other one is done."""
    train_one, tries = train.train, []

    def busy_once(experiment, seed, store, **options):
        tries.append(seed)
        if len(tries) == 1:
            raise Busy("run x is being trained by another process")
        return train_one(experiment, seed, store, **options)

    def sleep(seconds):
        train_one(*WANTED[0], runs.LOCAL)

    monkeypatch.setattr(train, "train", busy_once)
    monkeypatch.setattr(time, "sleep", sleep)
    grid.complete(WANTED[:1], runs.LOCAL)
    assert grid.missing(WANTED[:1], runs.LOCAL) == []
    assert lines(capsys)[0] == "run x is being trained by another process; waiting for it"


def test_processes_side_by_side_share_the_runs(monkeypatch):
    train_one, order = train.train, []

    def first_is_busy(experiment, seed, store, **options):
        order.append(seed)
        if order == [0]:
            raise Busy("run x is being trained by another process")
        return train_one(experiment, seed, store, **options)

    monkeypatch.setattr(train, "train", first_is_busy)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("there was something else to do"))
    grid.complete(WANTED, runs.LOCAL)
    assert order == [0, 1, 0]
    assert grid.missing(WANTED, runs.LOCAL) == []


def test_a_store_goes_on_in_the_precision_that_it_was_begun_in(monkeypatch, capsys):
    own = replace(TWO_EPOCHS, recipe=replace(TWO_EPOCHS.recipe, precision="bfloat16"))
    train.train(own, 0, runs.LOCAL)
    assert grid.begun_in(runs.LOCAL) == "auto", "a recipe's own precision begins nothing"
    train.train(*WANTED[0], runs.LOCAL, precision="float32")
    monkeypatch.setattr(machine, "fast_bfloat16", lambda: True)
    monkeypatch.setattr(experiments, "wanted", lambda *args: [*WANTED, (own, 1)])
    recorder.main(["--profile", "smoke", "--only", "C11"])
    assert {(r["experiment"]["recipe"]["precision"], r["machine"]["precision"]) for r in runs.read(runs.LOCAL)} == {
        ("auto", "float32"),
        ("bfloat16", "bfloat16"),
    }
    assert lines(capsys)[:2] == [
        "2 of 3 runs are missing: about 1 minute of training, after the runs that are recorded",
        "going on in float32, as local/ was begun, which is slower on this machine than its own",
    ]


def test_nets_to_compare_are_of_one_size_and_the_largest_there_is(monkeypatch):
    def found(**images):
        frames = {name: pd.DataFrame({"arm": [name], "n_train": [n]}) for name, n in images.items()}
        monkeypatch.setattr(grid, "get", lambda claim, *_: frames.get(claim, experiments.select([], claim, "smoke")))
        table, measure = grid.compared("paper")
        return list(table.arm), measure

    quick, early, full = 10_000, 45_000, 50_000
    assert found(C11=quick, early=early) == (["early"], "val_error")
    assert found(C11=quick) == (["C11"], "test_error")
    assert found(C11=full, early=early) == (["C11"], "test_error")
    assert found() == ([], "test_error")


# --- the command line ---


def test_the_command_line_runs_what_is_missing(trained, capsys):
    assert recorder.main(["--profile", "smoke", "--only", "C2"]) == 0
    assert len(trained) == 2
    assert lines(capsys)[0] == "2 of 2 runs are missing: about 1 minute of training, after the runs that are recorded"
    assert experiments.find_check(runs.read(runs.LOCAL), "softplus", "smoke", standin=True)
    assert recorder.main(["--profile", "smoke", "--only", "C2"]) == 0
    assert len(trained) == 2
    assert lines(capsys) == ["0 of 2 runs are missing"]


def test_the_command_line_stops_in_time(monkeypatch, capsys):
    monkeypatch.setattr(experiments, "wanted", lambda *args: WANTED)
    assert recorder.main(["--profile", "smoke", "--only", "C11", "--hours", "0"]) == 0
    *_, last = lines(capsys)
    assert last == "stopped in time, 2 runs are still missing"
    assert "Traceback" not in last


def test_a_store_of_another_kind_of_device_is_told_of(monkeypatch, capsys):
    train.train(*WANTED[0], runs.LOCAL)
    monkeypatch.setattr(experiments, "wanted", lambda *args: WANTED)
    monkeypatch.setattr(machine, "gpus", lambda: ["gpu:0"])
    monkeypatch.setattr(grid, "complete", lambda *arguments: None)
    recorder.main(["--profile", "smoke", "--only", "C11"])
    assert lines(capsys)[-1] == "local/ holds runs of a cpu: no claim is judged by runs of both kinds"


def test_weights_are_kept_of_finished_runs_alone(monkeypatch):
    """One may have been killed, or be at work in another process, between its weights and its record."""
    monkeypatch.setattr(experiments, "wanted", lambda *args: WANTED)
    monkeypatch.setattr(experiments, "headlines", lambda profile: WANTED)
    train.train(*WANTED[0], runs.LOCAL)
    folder = train.train(*WANTED[1], runs.LOCAL).folder
    (folder / "record.json").unlink()
    monkeypatch.setattr(grid, "complete", lambda *arguments: None)
    assert recorder.main(["--profile", "smoke", "--only", "C11"]) == 0
    assert [path.parent.name for path in runs.LOCAL.glob(f"*/{train.KEPT}")] == [WANTED[0][0].key(0, "tiny cifar10")]


def test_the_command_line_says_when_it_is_interrupted(monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run_epoch", interrupted)
    assert recorder.main(["--profile", "smoke", "--only", "C2"]) == 130
    assert lines(capsys)[-1] == "interrupted; finished epochs are kept"


def test_quick_runs_are_recorded_beside_the_full_scale_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(data, "load", lambda name: SimpleNamespace(standin=False, identity=name))
    used = []
    monkeypatch.setattr(checks, "check", lambda name, profile, store: used.append(store))
    monkeypatch.setattr(grid, "complete", lambda wanted, store, until: used.append(store))
    assert recorder.main(["--profile", "quick", "--only", "C2"]) == 0
    assert used == [runs.QUICK] * 2
    assert recorder.main(["--only", "C2"]) == 0
    assert used[2:] == [runs.RESULTS] * 2


@pytest.mark.parametrize("name", ["nonsense", "jax"])
def test_a_backend_that_is_not_there_is_one_line(name, tmp_path):
    if name == "jax" and importlib.util.find_spec("jax"):
        pytest.skip("JAX is installed here")
    done = subprocess.run(
        [sys.executable, "-m", "lib.recorder", "--profile", "smoke", "--only", "C2"],
        env=os.environ | {"KERAS_BACKEND": name, "RECNET_BUILD": str(tmp_path)},
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"KERAS_BACKEND={name} can't be used here: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_what_is_recorded_takes_the_real_data_only(profile, trained, capsys, monkeypatch):
    monkeypatch.setattr(checks, "check", lambda *args: pytest.fail("a check was made"))
    assert recorder.main(["--profile", profile]) == 1
    (line,) = lines(capsys)
    assert line.startswith("results/ takes runs on the real data only: ")
    assert "DATA_DIR" in line
    assert trained == []
    assert not runs.RESULTS.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "C99"], "invalid choice: 'C99' (choose from"),
        (["--profile", "fast"], "invalid choice: 'fast' (choose from"),
        (["--hours", "soon"], "'soon' is not a number of hours"),
        (["--hours", "-1"], "'-1' is not a number of hours"),
        (["C11"], "unrecognized arguments: C11"),
    ],
)
def test_bad_arguments_exit_2_and_say_what_would_be_right(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        recorder.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
