"""The checks against what is known by hand; and that each of them could fail."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from lib import checks, data, models, train
from lib.records import StoreError, lock, save

EXACT = 1e-10  # the rule of claim C10


@pytest.fixture(scope="module", autouse=True)
def _tiny(tiny):
    """The data of the check on CIFAR-10."""


def test_a_check_that_another_process_makes_is_waited_for(tmp_path, monkeypatch):
    own = checks.check("softplus", "smoke", tmp_path / "own")
    folder = tmp_path / "shared" / own["key"]
    folder.mkdir(parents=True)
    monkeypatch.setattr(checks.time, "sleep", lambda seconds: save(folder, own | {"result": "the other's"}))
    with lock(folder):
        assert checks.check("softplus", "smoke", tmp_path / "shared")["result"] == "the other's"


def test_a_check_says_what_it_was_computed_in(tmp_path):
    made = {name: checks.check(name, "smoke", tmp_path) for name in ("softplus", "recurrence", "equivalence")}
    precisions = {name: record["machine"]["precision"] for name, record in made.items()}
    assert precisions == {"softplus": None, "recurrence": "float32", "equivalence": "float64"}


def test_softplus_is_furthest_from_relu_at_zero():
    result, _ = checks.softplus("smoke")
    assert result["gap"] == pytest.approx(np.log(2), abs=1e-12)
    assert result["at"] == pytest.approx(0, abs=1e-12)
    assert result["everywhere_above"] is True


def test_cifar10_is_counted_from_the_arrays(tiny, monkeypatch):
    result, _ = checks.cifar10("smoke")
    assert (result["training"], result["test"], result["shape"]) == (240, 60, [32, 32, 3])
    assert result["per_class_training"] == [24] * 10
    assert result["per_class_test"] == [6] * 10
    assert result["absent"] == ["boats", "train"]
    # five batches in the order of the file, each with its own counts
    labels = np.sort(tiny.y_train)
    monkeypatch.setattr(data, "load", lambda name: replace(tiny, y_train=labels))
    batches = checks.cifar10("smoke")[0]["per_class_batch"]
    assert batches == [[24 * (c // 2 == b) for c in range(10)] for b in range(5)]


@pytest.fixture(scope="module")
def recurrence():
    return checks.recurrence("smoke")[0]


def test_the_state_of_the_papers_rnn_is_bounded_and_a_residual_one_grows(recurrence):
    bounded = recurrence["bounded"]
    assert max(bounded["rnn"]) <= 1
    # without norms and biases a residual stage of ReLUs is homogeneous: its state grows as its input does
    assert bounded["residual"] == pytest.approx([bounded["residual"][0] * s for s in bounded["scale"]], rel=1e-3)
    assert bounded["residual"][-1] > 1000


def test_a_residual_step_of_zero_weights_keeps_its_state_and_an_rnn_loses_it(recurrence):
    assert recurrence["identity"] == {"rnn": 0.0, "residual": 0.0}  # what is left of the one, what is lost of the other


def test_the_rnn_looks_at_its_input_again_at_every_step(recurrence):
    assert recurrence["input_again"] > 0.1


def test_both_have_one_set_of_weights(recurrence):
    assert recurrence["tied_weights"] == {"rnn": 3, "residual": 4}  # kernel, recurrent kernel, bias; two with bias


@pytest.fixture
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def test_tied_untied_and_rnn_are_one_function_in_float64():
    rows = checks.equivalence("smoke")[0]["rows"]
    assert keras.config.dtype_policy().name == "float32"  # put back
    assert {(row["norm"], row["steps"]) for row in rows} == {
        (n, s) for n in ("none", "shared", "per_step") for s in (1, 2)
    }
    forms = [row["form"] for row in rows if row["norm"] == "shared" and row["steps"] == 2]
    assert forms == ["untied", "RNN, looped", "RNN, unrolled"]
    for row in rows:
        if row["norm"] == "per_step" and row["cell_knows_step"] is False:
            continue
        assert max(row["output"], row["gradient"]) < EXACT, row


@pytest.mark.usefixtures("float64")
def test_with_a_norm_per_step_the_rnn_is_the_net_only_if_its_cell_knows_the_step():
    rows = list(checks._equivalence("per_step", 7))
    assert len(rows) == 5
    for row in rows:
        if row["cell_knows_step"] is False:
            assert min(row["output"], row["gradient"]) > 1e-3, row
        else:
            assert max(row["output"], row["gradient"]) < EXACT, row


@pytest.mark.usefixtures("float64")
def test_the_equivalence_check_sees_a_block_that_was_not_copied(monkeypatch):
    copy_step = checks._copy_step
    monkeypatch.setattr(checks, "_copy_step", lambda a, b, step: copy_step(a, b, step) if step else None)
    untied, *others = checks._equivalence(None, 2)
    assert min(untied["output"], untied["gradient"]) > 1e-3
    assert all(max(row["output"], row["gradient"]) < EXACT for row in others)


@pytest.mark.usefixtures("float64")
def test_the_equivalence_check_sees_statistics_of_another_step(monkeypatch):
    copy_step = checks._copy_step
    monkeypatch.setattr(checks, "_copy_step", lambda a, b, step: copy_step(a, b, 0))
    untied, *_ = checks._equivalence("per_step", 2)
    assert untied["output"] > 1e-3


def test_cost_counts_and_times_each_net(monkeypatch):
    nets = {"small": ("tiny", {"width": 4}), "the paper's": ("paper_resnet", {})}
    monkeypatch.setattr(checks, "COST", nets)
    result, measured = checks.cost("smoke")
    for label, (architecture, options) in nets.items():
        net = models.build(architecture, (32, 32, 3), **options)
        trainable, statistics = models.count(net)
        flops = models.flops(net, (32, 32, 3))
        assert result["nets"][label] == {"parameters": trainable, "statistics": statistics, "flops": flops}
        assert 0 < measured["seconds_per_image"][label] < 10
    assert list(measured) == ["seconds_per_image"]  # it lies under "machine": no two machines agree


def test_what_cost_compares_is_what_the_claim_names():
    for architecture, options in checks.COST.values():
        assert architecture in models.ARCHITECTURES
        json.dumps(options)
    assert checks.COST["ResNet-20"] == ("resnet", {"n": 3})
    assert checks.COST["RecNet, n = 7"] == ("recnet", {"n": 7})


def test_a_check_is_made_once_and_kept(tmp_path, monkeypatch, tiny):
    record = checks.check("softplus", "smoke", tmp_path)
    assert (record["kind"], record["name"], record["profile"]) == ("check", "softplus", "smoke")
    assert record["result"] == checks.softplus("smoke")[0]
    assert record["data"] == {"name": "cifar10", "identity": tiny.identity, "standin": True}
    assert record["machine"]["seconds"] > 0
    assert json.loads((tmp_path / record["key"] / "record.json").read_text()) == record

    def fail(profile):
        raise AssertionError("made again")

    monkeypatch.setitem(checks.CHECKS, "softplus", fail)
    assert checks.check("softplus", "smoke", tmp_path) == record
    with pytest.raises(AssertionError, match="made again"):
        checks.check("softplus", "quick", tmp_path)  # another profile is another check
    path = tmp_path / record["key"] / "record.json"
    path.write_text(path.read_text().replace('"gap": 0.6', '"gap": 0.7'))
    with pytest.raises(StoreError, match=f"{record['key']} is damaged"):
        checks.check("softplus", "smoke", tmp_path)


def test_only_the_count_of_the_files_depends_on_the_data(tmp_path, monkeypatch, tiny):
    keys = {name: checks.check(name, "smoke", tmp_path)["key"] for name in ("softplus", "cifar10")}
    monkeypatch.setattr(data, "load", lambda name: replace(tiny, identity="others"))
    assert checks.check("softplus", "smoke", tmp_path)["key"] == keys["softplus"]
    assert checks.check("cifar10", "smoke", tmp_path)["key"] != keys["cifar10"]
    monkeypatch.setattr(train, "TRAIN_VERSION", train.TRAIN_VERSION + 1)
    assert checks.check("softplus", "smoke", tmp_path)["key"] != keys["softplus"]


def test_an_unknown_check_is_refused_with_the_choices(tmp_path):
    with pytest.raises(ValueError, match="unknown check 'speed'; choose one of softplus, cifar10, recurrence"):
        checks.check("speed", "smoke", tmp_path)
    assert not list(tmp_path.iterdir())
