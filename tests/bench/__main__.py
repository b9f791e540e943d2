"""`make bench`: how fast training is here, beside its peers. Writes results/bench.json.

Each contender (contenders.py) is a process of its own; those of one comparison are asked in turn, ROUNDS times, so
that a slow moment of the machine hits them all, and medians are compared. `python -m tests.bench NAME ...` makes the
rows of these names alone and keeps the others. While it runs, `build/.pause` stops `make record`.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from statistics import median

from lib import grid, machine, runs, train
from lib.records import StoreError, sealed, write

ROUNDS = 5
STEPS = (10, 30, 50)  # tied steps over which growth is measured
RESULT = runs.RESULTS / "bench.json"


class Contender:
    """A process of contenders.py, the speeds (units/s) that it has reached so far, and its peak memory."""

    def __init__(self, name, arguments):
        command = [sys.executable, "-m", "tests.bench.contenders", name, json.dumps(arguments)]
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115, it is read when the process has ended
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=runs.ROOT
        )
        self.speeds = []
        self.read()  # building, compiling and a first chunk

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            why = self.log.read().strip().rpartition("\n")[2]
            raise SystemExit(f"{' '.join(self.process.args[3:])} ended: {why}")
        chunk = json.loads(line)
        self.units, self.memory = chunk["units"], chunk["MiB"]
        return chunk["seconds"]

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds = self.read()
        self.speeds.append(self.units / seconds)


def compare(contenders):
    """{label: (name, arguments)} -> {label: Contender}, each measured ROUNDS times in turn with the others."""
    with contextlib.ExitStack() as stack:
        alive = {}
        for label, contender in contenders.items():
            alive[label] = Contender(*contender)
            stack.callback(alive[label].process.kill)
        for _ in range(ROUNDS):
            for each in alive.values():
                each.measure()
        return alive


def row(name, unit, ours, peer, peer_value, ratio, precision="auto", **more):
    """A row of bench.json; ratio: above 1, ours is better."""
    print(f"{name}: {ours:.4g} {unit}, {ratio:.2f} x {peer} ({peer_value:.4g})", flush=True)
    described = machine.describe(machine.real_precision(precision))
    with contextlib.suppress(metadata.PackageNotFoundError):  # `grid` and `report` need no peer
        described["versions"]["torch"] = metadata.version("torch")
    found = {"name": name, "unit": unit, "ours": ours, "peer": peer, "peer_value": peer_value, "ratio": ratio}
    return found | more | {"machine": described}


def training(name, architecture, n, precision):
    """Training speed of one net beside its peers."""
    net = {"architecture": architecture, "n": n, "precision": precision}
    peer = {"n": n, "precision": precision}
    contenders = {
        "ours": ("ours", net),
        "torch eager": ("torch", peer | {"tied": architecture == "recnet"}),
        "torch compiled": ("torch", peer | {"tied": architecture == "recnet", "jit": True}),
        "convolutions": ("convolutions", net),
        "bare step": ("bare_step", net),
    }
    if architecture == "resnet":
        contenders["portable operations"] = "bare_step", net | {"portable": True}
        contenders["keras fit without its wait"] = "keras_fit", peer | {"wait": False}
        contenders["keras fit"] = "keras_fit", peer
    return beside(name, contenders, precision)


def kernels(name, architecture, n):
    """What oneDNN's kernels buy on this processor, in float32, and what bfloat16 costs that it may have to imitate."""
    net = {"architecture": architecture, "n": n, "precision": "float32"}
    peer = {"n": n, "precision": "float32", "tied": architecture == "recnet"}
    contenders = {
        "ours": ("ours", net),
        "without oneDNN": ("ours", net | {"onednn": False}),
        "in bfloat16": ("ours", net | {"precision": "bfloat16"}),
        "torch eager": ("torch", peer),
        "torch compiled": ("torch", peer | {"jit": True}),
        "convolutions": ("convolutions", net),
    }
    flags = machine.cpu_info("flags").split()
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return beside(name, contenders, "float32", instructions=has)


