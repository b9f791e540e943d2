"""Playing: the nets at hand, an image's way through one, a run to watch, and what the page of changes says."""

import io
import re
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lib import beyond, claims, data, design, experiments, explore, findings, grid, runs, train

PAGE = (runs.ROOT / "notebooks" / "change_one_thing.md").read_text(encoding="utf-8")
SMALL = replace(explore.PLAYGROUND, recipe=replace(train.MODERN, epochs=2, batch=20), n_train=60, test=True)


@pytest.fixture(autouse=True)
def _stores(tiny, monkeypatch, tmp_path):
    for name in ("LOCAL", "QUICK", "RESULTS"):
        monkeypatch.setattr(runs, name, tmp_path / name)
    monkeypatch.setattr(grid, "PAUSE", tmp_path / ".pause")


@pytest.fixture(scope="module")
def tied(tiny, tmp_path_factory):
    """A trained tied net, for tests that only look at it."""
    return train.train(small(), 0, tmp_path_factory.mktemp("runs"))


def small(architecture="recnet", **options):
    return replace(SMALL, architecture=architecture, options={"n": 3, "width": 4} | options)


def test_the_nets_at_hand_are_those_with_weights_the_best_first():
    kept = train.train(small(), 0, runs.QUICK)
    kept.keep()
    (kept.folder / "weights.npz").unlink()
    made = train.train(small("resnet"), 0, runs.LOCAL)
    bare = train.train(small(), 1, runs.RESULTS)
    (bare.folder / "weights.npz").unlink()
    train.train(replace(small(), architecture="softmax", options={}), 0, runs.LOCAL)
    found = explore.nets()
    assert {run.key for run in found.values()} == {kept.key, made.key}
    assert [run.test_error for run in found.values()] == sorted(run.test_error for run in found.values())
    assert any(name.startswith("tied, n = 3, width = 4, seed 0: 60 images, 2 epochs, ") for name in found)


@pytest.mark.parametrize("others", [0, 1])
def test_without_any_tied_nets_some_are_trained(others, monkeypatch):
    for seed in range(others):
        train.train(small("resnet"), seed, runs.LOCAL)
    monkeypatch.setattr(grid, "get", lambda claim, profile: train.train(small(), 0, runs.LOCAL))
    assert len(explore.nets("smoke")) == 1 + others


def test_a_net_whose_last_stage_is_not_tied_takes_its_own_steps_alone():
    run = train.train(small(tied=[True, False, False]), 0, runs.LOCAL)
    assert explore.name(run).startswith("partly tied, n = 3, ")
    assert explore.course(run, 3, 5).alt == explore.course(run, 3).alt


@pytest.mark.parametrize("steps", [None, 1, 5])
def test_a_course_ends_in_what_the_net_says(tied, steps):
    picture = explore.course(tied, 3, steps)
    image = data.load("cifar10").x_test[3:4]
    logits = np.asarray(tied.model(image, steps=steps))
    said = re.findall(r"(\d+): (\w+) \d+ %", picture.alt)
    assert [int(t) for t, _ in said] == list(range((steps or explore.depth(tied)) + 1))
    assert said[-1][1] == data.load("cifar10").classes[logits.argmax()]


