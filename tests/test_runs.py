"""The store of records: reading it, its table, its command line."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from lib import runs
from lib.records import StoreError, sealed
from lib.train import MODERN, Experiment, Recipe


def record(key="a" * 16, architecture="resnet", standin=False, **rest):
    experiment = Experiment(architecture, Recipe(epochs=3, learning_rate=0.1), {"n": 3, "norm": "group"})
    made = {
        "key": key,
        "kind": "train",
        "experiment": experiment.__dict__ | {"recipe": experiment.recipe.__dict__},
        "seed": 1,
        "train_version": 1,
        "data": {"name": "cifar10", "identity": "made up", "standin": standin},
        "n_train": 10_000,
        "train_error": 31.234,
        "val_error": 40.0,
        "test_error": None,
        "parameters": 1234,
        "flops": 5678,
        "machine": {
            "seconds": 12.5,
            "threads": 2,
            "precision": "float32",
            "device": "cpu",
            "cpu": "A processor",
            "commit": "abc1234",
            "date": "2026-01-01",
        },
    }
    return made | rest


def check(key="c" * 16, name="softplus", profile="paper", standin=False):
    data = {"name": "cifar10", "standin": standin}
    return {"key": key, "kind": "check", "name": name, "profile": profile, "data": data, "result": {}, "machine": {}}


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "runs", record("b" * 16), record(), check())


def write(store, *records):
    for r in records:
        (store / r["key"]).mkdir(parents=True)
        (store / r["key"] / "record.json").write_text(json.dumps(sealed(r)))
    return store


# --- reading ---


def test_read_gives_all_records_sorted(store):
    assert [r["key"] for r in runs.read(store)] == ["a" * 16, "b" * 16, "c" * 16]


def test_read_passes_over_unfinished_runs_and_missing_stores(store, tmp_path):
    (store / "d").mkdir()
    (store / "d" / "checkpoint.npz").touch()
    (store / "d" / "record.json.42.part").touch()
    assert len(runs.read(store)) == 3
    assert runs.read(tmp_path / "none") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        json.dumps({"key": "a" * 16}),
        json.dumps(record()),
        json.dumps(sealed(record("e" * 16))),
        json.dumps(sealed(record()) | {"test_error": 9.9}),
    ],
)
def test_damaged_records_are_named(store, text):
    (store / ("a" * 16) / "record.json").write_text(text)
    with pytest.raises(StoreError) as caught:
        runs.read(store)
    message = str(caught.value)
    assert f"the record of runs/{'a' * 16} is damaged" in message
    assert "delete the folder" in message
    assert str(store.parent) not in message
    assert "\n" not in message


def test_binary_rubbish_is_damaged_too(store):
    (store / ("a" * 16) / "record.json").write_bytes(b"\xff\xfe\x00rubbish")
    with pytest.raises(StoreError):
        runs.read(store)


def test_small_profiles_share_a_store_but_not_their_data(tmp_path, monkeypatch):
    real, drawn = record("a" * 16), record("b" * 16, standin=True)
    monkeypatch.setattr(runs, "LOCAL", write(tmp_path, real, drawn))

    def keys(profile):
        return [r["key"] for r in runs.shown(profile)]

    assert (keys("quick"), keys("smoke")) == (["a" * 16], ["b" * 16])
    assert runs.on_standin("quick", [drawn]), "made without data"
    assert not runs.on_standin("quick", [])


def test_ledger():
    table = runs.ledger([record(), check(), record("b" * 16, "recnet", standin=True)])
    assert table["architecture"].tolist() == ["resnet", "recnet"]
    assert table["data"].tolist() == ["cifar10", "cifar10 (stand-in)"]
    first = table.iloc[0]
    assert (first.options, first.epochs, first.seed, first.n_train) == ("n=3, norm=group", 3, 1, 10_000)
    assert (first.train_error, first.parameters, first.seconds) == (31.234, 1234, 12.5)
    assert first.device == "cpu"
    on_a_gpu = record() | {"machine": record()["machine"] | {"device": "gpu:0", "gpu": "NVIDIA H200"}}
    assert runs.ledger([on_a_gpu]).device[0] == "NVIDIA H200"
    race = Experiment("recnet", replace(MODERN, label_smoothing=0.1), {"n": 3}, draw=1)
    told = runs.ledger([record(experiment=asdict(race))]).iloc[0]
    assert (told.options, told.recipe) == ("n=3, draw=1", "sgd 0.2, decay 0.005, augmented, smoothed labels")
    assert runs.ledger([]).empty


# --- the command line ---


def test_json(store):
    command = [sys.executable, "-W", "error", "-m", "lib.runs", "--json", "--runs", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=runs.ROOT, check=True)
    assert done.stderr == ""
    rows = json.loads(done.stdout, parse_constant=pytest.fail)
    assert [row["key"] for row in rows] == ["a" * 16, "b" * 16]
    assert rows[0]["test_error"] is None
    assert rows[0]["train_error"] == 31.234


def test_csv(store, capsys):
    assert runs.main(["--csv", "--runs", str(store)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["seed"] for row in rows] == ["1", "1"]
    assert rows[0]["options"] == "n=3, norm=group"


def test_readable_table(store, capsys):
    assert runs.main(["--runs", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "31.23 " in lines[1]


def test_an_empty_store(tmp_path, capsys):
    def shown(*flags):
        assert runs.main([*flags, "--runs", str(tmp_path)]) == 0
        return capsys.readouterr().out.strip()

    assert shown() == "no runs yet: make report makes some"
    assert json.loads(shown("--json")) == []
    assert shown("--csv") == ""


def test_all_stores_by_default(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "RESULTS", write(tmp_path / "results", record()))
    monkeypatch.setattr(runs, "LOCAL", write(tmp_path / "local", record("b" * 16)))
    monkeypatch.setattr(runs, "QUICK", write(tmp_path / "quick", record("c" * 16)))
    assert runs.main(["--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


@pytest.mark.parametrize("arguments", [["--runs", "no/such/folder"], ["--json", "--csv"], ["--jsno"]])
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        runs.main(arguments)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_a_damaged_record_is_one_line(store, capsys):
    (store / ("a" * 16) / "record.json").write_text("{")
    assert runs.main(["--json", "--runs", str(store)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