def beside(name, contenders, precision, **more):
    """Rows of the speed of "ours", in images a second, beside each of the other contenders'."""
    speeds = {label: contender.speeds for label, contender in compare(contenders).items()}
    ours = speeds.pop("ours")
    return [
        row(
            name,
            "images/s",
            median(ours),
            peer,
            median(theirs),
            median(ours) / median(theirs),
            precision,
            rounds={"ours": ours, "peer": theirs},
            **more,
        )
        for peer, theirs in speeds.items()
    ]


def promises():
    """What checkpoints and determinism cost; an epoch is a tenth of a real one here, so it has ten times its cost."""
    net = {"architecture": "resnet", "n": 3}
    alive = compare({"kept": ("ours", net), "not kept": ("ours", net | {"promises": False})})
    ours, peer = (median(alive[label].speeds) for label in ("kept", "not kept"))
    speeds = {"ours": alive["kept"].speeds, "peer": alive["not kept"].speeds}
    return [row("promises/resnet20", "images/s", ours, "nothing promised", peer, ours / peer, rounds=speeds)]


def parts(net, architecture, n):
    """Where the time of a training step goes: the share of each kind of operation."""
    contender = Contender("parts", {"architecture": architecture, "n": n})
    contender.process.kill()
    kinds, name = contender.units, f"parts/{net}"
    whole = sum(kinds.values())
    return [row(name, "ms a step", whole, kind, part, part / whole) for kind, part in kinds.items()]


def growth():
    """What one more tied step costs, in seconds, and in memory with and without recomputing its inside.

    Memory is a fresh process's peak; some of it is the graph's and does not depend on the batch, so two batches.
    """
    found = compare({steps: ("growing", {"steps": steps}) for steps in STEPS} | {"own": ("own_step", {})})
    seconds = {steps: 1 / median(found[steps].speeds) for steps in STEPS}
    own, more = 1 / median(found["own"].speeds), slope(seconds)
    rows = [row("growth/seconds", "s a tied step", more, "that step alone", own, own / more, values=seconds)]
    for batch in (128, 256):
        kept, again = (
            {steps: peak("growing", {"steps": steps, "recompute": how, "batch": batch}) for steps in STEPS}
            for how in (False, True)
        )
        ours, theirs = slope(again), slope(kept)
        unit, values = "MiB a tied step, recomputed", {"ours": again, "peer": kept}
        rows.append(row(f"growth/memory, batch {batch}", unit, ours, "kept", theirs, theirs / ours, values=values))
    return rows


def peak(name, arguments):
    """The peak memory of a contender of its own, in MiB."""
    contender = Contender(name, arguments)
    contender.process.kill()
    return contender.memory


def slope(values):
    """The least-squares slope of {x: y}."""
    n, mean = len(values), sum(values) / len(values)
    high = sum(values.values()) / n
    return sum((x - mean) * (y - high) for x, y in values.items()) / sum((x - mean) ** 2 for x in values)