def test_a_drawing_has_a_patch_of_colour_a_letter():
    image = explore.draw("\nwr\n q\n")
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    patches = image[8::16, 8::16]
    np.testing.assert_array_equal(patches[0], [(255, 255, 255), (178, 34, 34)])
    np.testing.assert_array_equal(patches[1], [(135, 206, 250), (128, 128, 128)])
    assert (image == np.repeat(np.repeat(patches, 16, 0), 16, 1)).all()
    assert explore.draw("").shape == explore.draw("w" * 50).shape == (32, 32, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_uploaded_picture_is_its_middle_square(kind):
    photo = np.zeros((64, 128, 3), np.uint8)
    photo[:, 32:96] = 200
    Image.fromarray(photo).save(file := io.BytesIO(), kind)
    image = explore.shrink(file.getvalue())
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert np.abs(image[2:-2, 2:-2].astype(int) - 200).max() <= 3


def test_an_upload_that_is_no_picture_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(file := io.BytesIO(), "PNG")  # several chunks, the second of which is damaged
    head, first, rest = file.getvalue().split(b"IDAT", 2)
    damaged = head + b"IDAT" + first + b"\0DAT" + rest
    for content in (b"no picture", damaged):
        with pytest.raises(ValueError, match="no picture that can be read"):
            explore.shrink(content)


def test_an_upload_that_is_a_bomb_is_refused(monkeypatch):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file := io.BytesIO(), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="no picture that can be read"):
        explore.shrink(file.getvalue())


def test_a_picture_of_ones_own_has_a_course_and_no_true_class(tied):
    images = data.load("cifar10")
    own = explore.course(tied, images.x_test[3]).alt
    assert "shows" not in own
    assert own.split("The net says")[1] == explore.course(tied, 3).alt.split("The net says")[1]


def test_an_untied_net_takes_the_steps_it_has():
    run = train.train(small("resnet"), 0, runs.LOCAL)
    assert explore.course(run, 0, 9).alt == explore.course(run, 0).alt


def test_a_watched_run_is_drawn_each_epoch_and_can_stand_beside_others(shown):
    run = explore.watch(small())
    lines, curves = shown
    assert [line.data.partition(", error ")[0][-12:] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert f"{run.curve[-1]['val_error']:.3g}" in curves[-1].alt
    assert explore.watch(small()).key == run.key
    *_, again = shown
    assert len(again) == 1, "a finished run is shown at once"
    assert list(explore.beside(run).arm) == ["this run"]


# --- the page "Change one thing" ---


def blocks(where):
    found = re.findall(rf"```python\n# {where}.*?\n(.*?)```", PAGE, re.DOTALL)
    assert all(block.count("\n") < 20 for block in found)
    return found


def test_its_setting_is_trained_once(monkeypatch):
    monkeypatch.setattr(train, "MODERN", SMALL.recipe)
    (block,) = blocks("a notebook")
    for _ in range(2):
        exec(block.replace("10_000", "60"), scope := {})  # noqa: S102
    (made,) = runs.LOCAL.glob("*/record.json")
    assert scope["run"].folder == made.parent
    assert scope["run"].experiment["options"] == {"n": 3, "norm": "group"}
    assert len(scope["run"].curve) == SMALL.recipe.epochs


def test_its_variant_is_a_net_of_c5(monkeypatch):
    monkeypatch.setattr(design, "VARIANTS", dict(design.VARIANTS))
    variant, _ = blocks("lib/design.py")
    exec(variant, vars(design))  # noqa: S102
    arms = experiments.arms("C5", "smoke")
    assert len(arms) == 6
    assert arms["norm before, GELU after, n = 1"].options["activation"] == "gelu"


def test_its_question_is_asked_and_answered(monkeypatch):
    _, arms = blocks("lib/design.py")
    (rule,) = blocks("lib/beyond.py")
    exec(textwrap.dedent(arms), scope := {})  # noqa: S102
    monkeypatch.setattr(design.Design, "D1", scope["D1"], raising=False)
    monkeypatch.setattr(experiments, "DESIGNS", (*experiments.DESIGNS, "D1"))
    exec(rule, vars(beyond) | {"claim": (entered := findings.Rules()).claim})  # noqa: S102
    monkeypatch.setattr(claims, "CLAIMS", claims.CLAIMS | entered)
    table = grid.get("D1", "smoke")
    assert list(table.arm) == ["ReLU", "GELU"]
    (finding,) = claims.judge("smoke", runs.read(runs.LOCAL), standin=True, only=["D1"])
    assert finding.text.startswith("GELU minus ReLU")
