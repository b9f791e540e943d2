"""What 10_explore plays with: the trained nets at hand, an image's way through one, a short run to watch."""

import io
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
from PIL import Image, ImageColor, ImageOps

from lib import data, experiments, grid, live, pictures, runs, train

SIZE = (32, 32)  # of CIFAR-10's images
INKS = {
    " ": "lightskyblue",
    "w": "white",
    "b": "midnightblue",
    "r": "firebrick",
    "g": "forestgreen",
    "y": "gold",
    "n": "saddlebrown",
}
SHIP = """
       y
       yw
       yww
       ywww
       ywwww
       yw
       y
 rrrrrrrrrrrrr
  rrrrrrrrrrr
bbbbbbbbbbbbbbbb
bbbbbbbbbbbbbbbb
bbbbbbbbbbbbbbbb
"""
PLAYGROUND = train.Experiment("recnet", replace(train.MODERN, epochs=4), {"n": 1}, n_train=5_000, n_eval=1_000)


def nets(profile="quick"):
    """{what it is: Run} of the residual nets on CIFAR-10 whose weights are at hand, the best on test images first;
    where no tied one is among them, those of C11 are trained first, at this profile."""
    found = _nets()
    if not any(name.startswith("tied") for name in found):
        grid.get("C11", profile)
        found = _nets()
    return found


def _nets():
    standin = data.load("cifar10").standin
    stores = (runs.LOCAL, runs.QUICK, runs.RESULTS)
    found = [train.find(key, stores) for key in dict.fromkeys(r["key"] for store in stores for r in runs.read(store))]
    usable = [
        run
        for run in found
        if run.kind == "train" and run.weights and run.data["name"] == "cifar10" and run.data["standin"] == standin
        if run.experiment["architecture"] in ("recnet", "resnet") and run.test_error is not None
    ]
    return {name(run): run for run in sorted(usable, key=lambda run: run.test_error)}


def name(run):
    """A run in a few words, with all that tells it from its neighbours."""
    family = {"recnet": "tied", "resnet": "untied"}[run.experiment["architecture"]]
    if isinstance(run.experiment["options"].get("tied"), list):
        family = "partly tied"
    options = ", ".join(f"{k} = {v}" for k, v in run.experiment["options"].items())
    return (
        f"{family}, {options}, seed {run.seed}: {run.n_train:,} images, {len(run.curve)} epochs, {run.test_error:.1f} %"
    )


def depth(run):
    """How many steps the last stage of a run's net was trained with."""
    return run.model.depth


def course(run, image, steps=None):
    """The class probabilities of an image read out after every step of the last stage, as a Picture.

    image: the number of a test image, or an image of one's own, (32, 32, 3) uint8. steps: how many to take, also more
    than the net was trained with (those use the last one's norm); only a tied net can. Default: the trained number.
    """
    images, label = data.load(run.data["name"]), None
    if isinstance(image, int):
        image, label = images.x_test[image], images.y_test[image]
    steps = steps if run.model.is_recurrent else None
    logits = run.model.readouts(image[None], steps=steps)
    chances = 100 * keras.ops.convert_to_numpy(keras.ops.softmax(logits))[:, 0].T  # (classes, steps + 1)
    return pictures.course(image, chances, images.classes, label, depth(run))


def shrink(content):
    """A picture file's bytes as an image that the nets take, (32, 32, 3) uint8: its middle square, made small.

    Raises ValueError where they are no picture."""
    try:
        with Image.open(io.BytesIO(content)) as photo:
            return np.asarray(ImageOps.fit(ImageOps.exif_transpose(photo).convert("RGB"), SIZE))
    except Exception:  # a damaged file can take a parser anywhere
        raise ValueError("this file is no picture that can be read; PNG and JPEG can") from None


def draw(text):
    """The image, (32, 32, 3) uint8, of a drawing in lines of letters, a letter a patch of colour (see INKS; grey for
    any other). As many patches as the longest line, or the number of lines, span the image."""
    lines = text.strip("\n").split("\n")
    side = max(1, len(lines), *map(len, lines))
    sheet = Image.new("RGB", (side, side), INKS[" "])
    for y, line in enumerate(lines, (side - len(lines)) // 2):
        for x, letter in enumerate(line):
            sheet.putpixel((x, y), ImageColor.getrgb(INKS.get(letter, "grey")))
    return np.asarray(sheet.resize(SIZE, Image.Resampling.NEAREST))


def watch(experiment, seed=0):
    """Trains a run (or takes it, if it was trained before) while its curve grows on the page; returns the Run."""
    view = live.Watch()
    on_epoch = grid.progress("[1 of 1]", experiment, seed, tell=view)
    run = train.train(experiment, seed, runs.LOCAL, on_epoch=on_epoch)
    view.draw(experiment, seed, run.curve)
    return run


def beside(run):
    """A run of one's own and the quick runs of C11, made here or recorded, as one table like those of `grid.get`."""
    stores = [("quick", runs.read(store)) for store in (runs.LOCAL, runs.QUICK)]
    others = experiments.fullest(stores, "C11", standin=run.data["standin"])[1]
    return pd.concat([pd.DataFrame([{"arm": "this run"} | run.record]), others], ignore_index=True)