def overhead():
    """What `make report` takes beside its notebooks' cells: kernels, papermill, rendering; from the report at hand."""
    from lib import report

    executed = sorted((runs.BUILD / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    pages = [json.loads(path.read_text()) for path in executed]
    quick = [page for page in pages if page["metadata"]["report"]["profile"] == "quick"]
    if len(quick) < len(report.experiments.PAGES):
        print("report/overhead needs a report at hand: make report first", file=sys.stderr)
        return []
    whole = sum(page["metadata"]["report"]["seconds"] for page in quick)
    cells = sum(cell["metadata"].get("papermill", {}).get("duration") or 0 for page in quick for cell in page["cells"])
    with tempfile.TemporaryDirectory() as folder:
        job = report.prepare(report.arguments([], report.experiments.PAGES), {"site": Path(folder)})
        start = time.perf_counter()
        report.render(job)
        rendering = time.perf_counter() - start
    whole += rendering
    return [row("report/overhead", "s of a whole quick report", whole, "its cells alone", cells, cells / whole)]


def trained(experiment, seed, *_):
    """What a Dask worker sends back for a run; as `cluster.train_there`, without the pause that is asked of others."""
    with tempfile.TemporaryDirectory() as store:
        folder = train.train(experiment, seed, store).folder
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def nothing(*_):
    return {"record.json": b"{}"}


def on_workers(count, number, work):
    """Seconds a run takes, `number` of them, on `count` Dask workers that have each done one before."""
    from lib import cluster, explore

    warm, wanted = (
        [(explore.PLAYGROUND, seed + first) for seed in range(n)] for first, n in ((0, count), (99, number))
    )
    with tempfile.TemporaryDirectory() as store, cluster.connect(count) as client:
        cluster.complete(warm, store, client=client, work=work)
        start = time.perf_counter()
        cluster.complete(wanted, store, client=client, work=work)
        return (time.perf_counter() - start) / number


def workers():
    """What the scheduler costs a run, and two workers that share the cores beside one that has them all."""
    quick = median(run["machine"]["seconds"] for run in runs.read(runs.QUICK) if run["kind"] == "train")
    cost = on_workers(2, 200, nothing)
    two, one = (3600 / on_workers(count, 4, trained) for count in (2, 1))
    return [
        row("grid/overhead", "s a run of the scheduler's", cost, "a quick run", quick, quick / cost),
        row("grid/workers", "runs an hour by two workers", two, "one with all cores", one, two / one),
    ]


MEASUREMENTS = {
    "train/resnet20": lambda: training("train/resnet20", "resnet", 3, "auto"),
    "train/recnet": lambda: training("train/recnet", "recnet", 7, "auto"),
    "float32/resnet20": lambda: training("float32/resnet20", "resnet", 3, "float32"),
    "float32/recnet": lambda: training("float32/recnet", "recnet", 7, "float32"),
    "kernels/resnet20": lambda: kernels("kernels/resnet20", "resnet", 3),
    "kernels/recnet": lambda: kernels("kernels/recnet", "recnet", 7),
    "parts/resnet20": lambda: parts("resnet20", "resnet", 3),
    "parts/recnet": lambda: parts("recnet", "recnet", 7),
    "growth": growth,
    "promises": promises,
    "grid": workers,
    "report": overhead,
}


@contextlib.contextmanager
def quiet():
    """Stops recording runs and waits until the processors are idle."""
    grid.PAUSE.parent.mkdir(parents=True, exist_ok=True)
    ours = not grid.PAUSE.exists()
    grid.PAUSE.touch()
    try:
        if busy() > 0.1:
            print("waiting for the machine to be idle", file=sys.stderr)
            while busy() > 0.1:
                pass
        yield
    finally:
        if ours:
            grid.PAUSE.unlink(missing_ok=True)


def busy(seconds=5):
    """The share of the processors' time that is used."""

    def read():
        times = [int(t) for t in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
        return sum(times), times[3] + times[4]

    try:
        (total, idle), _, (total_after, idle_after) = read(), time.sleep(seconds), read()
    except OSError:  # not Linux: nobody can tell
        return 0
    return 1 - (idle_after - idle) / max(1, total_after - total)


def keep(new):
    """Writes rows into bench.json, each with its digest, in place of those of the same names."""
    try:
        rows = runs.comparisons(RESULT.parent)
    except StoreError as damaged:
        print(f"{damaged}; its other rows are dropped", file=sys.stderr)
        rows = []
    rows = [old for old in rows if old["name"] not in {row["name"] for row in new}] + json.loads(json.dumps(new))
    text = json.dumps([sealed(row) for row in sorted(rows, key=lambda row: row["name"])], indent=1) + "\n"
    write(RESULT, text)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    names = parser.parse_args(argv).names
    if unknown := set(names) - set(MEASUREMENTS):
        parser.error(f"no measurement is called {min(unknown)!r}: choose from {', '.join(MEASUREMENTS)}")
    with quiet():
        for name in names or MEASUREMENTS:
            keep(MEASUREMENTS[name]())


if __name__ == "__main__":
    main()
