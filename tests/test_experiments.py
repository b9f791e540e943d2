"""The experimental design: its size, what is compared with what, and what names a run."""

import itertools
import json
from dataclasses import asdict, replace

import pandas as pd
import pytest

from lib import design, experiments, rules, runs
from lib.train import MODERN, TRAIN_VERSION, Experiment

SIZED = [(claim, profile) for claim in experiments.DESIGNS for profile in experiments.PROFILES]


def record(experiment, seed, standin=False, version=TRAIN_VERSION):
    made = {"kind": "train", "experiment": asdict(experiment), "seed": seed, "train_version": version}
    return json.loads(json.dumps(made | {"key": experiment.key(seed, "made up"), "data": {"standin": standin}}))


def records(claim, profile, **rest):
    return [record(e, seed, **rest) for e, seed in experiments.wanted([claim], profile)]


# --- sizes ---


@pytest.mark.parametrize(("profile", "most"), [("smoke", 30), ("quick", 35)])
def test_small_profiles_are_small(profile, most):
    wanted = experiments.wanted(experiments.DESIGNS, profile)
    assert len(wanted) <= most
    assert all(e.recipe.epochs <= 3 and e.n_train <= 10_000 for e, _ in wanted)
    assert all(e.options.get("n", 1) <= 3 for e, _ in wanted)


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_a_run_is_wanted_once(profile):
    keys = [e.key(seed, "made up") for e, seed in experiments.wanted(experiments.DESIGNS, profile)]
    assert len(keys) == len(set(keys))


def test_full_scale_is_full_scale():
    for claim in ("C7", "C8", "C11", "C12", "B6"):
        for label, e in experiments.arms(claim, "paper").items():
            assert e.recipe.epochs >= 30, (claim, label)
            assert e.n_train is e.n_eval is None


# --- the protocol ---


@pytest.mark.parametrize("claim", experiments.DESIGNS)
def test_at_full_scale_the_test_is_read_once_or_never(claim):
    """On CIFAR-10 a run either has the validation images or, final, trains on them and reads the test images."""
    for label, e in experiments.arms(claim, "paper").items():
        assert e.dataset == "mnist" or e.held_out != e.test, label
        assert e.test == ("final" in label) or claim not in ("C7", "C8"), label


def test_seeds_are_fixed_beforehand():
    def count(claim, label):
        return len(experiments.seeds(claim, "paper", label, seed=4, count=9))

    assert count("C11", "tied n = 7") == count("C7", "P1 depth-1, final") == count("C1", "conv stride, ReLU each") == 5
    assert count("C3", "plain n = 3") == count("B1", "group norm") == count("C2", "softplus") == 3
    assert count("C15", "depth-1, P1, final") == count("C2", "ReLU") == 5  # as C7 and C1 take them
    assert count("C15", "1 step, final") == 3
    assert (
        count("C7", "P2 depth-1")
        == count("rates", "tied, rate 0.1")
        == count("C3", "plain n = 1, no norm, rate 0.1")
        == 1
    )
    assert list(experiments.seeds("C11", "quick", "", seed=4, count=2)) == [4, 5]


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_arms_of_one_contrast_differ_in_one_thing(profile):
    arms = experiments.arms("C11", profile)
    for label, tied in arms.items():
        if label.startswith("tied"):
            untied = arms[f"un{label}"]
            assert (tied.architecture, untied.architecture) == ("recnet", "resnet")
            assert replace(tied, architecture="resnet", probes=()) == replace(untied, probes=())
    for claim in ("C3", "C4", "C5", "B1", "C11"):
        compared = [e for label, e in experiments.arms(claim, profile).items() if "no norm" not in label]
        # the rate of an arm of C11 is its own, see the next test
        rates = {e.recipe.learning_rate for e in compared}
        assert len({replace(e.recipe, learning_rate=1) for e in compared}) == 1, claim
        assert len(rates) == 1 or (claim == "C11" and rates <= set(design.RATES))


ARMS = {"tied": "tied", "untied": "untied", "equal parameters": f"equal parameters, {design.EQUAL}"}


