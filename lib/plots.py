"""The figures: one function a kind, runs or arrays in, a `Picture` with its alternative text out. One theme, one palette.

A `frame` is what `grid.get` returns: a row a run, its arm in the column `arm`. It may be empty (nothing recorded yet), which
every function takes in its stride. Errors are in %, intervals are 95 %, each seed is a dot or a thin line of its own.
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
# What a word in an arm's label says about its family; the first that fits counts ("untied" holds "tied").
WORDS = {"untied": "untied", "residual": "untied", "resnet": "untied", "depth-1": "untied"}
WORDS |= {"tied": "tied", "recnet": "tied", "plain": "plain"}
PANEL, INK, FAINT = "#FCFBF8", "#222222", "#DDDAD2"  # light in dark mode too, where a figure is a card
WIDTH = 6.8  # inches, of every figure


def theme():
    """The look of every figure; set once, when this module is imported."""
    sns.set_theme(style="whitegrid", font="DejaVu Sans")
    rc("svg", fonttype="none", hashsalt="recnet")  # text stays text; ids come from the content, not from chance
    rc("axes", edgecolor=INK, labelsize=10, titlesize=10, titlelocation="left")
    rc("axes.spines", top=False, right=False)
    rc("grid", color=FAINT)
    rc("font", size=10)
    rc(("xtick", "ytick"), labelsize=10)
    rc(("axes", "figure", "savefig"), facecolor=PANEL)


theme()


class Picture:
    """A figure with its alternative text, which shows itself in a notebook: as SVG, or as PNG where it is a photo.

    The figure is one of `matplotlib.figure`, unknown to pyplot: no backend shows it a second time, and none has to be chosen.
    """

    def __init__(self, figure, alt, photo=False):
        self.figure, self.alt = figure, alt
        self.mime = "image/png" if photo else "image/svg+xml"

    def __repr__(self):
        return f"Picture: {self.alt}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = base64.b64encode(self.png).decode() if self.mime == "image/png" else self.svg
        return {self.mime: data}, {self.mime: {"alt": self.alt}}

    @functools.cached_property
    def png(self):
        """PNG as bytes, twice as fine as it is shown."""
        self.figure.savefig(buffer := io.BytesIO(), format="png", dpi=200, metadata={"Software": None})
        return buffer.getvalue()

    @functools.cached_property
    def svg(self):
        """SVG as text: as wide as its place allows, and fit to stand inside a page beside others.

        Matplotlib numbers its ids from 1 in every figure; here they get a prefix made from the content.
        """
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self.figure.savefig(buffer := io.StringIO(), format="svg", metadata=metadata)
        body = buffer.getvalue().partition("<svg")[2].partition(">")[2]
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


def _unless_empty(plot):
    """A plot that is replaced by `nothing` where its first argument is empty."""

    @functools.wraps(plot)
    def drawn(*args, **kwargs):
        return plot(*args, **kwargs) if len(next(iter((*args, *kwargs.values())))) else nothing()

    return drawn


# -- words and numbers ------------------------------------------------------------------------------------------------


def pm(values, digits=1):
    """A mean in prose: "12.3 ± 0.4" (standard deviation), "12.3" if there is one value, "-" if none; None is skipped."""
    values = pd.Series(values, dtype=float).dropna()
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}" if len(values) else "-"


def say(text):
    """Shows Markdown: prose whose numbers come from records, through an f-string."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def show(*objects):
    """Shows the source of functions, classes or methods, so that a notebook need not repeat what it calls."""
    source = "\n\n".join(textwrap.dedent(inspect.getsource(o)).rstrip() for o in objects)
    say(f"```python\n{source}\n```")


def probe(frame, name, field=None):
    """What a probe measured: {arm: [its value, a run each]}; arms without it are left out.

    field: an entry of that value, or, where it has no such entry, of each of its entries ("size" of every step's update).
    """
    found = {}
    for row in frame.itertuples():
        value = row.probes.get(name)
        if value and field:
            value = value[field] if field in value else {key: entry[field] for key, entry in value.items()}
        if value:
            found.setdefault(row.arm, []).append(value)
    return found


