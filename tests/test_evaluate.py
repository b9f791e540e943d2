"""Kept weights give the recorded errors again, and where they do not it is said."""

import numpy as np
import pytest

from lib import data, evaluate, experiments, runs, train
from lib.train import Experiment, Recipe

RECIPE = Recipe(epochs=2, learning_rate=0.1, batch=20, precision="float32")  # where rounding moves no image
NET = Experiment("resnet", RECIPE, {"n": 1, "width": 4}, n_train=60, test=True)


@pytest.fixture
def kept(tiny, tmp_path, monkeypatch):
    """A run in an otherwise empty results/, with its weights kept and its full ones gone, as in a fresh clone."""
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    monkeypatch.setattr(runs, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(experiments, "headlines", lambda profile: [(NET, 0)])
    run = train.train(NET, 0, tmp_path)
    run.keep()
    (run.folder / "weights.npz").unlink()
    return run


def test_kept_weights_give_the_recorded_error(kept):
    assert [run.key for run in evaluate.kept()] == [kept.key]
    assert evaluate.test_error(evaluate.kept()[0]) == kept.test_error


def test_the_command_says_when_the_weights_are_of_another_net(kept, monkeypatch, capsys):
    monkeypatch.setattr(evaluate.data, "SPECS", {})
    assert evaluate.main([]) == 0
    *rows, last = capsys.readouterr().out.splitlines()
    assert rows[0].startswith(
        f"{kept.key} resnet n=1 width=4 on cifar10, rate 0.1, float32, seed 0, 60 images: recorded"
    )
    assert last == f"{len(rows)} of {len(rows)} agree within 0.05 pp"
    with np.load(kept.weights) as file:
        arrays = [file[name] for name in file.files]
    np.savez(kept.folder / "weights.npz", *arrays)  # the full ones, as on the machine that trained them: not asked
    np.savez(kept.folder / train.KEPT, *(np.zeros_like(a) for a in arrays[:-1]), np.eye(10)[3])  # it always says 3
    assert evaluate.main([]) == 1
    assert "off by" in capsys.readouterr().err


def test_missing_weights_are_no_success(kept, monkeypatch, capsys):
    monkeypatch.setattr(evaluate.data, "SPECS", {})
    kept.weights.unlink()
    assert evaluate.main([]) == 1
    assert f"kept.npz of run {kept.key} is missing from results/" in capsys.readouterr().err
    (kept.folder / "record.json").unlink()
    assert evaluate.main([]) == 1
    assert "holds none of the runs whose weights are kept" in capsys.readouterr().err


def test_the_real_data_are_asked_for(kept, capsys):
    assert evaluate.main([]) == 1
    assert data.HOW_TO_GET in capsys.readouterr().err


@pytest.mark.parametrize(("store", "profile"), [(runs.RESULTS, "paper"), (runs.QUICK, "quick")])
def test_every_recorded_headline_has_its_weights(store, profile):
    recorded = {r["key"]: r["data"]["identity"] for r in runs.read(store) if r["kind"] == "train"}
    headlines = {e.key(s, identity) for e, s in experiments.headlines(profile) for identity in recorded.values()}
    found = headlines & recorded.keys()
    assert found
    assert all((store / key / train.KEPT).exists() for key in found)


def test_the_recorded_nets_have_kept_weights_of_bounded_size():
    files = list(runs.RESULTS.glob(f"**/{train.KEPT}"))
    assert len(files) >= 2
    assert sum(file.stat().st_size for file in files) <= 8e6
    assert all((file.parent / "record.json").exists() for file in files)
