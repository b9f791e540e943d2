"""Faults injected on purpose: damaged files, full disks, kills. Nothing finished is lost, no damage becomes a number.

The long part, marked `faults`, is `make test-faults`.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import essence

from lib import runs, site, train
from lib.records import StoreError, read_record, read_weights
from lib.train import Experiment, Recipe, Run
from tests.bench import __main__ as bench

TINY = Experiment("tiny", Recipe(epochs=1, learning_rate=0.1, batch=20), {"width": 4}, n_train=60, test=True)
WAYS = ("flip a bit", "change a digit", "cut", "empty", "remove", "folder")


def damage(path, way, rng):
    """Damages a file in one of WAYS, somewhere."""
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    if way == "flip a bit":
        content[place] ^= 1 << rng.randrange(8)
    elif way == "change a digit":
        digits = [i for i, byte in enumerate(content) if byte in b"0123456789"]
        place = rng.choice(digits)
        content[place] = 48 + (content[place] - 48 + rng.randint(1, 9)) % 10
    elif way == "cut":
        del content[place:]
    elif way == "empty":
        content.clear()
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way != "remove":
        path.write_bytes(content)


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """The folder of a finished run, with its kept weights too."""
    run = train.train(TINY, 0, tmp_path_factory.mktemp("store"))
    run.keep()
    return run.folder


def damages(count, *, seed=0):
    """A list of (way, random source), each way as often as any other."""
    return [(WAYS[i % len(WAYS)], random.Random(seed * 10_000 + i)) for i in range(count)]  # noqa: S311


@pytest.mark.parametrize(
    ("name", "count"), [("record.json", 240), ("weights.npz", 90), (train.KEPT, 90)], ids=["record", "weights", "kept"]
)
def test_no_damage_of_a_finished_run_changes_what_it_says(finished, tmp_path, name, count):
    whole = Run(finished)
    parameters = read_weights(whole.weights)
    noticed = 0
    for i, (way, rng) in enumerate(damages(count)):
        folder = shutil.copytree(finished, tmp_path / str(i) / finished.name)
        if name == train.KEPT:
            (folder / "weights.npz").unlink()
        damage(folder / name, way, rng)
        try:
            run = Run(folder)
            found = read_weights(run.weights or folder / name)
        except StoreError:
            noticed += 1
        except FileNotFoundError:  # of a removed record
            assert way in ("remove", "folder")
            noticed += 1
        else:
            assert run.record == whole.record, way
            # a bit of an archive's padding or of a date says nothing
            assert way in ("flip a bit", "change a digit") or (way == "remove" and name != "record.json")
            for a, b in zip(found, parameters, strict=True):
                np.testing.assert_allclose(a, b, atol=0.02 if name == train.KEPT or way == "remove" else 0)
        shutil.rmtree(tmp_path / str(i))
    assert noticed > count / 2


def test_no_damage_of_an_executed_notebook_is_shown(tmp_path):
    cells = [{"cell_type": "code", "source": "error", "outputs": [{"text": "39.05 %"}], "metadata": {}}] * 20
    whole = {"cells": cells, "metadata": {"report": {"key": "k", "seconds": 1.5}}, "nbformat": 4}
    whole["metadata"]["report"]["digest"] = site.digest(whole)
    path = tmp_path / "01_page.ipynb"
    for way, rng in damages(600):
        path.write_text(json.dumps(whole))
        damage(path, way, rng)
        if site.made(path):
            assert json.loads(path.read_text())["cells"] == cells, way
        if path.is_dir():
            path.rmdir()
    path.write_text(json.dumps(whole))
    assert site.made(path)["key"] == "k"


@pytest.mark.parametrize(
    "content", ["", "[{", "\ud83d", "[{}]", "[1]", "3"], ids=["empty", "cut", "binary", "bare", "number", "no list"]
)
def test_damaged_benchmarks_are_one_clear_line(tmp_path, content):
    (tmp_path / "bench.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(StoreError, match=r"bench\.json is damaged: `make bench` writes it anew"):
        runs.bench(tmp_path)


def test_no_damage_of_the_benchmarks_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "RESULT", tmp_path / "bench.json")
    whole = [dict.fromkeys(runs.BENCH, 1.5) | {"name": f"train/{i}", "values": {10: 0.25, 5: 0.5}} for i in range(4)]
    bench.keep(whole[:3])
    bench.keep(whole[2:])
    whole = json.loads(json.dumps(whole))
    assert runs.comparisons(tmp_path) == whole
    assert runs.bench(tmp_path).to_dict("records") == whole
    content = bench.RESULT.read_bytes()
    for way, rng in damages(300):
        damage(bench.RESULT, way, rng)
        try:
            assert runs.comparisons(tmp_path) in (whole, []), way
            assert bench.RESULT.exists() or way == "remove"
        except (StoreError, IsADirectoryError):
            pass
        if bench.RESULT.is_dir():
            bench.RESULT.rmdir()
        bench.RESULT.write_bytes(content)
    bench.RESULT.write_bytes(content.replace(b"1.5", b"1.6", 1))
    bench.keep(whole[:1])
    assert "is damaged" in capsys.readouterr().err
    assert runs.comparisons(tmp_path) == whole[:1], "what was damaged is not sealed anew"


# --- the long part ---


def start(module, *arguments, build, **options):
    """A command of ours in a process group of its own, its runs and pages below `build`."""
    return subprocess.Popen(
        [sys.executable, "-m", f"lib.{module}", "--profile", "smoke", *arguments],
        cwd=runs.ROOT,
        env=os.environ | {"RECNET_BUILD": str(build)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def kill(process):
    """kill -9 of a command and of all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def outcome(build):
    """What a build ends with: each record but for its machine, each net's weights, the pages' names."""
    found = {}
    for path in sorted((build / "runs").glob("*/record.json")):
        record = read_record(path.parent)
        weights = ()
        if record["kind"] == "train":
            with np.load(path.parent / "weights.npz", allow_pickle=False) as file:
                weights = tuple(file[name].tobytes() for name in file.files)
        timed = record["kind"] == "check"  # whose results may be seconds
        found[path.parent.name] = record["kind"] if timed else (json.dumps(essence(record)), weights)
    return found, sorted(path.name for path in (build / "report").glob("*.html"))