def _short(value):
    """272474 -> "272k", for labels."""
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= s), (1, ""))
    return f"{value / size:.3g}{unit}"


def _signed(value, digits=1):
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _name(measure):
    """The column "val_error" -> "validation error, %"."""
    return measure.replace("val_", "validation ").replace("train_", "training ").replace("_", " ") + ", %"


# -- pieces of figures ------------------------------------------------------------------------------------------------


def _panel(height):
    figure = Figure((WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _mix(colour, other, share):
    return to_hex((1 - share) * np.array(to_rgb(colour)) + share * np.array(to_rgb(other)))


def colours(labels):
    """{label: colour}: its family's where the label names it, paler for earlier members; else one of the others."""
    family = {label: next((f for word, f in WORDS.items() if word in label.lower()), None) for label in labels}
    chosen = {}
    for label, own in family.items():
        members = [other for other in family if family[other] == own]
        place = members.index(label)
        pale = 0.6 * (1 - (place + 1) / len(members))
        chosen[label] = _mix(COLOURS[own], "white", pale) if own else OTHERS[place % len(OTHERS)]
    return chosen


def _groups(frame, measure):
    """{arm: a column's values, a seed each}, without the runs that lack it."""
    groups = {arm: rows[measure].dropna().to_numpy(float) for arm, rows in frame.groupby("arm", sort=False)}
    return {arm: values for arm, values in groups.items() if len(values)}


def _log(axis):
    """A logarithmic axis whose ticks can be read also where it spans less than a decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = np.log10(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _label_ends(ax, ends):
    """A label right of the panel for each line, [(x, y of its end, text, colour)]; overlapping ones are moved apart."""
    ends = sorted(ends, key=lambda end: end[1])
    ax.autoscale_view()  # else the limits are not known before the figure is drawn
    places = (ax.transScale + ax.transLimits).transform([end[:2] for end in ends])[:, 1]
    gap = 0.2 / (ax.figure.get_size_inches()[1] - 0.6)  # a line of text, as a share of the panel's height
    for _ in range(500):
        overlap = np.clip(gap - np.diff(places), 0, None) / 2
        places[:-1] -= overlap
        places[1:] += overlap
    for (*end, text, colour), place in zip(ends, places, strict=True):
        ink, leader = _mix(colour, "black", 0.35), {"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkB": 3}
        ax.annotate(text, end, (1.03, place), "data", "axes fraction", leader, va="center", color=ink)


def _label_points(ax, points):
    """A label beside each point, [(x, y, text, colour)], at the first of eight places around it that is free."""
    ax.autoscale_view()
    size = ax.figure.get_size_inches() - (1, 0.8)  # of the panel, about
    spots = (ax.transScale + ax.transLimits).transform([p[:2] for p in points]) * size
    taken = [(*(spot - 0.06), *(spot + 0.06)) for spot in spots]  # left, bottom, right, top, in inches
    for (*point, text, colour), spot in zip(points, spots, strict=True):
        half = np.array([0.039 * len(text), 0.08])
        for side in ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
            shift = side * (half + (0.09, 0.09 if side[0] == 0 else 0.05))
            box = (*(spot + shift - half), *(spot + shift + half))
            apart = all(box[2] < a or c < box[0] or box[3] < b or d < box[1] for a, b, c, d in taken)
            if apart and min(box) > 0 and (box[2:] < size).all():
                break
        taken.append(box)
        style = {"ha": "center", "va": "center", "size": 9, "color": _mix(colour, "black", 0.35)}
        ax.annotate(text, point, 72 * shift, textcoords="offset points", **style)


# -- photographs ------------------------------------------------------------------------------------------------------


@_unless_empty
def photographs(images, captions=(), columns=10, rows=(), what="images", size=0.6):
    """Images, each (H, W[, C]), uint8 or 0..1, or None for a gap, in a grid of squares of `size` inches.

    captions: one under each. rows: a label for each row of the grid. what: the alternative text calls them so.
    """
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    step = np.array([size + 0.05, size + 0.05 + 0.15 * lines])
    margin = 0.1 + 0.085 * max((len(row) for row in rows), default=0)
    width, height = (min(columns, len(images)), -(-len(images) // columns)) * step + (margin, 0.05)
    figure = Figure((width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    for i, image in enumerate(images):
        left, top = (i % columns, i // columns) * step + (margin, 0.05)
        if image is not None:
            x = np.squeeze(image) / (255 if image.dtype == np.uint8 else 1)
            ax.imshow(x, "gray", vmin=0, vmax=1, extent=(left, left + size, top + size, top), interpolation="nearest")
        if captions:
            ax.text(left + size / 2, top + size + 0.02, captions[i], ha="center", va="top", size=7.5)
    for i, row in enumerate(rows):
        ax.text(margin - 0.08, 0.05 + i * step[1] + size / 2, row, ha="right", va="center", size=9)
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    ax.axis("off")
    words = [f"rows: {', '.join(rows)}"] * bool(rows) + [caption.replace("\n", ", ") for caption in captions]
    count = sum(image is not None for image in images)
    return Picture(figure, f"{count} {what}{': ' if words else ''}{'; '.join(words)}.", photo=True)


@_unless_empty
def samples(images, labels, classes, each=10):
    """The paper's figure 4: a row a class, of each the first `each` images. images (N, H, W, C) uint8, labels (N,)."""
    index = np.concatenate([np.flatnonzero(np.asarray(labels) == c)[:each] for c in range(len(classes))])
    return photographs(images[index], columns=each, rows=classes, what=f"sample images, {each} a class", size=0.5)


def mistakes(images, worst, classes):
    """The mistakes a net is surest of. images: the held-out ones; worst: what the probe `mistakes` of one run found."""
    words = [f"{classes[m['label']]}\nas {classes[m['guess']]}\n{100 * m['confidence']:.0f} %" for m in worst]
    what = "misclassified images that a net is surest of (label, as prediction, confidence)"
    return photographs([images[m["index"]] for m in worst], words, columns=8, what=what, size=0.78)


def filters(kernels):
    """A first layer's filters, (height, width, channels in, filters): mid-grey is 0, each filter at its own contrast."""
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
    return photographs(images, columns=each, rows=("input", *maps), what="images: the input, and feature maps", size=0.5)


# -- lines ------------------------------------------------------------------------------------------------------------


def _table(values):
    """A row a run, a column a step, from a sequence (its steps are 0, 1, ...), a mapping, or a list of one of these."""
    one = isinstance(values, dict) or not isinstance(values[0], (dict, list, tuple, np.ndarray))
    runs = [v if isinstance(v, dict) else dict(enumerate(v)) for v in ([values] if one else values)]
    return pd.DataFrame(runs, dtype=float).dropna(axis=1, how="all")


def _curves(groups, ylabel, xlabel, lines=None, mark=None, log=False):
    """Lines against steps, {what: {label: values}}: of two groups the first is dashed. lines: {label: value}, across."""
    tables = {(what, label): _table(values) for what, series in groups.items() for label, values in series.items()}
    tables = {key: table for key, table in tables.items() if table.size}
    steps = list(dict.fromkeys(step for table in tables.values() for step in table))
    if not steps:
        return nothing()
    named = isinstance(steps[0], str)
    place = {step: i if named else step for i, step in enumerate(steps)}
    figure, ax = _panel(3.5)
    shade, ends, words = colours([label for _, label in tables]), {}, []
    for (what, label), table in tables.items():
        x, mean, colour = [place[step] for step in table], table.mean(), shade[label]
        style = "--" if len(groups) > 1 and what == next(iter(groups)) else "-"
        ax.plot(x, table.to_numpy().T, style, color=colour, lw=0.7, alpha=0.5)
        ax.plot(x, mean, style, color=colour, lw=1.8, marker="." if len(x) < 50 else None)
        ends[label] = (x[-1], mean.iloc[-1], f"{label} {mean.iloc[-1]:.3g}", colour)
        words.append(f"{what} {label} from {mean.iloc[0]:.3g} to {mean.iloc[-1]:.3g}".strip())
    for label, value in (lines or {}).items():
        ax.axhline(value, color=COLOURS["paper"], lw=1.2, ls=(0, (6, 3)))
        ends[None, label] = (max(place.values()), value, f"{label} {value:.3g}", COLOURS["paper"])
        words.append(f"line: {label}, {value:.3g}")
    if mark is not None:
        ax.axvline(mark, color=INK, lw=1, ls=":")
        ax.text(mark, 1, "trained", transform=ax.get_xaxis_transform(), va="bottom", ha="center")
        words.append(f"trained with {mark} steps")
    if named:
        short = [re.sub(r"stage(\d+)_step(\d+)", r"\1.\2", step) for step in steps]
        ax.set_xticks(range(len(steps)), short, size=10 if len(steps) < 16 else 7.5)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(x=0.02)
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    ax.set_title("dashed: {}    solid: {}".format(*groups) if len(groups) > 1 else "")
    _label_ends(ax, ends.values())
    return Picture(figure, f"{ylabel} by {xlabel}, first to last: {'; '.join(words)}.")


def per_step(series, ylabel, xlabel="step", reference=None, trained=None, log=False):
    """A line a label over steps. series: {label: values}, values being a sequence (from 0), {step: value}, or a list of these.

    A step is a number or a name ("stage2_step1"). A list is of runs, thin lines with their mean. reference: {label: value}
    as lines across. trained: marks this step. log: of the y axis.
    """
    return _curves({"": series}, ylabel, xlabel, reference, trained, log)


def learning_curves(frame, paper=None):
    """Error against epoch, training and validation; training as Keras prints it while training. paper: {label: error}."""
    groups = {"while training": "train_error", "validation": "val_error"}
    for what, column in groups.items():
        curves = frame.curve.map(lambda curve, column=column: {e["epoch"]: e[column] for e in curve})
        groups[what] = curves.groupby(frame.arm, sort=False).agg(list).to_dict()
    return _curves(groups, "error, %", "epoch", paper)


def gradients(frame):
    """Norm of the loss gradient for each 3x3 convolution, first layer to last, before training and after one epoch."""
    moments = {"before training": "gradients_start", "after epoch 1": "gradients_epoch1"}
    groups = {what: probe(frame, name, "layers") for what, name in moments.items()}
    return _curves(groups, "norm of the gradient", "3x3 convolution, the first is 0", log=True)


def readouts(frame):
    """Error read out after every step of the last stage and, for tied nets, past the number of steps trained with."""
    found, series = probe(frame, "readouts_end"), {}
    for arm, runs in found.items():
        series[arm] = [dict(enumerate(run["trained"])) | {int(t): e for t, e in run["beyond"].items()} for run in runs]
    counts = {len(run["trained"]) - 1 for runs in found.values() for run in runs}
    return per_step(series, "error, %", "step of the last stage", trained=counts.pop() if len(counts) == 1 else None)


def functions(x, curves):
    """Two functions over x, {label: values}, their difference and where it is largest."""
    (a, first), (b, second) = curves.items()
    gap = np.asarray(second) - np.asarray(first)
    top = np.abs(gap).argmax()
    series = {label: dict(zip(x, y, strict=True)) for label, y in (curves | {f"{b} - {a}": gap}).items()}
    return per_step(series, "f(x)", "x", {f"largest gap, at x = {x[top]:.2g}:": gap[top]})


# -- rows -------------------------------------------------------------------------------------------------------------

# Dots, the text at their right end, colour; the interval, if not that of the mean; where a bar to the mean starts.
_Row = namedtuple("_Row", "values text colour interval left", defaults=(None, None))


@_unless_empty
def _rows(rows, xlabel, lines=None, log=False):
    """A row a label, {label: _Row}, from top to bottom; lines: {label: value}, dashed, across them."""
    figure, ax = _panel(0.75 + 0.36 * len(rows) + 0.25 * bool(lines))
    for i, (values, text, colour, interval, left) in enumerate(rows.values()):
        mean, low, high, _ = stats.mean(values)
        if left is not None:
            ax.barh(i, mean - left, 0.6, left=left, color=_mix(colour, PANEL, 0.6))
        ax.plot(interval or (low, high), [i, i], color=colour)
        ax.plot(mean, i, "|", color=colour, ms=13, mew=1.8)
        ax.scatter(values, [i] * len(values), 28, color=colour, alpha=0.75, edgecolor="white", lw=0.6, zorder=3)
        ax.text(1.02, i, text, transform=ax.get_yaxis_transform(), va="center")
    for i, (label, value) in enumerate(sorted((lines or {}).items(), key=lambda line: line[1])):
        ax.axvline(value, color=COLOURS["paper"], lw=1.2, ls=(0, (6, 3)))
        side = "right" if i == 0 and len(lines) > 1 else "left"
        ax.text(value, 1.01, f" {label} {value:g} ", transform=ax.get_xaxis_transform(), ha=side, va="bottom")
    ax.set_yticks(range(len(rows)), [textwrap.fill(label, 34) for label in rows])
    ax.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.08)
    if log:
        _log(ax.xaxis)
    words = [f"{label} {row.text}" for label, row in rows.items()] + [f"line: {k}, {v:g}" for k, v in (lines or {}).items()]
    return Picture(figure, f"{xlabel}: {'; '.join(words)}.")


def errors(frame, measure="test_error", paper=None, sort=False):
    """A row an arm: its seeds, their mean and its interval; paper: {label: error}; sort: the lowest mean first.

    measure: "test_error", "val_error" or "train_error". The text at the right is mean ± standard deviation.
    """
    groups = _groups(frame, measure)
    shade, order = colours(groups), sorted(groups, key=lambda arm: groups[arm].mean()) if sort else groups
    return _rows({arm: _Row(groups[arm], pm(groups[arm]), shade[arm]) for arm in order}, _name(measure), paper)


def bars(series, xlabel):
    """Grouped bars. series: {group: {bar: value}, or a list of these, a run each}, as `probe` gives them."""
    tables = {group: _table(values) for group, values in series.items()}
    shade = dict(zip(dict.fromkeys(name for table in tables.values() for name in table), OTHERS, strict=False))
    rows = {f"{group}: {k}": _Row(v := t[k].dropna(), pm(v), shade[k], left=0) for group, t in tables.items() for k in t}
    return _rows(rows, xlabel)


def waterfall(frame, measure="test_error"):
    """From the first arm to the last, a change a row: the bar spans the change of the mean; seeds and interval as ever."""
    rows, before = {}, 0.0
    for arm, values in _groups(frame, measure).items():
        mean = values.mean()
        colour = COLOURS["tied" if mean > before else "untied"] if rows else OTHERS[3]
        rows[arm] = _Row(values, f"{mean:.1f}" + (f"   {_signed(mean - before)}" if rows else ""), colour, left=before)
        before = mean
    return _rows(rows, _name(measure))


def cost(values, unit):
    """{label: number} on a logarithmic scale, the smallest first, each with how many times the smallest it is."""
    least = min(values.values(), default=None)
    order = sorted(values.items(), key=lambda item: item[1])
    rows = {k: _Row([v], f"{_short(v)}  ({v / least:.3g}x)", COLOURS["untied"], (least, v)) for k, v in order}
    return _rows(rows, unit, log=True)


def differences(contrasts, bounds=None, unit="pp"):
    """Differences with their intervals, {label: stats.Estimate or (value, low, high)}, against margins {label: value}."""
    rows = {}
    for label, (value, low, high, *_) in contrasts.items():
        text = f"{_signed(value, 2)}  [{_signed(low, 2)}, {_signed(high, 2)}]"
        rows[label] = _Row([value], text, COLOURS["tied"], (low, high))
    return _rows(rows, f"difference, {unit}, with its 95 % interval", bounds)


# -- the rest ---------------------------------------------------------------------------------------------------------


def _family(experiment):
    """("tied", 20): what a net is but for its depth, and its depth in weight layers, None for one outside He's family."""
    options = dict(experiment["options"])
    n = options.pop("n", None)
    name = {"resnet": "untied", "recnet": "tied"}.get(experiment["architecture"], experiment["architecture"])
    return ", ".join([name, *(f"{key} {value}" for key, value in options.items())]), 6 * n + 2 if n else None


def tradeoff(frame, against="parameters", measure="test_error", literature=None):
    """Error against "depth", "parameters" or "flops"; nets that differ in nothing but depth are joined to a family.

    literature: a DataFrame with the columns label, error, and `against`: hollow grey marks.
    """
    xlabels = {"depth": "weight layers", "flops": "FLOPs of a forward pass", "parameters": "trainable weights"}
    frame = frame.dropna(subset=[measure])
    if frame.empty:
        return nothing()
    frame[["family", "depth"]] = [_family(e) for e in frame.experiment]
    figure, ax = _panel(4.2)
    shade, points, words = colours(frame.family.unique()), [], []
    for family, rows in frame.dropna(subset=[against]).groupby("family", sort=False):
        groups, colour = rows.groupby(against), shade[family]
        mean = groups[measure].mean()
        ax.plot(mean.index, mean, "o-", color=colour, ms=4)
        ax.scatter(rows[against], rows[measure], 16, color=colour, alpha=0.5)
        for x, values in groups[measure]:
            ax.plot([x, x], stats.mean(values)[1:3], color=colour)
        depths = [f"{d:.0f} layers" if against != "depth" and d == d else "" for d in groups.depth.first()]
        labels = [*depths[:-1], f"{family} {depths[-1]}".strip()]
        points += [(x, y, label, colour) for (x, y), label in zip(mean.items(), labels, strict=True) if label]
        words.append(f"{family} {', '.join(f'{y:.1f} at {_short(x)}' for x, y in mean.items())}")
    if literature is not None:
        ax.scatter(literature[against], literature.error, 34, facecolor="none", edgecolor="#777777")
        published = [(getattr(row, against), row.error, row.label, "#777777") for row in literature.itertuples()]
        words.append(f"published: {', '.join(f'{text} {y:g} at {_short(x)}' for x, y, text, _ in published)}")
        points += published
    ax.margins(x=0.12, y=0.1)
    if against == "depth":
        ax.set_xticks(sorted(frame.depth.dropna().unique()))
    else:
        _log(ax.xaxis)
    ax.set(xlabel=xlabels[against], ylabel=_name(measure))
    _label_points(ax, points)
    return Picture(figure, f"{_name(measure)} against {xlabels[against]}: {'; '.join(words)}.")


@_unless_empty
def confusion(labels, predictions, classes):
    """Counts of (label, prediction), both (N,) integers; the predictions also as a record keeps them, a string of digits."""
    pairs = zip(labels, map(int, predictions), strict=False)  # a small profile predicts the first images only
    counts = np.zeros((len(classes), len(classes)), int)
    for label, prediction in pairs:
        counts[label, prediction] += 1
    wrong = counts - np.diag(np.diag(counts))
    figure, ax = _panel(5.4)
    ticks = {"xticklabels": classes, "yticklabels": classes}
    sns.heatmap(wrong, ax=ax, cmap="Oranges", annot=counts, fmt="d", cbar=False, linewidths=1, linecolor=PANEL, **ticks)
    ax.tick_params("x", rotation=45)
    ax.set(xlabel="prediction", ylabel="label")
    order = np.argsort(-wrong, axis=None, kind="stable")[:5]
    most = [f"{classes[i]} as {classes[j]} {wrong[i, j]}" for i, j in np.stack(np.unravel_index(order, wrong.shape), 1)]
    return Picture(figure, f"Confusion of {counts.sum()} images, {wrong.sum()} wrong; most often {', '.join(most)}.")
