"""What a figure is, its look, and those about single images: photographs, filters, feature maps, what a net says."""

import functools
import hashlib
import io
import re
from html import escape

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any kind of colour vision. They mean the same in every figure.
COLOURS = {"tied": "#D55E00", "untied": "#0072B2", "plain": "#009E73", "paper": "#000000"}
PANEL, INK, GREY = "#FCFBF8", "#222222", "#666666"  # in dark mode the page turns them round; grey: of no family
OTHERS = (GREY, "#96367A", "#806000")  # for several lines of no family in one panel
SVG = "image/svg+xml"
WIDTH = 6.8  # inches, of every figure
DASHED = {"color": COLOURS["paper"], "lw": 1.2, "ls": (0, (6, 3))}  # to compare with: the paper's value, a margin


def theme():
    """The look of every figure; set once, when this module is imported."""
    sns.set_theme(style="whitegrid", font="DejaVu Sans", font_scale=0.85)
    rc("svg", fonttype="none", hashsalt="recnet")  # text stays text; ids come from the content, not from chance
    rc("axes", edgecolor=INK, titlelocation="left")
    rc("axes.spines", top=False, right=False)
    rc("grid", color="#DDDAD2")
    rc(("axes", "figure", "savefig"), facecolor=PANEL)


theme()


class Picture:
    """A figure with its alternative text, which shows itself in a notebook as SVG. A photo's holds one PNG; dark mode
    inverts the colours of its text alone.

    The alternative text begins with what is shown, up to the first full stop, colon or semicolon: fit for a caption,
    to which `finding` adds what comes out, a sentence made from the numbers ("" where there is none).
    The figure is one of `matplotlib.figure`, unknown to pyplot: no backend shows it again, and none has to be chosen.
    """

    def __init__(self, figure, alt, photo=False, finding=""):
        self.figure, self.alt, self.photo, self.finding = figure, alt[:1].upper() + alt[1:], photo, finding

    def titled(self, caption):
        """The same picture under a caption, a sentence without its full stop: the alternative text begins with it."""
        return Picture(self.figure, f"{caption}. {self.alt}", self.photo, self.finding)

    def __repr__(self):
        return f"Picture: {self.alt}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {SVG: self.data}, {SVG: {"alt": self.alt, "finding": self.finding}}

    @functools.cached_property
    def data(self):
        """The SVG, as wide as its place allows and fit to stand beside others in one page.

        Matplotlib numbers its ids from 1 in every figure; here they get a prefix made from the content.
        """
        dated = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        self.figure.savefig(file := io.StringIO(), format="svg", dpi=128, metadata=dated)  # dpi: of photos
        body = file.getvalue().partition("<svg")[2].partition(">")[2]
        prefix = "f" + hashlib.sha256((body + self.alt).encode()).hexdigest()[:10]
        body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
        width, height = 72 * self.figure.get_size_inches()
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
            f'aria-label="{escape(self.alt)}" viewBox="0 0 {width:g} {height:g}" width="100%" '
            f'class="{"photo" if self.photo else "drawing"}" '
            f'style="max-width: {1.6 * width:.0f}px">{body}'
        )


def nothing():
    """The picture of no runs."""
    figure = Figure((WIDTH, 1))
    figure.text(0.5, 0.5, "no runs recorded yet", ha="center", va="center")
    return Picture(figure, "No runs recorded yet.")


def mix(colour, other, share):
    return to_hex((1 - share) * np.array(to_rgb(colour)) + share * np.array(to_rgb(other)))


def _readable(ax):
    """Turns the numbers in the cells of a heat map white where that has the contrast of 4.5 to 1, else black."""
    for text, fill in zip(ax.texts, ax.collections[0].get_facecolors(), strict=True):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in fill[:3]]
        luminance = np.dot(linear, (0.2126, 0.7152, 0.0722))
        text.set_color("white" if 1.05 / (luminance + 0.05) >= 4.5 else "black")


