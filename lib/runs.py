"""The store of records: reading it, and tidy tables out of it. `python -m lib.runs` prints the runs at hand."""

import argparse
import json
import os
import sys
from pathlib import Path

import pandas as pd

from lib import commands
from lib.records import StoreError, read_record, sealed

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"  # the recorded evidence: full-scale runs on real data, committed
QUICK = RESULTS / "quick"  # recorded too: quick runs, shown as indicative where full-scale ones are missing
# What is made here and never committed; the environment variable RECNET_BUILD names another folder (tests do).
BUILD = Path(os.environ.get("RECNET_BUILD") or ROOT / "build").resolve()
LOCAL = BUILD / "runs"  # runs made on this machine by the small profiles


def store(profile):
    """The folder in which a profile's runs lie."""
    return RESULTS if profile == "paper" else LOCAL


def read_only():
    """Whether nothing may be trained, as when the site is published: the environment variable RECNET_READ_ONLY."""
    return bool(os.environ.get("RECNET_READ_ONLY"))


def stores(profile):
    """[(profile, folder), ...] of the runs that a page may show: the profile's own and, where nothing may be trained,
    the recorded quick ones, for claims whose full-scale runs are not all there."""
    own = [(profile, store(profile))]
    return [*own, ("quick", QUICK)] if profile == "paper" and read_only() else own


def shown(profile):
    """All records that a page of a profile may show, but for the full-scale ones beside a smaller profile's."""
    records = [r for _, folder in stores(profile) for r in read(folder)]
    standin = on_standin(profile, records)
    return [r for r in records if r["data"]["standin"] == standin]


def on_standin(profile, records):
    """Whether a profile's runs, out of all in its store, are those on stand-in data: always those of smoke, which
    shares its store; of another where there are no others."""
    return profile == "smoke" or (bool(records) and all(r["data"]["standin"] for r in records))


def read(folder):
    """All records in a store, as dicts, sorted by key. Raises StoreError on a damaged one."""
    return [read_record(path.parent) for path in sorted(Path(folder).glob("*/record.json"))]


BENCH = ("name", "unit", "ours", "peer", "peer_value", "ratio", "machine")  # what every comparison has


def comparisons(folder=RESULTS):
    """The comparisons in bench.json, [{name: value}, ...] with the names of BENCH, without their digests. Raises
    StoreError where the file is damaged."""
    path = Path(folder) / "bench.json"
    try:
        rows = json.loads(path.read_text()) if path.exists() else []
        if all(set(BENCH) <= set(row) and row == sealed(row) for row in rows):
            return [{name: value for name, value in row.items() if name != "digest"} for row in rows]
    except (ValueError, TypeError, AttributeError):
        pass
    raise StoreError(f"{path.parent.name}/{path.name} is damaged: `make bench` writes it anew")


def bench(folder=RESULTS):
    """The benchmarks of `make bench` as a table, a row a comparison; empty where there are none yet. Raises StoreError
    where the file is damaged."""
    rows = comparisons(folder)
    return pd.DataFrame(rows, columns=None if rows else BENCH)


def ledger(records):
    """Every training run as a row: what, on what, with which seed, to which errors (%), at which cost, where and
    when."""
    rows = []
    for r in records:
        if r["kind"] != "train":
            continue
        e, m = r["experiment"], r["machine"]
        recipe, options = e["recipe"], [f"{k}={v}" for k, v in e["options"].items()]
        words = [f"{recipe['optimizer']} {recipe['learning_rate']:g}"]
        if recipe["weight_decay"]:
            words.append(f"decay {recipe['weight_decay']:g}")
        if recipe["augment"]:
            words.append("augmented")
        if recipe.get("label_smoothing"):
            words.append("smoothed labels")
        if e["draw"]:
            options.append(f"draw={e['draw']}")
        rows.append(
            {
                "key": r["key"],
                "architecture": e["architecture"],
                "options": ", ".join(options),
                "recipe": ", ".join(words),
                "data": e["dataset"] + (" (stand-in)" if r["data"]["standin"] else ""),
                "n_train": r["n_train"],
                "epochs": recipe["epochs"],
                "seed": r["seed"],
                "train_error": r["train_error"],
                "val_error": r["val_error"],
                "test_error": r["test_error"],
                "parameters": r["parameters"],
                "flops": r["flops"],
                "seconds": m["seconds"],
                "threads": m["threads"],
                "precision": m["precision"],
                "cpu": m["cpu"],
                "device": m.get("gpu") or m["device"],
                "commit": m["commit"],
                "date": m["date"],
            }
        )
    return pd.DataFrame(rows)


NONE = "no runs yet: make report makes some"


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m lib.runs", description="The runs at hand, as a table.")
    parser.add_argument(
        "--runs", default=None, help="a store: results, results/quick or build/runs (default: all three)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON array")
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    args = parser.parse_args(argv)
    if args.runs and not commands.is_folder(args.runs):
        parser.error(f"there is no store {args.runs!r}; results and build/runs are the usual ones")
    return commands.ended(lambda: _print(args), StoreError)


def _print(args):
    folders = {args.runs: Path(args.runs)} if args.runs else {"results": RESULTS, "quick": QUICK, "local": LOCAL}
    tables = [ledger(read(folder)).assign(store=name) for name, folder in folders.items()]
    table = pd.concat([part for part in tables if "key" in part] or [pd.DataFrame()])
    if args.json:
        print(table.to_json(orient="records", indent=1))
    elif args.csv:
        print(table.to_csv(index=False, float_format="%.6g"), end="")
    else:
        print(table.to_string(index=False, na_rep="-", float_format="%.2f") if len(table) else NONE)


if __name__ == "__main__":
    sys.exit(main())
