"""The plots: one function a kind, runs or arrays in, a `Picture` with its alternative text out.

A `frame` is what `grid.get` returns: a row a run, its arm in the column `arm`. It may be empty (nothing recorded yet):
then a figure says so. Errors are in %, intervals are 95 %, each seed is a dot or a thin line of its own.
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
from lib.labels import label_ends, label_points, log_axis
from lib.pictures import COLOURS, DASHED, INK, PANEL, WIDTH, Picture, mix, nothing
from lib.prose import counted, extremes, is_small, pm, short

OTHERS = ("#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#882255", "#999933")  # the last two are Tol's, as safe
# The words in an arm's label that tell its family; the first that fits counts ("untied" holds "tied").
FAMILIES = {"untied": "untied|residual|resnet|depth-1", "tied": "tied|recnet", "plain": "plain"}
MARKERS = ".s^vDP"


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


def _name(measure):
    """The column "val_error" -> "validation error, %"."""
    words = {"val": "validation", "train": "training"}
    return f"{words.get(name := measure.removesuffix('_error'), name)} error, %"


def _panel(height, columns=1):
    figure = Figure((WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=True)


def _places(labels):
    """{label: (its family or None, its place among the labels of that family from 1 on, how many these are)}."""
    family = {x: next((f for f, words in FAMILIES.items() if re.search(words, x.lower())), None) for x in labels}
    members = {own: [label for label in family if family[label] == own] for own in family.values()}
    return {label: (own, members[own].index(label) + 1, len(members[own])) for label, own in family.items()}


def colours(labels):
    """{label: colour}: its family's where the label names it, paler for earlier members; else one of the others."""
    return {
        label: mix(COLOURS[own], "white", 0.6 * (1 - place / many)) if own else OTHERS[place % len(OTHERS) - 1]
        for label, (own, place, many) in _places(labels).items()
    }


def _markers(labels):
    """{label: marker}: members of one family have shades of one colour, so each has a shape of its own as well."""
    return {label: MARKERS[(many - place) % len(MARKERS)] for label, (_, place, many) in _places(labels).items()}


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