@pytest.mark.parametrize(
    ("choice", "rates"), [("first", design.FIRST_RATES), ("rates", design.RATES)], ids=["first", "rates"]
)
def test_rates_are_chosen_from_the_same_three(choice, rates):
    arms = experiments.arms(choice, "paper")
    for net in ARMS.values():
        tried = [e.recipe.learning_rate for label, e in arms.items() if label.startswith(f"{net}, rate")]
        assert tried == list(rates)
    for net, experiment in zip(ARMS.values(), experiments.arms("C11", "paper").values(), strict=True):
        assert arms[f"{net}, rate {rates[0]}"].options == experiment.options


def test_the_first_recipe_differs_in_its_decay_and_rate():
    assert replace(design.FIRST, learning_rate=0.2, weight_decay=5e-3) == MODERN
    for label, e in experiments.arms("first", "paper").items():
        assert e.recipe.weight_decay == design.FIRST.weight_decay, label


def chosen(choice):
    """The recorded validation errors of a choice by arm, and whether they are all there."""
    table = experiments.select(runs.read(runs.RESULTS), choice, "paper").set_index("arm").val_error
    return table, set(table.index) == set(experiments.arms(choice, "paper"))


def test_e_is_the_one_that_the_recorded_runs_chose():
    errors, whole = chosen("first")
    assert whole
    rate = f"rate {design.FIRST.learning_rate}"
    candidates = [f"equal parameters, {label}, {rate}" for label in design.EQUAL_PARAMETERS]
    assert errors[candidates].idxmin() == f"{ARMS['equal parameters']}, {rate}"


def test_every_arm_chose_the_largest_rate_by_the_first_recipe():
    """As 06 tells."""
    errors, _ = chosen("first")
    for net in ARMS.values():
        tried = [f"{net}, rate {rate}" for rate in design.FIRST_RATES]
        assert errors[tried].idxmin() == tried[-1]


def test_rates_are_those_that_the_recorded_runs_chose():
    errors, whole = chosen("rates")
    assert whole
    for arm, net in ARMS.items():
        best = errors[[f"{net}, rate {rate}" for rate in design.RATES]].idxmin()
        assert f"{net}, rate {design.CHOSEN[arm]}" == best


def test_the_shallow_net_takes_the_rate_that_its_recorded_runs_chose():
    errors, whole = chosen("shallow")
    assert whole
    assert errors.idxmin() == f"depth-1, rate {design.CHOSEN['depth-1']}"
    assert experiments.arms("C12", "paper")["depth-1, modern"].recipe.learning_rate == design.CHOSEN["depth-1"]


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_waterfall_changes_something_at_each_bar(profile):
    for a, b in itertools.pairwise(experiments.arms("B6", profile).values()):
        assert a != b


# --- sharing ---


def test_claims_share_runs():
    def arm(claim, label):
        return experiments.arms(claim, "paper")[label]

    assert arm("C3", "plain n = 7") == arm("C4", "plain n = 7") == arm("C16", "plain n = 7")
    assert arm("B3", "untied, ResNet-44") == arm("C12", "n = 7, modern") == arm("B6", "depth: n = 7")
    assert arm("C7", "P1 depth-1, final") == arm("C15", "depth-1, P1, final")
    assert arm("C8", "P1 RecNet, final") == arm("C15", "RecNet, P1, final") == arm("B6", "the paper's RecNet")
    assert arm("B1", "own norm") == arm("B7", "all stages") == arm("C13", "true")
    assert arm("C1", "conv stride, ReLU once, draw 0") == arm("C2", "ReLU") == arm("walk", "MNIST CNN")


def test_wanted_counts_a_shared_run_once():
    apart = [experiments.wanted([claim], "paper") for claim in ("C3", "C4")]
    together = experiments.wanted(("C3", "C4"), "paper")
    assert len(together) == len(apart[0]) + len(apart[1]) - 3 * 3  # three depths of plain nets, three seeds
    assert together[: len(apart[0])] == apart[0]


def test_an_experiment_is_the_same_whatever_the_order_of_its_options(monkeypatch):
    (one, *_), options = experiments.arms("C11", "smoke").values(), {"n": 1, "width": 4}
    two = [replace(one, options=dict(order)) for order in (options.items(), reversed(options.items()))]
    monkeypatch.setattr(experiments, "arms", lambda claim, profile: dict(enumerate(two)))
    assert len(experiments.wanted(["C11"], "smoke")) == 1


