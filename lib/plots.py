"""The plots: one function a kind, runs or arrays in, a `Picture` with its alternative text out.

A `frame` is what `grid.get` returns: a row a run, its arm in the column `arm`. It may be empty (nothing recorded yet):
then a figure says so. Errors are in %, intervals are 95 %, each seed is a dot or a thin line of its own. A colour means
the same in all of them: untied is blue, tied orange, plain green, and all else grey; where several lines of one panel
are none of these, plum and brown stand beside grey.
"""

import re
import textwrap
from collections import namedtuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib import stats
from lib.design import layers
from lib.labels import label_ends, label_points, log_axis, spread
from lib.pictures import COLOURS, DASHED, GREY, INK, OTHERS, PANEL, WIDTH, Picture, mix, nothing
from lib.prose import counted, extremes, is_small, measured, pm, short

# The words in an arm's label that tell its family; the first that fits counts ("untied" holds "tied").
FAMILIES = {
    "untied": "untied|residual|resnet|depth-1|equal parameters|^n = ",
    "tied": "tied|recnet|states",
    "plain": "plain",
}
MARKERS = "os^vDP"
MINUS = "\N{MINUS SIGN}"  # as the page typesets it: with a hyphen a panel would leave too little room
FAR = 0.75  # of a panel's width, from which on what stands at a line would reach beyond it
THIN = 8  # runs in a panel up to which each has a thin line of its own


def probe(frame, name, field=None):
    """What a probe measured: {arm: [its value, a run each]}; arms without it are left out.

    field: an entry of that value or, where it has no such entry, of each of its entries ("size" of every update).
    """
    found = {}
    for row in frame.itertuples():
        value = row.probes.get(name)
        if value and field:
            if field in value:
                value = value[field]
            else:
                value = {key: entry[field] for key, entry in value.items() if entry[field] is not None}
        if value:
            found.setdefault(row.arm, []).append(value)
    return found


def _name(measure):
    """The column "val_error" -> "validation error, %"."""
    words = {"val": "validation", "train": "training"}
    return f"{words.get(name := measure.removesuffix('_error'), name)} error, %"