def photographs(images, captions=(), columns=10, rows=(), what="images", size=0.6):
    """Images, each (H, W[, C]), uint8 or 0..1, or None for a gap, in a grid of squares of `size` inches.

    captions: one under each. rows: a label for each row of the grid. what: the alternative text calls them so.
    """
    if not len(images):
        return nothing()
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    step = np.array([size + 0.05, size + 0.05 + 0.15 * lines])
    margin = 0.1 + 0.085 * max(map(len, rows), default=0)
    width, height = (min(columns, len(images)), -(-len(images) // columns)) * step + (margin, 0.05)
    figure = Figure((width, height))
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    for i, image in enumerate(images):
        left, top = (i % columns, i // columns) * step + (margin, 0.05)
        if image is not None:
            x, place = np.squeeze(image), (left, left + size, top + size, top)
            white = 255 if x.dtype == np.uint8 else 1
            ax.imshow(x, "gray", vmin=0, vmax=white, extent=place, interpolation="nearest", aspect="auto")
        if captions:
            ax.text(left + size / 2, top + size + 0.02, captions[i], ha="center", va="top", size=7.5)
    for i, row in enumerate(rows):
        ax.text(margin - 0.08, 0.05 + i * step[1] + size / 2, row, ha="right", va="center", size=9)
    ax.axis("off")
    words = [what] + [f"rows: {', '.join(rows)}"] * bool(rows) + [text.replace("\n", ", ") for text in captions]
    return Picture(figure, f"{sum(image is not None for image in images)} {'; '.join(words)}.", photo=True)


def samples(images, labels, classes, each=10):
    """The paper's figure 4: a row a class, of each the first `each` images. images (N, H, W, C) uint8, labels (N,)."""
    index = np.concatenate([np.flatnonzero(np.asarray(labels) == c)[:each] for c in range(len(classes))])
    return photographs(images[index], columns=each, rows=classes, what=f"sample images, {each} a class", size=0.5)


def mistakes(images, worst, classes):
    """The mistakes a net is surest of. images: the held-out ones; worst: what the probe `mistakes` of one run found."""
    words = [f"{classes[m['label']]}\nas {classes[m['guess']]}\n{100 * m['confidence']:.1f} %" for m in worst]
    what = "misclassified images that a net is surest of (label, as prediction, confidence)"
    return photographs([images[m["index"]] for m in worst], words, columns=8, what=what, size=0.78)


def filters(kernels):
    """A first layer's filters, (height, width, channels in, filters): mid-grey is 0, each at its own contrast."""
    k = np.moveaxis(np.asarray(kernels), -1, 0)
    scaled = 0.5 + 0.5 * k / np.maximum(np.abs(k).max((1, 2, 3), keepdims=True), 1e-12)
    return photographs(scaled, what=f"learned filters of {k.shape[1]}x{k.shape[2]} pixels, 0 in mid-grey")


def feature_maps(image, maps, each=10):
    """An image (H, W, C) on its way through a net: the first `each` channels of maps, {step: (H, W, channels)}."""
    images = [image] + [None] * (each - 1)
    for x in maps.values():
        x = np.moveaxis(np.asarray(x, float)[..., :each], -1, 0)
        low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
        images += [*((x - low) / np.maximum(high - low, 1e-12))] + [None] * (each - len(x))
    return photographs(images, columns=each, rows=["input", *maps], what="images, input and feature maps", size=0.5)


def course(image, chances, classes, label, trained):
    """An image beside the chances (classes, steps + 1), in %, that a net gives each class after step 0, 1, ...; `label`
    is the true class (None: nobody knows), `trained` the number of steps the net was trained with."""
    figure = Figure((WIDTH, 3.4))
    photo, ax = figure.subplots(1, 2, width_ratios=(1, 3))
    photo.imshow(np.squeeze(image), "gray", interpolation="nearest")
    photo.axis("off")
    names = [f"{name} (true)" if i == label else name for i, name in enumerate(classes)]
    sns.heatmap(pd.DataFrame(chances, names), ax=ax, cmap="Blues", vmin=0, vmax=100, cbar=False, annot=True, fmt=".0f")
    _readable(ax)
    ax.axvline(trained + 1, **DASHED)
    ax.set(xlabel="step of the read-out; dashed: the end of what was trained", ylabel="")
    ax.tick_params("y", rotation=0)
    figure.tight_layout()
    said = ", ".join(f"{t}: {classes[c.argmax()]} {c.max():.0f} %" for t, c in enumerate(chances.T))
    shown = "" if label is None else f"The image shows: {classes[label]}. "
    return Picture(figure, f"Chances of each class by step. {shown}The net says {said}.")


def confusion(labels, predictions, classes):
    """Counts of (label, prediction), integers; predictions may be of the first images alone, or a string of digits."""
    if not len(predictions):
        return nothing()
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels[: len(predictions)], [int(p) for p in predictions]), 1)
    wrong = pd.DataFrame(counts - np.diag(np.diag(counts)), classes, classes)
    figure = Figure((WIDTH, 5.4), layout="constrained")
    ax = figure.subplots()
    sns.heatmap(wrong, ax=ax, cmap="Oranges", annot=counts, fmt="d", cbar=False, linewidths=1, linecolor=PANEL)
    _readable(ax)
    ax.tick_params("x", rotation=45, rotation_mode="xtick")
    ax.set(xlabel="prediction", ylabel="label")
    worst = wrong.melt(ignore_index=False).nlargest(5, "value").itertuples()
    most = "; ".join(f"{label} as {guess}, {n}" for label, guess, n in worst)
    images = f"{counts.sum():,} images, {wrong.to_numpy().sum():,} wrong"
    alt = f"Confusion, in counts of {images}. Most often: {most}."
    return Picture(figure, alt, finding=f"Counts of {images}. Most often (label as prediction): {most}.")
