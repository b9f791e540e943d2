"""How long training will take: what it is learnt from, and what it grows with."""

from dataclasses import asdict, replace

import pytest

from lib.forecast import IMAGE, Forecast, words
from lib.train import Experiment, Recipe

NET = Experiment("resnet", Recipe(epochs=3, learning_rate=0.1, batch=50), {"n": 1}, n_train=1000)
OTHER = replace(NET, options={"n": 2})


def record(seconds, experiment=OTHER, epochs=2, n_train=1000, flops=1e9, kind="train", device="cpu"):
    described = asdict(replace(experiment, recipe=replace(experiment.recipe, epochs=epochs)))
    machine = {"seconds": seconds, "device": device}
    return {"kind": kind, "n_train": n_train, "flops": flops, "experiment": described, "machine": machine}


def test_the_pace_is_that_of_earlier_runs():
    work = 2000 * (3e9 / 1e11 + IMAGE)
    assert Forecast([record(60), record(5, kind="check")]).pace == pytest.approx(60 / work)
    assert Forecast([record(60), record(180)]).pace == pytest.approx(120 / work)
    assert Forecast([record(60), record(1, epochs=1, n_train=10)]).pace == pytest.approx(60 / work), "all start-up"
    both = [record(60), record(6, device="gpu:0")]
    assert Forecast(both, "gpu").pace == pytest.approx(6 / work)
    assert Forecast(both, "cpu").pace == pytest.approx(60 / work)


def test_the_pace_is_measured_where_nothing_was_run_yet():
    assert 0.01 < Forecast([]).pace < 1000


def test_a_run_of_the_same_net_tells_more_than_the_pace():
    known = Forecast([record(60, NET), record(600), record(90, NET), record(30, NET)])
    assert known.epoch(NET) == 30  # the median of 60 s for two epochs
    assert known.epoch(replace(NET, n_train=2000)) == 60
    assert known.total([NET, NET]) == 2 * 3 * 30
    by_pace = Forecast([record(60)]).epoch(NET)
    assert Forecast([record(60, replace(NET, dataset="mnist"))]).epoch(NET) == by_pace, "of other images"
    assert Forecast([record(60), record(1, NET, epochs=1, n_train=10)]).epoch(NET) == by_pace, "all start-up"


def test_time_grows_with_images_depth_and_width():
    known = Forecast([record(60, replace(NET, architecture="plain"))])
    once = known.epoch(NET)
    assert known.epoch(replace(NET, n_train=None)) == pytest.approx(50 * once)
    deep, wide, pooled = ({"n": 3}, {"n": 1, "width": 32}, {"n": 1, "stem": "pooled"})
    by = [known.epoch(replace(NET, options=options)) / once for options in (deep, wide, pooled)]
    assert [round(times, 1) for times in by] == [2.8, 3.7, 0.3]  # an image's own share stays
    assert known.epoch(replace(NET, options={"n": [1, 3, 5]})) == known.epoch(replace(NET, options=deep))


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1, "1 minute"), (100, "2 minutes"), (7100, "118 minutes"), (7200, "2 hours")]
)
def test_a_long_time_in_words(seconds, expected):
    assert words(seconds) == expected
