"""`make bench`: how fast training is here, beside its peers. Writes results/bench.json.

Each contender (contenders.py) is a process of its own; those of one comparison are asked in turn, ROUNDS times, so
that a slow moment of the machine hits them all, and medians are compared. `python -m tests.bench NAME ...` makes the
rows of these names alone and keeps the others. While it runs, `build/.pause` stops `make record`.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata

from lib import grid, runs, train

ROUNDS = 5
RESNET, RECNET = ("resnet", 3), ("recnet", 7)


def contender(name, precision="auto", **arguments):
    return name, {"precision": precision} | arguments


def training(net, precision):
    """What a comparison of training speed puts side by side: {label: contender}, ours first."""
    architecture, n = net
    tied = architecture == "recnet"
    found = {
        "ours": contender("ours", precision, architecture=architecture, n=n),
        "torch eager": contender("torch", precision, n=n, tied=tied),
        "torch compiled": contender("torch", precision, n=n, tied=tied, compile=True),
        "convolutions": contender("convolutions", precision, architecture=architecture, n=n),
        "bare step": contender("bare_step", precision, architecture=architecture, n=n),
    }
    if not tied:
        found["keras fit"] = contender("keras_fit", precision, n=n)
    return found


COMPARISONS = {
    "train/resnet20": training(RESNET, "auto"),
    "train/recnet": training(RECNET, "auto"),
    "float32/resnet20": training(RESNET, "float32"),
    "float32/recnet": training(RECNET, "float32"),
}


class Contender:
    """A process of contenders.py, and the speeds it has reached so far."""

    def __init__(self, name, arguments):
        command = [sys.executable, "-m", "tests.bench.contenders", name, json.dumps(arguments)]
        self.log = tempfile.TemporaryFile("w+")
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
        return chunk["units"] / chunk["seconds"]

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.speeds.append(self.read())


def compare(contenders):
    """{label: [images/s of each round]}."""
    with contextlib.ExitStack() as stack:
        alive = {}
        for label, (name, arguments) in contenders.items():
            alive[label] = Contender(name, arguments)
            stack.callback(alive[label].process.kill)
        for _ in range(ROUNDS):
            for each in alive.values():
                each.measure()
        return {label: each.speeds for label, each in alive.items()}


@contextlib.contextmanager
def quiet():
    """Stops recording runs and waits until the processors are idle."""
    grid.PAUSE.parent.mkdir(parents=True, exist_ok=True)
    ours = not grid.PAUSE.exists()
    grid.PAUSE.touch()
    try:
        while busy() > 0.1:
            print("waiting for the machine to be idle", file=sys.stderr)
        yield
    finally:
        if ours:
            grid.PAUSE.unlink(missing_ok=True)


def busy(seconds=3):
    """The share of the processors' time that is used."""

    def read():
        with open("/proc/stat") as file:
            times = [int(t) for t in file.readline().split()[1:]]
        return sum(times), times[3] + times[4]

    try:
        (total, idle), _, (total_after, idle_after) = read(), time.sleep(seconds), read()
    except OSError:  # not Linux: nobody can tell
        return 0
    return 1 - (idle_after - idle) / max(1, total_after - total)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(COMPARISONS))
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in COMPARISONS:
            parser.error(f"no row is called {name!r}: choose from {', '.join(COMPARISONS)}")
    path = runs.RESULTS / "bench.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    with quiet():
        for name in args.names or COMPARISONS:
            speeds = compare(COMPARISONS[name])
            median = {label: statistics.median(found) for label, found in speeds.items()}
            machine = train.machine(train.real_precision(name.partition("/")[0].replace("train", "auto")))
            machine["versions"]["torch"] = metadata.version("torch")
            rows = [row for row in rows if row["name"] != name]
            for label in speeds:
                if label != "ours":
                    ratio = median["ours"] / median[label]
                    print(f"{name}: {median['ours']:.0f} images/s, {ratio:.2f} x {label} ({median[label]:.0f})")
                    rows.append(
                        {
                            "name": name,
                            "unit": "images/s",
                            "ours": median["ours"],
                            "peer": label,
                            "peer_value": median[label],
                            "ratio": ratio,
                            "rounds": {"ours": speeds["ours"], "peer": speeds[label]},
                            "machine": machine,
                        }
                    )
            text = json.dumps(rows, indent=1) + "\n"
            train.write(path, lambda file, text=text: file.write(text.encode()))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