def _draw(ax, series, shade, style="-", log=False):
    """The runs of each label thin, their mean thick. Returns their ends, {label: end}, and their courses in words."""
    tables = {label: table for label, values in series.items() if (table := _table(values, log)).size}
    steps = list(dict.fromkeys(step for table in tables.values() for step in table))
    named = any(isinstance(step, str) for step in steps)
    if named:
        names = [re.sub(r"stage(\d+)_step(\d+)", r"\1.\2", step) for step in steps]
        ax.set_xticks(range(len(steps)), names, size=10 if len(steps) < 16 else 7.5)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends, courses, markers = {}, [], _markers(shade)
    for label, table in tables.items():
        x, mean, colour = [steps.index(step) if named else step for step in table], table.mean(), shade[label]
        ax.plot(x, table.to_numpy().T, style, color=colour, lw=0.7, alpha=0.5)
        marker = {"marker": markers[label], "ms": 6 if markers[label] == "." else 4, "markevery": -(-len(x) // 16)}
        ax.plot(x, mean, style, color=colour, lw=1.8, **marker)
        first, last = (short(value, "#.3g") for value in (mean.iloc[0], mean.iloc[-1]))
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
        log_axis(figure.axes[0].yaxis)
    label_ends(ax, ends.values())
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
    if {epoch for epoch, *_ in ends.values()} == {1}:
        ax.set_xticks([1])  # else there would be fractions of an epoch
    picture.finding = _size(frame) + extremes(last, " at the end")
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
    picture.finding = _size(frame) + extremes(last, " after the last trained step")
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
        # the first stands left of its line, the others right of theirs, a floor each above the first
        style = {"ha": "right" if k == 0 and len(lines) > 1 else "left", "va": "bottom"}
        place = (0, 2 + 11 * max(k - 1, 0))
        ax.annotate(f" {label} {value:g} ", (value, 1), place, ax.get_xaxis_transform(), "offset points", **style)
        words.append(f"line at {value:g}, {label}")
    if any(len(row.values) > 1 for row in rows.values()):
        xlabel += f"\n{dots}"
    ax.set_yticks(range(len(rows)), [textwrap.fill(label, 34) for label in rows])
    ax.set(xlabel=xlabel, xmargin=0.08, ylim=(len(rows) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    if log:
        log_axis(ax.xaxis)
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
    picture.finding = _size(frame) + extremes({arm: values.mean() for arm, values in groups.items()})
    return picture


def bars(series, xlabel):
    """Grouped bars. series: {group: {bar: value}, or a list of these, a run each}, as `probe` gives them."""
    columns = {(group, bar): column for group, values in series.items() for bar, column in _table(values).items()}
    shade = dict(zip(dict.fromkeys(bar for _, bar in columns), OTHERS, strict=False))
    digits = int(any((values % 1).any() for values in columns.values()))  # counts stand without ".0"
    rows = {", ".join(key): _Row(v.dropna(), pm(v, digits), shade[key[1]], left=0) for key, v in columns.items()}
    picture = _rows(rows, xlabel)
    picture.finding = extremes({label: values.mean() for label, (values, *_) in rows.items()})
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
        picture.finding = f"{_size(frame)}Largest gain: {largest}, {changes[largest]:+.1f} points."
    return picture


def cost(values, unit):
    """{label: number} on a logarithmic scale, the smallest first, each with how many times the smallest it is."""
    order, least = sorted(values.items(), key=lambda item: item[1]), min(values.values(), default=None)
    times = {k: f"{v / least:,.{0 if v > 100 * least else 1}f}" for k, v in order}
    rows = {k: _Row([v], f"{short(v)} ({times[k]}×)", COLOURS["untied"], (least, v)) for k, v in order}
    picture = _rows(rows, unit, log=True)
    picture.finding = extremes(values)
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
    picture.finding = extremes(median)
    return picture


def differences(contrasts, bounds=None):
    """Differences with their intervals, {label: stats.Estimate or (value, low, high)}; bounds: {label: margin}. One
    without a value, of runs that can't be compared, has no row."""
    contrasts = {label: estimate for label, estimate in contrasts.items() if np.isfinite(estimate[0])}
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
    """("tied", 20): what a net is but for its depth; its depth in weight layers, NaN outside He et al.'s family."""
    options = dict(experiment["options"])
    n, states = options.pop("n", None), options.get("states")
    if states:
        return f"tied, {states} states", np.nan
    name = {"resnet": "untied", "recnet": "tied"}.get(experiment["architecture"], experiment["architecture"])
    return ", ".join([name, *(f"{key} {value}" for key, value in options.items())]), layers(n) if n else np.nan


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
    frame["family"], frame["depth"] = zip(*map(_family, frame.experiment), strict=True)
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
        words.append(f"{family} {', '.join(f'{y:.1f} at {short(x)}' for x, y in mean.items())}")
    finding = f"{_size(frame)}{_name(measure)[:1].upper()}{_name(measure)[1:]}: {'; '.join(words)}."
    if literature is not None:
        ax.scatter(literature[against], literature.error, 34, facecolor="none", edgecolor="#777777")
        published = [(getattr(row, against), row.error, row.label, "#777777") for row in literature.itertuples()]
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
    shade = colours(frame.family.unique())
    ax.plot(best[cost], best[measure], color="#777777", lw=1, drawstyle="steps-post", zorder=1)
    ax.scatter(frame[cost], frame[measure], 22, [shade[family] for family in frame.family], alpha=0.75, zorder=3)
    ax.set(xlabel=xlabel, ylabel=_name(measure), xmargin=0.12, ymargin=0.15)
    log_axis(ax.xaxis)
    named = best.drop_duplicates("label", keep="last")
    points = list(zip(named[cost], named[measure], named.label, named.family.map(shade), strict=True))
    others = zip(frame[cost], frame[measure], strict=True)
    label_points(ax, points, [(best[cost], best[measure]), *(([x, x], [y, y]) for x, y in others)])
    words = "; ".join(f"{label}: {y:.1f} at {short(x)}" for x, y, label, _ in points)
    return Picture(
        figure, f"{_name(measure)} against {xlabel}, {len(frame)} runs. {words}.", finding=f"On the line: {words}."
    )
