"""The figures: one function a kind, runs or arrays in, a `Picture` with its alternative text out.

A `frame` is what `grid.get` returns: a row a run, its arm in the column `arm`. It may be empty (nothing recorded yet):
then a figure says so. Errors are in %, intervals are 95 %, each seed is a dot or a thin line of its own.
"""

import base64
import functools
import hashlib
import inspect
import io
import re
import textwrap
from collections import namedtuple
from html import escape
from itertools import pairwise

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lib import stats

# Okabe and Ito's colours, told apart with any kind of colour vision. These four mean the same in every figure.
COLOURS = {"tied": "#D55E00", "untied": "#0072B2", "plain": "#009E73", "paper": "#000000"}
OTHERS = ("#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#882255", "#999933")  # the last two are Tol's, as safe
# The words in an arm's label that tell its family; the first that fits counts ("untied" holds "tied").
FAMILIES = {"untied": "untied|residual|resnet|depth-1", "tied": "tied|recnet", "plain": "plain"}
PANEL, INK = "#FCFBF8", "#222222"  # light in dark mode too, where a figure is a card
WIDTH = 6.8  # inches, of every figure
SIDES = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))  # of a point, where its label may stand
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
    """A figure with its alternative text, which shows itself in a notebook: as SVG, or as PNG where it is a photo.

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
        mime = "image/png" if self.photo else "image/svg+xml"
        return {mime: self.data}, {mime: {"alt": self.alt, "finding": self.finding}}

    @functools.cached_property
    def data(self):
        """The PNG in base64, or the SVG, as wide as its place allows and fit to stand beside others in one page.

        Matplotlib numbers its ids from 1 in every figure; here they get a prefix made from the content.
        """
        dated = dict.fromkeys(["Software"] if self.photo else ["Creator", "Date", "Format", "Type"])
        self.figure.savefig(file := io.BytesIO(), format="png" if self.photo else "svg", dpi=128, metadata=dated)
        if self.photo:
            return base64.b64encode(file.getvalue()).decode()
        body = file.getvalue().decode().partition("<svg")[2].partition(">")[2]
        prefix = "f" + hashlib.sha256((body + self.alt).encode()).hexdigest()[:10]
        body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
        width, height = 72 * self.figure.get_size_inches()
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
            f'aria-label="{escape(self.alt)}" viewBox="0 0 {width:g} {height:g}" width="100%" '
            f'style="max-width: {1.6 * width:.0f}px">{body}'
        )


def nothing():
    """The picture of no runs."""
    figure = Figure((WIDTH, 1))
    figure.text(0.5, 0.5, "no runs recorded yet", ha="center", va="center")
    return Picture(figure, "No runs recorded yet.")


def pm(values, digits=1):
    """A mean in prose: "12.3 ± 0.4" (standard deviation), "12.3" of one value, "-" of none; None is skipped."""
    values = pd.Series(values, dtype=float).dropna()
    spread = f" ± {values.std():,.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():,.{digits}f}{spread}" if len(values) else "-"


def say(text):
    """Shows Markdown: prose whose numbers come from records, through an f-string."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def show(*objects):
    """Shows the source of functions, classes or methods, so that a notebook need not repeat what it calls."""
    say("```python\n" + "\n\n".join(textwrap.dedent(inspect.getsource(o)).rstrip() for o in objects) + "\n```")


def probe(frame, name, field=None):
    """What a probe measured: {arm: [its value, a run each]}; arms without it are left out.

    field: an entry of that value or, where it has no such entry, of each of its entries ("size" of every update).
    """
    found = {}
    for row in frame.itertuples():
        value = row.probes.get(name)
        if value and field:
            value = value[field] if field in value else {key: entry[field] for key, entry in value.items()}
        if value:
            found.setdefault(row.arm, []).append(value)
    return found


def _short(value, form=".3g"):
    """272474 -> "272k", for labels; with "#.3g" a measured 13 is "13.0"."""
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= s), (1, ""))
    return f"{value / size:{form}}".rstrip(".") + unit


def _extremes(values, where=""):
    """The lowest and the highest of {label: number}, as a sentence; "" where there are not two."""
    if len(values) < 2:
        return ""
    low, high = (f"{label}, {_short(values[label])}" for label in (f(values, key=values.get) for f in (min, max)))
    return f"Lowest{where}: {low}; highest: {high}."