def _panel(height, columns=1):
    figure = Figure((WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=True)


def family(label):
    """The family that a label names, or None."""
    return next((name for name, words in FAMILIES.items() if re.search(words, label.lower())), None)


def colour(label):
    """The colour of a label's family."""
    return COLOURS.get(family(label), GREY)


def _other(i):
    """The colour of the i-th line of no family: OTHERS in turn, then darker ones."""
    return mix(OTHERS[i % len(OTHERS)], "black", min(0.8, 0.5 * (i // len(OTHERS))))


def styles(labels):
    """{label: (colour, marker)} for the lines of one panel: the last of each family has its colour and a disc, those
    before it darker ones and other shapes; those of no family take turns in OTHERS."""
    families = [family(label) for label in labels]
    found = {}
    for i, label in enumerate(labels):
        many, before = families.count(families[i]), families[i + 1 :].count(families[i])
        shade = mix(colour(label), "black", 0.55 * before / many) if families[i] else _other(before)
        found[label] = shade, MARKERS[before % len(MARKERS)]
    return found


def _size(frame):
    """For captions: of what size small runs are, "" of runs on all of CIFAR-10 and of those on digits."""
    if not is_small(frame) or any(e["dataset"] != "cifar10" for e in frame.experiment):
        return ""
    epochs = max(map(len, frame.curve))
    return f"Small runs, {max(frame.n_train):,.0f} images, {counted(epochs, 'epoch')}. "


def _groups(frame, measure):
    """{arm: a column's values, a seed each}, without the runs that lack it."""
    found = frame.dropna(subset=[measure]).groupby("arm", sort=False)[measure]
    return {arm: values.to_numpy(float) for arm, values in found}


def _interval(rows, measure):
    """(low, high) of the mean of an arm's runs: over seeds, and over images too where each run's mistakes are known."""
    known = measure == "test_error" and "wrong" in rows and rows.wrong.notna().all()
    masks = (stats.unpack(run.wrong, len(run.predictions)) for run in rows.itertuples()) if known else ()
    return stats.mean(np.array([*masks]) if known else rows[measure])[1:3]


def _table(values, log=False):
    """A row a run, a column a step, from a sequence (from 0), a mapping, or a list of these; log: what is above 0."""
    one = isinstance(values, dict) or not isinstance(values[0], (dict, list, tuple, np.ndarray))
    runs = [v if isinstance(v, dict) else dict(enumerate(v)) for v in ([values] if one else values)]
    table = pd.DataFrame(runs, dtype=float)
    return (table[table > 0] if log else table).dropna(axis=1, how="all")


def _draw(ax, series, look, line="-", log=False):
    """The runs of each label thin, if they are few, their mean thick.

    Returns their ends, {label: end}, and their courses in words.
    """
    tables = {label: table for label, values in series.items() if (table := _table(values, log)).size}
    steps = list(dict.fromkeys(step for table in tables.values() for step in table))
    named, few = any(isinstance(step, str) for step in steps), sum(map(len, tables.values())) <= THIN
    if named:
        names = [re.sub(r"stage(\d+)_step(\d+)", r"\1.\2", step) for step in steps]
        if len(steps) > 15:  # there is room for the odd ones, and for a word below them
            names = ["" if name[-1] in "02468" else name if name[0].isdigit() else f"\n{name}" for name in names]
        ax.set_xticks(range(len(steps)), names)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends, courses = {}, []
    for label, table in tables.items():
        x, mean, (shade, marker) = [steps.index(step) if named else step for step in table], table.mean(), look[label]
        if few:
            ax.plot(x, table.to_numpy().T, ls=line, color=shade, lw=0.7, alpha=0.5)
        ax.plot(x, mean, ls=line, color=shade, lw=1.8, marker=marker, ms=4, markevery=-(-len(x) // 20))
        first, last = (measured(value) for value in (mean.iloc[0], mean.iloc[-1]))
        ends[label] = (x[-1], mean.iloc[-1], f"{label}: {re.sub('^-', MINUS, last)}", shade)
        course = f"from {first} to {last}"
        if line == "none":
            course = f"between {measured(mean.min())} and {measured(mean.max())}"
        courses.append(f"{label} {course}")
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
        log_axis(figure.axes[0].yaxis)
    label_ends(figure.axes[-1], ends.values())
    return Picture(figure, f"{ylabel} by {xlabel}. {'; '.join(courses)}.".replace("\n", " "))


def _unnumbered(ends):
    """The same ends with the labels alone, where the last value is one like any other."""
    return {label: (*end, label, shade) for label, (*end, _, shade) in ends.items()}


def per_step(series, ylabel, xlabel="step", reference=None, log=False, joined=True):
    """A line a label. series: {label: values}, values a sequence (steps from 0), {step: value}, or a list of these.

    A step is a number or a name ("stage2_step1"). A list is of runs: their mean, with a thin line each where they are
    few. reference: {label: value}, lines across. log: of the y axis, on which 0 is left out. joined: False for steps
    without an order, which get dots alone.
    """
    figure, ax = _panel(3.5)
    ends, courses = _draw(ax, series, styles(series), "-" if joined else "none", log)
    return _finish(figure, ends if joined else _unnumbered(ends), courses, ylabel, xlabel, reference, log)


def learning_curves(frame, paper=None):
    """Error against epoch: validation and, dashed, training as Keras prints it meanwhile. paper: {label: error}."""
    figure, ax = _panel(3.5)
    ends, courses, look, arms = {}, [], styles(frame.arm.unique()), frame.groupby("arm", sort=False)
    for what, column, style in (("while training", "train_error", "--"), ("validation", "val_error", "-")):
        series = {arm: [{e["epoch"]: e[column] for e in c} for c in rows.curve] for arm, rows in arms}
        found, words = _draw(ax, series, look, style)
        ends |= found
        courses += [f"{what}: {', '.join(words)}"] if words else []
    ax.set_title("dashed: while training; solid: validation")
    last, single = {arm: end[1] for arm, end in ends.items()}, {epoch for epoch, *_ in ends.values()} == {1}
    picture = _finish(figure, ends, courses, "error, %", "epoch", paper)
    if single:
        ax.set_xticks([1])  # else there would be fractions of an epoch
    picture.finding = _size(frame) + extremes(last, " at the end")
    return picture


def gradients(frame):
    """Norm of the loss gradient for each 3x3 convolution, first layer to last, before training and after one epoch."""
    figure, panels = _panel(3.5, 2)
    courses, look = [], styles(frame.arm.unique())
    for ax, when, title in zip(panels, ("start", "epoch1"), ("before training", "after epoch 1"), strict=True):
        found = probe(frame, f"gradients_{when}", "layers").items()
        series = {arm: [dict(zip(np.linspace(0, 1, len(r)), r, strict=True)) for r in runs] for arm, runs in found}
        ends, words = _draw(ax, series, look, log=True)
        ax.set_title(title)
        courses.append(f"{title}: {', '.join(words)}")
    picture = _finish(
        figure, ends, courses, "norm of a kernel's gradient", "3x3 layers,\nfirst (0) to last (1)", log=True
    )
    picture.finding = _size(frame)
    return picture


def steepness(frame):
    """How even the gradients of `gradients` are, as a table of geometric means over runs: that at the first layer over
    that at the last, and the largest over the smallest, before training and after one epoch; a row an arm."""
    columns = {}
    for name, when in (("gradients_start", "before training"), ("gradients_epoch1", "after epoch 1")):
        found = {arm: np.array(runs, float) for arm, runs in probe(frame, name, "layers").items()}
        with np.errstate(all="ignore"):  # a net may have no gradient left at some layer
            logs = {arm: (np.log(g[:, 0] / g[:, -1]), np.log(g.max(1) / g.min(1))) for arm, g in found.items()}
        for column, ratio in enumerate(("first / last", "largest / smallest")):
            columns[f"{ratio}, {when}"] = {arm: np.exp(np.mean(log[column])) for arm, log in logs.items()}
    return pd.DataFrame(columns)


def readouts(frame):
    """Error read out after every step of the last stage; dashed, of tied nets, past the number of steps trained with.

    There the statistics are estimated anew. So a dashed line starts at the error of the trained steps with statistics
    estimated anew, where the run measured that, and not where the solid one ends.
    """
    courses, further = {}, {}
    for row in frame.itertuples():
        if found := row.probes.get("readouts_end"):
            # older records have no `first`: those nets can be read out from the start
            course = dict(enumerate(found["trained"], found.get("first", 0)))
            courses.setdefault(row.arm, []).append(course)
            if found["beyond"]:
                anew = {max(course): row.probes.get("statistics_end", {}).get("reestimated")}
                anew |= {int(step): error for step, error in found["beyond"].items()}
                further.setdefault(row.arm, []).append(anew)
    (figure, ax), look = _panel(3.5), styles(courses)
    ends, words = _draw(ax, courses, look)
    later, more = _draw(ax, further, look, "--")
    trained = sorted({max(course) for runs in courses.values() for course in runs})
    for step in trained:
        ax.axvline(step, color=INK, lw=1, ls=":")
    if trained:
        ax.text(np.mean(trained), 1, "trained", transform=ax.get_xaxis_transform(), va="bottom", ha="center")
        words.append(f"trained with {' and '.join(map(str, trained))} steps")
    if more:
        words.append(f"dashed, statistics estimated anew: {', '.join(more)}")
    picture = _finish(figure, ends | later, words, "error, %", "step of the read-out")
    picture.finding = _size(frame) + extremes({a: e[1] for a, e in ends.items()}, " after the last trained step")
    for arm, runs in further.items():
        course = pd.DataFrame(runs, dtype=float).mean().dropna()
        shown = (f"{measured(error)} after {counted(step, 'step')}" for step, error in course.items())
        picture.finding += f" With statistics estimated anew: {arm}, {', '.join(shown)}."
    return picture


def functions(x, curves):
    """Two functions over x, {label: values}, their difference and where it is largest."""
    (a, first), (b, second) = curves.items()
    gap = np.asarray(second) - np.asarray(first)
    top = np.abs(gap).argmax()
    series = {label: dict(zip(x, y, strict=True)) for label, y in (curves | {f"{b} minus {a}": gap}).items()}
    figure, ax = _panel(3.5)
    ends, courses = _draw(ax, series, styles(series))
    return _finish(figure, _unnumbered(ends), courses, "f(x)", "x", {f"largest gap, at x = {x[top]:.2g}": gap[top]})


# Dots, the text at their right end, colour; interval and centre, if not those of the mean; where a bar to it starts.
_Row = namedtuple("_Row", "values text colour interval left centre", defaults=(GREY, None, None, None))


SEEDS = "Dots are seeds, lines 95 % intervals, ± the standard deviation."
ROUNDS = "Dots are rounds, bars their medians (and these as shares of the fastest)."


def _rows(rows, xlabel, finding="", lines=None, log=False, dots=SEEDS):
    """A row a label, {label: _Row}, from top to bottom; lines: {label: value}, dashed, across them; dots: what they
    are, where a row has several."""
    if not rows:
        return nothing()
    lines = lines or {}
    figure, ax = _panel(0.85 + 0.36 * len(rows) + 0.2 * len(lines))
    for i, (values, text, shade, interval, left, centre) in enumerate(rows.values()):
        mean, low, high, _ = stats.mean(values)
        mean = mean if centre is None else centre
        if left is not None:
            ax.barh(i, mean - left, 0.6, left=left, color=mix(shade, PANEL, 0.6), edgecolor=shade, lw=0.8)
        ax.plot(interval or (low, high), [i, i], color=shade)
        ax.plot([mean] * (len(values) > 1), [i] * (len(values) > 1), "|", color=shade, ms=13, mew=1.8)
        dot = {"color": shade, "edgecolor": "white", "lw": 0.6, "zorder": 3, "clip_on": False}
        ax.scatter(values, [i] * len(values), 28, **dot)
        ax.text(1.02, i, text.replace("-", MINUS), transform=ax.get_yaxis_transform(), va="center")
    words = []
    for value in lines.values():
        ax.axvline(value, **DASHED)
    ax.autoscale_view()  # else it is not known what is far
    for k, (label, value) in enumerate(sorted(lines.items(), key=lambda line: line[1])):
        # the first stands left of its line, the others right of theirs, a floor each above the first; but one that is
        # far to the right stands left of it too, so that it heads no number, above the others
        far = (ax.transScale + ax.transLimits).transform((value, 0))[0] > FAR
        style = {"ha": "right" if far or (k == 0 and len(lines) > 1) else "left", "va": "bottom"}
        place = (0, 2 + 11 * (k if far else max(k - 1, 0)))
        ax.annotate(f" {label} {value:g} ", (value, 1), place, ax.get_xaxis_transform(), "offset points", **style)
        words.append(f"line at {value:g}, {label}")
    if any(len(row.values) > 1 for row in rows.values()):
        finding += f" {dots}"
    elif any(row.interval and row.interval[0] <= row.interval[1] for row in rows.values()):
        finding += " Lines are 95 % intervals."
    ax.set_yticks(range(len(rows)), [textwrap.fill(label, 34) for label in rows])
    ax.use_sticky_edges = False  # else where a bar begins there would be no margin
    ax.set(xlabel=xlabel, xmargin=0.08, ylim=(len(rows) - 0.5, -0.5))
    if any(row.left is not None for row in rows.values()):
        ax.set_xlim(left=0)
    ax.grid(axis="y", visible=log)  # a bar has no length on a logarithmic axis: there a thin line leads to the dot
    if log:
        log_axis(ax.xaxis)
    words += [f"{label}: {row.text}" for label, row in rows.items()]
    return Picture(figure, f"{xlabel}. {'; '.join(words)}.", finding=finding.strip())


def errors(frame, measure=None, paper=None, sort=False):
    """A row an arm: its seeds, their mean and its interval; paper: {label: error}; sort: the lowest mean first.

    measure: "test_error", "val_error" or "train_error"; by default as the rules judge, the test error where all runs
    read it, else the validation error. The text at the right is mean ± standard deviation.
    """
    measure = measure or ("test_error" if frame.test_error.notna().all() else "val_error")
    groups = _groups(frame, measure)
    order = sorted(groups, key=lambda arm: groups[arm].mean()) if sort else groups
    interval = {arm: _interval(frame[frame.arm == arm].dropna(subset=[measure]), measure) for arm in order}
    digits = 1 + any(0 < values.std() < 0.05 for values in groups.values())  # else some would be "± 0.0"
    rows = {arm: _Row(groups[arm], pm(groups[arm], digits), colour(arm), interval[arm]) for arm in order}
    means = {arm: values.mean() for arm, values in groups.items()}
    found = extremes(means, text=lambda value: pm(value, digits))
    return _rows(rows, _name(measure), _size(frame) + found, paper)


def bars(series, xlabel):
    """Grouped bars. series: {group: {bar: value}, or a list of these, a run each}, as `probe` gives them."""
    columns = {(group, bar): column for group, values in series.items() for bar, column in _table(values).items()}
    columns = {", ".join(key): values.dropna() for key, values in columns.items()}
    digits = int(any((values % 1).any() for values in columns.values()))  # counts stand without ".0"
    rows = {label: _Row(values, pm(values, digits), colour(label), left=0) for label, values in columns.items()}
    means = {label: values.mean() for label, values in columns.items()}
    return _rows(rows, xlabel, extremes(means, text=lambda value: pm(value, digits)))


def waterfall(frame, measure="test_error"):
    """From the first arm to the last, a change a row: the bar spans the change of the mean."""
    rows, before, changes = {}, 0.0, {}
    for arm, values in _groups(frame, measure).items():
        mean = values.mean()
        changes |= {arm: mean - before} if rows else {}
        rows[arm] = _Row(values, f"{mean:.1f}" + (f" ({mean - before:+.1f})" if rows else ""), left=before)
        before = mean
    largest = min(changes, key=changes.get, default=None)
    found = f"{_size(frame)}Largest gain: {largest}, {changes[largest]:+.1f} points." if changes else ""
    return _rows(rows, _name(measure), found)


def cost(values, unit):
    """{label: number} on a logarithmic scale, the smallest first, each with how many times the smallest it is."""
    order = sorted(values, key=values.get)
    times = {k: values[k] / values[order[0]] for k in order}
    texts = {k: f"{measured(values[k])} ({times[k]:,.{0 if times[k] > 100 else 1}f}×)" for k in order}
    rows = {k: _Row([values[k]], texts[k], colour(k)) for k in order}
    base = f" In brackets: how many times {order[0]}." if len(order) > 1 else ""
    return _rows(rows, unit, extremes(values) + base, log=True)


def speeds(series, unit):
    """Repeated measurements, {label: [value, ...]}, the fastest first: their medians, and a line from least to most."""
    median = {label: float(np.median(values)) for label, values in series.items()}
    rows = {}
    for label in sorted(series, key=median.get, reverse=True):
        shade, (low, *_, high) = INK if label == "ours" else GREY, sorted(series[label])
        text = f"{median[label]:,.0f} ({100 * median[label] / max(median.values()):.0f} %)"
        rows[label] = _Row(series[label], text, shade, (low, high), 0, median[label])
    return _rows(rows, unit, extremes(median, text=lambda value: f"{value:,.0f}"), dots=ROUNDS)


def differences(contrasts, bounds=None):
    """Differences with their intervals, {label: stats.Estimate or (value, low, high)}; bounds: {label: margin}. One
    without a value, of runs that can't be compared, has no row."""
    contrasts = {label: estimate for label, estimate in contrasts.items() if np.isfinite(estimate[0])}
    rows, known = {}, {label: estimate for label, estimate in contrasts.items() if estimate[1] <= estimate[2]}
    for label, (value, low, high, *_) in contrasts.items():
        span = f" [{low:+.2f}, {high:+.2f}]" if label in known else ""  # one seed has none
        rows[label] = _Row([value], f"{value:+.2f}{span}", interval=(low, high))
    sure = [f"{label}, {v:+.2f}" for label, (v, low, high, *_) in known.items() if low > 0 or high < 0]
    named = f" ({'; '.join(sure)})" * (0 < len(sure) < 4)
    found = f"Intervals that leave zero out: {len(sure)} of {len(known)}{named}." if known else ""
    return _rows(rows, "difference in points", found, {"no difference:": 0} | (bounds or {}))


def _family(experiment):
    """("tied", 20): what a net is but for its depth; its depth in weight layers, NaN outside He et al.'s family."""
    options = dict(experiment["options"])
    n, states = options.pop("n", None), options.get("states")
    if states:
        return f"tied, {states} states", np.nan
    name = {"resnet": "untied", "recnet": "tied"}.get(experiment["architecture"], experiment["architecture"])
    return ", ".join([name, *(f"{key} {value}" for key, value in options.items())]), layers(n) if n else np.nan


def _apart(frame, against, log):
    """Where each run of a frame stands on an axis: its value, but that nets of nearly the same stand side by side."""
    scale, back = (np.log10, lambda x: 10**x) if log else (np.array, np.array)
    nets = sorted(set(zip(frame[against], frame.family, strict=True)))
    places = scale([value for value, _ in nets])
    shown = dict(zip(nets, back(spread(places, 0.014 * np.ptp(places))), strict=True))
    return [shown[net] for net in zip(frame[against], frame.family, strict=True)]


def tradeoff(frame, against="parameters", measure="test_error", literature=None):
    """Error against "depth", "parameters" or "flops", of one recipe; nets that differ in depth alone make a family.

    The number beside a point is its depth in weight layers; dots join tied and untied nets of one depth. Where their
    intervals would hide each other they stand a few pixels beside their place. literature: a DataFrame with the columns
    label, error and `against`: hollow grey marks. Raises ValueError on runs that were not trained on equally many
    images.
    """
    xlabel = {"depth": "weight layers", "flops": "FLOPs of a forward pass", "parameters": "trainable weights"}[against]
    frame = frame.dropna(subset=[measure])
    if len(counts := sorted(set(frame.n_train))) > 1:
        raise ValueError(f"runs on {' and on '.join(f'{n:,.0f}' for n in counts)} images can't share a picture")
    if len(frame):
        nets = pd.DataFrame(map(_family, frame.experiment), frame.index, ["family", "depth"])
        frame = frame.join(nets).dropna(subset=[against])
    if frame.empty:
        return nothing()
    frame["x"] = _apart(frame, against, log=against != "depth")
    figure, ax = _panel(4.2)
    look, points, words, lines = styles(sorted(frame.family.unique(), key=len, reverse=True)), [], [], []
    for _, twins in frame[frame.family.isin(["tied", "untied"])].groupby("depth"):  # tied and untied of one depth
        lines.append(twins.groupby("family")[["x", measure]].mean().T.to_numpy())
        ax.plot(*lines[-1], color=GREY, lw=1, ls=":", zorder=1)
    for name, rows in frame.groupby("family", sort=False):
        groups, (shade, marker) = rows.groupby("x"), look[name]
        mean = groups[measure].mean()
        ax.plot(mean.index, mean, marker=marker, color=shade, ms=6, zorder=3)
        lines.append((mean.index, mean))
        ax.scatter(rows.x, rows[measure], 10, color=shade, zorder=3)
        for x, runs in groups:
            ax.plot([x, x], _interval(runs, measure), color=shade)
            lines.append(([x, x], _interval(runs, measure)))
        depths = [f"{depth:.0f}" if depth > 0 and against != "depth" else "" for depth in groups.depth.first()]
        labels = [*depths[:-1], f"{name}, {depths[-1]}".removesuffix(", ")]
        points += [(x, y, label, shade) for (x, y), label in zip(mean.items(), labels, strict=True) if label]
        courses = zip(mean, groups[against].first(), strict=True)
        words.append(f"{name} {', '.join(f'{y:.1f} at {short(x)}' for y, x in courses)}")
    finding = f"{_size(frame)}{_name(measure)[:1].upper()}{_name(measure)[1:]}: {'; '.join(words)}."
    if literature is not None:
        ax.scatter(literature[against], literature.error, 34, facecolor="none", edgecolor=GREY)
        published = [(getattr(row, against), row.error, row.label, GREY) for row in literature.itertuples()]
        words.append(f"published: {', '.join(f'{text} {y:g} at {short(x)}' for x, y, text, _ in published)}")
        points += published
    ax.set(xlabel=xlabel, ylabel=_name(measure), xmargin=0.18, ymargin=0.1)
    if against == "depth":
        ax.set_xticks(sorted({*frame.depth.dropna(), *([] if literature is None else literature.depth)}))
    else:
        log_axis(ax.xaxis)
    label_points(ax, points, lines)
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
    steps = np.repeat(best[cost], 2)[1:], np.repeat(best[measure], 2)[:-1]
    ax.plot(*steps, color=GREY, lw=1, zorder=1)
    ax.scatter(frame[cost], frame[measure], 24, frame.family.map(colour), edgecolor="white", lw=0.4, zorder=3)
    ax.set(xlabel=xlabel, ylabel=_name(measure), xmargin=0.12)
    log_axis(ax.xaxis)
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.25 * (high - low), high)  # room for labels below the line
    named = best.drop_duplicates("label", keep="last")
    points = list(zip(named[cost], named[measure], named.label, named.family.map(colour), strict=True))
    label_points(ax, points, [steps], list(zip(frame[cost], frame[measure], strict=True)))
    words = "; ".join(f"{label}: {y:.1f} at {short(x)}" for x, y, label, _ in points)
    return Picture(
        figure, f"{_name(measure)} against {xlabel}, {len(frame)} runs. {words}.", finding=f"On the line: {words}."
    )