def test_every_claim_is_on_a_page():
    pages = (*experiments.PAGES.values(), *experiments.ALSO.values())
    assert {claim for claims in pages for claim in claims} == {*experiments.DESIGNS, *experiments.CHECKS}


# --- the nets exist ---


def test_every_net_builds():
    """Each architecture with each of its options, of all profiles, shrunk: a misspelt one would cost hours."""
    from lib import models

    small = {"plain": {"n": 1, "width": 4}, "resnet": {"n": 1, "width": 4}, "recnet": {"n": 2, "width": 4}}
    small["resnet18"] = small["feedback"] = {"width": 4}
    nets = {}
    for profile in experiments.PROFILES:
        for e, _ in experiments.wanted(experiments.DESIGNS, profile):
            options = e.options | small.get(e.architecture, {})
            nets[json.dumps([e.architecture, options, e.dataset], sort_keys=True)] = e, options
    for e, options in nets.values():
        shape = (28, 28, 1) if e.dataset == "mnist" else (32, 32, 3)
        assert min(models.count(models.build(e.architecture, shape, **options))) >= 0


def test_equal_parameters_are_equal_to_5_per_cent():
    from lib import models

    tied, _ = models.count(models.build("recnet", (32, 32, 3), n=7))
    for options in design.EQUAL_PARAMETERS.values():
        untied, _ = models.count(models.build("resnet", (32, 32, 3), **options))
        assert untied == pytest.approx(tied, rel=0.05)


def test_the_nets_of_the_aim_have_their_sizes():
    from lib import models

    def weights(options, architecture):
        return models.count(models.build(architecture, (32, 32, 3), **options))[0]

    deep = weights({"n": 7}, "resnet")
    for label, experiment in experiments.arms("B3", "paper").items():
        architecture, options = experiment.architecture, experiment.options
        most = {"0.15M": 150_000, "1M": 1_000_000}
        bound = next((bound for words, bound in most.items() if f"below {words}" in label), deep)
        assert 0.85 * bound < weights(options, architecture) <= bound or "ResNet-20" in label, label
        assert (architecture in ("recnet", "feedback")) == label.startswith("tied")


def test_one_block_for_all_does_as_much_work_as_the_others():
    from lib import models

    one, none = (experiments.arms("B7", "paper")[label] for label in ("one block for all", "no stage"))
    work = [models.flops(models.build(e.architecture, (32, 32, 3), **e.options), (32, 32, 3)) for e in (one, none)]
    assert work[0] == pytest.approx(work[1], rel=0.05)


def test_probes_exist():
    from lib.probes import PROBES

    for claim, profile in SIZED:
        for e in experiments.arms(claim, profile).values():
            assert set(e.probes) <= set(PROBES)


# --- names and keys ---


def test_checks_need_no_training():
    assert experiments.arms("C9", "paper") == {}
    assert experiments.wanted(["C9", "C10", "C14"], "paper") == []


BASE = Experiment("resnet", MODERN, {"n": 3, "norm": "group"})


def test_a_field_that_came_later_renames_no_run_made_before_it():
    made = record(BASE, 0)["experiment"]
    del made["recipe"]["label_smoothing"]
    before = Experiment.of(made)
    assert before.recipe == BASE.recipe
    assert before.key(0, "made up") == BASE.key(0, "made up")
    for kept in runs.read(runs.RESULTS):
        if kept["kind"] == "train":
            assert Experiment.of(kept["experiment"]).key(kept["seed"], kept["data"]["identity"]) == kept["key"]


def test_key_does_not_depend_on_the_order_of_options():
    turned = replace(BASE, options={"norm": "group", "n": 3})
    assert list(turned.options) != list(BASE.options)
    assert turned.key(0, "data") == BASE.key(0, "data")
    assert len(BASE.key(0, "data")) == 16
    int(BASE.key(0, "data"), 16)


# --- select ---


@pytest.mark.parametrize(("claim", "profile"), SIZED)
def test_select_finds_all_runs_in_the_order_of_the_arms(claim, profile):
    table = experiments.select(records(claim, profile)[::-1], claim, profile)
    expected = [
        (label, seed) for label in experiments.arms(claim, profile) for seed in experiments.seeds(claim, profile, label)
    ]
    assert list(zip(table["arm"], table["seed"], strict=True)) == expected


