"""How long training will take: what it learns from, and what it scales with."""

from dataclasses import replace

import pytest

from lib import forecast
from lib.train import Experiment, Recipe

NET = Experiment("resnet", Recipe(epochs=3, learning_rate=0.1, batch=50), {"n": 1}, n_train=1000)


def record(seconds, epochs=2, n_train=1000, flops=1e9, kind="train"):
    recipe = {"epochs": epochs}
    machine = {"seconds": seconds}
    return {"kind": kind, "n_train": n_train, "flops": flops, "experiment": {"recipe": recipe}, "machine": machine}


def test_the_pace_is_that_of_earlier_runs():
    work = 2000 * (3e9 / 1e11 + forecast.IMAGE)
    assert forecast.pace([record(60), record(5, kind="check")]) == pytest.approx(60 / work)
    assert forecast.pace([record(60), record(180)]) == pytest.approx(120 / work)
    assert forecast.pace([record(60), record(1, epochs=1, n_train=10)]) == pytest.approx(60 / work), "all start-up"


def test_the_pace_is_measured_where_nothing_was_run_yet():
    assert 0.01 < forecast.pace([]) < 1000


def test_time_grows_with_images_depth_width_and_epochs():
    once = forecast.seconds(NET, 1.0)
    assert forecast.seconds(NET, 2.0) == 2 * once
    assert forecast.seconds(replace(NET, n_train=2000), 1.0) == pytest.approx(2 * once)
    assert forecast.seconds(replace(NET, n_train=None), 1.0) == pytest.approx(50 * once)
    deep, wide, pooled = ({"n": 3}, {"n": 1, "width": 32}, {"n": 1, "stem": "pooled"})
    by = [forecast.seconds(replace(NET, options=o), 1.0) / once for o in (deep, wide, pooled)]
    assert [round(times, 1) for times in by] == [2.8, 3.7, 0.3]  # an image's own share stays
    assert forecast.seconds(replace(NET, options={"n": [1, 3, 5]}), 1.0) == forecast.seconds(
        replace(NET, options=deep), 1.0
    )
    assert forecast.total([NET, NET], 1.0) == pytest.approx(6 * once)


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 minute"), (100, "2 minutes"), (7100, "118 minutes"), (7200, "2 hours")]
)
def test_a_long_time_in_words(seconds, words):
    assert forecast.words(seconds) == words
