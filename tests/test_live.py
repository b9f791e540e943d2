"""Progress in a notebook that is open: one line and one curve, changed in place, and gone when the runs are there."""

import sys
from types import SimpleNamespace

import pytest

from lib import grid, live, runs
from lib.train import Experiment, Recipe

RUN = Experiment("softmax", Recipe(epochs=2, learning_rate=0.1, batch=20), n_train=60)
CURVE = [{"epoch": 1, "train_error": 80.0, "val_error": 75.0}, {"epoch": 2, "train_error": 60.0, "val_error": 55.0}]


@pytest.mark.parametrize(("kernel", "report", "watched"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_a_notebook_is_watched_but_not_a_command_and_not_the_reports(monkeypatch, kernel, report, watched):
    shell = SimpleNamespace(kernel=None) if kernel else None
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setenv("RECNET_REPORT", report)
    assert live.watched() is watched


def test_lines_and_curves_take_the_place_of_those_before(shown):
    view = live.Watch()
    view("one", RUN, 0, CURVE[:1])
    view.drawn -= 60  # as if a minute had passed
    view("two", RUN, 0, CURVE)
    lines, curves = shown
    assert [line.data for line in lines] == ["one", "two"]
    assert "75" in curves[0].alt
    assert "55" in curves[1].alt
    view.clear()
    assert [place[-1].data for place in shown] == ["", ""]


def test_drawing_does_not_take_the_time_of_training(shown):
    view = live.Watch()
    view("one", RUN, 0, CURVE[:1])
    view.took = 60.0
    view("two", RUN, 0, CURVE)
    lines, curves = shown
    assert (len(lines), len(curves)) == (2, 1)


def test_what_a_notebook_asks_for_is_told_there_and_not_on_stderr(shown, tiny, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runs, "LOCAL", tmp_path / "local")
    monkeypatch.setattr(live, "watched", lambda: True)
    monkeypatch.setenv("RECNET_STANDIN", "0")
    monkeypatch.setattr(grid, "PAUSE", tmp_path / ".pause")
    assert len(grid.get("C2", "smoke")) == 2
    lines, curves = shown
    told = [line.data for line in lines[:-1]]
    assert told[0].startswith("[1 of 2] mnist_cnn on mnist, rate ")
    assert told[-1].startswith("[2 of 2] mnist_cnn activation=softplus on mnist, rate ")
    assert len(curves) > 1
    assert [place[-1].data for place in shown] == ["", ""]
    assert not capsys.readouterr().err
    grid.get("C2", "smoke")
    assert len(shown) == 2, "nothing is told where nothing is trained"