def test_the_fullest_is_the_first_in_which_every_arm_has_a_run():
    def made(profile, keep):
        return [record(e, s) for e, s in experiments.wanted(["C2"], profile) if keep(e, s)]

    quick = "quick", made("quick", lambda e, s: True)
    others, relu = made("paper", lambda e, s: s > 0), experiments.arms("C2", "paper")["ReLU"]
    for some in ([], made("paper", lambda e, s: e == relu), others[:1]):
        assert experiments.fullest([("paper", some), quick], "C2")[0] == "quick"
        assert experiments.fullest([quick, ("paper", some)], "C2")[0] == "quick"
    profile, table = experiments.fullest([("paper", others), quick], "C2")
    assert (profile, len(table)) == ("paper", len(others))
    lone = made("paper", lambda e, s: s == (1 if e == relu else 2))  # no seed in common
    assert experiments.fullest([("paper", lone), quick], "C2")[0] == "quick"
    assert experiments.fullest([("paper", lone), ("quick", [])], "C2")[0] == "paper"


def test_find_check():
    def check(name="softplus", profile="paper", standin=False, version=TRAIN_VERSION):
        data = {"standin": standin}
        return {"kind": "check", "name": name, "profile": profile, "data": data, "train_version": version}

    at_hand = [check(), check(profile="quick"), check(standin=True), check("cifar10", standin=True), check("cifar10")]
    older = [check(version=TRAIN_VERSION - 1), *records("C2", "quick")]
    assert experiments.find_check(older + at_hand, "softplus", "paper") is at_hand[0]
    assert experiments.find_check(at_hand, "softplus", "quick") is at_hand[1]
    assert experiments.find_check(at_hand, "softplus", "paper", standin=True) is at_hand[0], "it needs no data"
    assert experiments.find_check(at_hand, "cifar10", "paper", standin=True) is at_hand[3]
    assert experiments.find_check(at_hand, "cifar10", "paper") is at_hand[4]
    assert experiments.find_check(at_hand, "softplus", "smoke") is None
    assert experiments.find_check(older, "softplus", "paper") is None


def test_select_leaves_out_what_is_missing_or_of_another_kind():
    full = records("C11", "quick")
    assert len(experiments.select(full[1:], "C11", "quick")) == len(full) - 1
    assert experiments.select([], "C11", "quick").empty
    assert experiments.select([], "C11", "quick").columns[0] == "arm"
    beside = pd.concat([experiments.select(full, "C11", "quick"), experiments.select([], "C11", "quick")])
    assert beside.seed.dtype == int, "whole numbers stay whole beside a claim without runs"
    for others in (records("C11", "quick", standin=True), records("C11", "quick", version=0), records("C11", "smoke")):
        assert experiments.select(others, "C11", "quick").empty
    assert len(experiments.select(records("C11", "quick", standin=True), "C11", "quick", standin=True)) == len(full)
    assert experiments.select(full, "C11", "quick", seed=1).empty
    assert experiments.select([{"kind": "check"}, *full], "C11", "quick").shape[0] == len(full)


def test_without_runs_the_table_has_its_columns():
    table = experiments.select([], "B6", "paper")
    assert len(table) == 0
    assert not table.arm.str.contains("n =").any()
    assert len(table.groupby("arm", sort=False).test_error.mean().round(1)) == 0
    assert len(table[["seed", "parameters", "val_error", "flops", "curve", "probes", "machine", "key"]]) == 0


@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_headlines_are_runs_of_their_claims(profile):
    found = experiments.headlines(profile)
    nets = ["mnist_cnn", "paper_resnet", "paper_recnet", "recnet"] + ["resnet"] * (profile != "paper")
    assert [e.architecture for e, _ in found] == nets
    wanted = experiments.wanted(["C1", "C7", "C8", "C11"], profile)
    assert all(run in wanted for run in found)
    assert all(e.test for e, _ in found)
    assert all(e.options["n"] == design.SIZES[profile].depths[-1] for e, _ in found[3:])


def test_the_nearest_reading_is_that_of_the_recorded_runs():
    table = experiments.select(runs.read(runs.RESULTS), "C8", "paper")
    readings = table[table.arm.isin([f"{name} RecNet" for name in design.READINGS])].set_index("arm")
    assert len(readings) == len(design.READINGS)
    assert (readings.val_error - rules.RECNET).abs().idxmin() == f"{design.NEAREST} RecNet"
