"""Which runs each claim needs, at each profile.

`arms(claim, profile)` names the arms of a comparison; an arm that two claims share is one experiment, hence one run.
"""

import json
from dataclasses import asdict
from functools import lru_cache

import pandas as pd

from lib.design import SIZES, Design
from lib.train import TRAIN_VERSION, Experiment

PROFILES = tuple(SIZES)

# The methods of `Design`: of the claims that need training, and of what serves several. Most wanted first, after those
# that take minutes: the order in which full-scale runs are made.
DESIGNS = (
    "C1", "C2", "walk", "baselines", "C7", "C8", "C15", "nearest", "first", "rates", "early", "budget", "race", "C11",
    "B1", "C3", "C4", "C5", "C16", "C6", "shallow", "C12", "C13", "B2", "B5", "B6", "B7", "precision", "shorter",
    "B3", "B4",
)  # fmt: skip
FIVE_SEEDS = ("C1", "C7", "C8", "C11", "B3", "nearest")  # at full scale; the others take three
# What has one size, the full one: a smaller net or a shorter training would be another question, or take hours too.
FULL_ONLY = (
    "C6", "first", "rates", "shallow", "early", "budget", "race", "nearest", "precision", "shorter", "B3", "B4",
)  # fmt: skip
CHECKS = {"C2": ("softplus",), "C6": ("cost",), "C9": ("recurrence",), "C10": ("equivalence",), "C14": ("cifar10",)}
NAMES = tuple(dict.fromkeys((*DESIGNS, *CHECKS)))

# The pages and what they ask for.
PAGES = {
    "01_data": ("C14",),
    "02_cnn": ("C1", "C2", "C3", "baselines"),
    "03_resnet": ("C4", "C16", "C5", "C6", "walk"),
    "04_recnet_paper": ("C7", "C8", "C9", "C15", "nearest"),
    "05_equivalence": ("C10",),
    "06_recnet": ("C11", "early", "budget", "B1", "B3", "walk", "first", "rates", "shorter"),
    "07_beyond": ("B2", "B7", "B4", "early", "C13", "shallow", "C12", "B5", "B6"),
    "08_cost": (),
    "09_verdict": (),
}
# What a page that reads all records asks for.
ALSO = {"08_cost": ("C6", "C11", "early", "race", "shorter", "precision")}


def arms(claim, profile):
    """{label: Experiment} of a claim at a profile; empty for a claim that needs no training. Raises ValueError on
    unknown names."""
    design = Design(profile)
    if claim in DESIGNS:
        return {} if claim in FULL_ONLY and not design.full else getattr(design, claim)()
    if claim in CHECKS:
        return {}
    raise ValueError(f"unknown claim {claim!r}; choose one of {', '.join(NAMES)}")


def seeds(claim, profile, label, seed=0, count=1):
    """The seeds of an arm: `count` from `seed` on in the small profiles, fixed beforehand at full scale.

    There a choice that is only made on validation (one of the readings, a learning rate) and the race take one, and an
    arm of a claim with three that one with five has as well takes five. Raises ValueError on a negative seed and on
    less than one."""
    if seed < 0 or count < 1:
        raise ValueError(f"{count} seeds from {seed} on: take at least 1, from 0 on")
    if profile != "paper":
        return range(seed, seed + count)
    experiment = arms(claim, profile)[label]
    reading = claim in ("C7", "C8", "C15") and not experiment.test
    if reading or claim in ("first", "rates", "shallow", "race") or experiment.options.get("norm", "own") is None:
        return range(1)
    return range(5 if claim in FIVE_SEEDS or _canonical(experiment) in _five_seeded() else 3)


@lru_cache(maxsize=1)
def _five_seeded():
    """The experiments of full scale that some claim takes with five seeds, described."""
    found = ((c, label, e) for c in FIVE_SEEDS for label, e in arms(c, "paper").items())
    return {_canonical(e) for c, label, e in found if len(seeds(c, "paper", label)) == 5}


def headlines(profile):
    """The runs whose weights are kept with their records, [(experiment, seed), ...]: the nets that the pages look
    into, of one seed each; at full scale the tied one of C11 alone, because the untied one has four times its size."""
    deep = f"tied n = {Design(profile).deep}"
    looked_at = [("C1", "conv stride, ReLU once, draw 0"), ("C7", "P1 depth-1, final"), ("C8", "P1 RecNet, final")]
    looked_at += [("C11", deep)] + [("C11", f"un{deep}")] * (profile != "paper")
    return [(arms(claim, profile)[label], 0) for claim, label in looked_at]


def wanted(claims, profile, seed=0, count=1):
    """The distinct runs of several claims, in their order, [(experiment, seed), ...]; a claim's runs seed by seed, so
    that its arms are level wherever one stops. Raises ValueError as `arms` and `seeds`."""
    found = {}
    for claim in claims:
        runs = [(e, s) for label, e in arms(claim, profile).items() for s in seeds(claim, profile, label, seed, count)]
        for run in sorted(runs, key=lambda run: run[1]):
            found.setdefault((_canonical(run[0]), run[1]), run)
    return list(found.values())


FIELDS = (
    {"arm": str}
    | dict.fromkeys(("seed", "n_train", "parameters", "flops"), int)
    | dict.fromkeys(("train_error", "val_error", "test_error"), float)
    | dict.fromkeys(("experiment", "curve", "probes", "machine", "key"), object)
)


def select(records, claim, profile, seed=0, count=1, standin=False):
    """The records of a claim's arms as a tidy table: a row a run, with its `arm`, in the order of the arms; missing
    runs have no row.

    records: as `runs.read` gives them.
    """
    index = {
        (_canonical(Experiment.of(r["experiment"])), r["seed"]): r
        for r in records
        if r["kind"] == "train" and (r["data"]["standin"], r["train_version"]) == (standin, TRAIN_VERSION)
    }
    rows = []
    for label, experiment in arms(claim, profile).items():
        for s in seeds(claim, profile, label, seed, count):
            record = index.get((_canonical(experiment), s))
            if record is not None:
                rows.append({"arm": label} | record)
    if not rows:  # what reads the table need not ask whether there are any
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in FIELDS.items()})
    return pd.DataFrame(rows)


def on_common_seeds(table, *labels):
    """The rows of these arms in a table of `select`, of the seeds that each of them has."""
    seeds = set(table.seed).intersection(*(table.seed[table.arm == label] for label in labels))
    return table[table.arm.isin(labels) & table.seed.isin(seeds)]


def find_check(records, name, profile, standin=False):
    """The record of a check at a profile, or None. Only `cifar10` looks at the data, so that others serve any."""
    return next(
        (
            record
            for record in records
            if record["kind"] == "check"
            and (record["name"], record["profile"], record["train_version"]) == (name, profile, TRAIN_VERSION)
            and (name != "cifar10" or record["data"]["standin"] == standin)
        ),
        None,
    )


def fullest(stores, claim, seed=0, count=1, standin=False):
    """(profile, the table of `select`) of the first of [(profile, records), ...] in which every arm of a claim has a
    run, on a seed that all have; without one, of that which has the largest share of the claim's runs."""
    found = [(profile, select(records, claim, profile, seed, count, standin)) for profile, records in stores]

    def share(entry):
        profile, table = entry
        return table["key"].nunique() / max(1, len(wanted([claim], profile, seed, count)))

    comparable = ((profile, table) for profile, table in found if len(on_common_seeds(table, *arms(claim, profile))))
    return next(comparable, None) or max(found, key=share)


def _canonical(experiment):
    """An experiment as a hashable value, the same whether it went through JSON or not."""
    return json.dumps(asdict(experiment), sort_keys=True)