def _name(measure):
    """The column "val_error" -> "validation error, %"."""
    words = {"val": "validation", "train": "training", "held_out": "held-out"}
    return f"{words.get(name := measure.removesuffix('_error'), name)} error, %"


def _panel(height, columns=1):
    figure = Figure((WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=True)


def mix(colour, other, share):
    return to_hex((1 - share) * np.array(to_rgb(colour)) + share * np.array(to_rgb(other)))


def colours(labels):
    """{label: colour}: its family's where the label names it, paler for earlier members; else one of the others."""
    family = {x: next((f for f, words in FAMILIES.items() if re.search(words, x.lower())), None) for x in labels}
    chosen = {}
    for label, own in family.items():
        members = [other for other in family if family[other] == own]
        place = members.index(label) + 1
        pale = 0.6 * (1 - place / len(members))
        chosen[label] = mix(COLOURS[own], "white", pale) if own else OTHERS[place % len(OTHERS) - 1]
    return chosen


def _groups(frame, measure):
    """{arm: a column's values, a seed each}, without the runs that lack it."""
    found = frame.dropna(subset=[measure]).groupby("arm", sort=False)[measure]
    return {arm: values.to_numpy(float) for arm, values in found}


def _interval(rows, measure):
    """(low, high) of the mean of an arm's runs: over seeds, and over images too where each run's mistakes are known."""
    known = measure == "test_error" and "wrong" in rows and rows.wrong.notna().all()
    masks = (stats.unpack(run.wrong, len(run.predictions)) for run in rows.itertuples()) if known else ()
    return stats.mean(np.array([*masks]) if known else rows[measure])[1:3]


def _log(axis):
    """A logarithmic axis whose ticks can be read also where it spans less than a decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = np.log10(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _label_ends(ax, ends):
    """A label right of the panel for each line, [(x, y of its end, text, colour)]; those that overlap move apart."""
    ends = sorted(ends, key=lambda end: end[1])
    ax.autoscale_view()  # else the limits are not known before the figure is drawn
    places = (ax.transScale + ax.transLimits).transform([end[:2] for end in ends])[:, 1]
    gap = 0.2 / (ax.figure.get_size_inches()[1] - 0.6)  # a line of text, as a share of the panel's height
    for _ in range(500):
        overlap = np.clip(gap - np.diff(places), 0, None) / 2
        places[:-1] -= overlap
        places[1:] += overlap
    for (*end, text, colour), place in zip(ends, places, strict=True):
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.9, "ls": (0, (1, 3)), "shrinkB": 3, "relpos": (0, 0.5)}
        style = {"va": "center", "color": mix(colour, "black", 0.35), "arrowprops": leader, "annotation_clip": False}
        ax.annotate(text, end, (1.04, place), textcoords="axes fraction", **style)


def _label_points(ax, points, lines=()):
    """A label beside each point, [(x, y, text, colour)], in the first place around it that is free, also of the lines
    [(x of its points, y of them)]."""
    ax.autoscale_view()
    size = ax.figure.get_size_inches() - (1, 0.8)  # of the panel, about
    spots = (ax.transScale + ax.transLimits).transform([p[:2] for p in points]) * size
    taken = [(spot, 0.06) for spot in spots]  # what is on the panel: centre and half its size, in inches
    for line in lines:
        ends = (ax.transScale + ax.transLimits).transform(np.transpose(line)) * size
        taken += [(spot, 0.02) for a, b in pairwise(ends) for spot in np.linspace(a, b, 40) if np.isfinite(spot).all()]
    for (*point, text, colour), spot in zip(points, spots, strict=True):
        half = np.array([0.039 * len(text), 0.07])
        shifts = [(half + distance) * side for distance in (0.08, 0.2) for side in SIDES]
        shifts = [shift for shift in shifts if (spot + shift - half)[0] > 0] or shifts  # not on the axis
        free = [s for s in shifts if all(np.any(abs(spot + s - at) > half + other) for at, other in taken)]
        shift = (free or shifts)[0]
        taken.append((spot + shift, half))
        style = {"ha": "center", "va": "center", "size": 9, "color": mix(colour, "black", 0.35)}
        ax.annotate(text, point, 72 * shift, textcoords="offset points", **style)


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


def _table(values, log=False):
    """A row a run, a column a step, from a sequence (from 0), a mapping, or a list of these; log: what is above 0."""
    one = isinstance(values, dict) or not isinstance(values[0], (dict, list, tuple, np.ndarray))
    runs = [v if isinstance(v, dict) else dict(enumerate(v)) for v in ([values] if one else values)]
    table = pd.DataFrame(runs, dtype=float)
    return (table[table > 0] if log else table).dropna(axis=1, how="all")


def _draw(ax, series, shade, style="-", log=False):
    """The runs of each label thin, their mean thick. Returns their ends, {label: end}, and their courses in words."""
    tables = {label: table for label, values in series.items() if (table := _table(values, log)).size}
    steps = list(dict.fromkeys(step for table in tables.values() for step in table))
    named = any(isinstance(step, str) for step in steps)
    if named:
        short = [re.sub(r"stage(\d+)_step(\d+)", r"\1.\2", step) for step in steps]
        ax.set_xticks(range(len(steps)), short, size=10 if len(steps) < 16 else 7.5)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends, courses = {}, []
    for label, table in tables.items():
        x, mean, colour = [steps.index(step) if named else step for step in table], table.mean(), shade[label]
        ax.plot(x, table.to_numpy().T, style, color=colour, lw=0.7, alpha=0.5)
        ax.plot(x, mean, style, color=colour, lw=1.8, marker="." if len(x) < 16 else None)
        first, last = (_short(value, "#.3g") for value in (mean.iloc[0], mean.iloc[-1]))
        ends[label] = (x[-1], mean.iloc[-1], f"{label}: {last}", colour)
        courses.append(f"{label} from {first} to {last}")
    return ends, courses


def _finish(figure, ends, courses, ylabel, xlabel, lines=None, log=False):
    """Lines across, {label: value}, axes and labels of a figure of lines; its Picture."""
    if not ends:
        return nothing()
    for ax in figure.axes:
        ax.set(xlabel=xlabel, xmargin=0.02)
    for label, value in (lines or {}).items():
        ax.axhline(value, **DASHED)
        ends[label, value] = (ax.get_xlim()[1], value, f"{label}: {value:.3g}", INK)
        courses.append(f"line: {label}, {value:.3g}")
    figure.axes[0].set_ylabel(ylabel)
    if log:
        _log(figure.axes[0].yaxis)
    _label_ends(ax, ends.values())
    return Picture(figure, f"{ylabel} by {xlabel}. First to last: {'; '.join(courses)}.".replace("\n", " "))


def per_step(series, ylabel, xlabel="step", reference=None, trained=None, log=False):
    """A line a label. series: {label: values}, values a sequence (steps from 0), {step: value}, or a list of these.

    A step is a number or a name ("stage2_step1"). A list is of runs, thin lines with their mean. reference:
    {label: value}, lines across. trained: marks this step. log: of the y axis, on which 0 is left out.
    """
    figure, ax = _panel(3.5)
    ends, courses = _draw(ax, series, colours(series), log=log)
    if trained is not None:
        ax.axvline(trained, color=INK, lw=1, ls=":")
        ax.text(trained, 1, "trained", transform=ax.get_xaxis_transform(), va="bottom", ha="center")
        courses.append(f"trained with {trained} steps")
    return _finish(figure, ends, courses, ylabel, xlabel, reference, log)


def learning_curves(frame, paper=None):
    """Error against epoch: validation and, dashed, training as Keras prints it meanwhile. paper: {label: error}."""
    figure, ax = _panel(3.5)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ends, courses, shade, arms = {}, [], colours(frame.arm.unique()), frame.groupby("arm", sort=False)
    for what, column, style in (("while training", "train_error", "--"), ("validation", "val_error", "-")):
        series = {arm: [{e["epoch"]: e[column] for e in c} for c in rows.curve] for arm, rows in arms}
        found, words = _draw(ax, series, shade, style)
        ends |= found
        courses += [f"{what}: {', '.join(words)}"] if words else []
    ax.set_title("dashed: while training; solid: validation")
    last = {arm: end[1] for arm, end in ends.items()}
    picture = _finish(figure, ends, courses, "error, %", "epoch", paper)
    picture.finding = _extremes(last, " at the end")
    return picture


def gradients(frame):
    """Norm of the loss gradient for each 3x3 convolution, first layer to last, before training and after one epoch."""
    figure, panels = _panel(3.5, 2)
    courses, shade = [], colours(frame.arm.unique())
    for ax, when, title in zip(panels, ("start", "epoch1"), ("before training", "after epoch 1"), strict=True):
        found = probe(frame, f"gradients_{when}", "layers").items()
        series = {arm: [dict(zip(np.linspace(0, 1, len(r)), r, strict=True)) for r in runs] for arm, runs in found}
        ends, words = _draw(ax, series, shade, log=True)
        ax.set_title(title)
        courses.append(f"{title}: {', '.join(words)}")
    return _finish(figure, ends, courses, "norm of the gradient", "3x3 layers,\nfirst (0) to last (1)", log=True)


def readouts(frame):
    """Error read out after every step of the last stage and, for tied nets, past the number of steps trained with."""
    found, series, counts = probe(frame, "readouts_end"), {}, set()
    for arm, runs in found.items():
        first = runs[0].get("first", 0)  # not in older records, of nets that can be read out from the start
        counts.add(first + len(runs[0]["trained"]) - 1)
        series[arm] = [
            dict(enumerate(run["trained"], first)) | {int(t): e for t, e in run["beyond"].items()} for run in runs
        ]
    trained = counts.pop() if len(counts) == 1 else None
    picture = per_step(series, "error, %", "step of the last stage", trained=trained)
    last = {arm: np.mean([run["trained"][-1] for run in runs]) for arm, runs in found.items()}
    picture.finding = _extremes(last, " after the last trained step")
    for arm, runs in found.items():
        if beyond := runs[0]["beyond"]:
            step = max(beyond, key=int)
            picture.finding += f" After {step} steps: {arm}, {np.mean([run['beyond'][step] for run in runs]):.1f}."
    return picture


def functions(x, curves):
    """Two functions over x, {label: values}, their difference and where it is largest."""
    (a, first), (b, second) = curves.items()
    gap = np.asarray(second) - np.asarray(first)
    top = np.abs(gap).argmax()
    series = {label: dict(zip(x, y, strict=True)) for label, y in (curves | {f"{b} minus {a}": gap}).items()}
    return per_step(series, "f(x)", "x", {f"largest gap, at x = {x[top]:.2g}": gap[top]})


# Dots, the text at their right end, colour; interval and centre, if not those of the mean; where a bar to it starts.
_Row = namedtuple("_Row", "values text colour interval left centre", defaults=(None, None, None))


SEEDS = "dots are seeds, the line is the 95 % interval, ± the standard deviation"
ROUNDS = "dots are rounds, bars their medians (and these as shares of the fastest)"


def _rows(rows, xlabel, lines=None, log=False, dots=SEEDS):
    """A row a label, {label: _Row}, from top to bottom; lines: {label: value}, dashed, across them."""
    if not rows:
        return nothing()
    lines = lines or {}
    figure, ax = _panel(0.85 + 0.36 * len(rows) + 0.2 * len(lines))
    for i, (values, text, colour, interval, left, centre) in enumerate(rows.values()):
        mean, low, high, _ = stats.mean(values)
        mean = mean if centre is None else centre
        if left is not None:
            ax.barh(i, mean - left, 0.6, left=left, color=mix(colour, PANEL, 0.6))
        ax.plot(interval or (low, high), [i, i], color=colour)
        ax.plot([mean] * (len(values) > 1), [i] * (len(values) > 1), "|", color=colour, ms=13, mew=1.8)
        dot = {"color": colour, "alpha": 0.75, "edgecolor": "white", "lw": 0.6, "zorder": 3, "clip_on": False}
        ax.scatter(values, [i] * len(values), 28, **dot)
        ax.text(1.02, i, text, transform=ax.get_yaxis_transform(), va="center")
    words = []
    for k, (label, value) in enumerate(sorted(lines.items(), key=lambda line: line[1])):
        ax.axvline(value, **DASHED)
        side, floor = (
            ("right", 0) if k == 0 and len(lines) > 1 else ("left", max(k - 1, 0))
        )  # a floor each above the first
        ax.annotate(
            f" {label} {value:g} ",
            (value, 1),
            (0, 2 + 11 * floor),
            ax.get_xaxis_transform(),
            "offset points",
            ha=side,
            va="bottom",
        )
        words.append(f"line at {value:g}, {label}")
    if any(len(row.values) > 1 for row in rows.values()):
        xlabel += f"\n{dots}"
    ax.set_yticks(range(len(rows)), [textwrap.fill(label, 34) for label in rows])
    ax.set(xlabel=xlabel, xmargin=0.08, ylim=(len(rows) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    if log:
        _log(ax.xaxis)
    words += [f"{label}: {row.text}" for label, row in rows.items()]
    return Picture(figure, f"{xlabel}. {'; '.join(words)}.".replace("\n", ", "))


def errors(frame, measure=None, paper=None, sort=False):
    """A row an arm: its seeds, their mean and its interval; paper: {label: error}; sort: the lowest mean first.

    measure: "test_error", "val_error" or "train_error"; by default as the rules judge, the test error where all runs
    read it, else the validation error. The text at the right is mean ± standard deviation.
    """
    measure = measure or ("test_error" if frame.test_error.notna().all() else "val_error")
    groups = _groups(frame, measure)
    shade, order = colours(groups), sorted(groups, key=lambda arm: groups[arm].mean()) if sort else groups
    interval = {arm: _interval(frame[frame.arm == arm].dropna(subset=[measure]), measure) for arm in order}
    close = any(0 < values.std() < 0.05 for values in groups.values())  # else some would be "± 0.0"
    rows = {arm: _Row(groups[arm], pm(groups[arm], 1 + close), shade[arm], interval[arm]) for arm in order}
    picture = _rows(rows, _name(measure), paper)
    picture.finding = _extremes({arm: values.mean() for arm, values in groups.items()})
    return picture


def bars(series, xlabel):
    """Grouped bars. series: {group: {bar: value}, or a list of these, a run each}, as `probe` gives them."""
    columns = {(group, bar): column for group, values in series.items() for bar, column in _table(values).items()}
    shade = dict(zip(dict.fromkeys(bar for _, bar in columns), OTHERS, strict=False))
    digits = int(any((values % 1).any() for values in columns.values()))  # counts stand without ".0"
    rows = {", ".join(key): _Row(v.dropna(), pm(v, digits), shade[key[1]], left=0) for key, v in columns.items()}
    picture = _rows(rows, xlabel)
    picture.finding = _extremes({label: values.mean() for label, (values, *_) in rows.items()})
    return picture


def waterfall(frame, measure="test_error"):
    """From the first arm to the last, a change a row: the bar spans the change of the mean."""
    rows, before, changes = {}, 0.0, {}
    for arm, values in _groups(frame, measure).items():
        mean = values.mean()
        changes |= {arm: mean - before} if rows else {}
        colour = COLOURS["tied" if mean > before else "untied"] if rows else OTHERS[3]
        rows[arm] = _Row(values, f"{mean:.1f}" + (f" ({mean - before:+.1f})" if rows else ""), colour, left=before)
        before = mean
    picture = _rows(rows, _name(measure))
    if changes:
        largest = min(changes, key=changes.get)
        picture.finding = f"Largest gain: {largest}, {changes[largest]:+.1f} points."
    return picture


def cost(values, unit):
    """{label: number} on a logarithmic scale, the smallest first, each with how many times the smallest it is."""
    order, least = sorted(values.items(), key=lambda item: item[1]), min(values.values(), default=None)
    times = {k: f"{v / least:,.{0 if v > 100 * least else 1}f}" for k, v in order}
    rows = {k: _Row([v], f"{_short(v)} ({times[k]}×)", COLOURS["untied"], (least, v)) for k, v in order}
    picture = _rows(rows, unit, log=True)
    picture.finding = _extremes(values)
    return picture


def speeds(series, unit):
    """Repeated measurements, {label: [value, ...]}, the fastest first: their medians, and a line from least to most."""
    median = {label: float(np.median(values)) for label, values in series.items()}
    rows = {}
    for label in sorted(series, key=median.get, reverse=True):
        colour, (low, *_, high) = COLOURS["tied" if label == "ours" else "untied"], sorted(series[label])
        text = f"{median[label]:,.0f} ({100 * median[label] / max(median.values()):.0f} %)"
        rows[label] = _Row(series[label], text, colour, (low, high), 0, median[label])
    picture = _rows(rows, unit, dots=ROUNDS)
    picture.finding = _extremes(median)
    return picture


def differences(contrasts, bounds=None):
    """Differences with their intervals, {label: stats.Estimate or (value, low, high)}; bounds: {label: margin}."""
    rows, known = {}, [estimate for estimate in contrasts.values() if estimate[1] <= estimate[2]]
    for label, (value, low, high, *_) in contrasts.items():
        span = f" [{low:+.2f}, {high:+.2f}]" if low <= high else ""  # one seed has none
        rows[label] = _Row([value], f"{value:+.2f}{span}", COLOURS["tied"], (low, high))
    picture = _rows(rows, "difference in points, with its 95 % interval", {"no difference:": 0} | (bounds or {}))
    if known:
        sure = [
            f"{label}, {v:+.2f}"
            for label, (v, low, high, *_) in contrasts.items()
            if 0 < low <= high or low <= high < 0
        ]
        named = f" ({'; '.join(sure)})" * (0 < len(sure) < 4)
        picture.finding = f"Intervals that leave zero out: {len(sure)} of {len(known)}{named}."
    return picture


def _family(experiment):
    """("tied", 20): what a net is but for its depth; its depth in weight layers, None outside He et al.'s family."""
    options = dict(experiment["options"])
    n = options.pop("n", None)
    name = {"resnet": "untied", "recnet": "tied"}.get(experiment["architecture"], experiment["architecture"])
    return ", ".join([name, *(f"{key} {value}" for key, value in options.items())]), 6 * n + 2 if n else None


def tradeoff(frame, against="parameters", measure="test_error", literature=None):
    """Error against "depth", "parameters" or "flops", of one recipe; nets that differ in depth alone make a family.

    The number beside a point is its depth in weight layers; dots join tied and untied nets of one depth. literature:
    a DataFrame with the columns label, error and `against`: hollow grey marks. Raises ValueError on runs that were not
    trained on equally many images.
    """
    xlabel = {"depth": "weight layers", "flops": "FLOPs of a forward pass", "parameters": "trainable weights"}[against]
    frame = frame.dropna(subset=[measure])
    if frame.empty:
        return nothing()
    if len(counts := sorted(set(frame.n_train))) > 1:
        raise ValueError(f"runs on {' and on '.join(f'{n:,.0f}' for n in counts)} images can't share a picture")
    frame[["family", "depth"]] = [_family(e) for e in frame.experiment]
    figure, ax = _panel(4.2)
    shade, points, words, lines = colours(sorted(frame.family.unique(), key=len, reverse=True)), [], [], []
    for _, twins in frame[frame.family.isin(["tied", "untied"])].groupby("depth"):  # tied and untied of one depth
        ends = twins.groupby("family")[[against, measure]].mean()
        ax.plot(*ends.T.to_numpy(), color="#777777", lw=1, ls=":", zorder=1)
    for family, rows in frame.dropna(subset=[against]).groupby("family", sort=False):
        groups, colour = rows.groupby(against), shade[family]
        mean = groups[measure].mean()
        ax.plot(mean.index, mean, "o-", color=colour, ms=4, zorder=3)
        lines.append((mean.index, mean))
        ax.scatter(rows[against], rows[measure], 16, color=colour, alpha=0.5, zorder=3)
        for x, runs in groups:
            ax.plot([x, x], _interval(runs, measure), color=colour)
            lines.append(([x, x], _interval(runs, measure)))
        depths = [f"{depth:.0f}" if depth > 0 and against != "depth" else "" for depth in groups.depth.first()]
        labels = [*depths[:-1], f"{family}, {depths[-1]}".removesuffix(", ")]
        points += [(x, y, label, colour) for (x, y), label in zip(mean.items(), labels, strict=True) if label]
        words.append(f"{family} {', '.join(f'{y:.1f} at {_short(x)}' for x, y in mean.items())}")
    finding = f"{_name(measure)[:1].upper()}{_name(measure)[1:]}: {'; '.join(words)}."
    if literature is not None:
        ax.scatter(literature[against], literature.error, 34, facecolor="none", edgecolor="#777777")
        published = [(getattr(row, against), row.error, row.label, "#777777") for row in literature.itertuples()]
        words.append(f"published: {', '.join(f'{text} {y:g} at {_short(x)}' for x, y, text, _ in published)}")
        points += published
    ax.set(xlabel=xlabel, ylabel=_name(measure), xmargin=0.18, ymargin=0.1)
    if against == "depth":
        ax.set_xticks(sorted({*frame.depth.dropna(), *([] if literature is None else literature.depth)}))
    else:
        _log(ax.xaxis)
    _label_points(ax, points, lines)
    return Picture(figure, f"{_name(measure)} against {xlabel}. {'; '.join(words)}.", finding=finding)


def frontier(frame, cost, xlabel, measure="val_error"):
    """Error against what a run took, its column `cost`: a dot a run; a line of steps joins those that no run that took
    less has beaten, with the `label` of a net at its best. The column `family` gives the colour."""
    frame = frame.dropna(subset=[measure])
    if frame.empty:
        return nothing()
    frame = frame.sort_values(cost)
    best = frame[frame[measure] < frame[measure].cummin().shift(fill_value=np.inf)]
    figure, ax = _panel(4.2)
    shade = colours(frame.family.unique())
    ax.plot(best[cost], best[measure], color="#777777", lw=1, drawstyle="steps-post", zorder=1)
    ax.scatter(frame[cost], frame[measure], 22, [shade[family] for family in frame.family], alpha=0.75, zorder=3)
    ax.set(xlabel=xlabel, ylabel=_name(measure), xmargin=0.12, ymargin=0.1)
    _log(ax.xaxis)
    named = best.drop_duplicates("label", keep="last")
    points = list(zip(named[cost], named[measure], named.label, named.family.map(shade), strict=True))
    others = zip(frame[cost], frame[measure], strict=True)
    _label_points(ax, points, [(best[cost], best[measure]), *(([x, x], [y, y]) for x, y in others)])
    words = "; ".join(f"{label}: {y:.1f} at {_short(x)}" for x, y, label, _ in points)
    return Picture(
        figure, f"{_name(measure)} against {xlabel}, {len(frame)} runs. {words}.", finding=f"On the line: {words}."
    )


def course(image, chances, classes, label, trained):
    """An image beside the chances (classes, steps + 1), in %, that a net gives each class after step 0, 1, ...; `label`
    is the true class (None: nobody knows), `trained` the number of steps the net was trained with."""
    figure = Figure((WIDTH, 3.4))
    photo, ax = figure.subplots(1, 2, width_ratios=(1, 3))
    photo.imshow(np.squeeze(image), "gray", interpolation="nearest")
    photo.axis("off")
    names = [f"{name} (true)" if i == label else name for i, name in enumerate(classes)]
    sns.heatmap(pd.DataFrame(chances, names), ax=ax, cmap="Blues", vmin=0, vmax=100, cbar=False, annot=True, fmt=".0f")
    ax.axvline(trained + 1, **DASHED)
    ax.set(xlabel="step of the last stage; dashed: the end of what was trained", ylabel="")
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
    figure, ax = _panel(5.4)
    sns.heatmap(wrong, ax=ax, cmap="Oranges", annot=counts, fmt="d", cbar=False, linewidths=1, linecolor=PANEL)
    ax.tick_params("x", rotation=45, rotation_mode="xtick")
    ax.set(xlabel="prediction", ylabel="label")
    worst = wrong.melt(ignore_index=False).nlargest(5, "value").itertuples()
    most = "; ".join(f"{label} as {guess}, {n}" for label, guess, n in worst)
    alt = f"Confusion of {counts.sum()} images, {wrong.to_numpy().sum()} wrong. Most often: {most}."
    return Picture(figure, alt, finding=f"Most often (label as prediction): {most}.")