def finish(module, *arguments, build):
    done = start(module, *arguments, build=build)
    out, err = done.communicate(timeout=900)
    assert done.returncode == 0, out + err
    return out, err


RECORD = ("recorder", "--only", "C11")
REPORT = ("report", "--nb", "06")


@pytest.mark.faults
@pytest.mark.parametrize("command", [RECORD, REPORT], ids=["record", "report"])
def test_killed_at_30_random_moments_it_ends_with_the_same_bits(tmp_path, command):
    began = time.monotonic()
    finish(*command, build=tmp_path / "whole")
    span = time.monotonic() - began
    rng, kept = random.Random(1), {}  # noqa: S311
    for _ in range(30):
        process = start(*command, build=tmp_path / "killed")
        time.sleep(rng.uniform(0, span))
        kill(process)
        found = outcome(tmp_path / "killed")[0]
        assert kept.items() <= found.items(), "a finished run was lost"
        kept = found
        if rng.random() < 0.3:  # begin again now and then, or the later kills would find all done
            shutil.rmtree(tmp_path / "killed", ignore_errors=True)  # killed early, it has made none
            kept = {}
    finish(*command, build=tmp_path / "killed")
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@pytest.mark.faults
@pytest.mark.parametrize("command", [RECORD, REPORT], ids=["record", "report"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_goes_on(tmp_path, command, sent):
    # a program in the background ignores Ctrl-C, and what it starts inherits that
    hears = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start(*command, build=tmp_path, **hears)
    while not list(tmp_path.glob("runs/*/record.json")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err.splitlines()[-1]
    assert "Traceback" not in err
    done = outcome(tmp_path)[0]
    finish(*command, build=tmp_path)
    assert done.items() <= outcome(tmp_path)[0].items()


@pytest.mark.faults
@pytest.mark.parametrize("limit", [500, 3_000, 20_000, 100_000])
@pytest.mark.parametrize("command", [RECORD, REPORT], ids=["record", "report"])
def test_a_full_disk_is_one_clear_line(tmp_path, command, limit):
    """The limit on a file's size stands for a disk that is full: the write that crosses it fails half-way."""
    full = start(*command, build=tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, err = full.communicate(timeout=600)
    if full.returncode:  # a large limit may be enough
        assert full.returncode == 1
        assert "Traceback" not in err
        assert "too large" in err.splitlines()[-1], err
    assert not list(tmp_path.rglob("*.part"))
    finish(*command, build=tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("processes", [2, 4])
def test_reports_at_once_in_one_folder_end_as_one(tmp_path, processes):
    finish(*REPORT, build=tmp_path / "one")
    together = [start(*REPORT, build=tmp_path / "many") for _ in range(processes)]
    for process in together:
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, out + err
    assert outcome(tmp_path / "many") == outcome(tmp_path / "one")
    assert not list(Path(tmp_path / "many").rglob("*.part"))


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from lib import commands, train
from lib.train import Experiment, Recipe
run_epoch = train.run_epoch

def limited(*arguments):
    if room := int(sys.argv[2]):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (room << 20), resource.RLIM_INFINITY))
    return run_epoch(*arguments)

train.run_epoch = limited
large = Experiment("resnet", Recipe(1, 0.1, batch=512), {"n": 1, "width": 64}, n_train=512, n_eval=10)
sys.exit(commands.ended(lambda: train.train(large, 0, sys.argv[1]) and None))
"""


@pytest.mark.faults
def test_memory_used_up_in_training_leaves_nothing_half_done(tmp_path):
    """Where TensorFlow says so it is one line; some of its kernels end the process by themselves."""

    def trained(room):
        command, own = [sys.executable, "-c", LITTLE_MEMORY, str(tmp_path), str(room)], {"RECNET_STANDIN": "1"}
        return subprocess.run(command, env=os.environ | own, cwd=runs.ROOT, capture_output=True, text=True)

    for room in (100, 1000):  # MiB
        ended = trained(room)
        assert ended.returncode in (1, -signal.SIGSEGV, -signal.SIGABRT), ended.stderr
        assert ended.returncode < 0 or ended.stderr.splitlines()[-1].startswith("out of memory")
        assert {path.name for path in tmp_path.glob("*/*")} == {"lock"}
    assert trained(0).returncode == 0
    assert len(runs.read(tmp_path)) == 1


def kernels_of(build):
    """The processes of the kernels that a report starts for this build, known by what they inherit of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # one that has ended meanwhile, or is another user's
            command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
            if b"ipykernel" in command and str(build).encode() in environment:
                found.append(int(process.name))
    return found


@pytest.mark.faults
def test_a_kernel_killed_inside_a_cell_is_one_clear_line(tmp_path):
    process = start(*REPORT, build=tmp_path)
    kernels = []
    while not kernels:
        assert process.poll() is None
        kernels = kernels_of(tmp_path)
        time.sleep(0.2)
    time.sleep(3)
    for pid in kernels:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "06_recnet failed" in err.splitlines()[-1]
    assert "Traceback" not in err
    finish(*REPORT, build=tmp_path)
