"""The figures, for several seeds, one seed and no run: alternative texts, SVG, and that the drawings match the nets."""

import base64
import itertools
import re
from xml.etree import ElementTree

import keras
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from lib import diagrams, models, pictures, plots, prose, stats
from lib.layers import ResidualBlock, Stage

CLASSES = ("airplane", "bird", "cat")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
EMPTY = pd.DataFrame(columns=["arm", "seed", "n_train", "test_error", "val_error", "train_error"])


def run(arm, seed, architecture="resnet", n=2, error=10.0, validation=True, n_train=45_000):
    """A row as `grid.get` gives it, with two epochs and the probes of a net with one step in each stage."""
    steps = [f"stage{s}_step{t}" for s in (1, 2) for t in (0, 1)]
    error += 0.1 * seed
    return {
        "arm": arm,
        "seed": seed,
        "n_train": n_train,
        "experiment": {"architecture": architecture, "options": {"n": n}, "dataset": "cifar10"},
        "curve": [
            {"epoch": 1, "train_error": 61.5, "val_error": 62.5 if validation else None},
            {"epoch": 2, "train_error": error - 1, "val_error": error if validation else None},
        ],
        "test_error": error,
        "val_error": error if validation else None,
        "train_error": error - 1,
        "parameters": 100_000 * n,
        "flops": 1e7 * n,
        "probes": {
            "gradients_start": {"layers": [0.5, 0.25, 0.125]},
            "gradients_epoch1": {"layers": [0.3, 0.2, 0.1]},
            "activations_start": {name: 1.5**i for i, name in enumerate(steps)},
            "updates_end": {name: {"size": 0.5, "cosine": None} for name in steps},
            "statistics_end": {"running": 85.0, "batch": error, "reestimated": 41.0},
            "readouts_end": {"trained": [40.0, error], "beyond": {"2": 33.0} if architecture == "recnet" else {}},
        },
    }


def runs(seeds=3, **kwargs):
    arms = [("tied n = 2", "recnet", 2, 12.0), ("untied n = 2", "resnet", 2, 11.0), ("untied n = 3", "resnet", 3, 9.0)]
    return pd.DataFrame([run(*arm[:1], s, *arm[1:], **kwargs) for arm in arms for s in range(seeds)])


def test_quick_runs_and_full_ones_are_not_mixed():
    mixed = pd.concat([runs(n_train=10_000), runs(n_train=45_000)])
    with pytest.raises(ValueError, match=r"runs on 10,000 and on 45,000 images can't share a picture"):
        plots.tradeoff(mixed)


def test_the_captions_of_small_runs_say_so():
    for figure in (plots.errors, plots.learning_curves, plots.gradients, plots.waterfall, plots.tradeoff):
        assert figure(runs(n_train=10_000)).finding.startswith("Small runs, 10,000 images, 2 epochs. ")
        assert "Small" not in figure(runs(n_train=45_000)).finding
    digits = runs(n_train=10_000)
    digits.experiment = [e | {"dataset": "mnist"} for e in digits.experiment]
    assert "Small" not in plots.errors(digits).finding  # 10,000 digits are all that the paper takes


def test_shades_of_one_colour_differ_in_their_markers_too():
    shades = plots.learning_curves(pd.DataFrame([run(f"plain n = {n}", 0, n=n) for n in (1, 3, 7)])).figure.axes[0]
    markers = {line.get_color(): line.get_marker() for line in shades.lines if line.get_marker() != "None"}
    assert len(set(markers.values())) == len(markers) == 3


LITERATURE = pd.DataFrame({"label": ["ResNet-20"], "parameters": [270_000], "error": [8.75]})
X = np.linspace(-2, 2, 41)

# Every figure of runs: how it is called with a frame, and what its alternative text must then hold (three seeds).
OF_FRAMES = {
    "learning_curves": (lambda f: plots.learning_curves(f, {"the paper": 54}), ["61.5", "12.1", "the paper, 54"]),
    "errors": (lambda f: plots.errors(f, paper={"the paper": 54}), ["tied n = 2: 12.1 ± 0.1", "line at 54"]),
    "errors sorted": (
        lambda f: plots.errors(f, "val_error", sort=True),
        ["Validation error, %. untied n = 3: 9.1"],
    ),
    "depth": (lambda f: plots.tradeoff(f, "depth"), ["tied 12.1 at 14", "untied 11.1 at 14, 9.1 at 20"]),
    "parameters": (lambda f: plots.tradeoff(f, literature=LITERATURE), ["12.1 at 200k", "ResNet-20 8.75 at 270k"]),
    "flops": (lambda f: plots.tradeoff(f, "flops", "val_error"), ["9.1 at 30M"]),
    "frontier": (
        lambda f: plots.frontier(f.assign(family="tied", label=f.arm), "flops", "FLOPs"),
        ["against FLOPs, 9 runs.", "untied n = 2: 11.0 at 20M", "untied n = 3: 9.0 at 30M"],
    ),
    "gradients": (plots.gradients, ["before training: tied n = 2 from 0.500 to 0.125", "after epoch 1: "]),
    "readouts": (
        plots.readouts,
        ["tied n = 2 from 40.0 to 12.1", "from 41.0 to 33.0", "untied n = 2 from 40.0 to 11.1", "trained with 1 steps"],
    ),
    "activations": (
        lambda f: plots.per_step(plots.probe(f, "activations_start"), "norm", log=True),
        ["tied n = 2 from 1.00 to 3.38"],
    ),
    "bars": (lambda f: plots.bars(plots.probe(f, "statistics_end"), "error, %"), ["tied n = 2, running: 85.0"]),
    "waterfall": (plots.waterfall, ["tied n = 2: 12.1", "untied n = 2: 11.1 (-1.0)", "untied n = 3: 9.1 (-2.0)"]),
}
# Every other figure: with content, and without.
OF_ARRAYS = {
    "photographs": (
        lambda n: pictures.photographs(IMAGES[:n], ["a\nb"] * n, columns=4),
        ["8 images", "a, b"],
    ),
    "samples": (
        lambda n: pictures.samples(IMAGES[:n], np.arange(n) % 3, CLASSES, each=2),
        ["6 sample images", "airplane, bird, cat"],
    ),
    "mistakes": (
        lambda n: pictures.mistakes(IMAGES, [{"index": 3, "label": 0, "guess": 2, "confidence": 0.987}] * n, CLASSES),
        ["airplane, as cat, 98.7 %"],
    ),
    "filters": (lambda n: pictures.filters(np.ones((5, 5, 1, n))), ["8 learned filters of 5x5"]),
    "per_step": (
        lambda n: plots.per_step({"a": [3, 2, None], "b": {2: 1.5, 4: 0.5}} if n else {}, "error", reference={"c": 9}),
        ["a from 3.00 to 2.00", "b from 1.50 to 0.500", "line: c, 9"],
    ),
    "speeds": (
        lambda n: plots.speeds({"ours": [90, 100, 110], "eager": [40, 50, 55]} if n else {}, "images a second"),
        ["ours: 100 (100 %)", "eager: 50 (50 %)"],
    ),
    "cost": (
        lambda n: plots.cost({"big": 4e9, "small": 2e6} if n else {}, "FLOPs"),
        ["small: 2.00M (1.0×); big: 4.00G (2,000×)"],
    ),
    "differences": (
        lambda n: plots.differences({"n = 7": stats.Estimate(0.8, 0.4, 1.2)} if n else {}, {"margin": 1}),
        ["n = 7: +0.80 [+0.40, +1.20]", "line at 1, margin"],
    ),
    "confusion": (
        lambda n: pictures.confusion([0, 1, 2, 2], "0121"[:n], CLASSES),
        ["4 images, 1 wrong", "cat as bird, 1"],
    ),
}
FIXED = {
    "feature_maps": lambda: pictures.feature_maps(IMAGES[0], {"conv": np.ones((4, 4, 20)), "pool": np.ones((2, 2, 3))}),
    "functions": lambda: plots.functions(X, {"ReLU": np.maximum(X, 0), "softplus": np.logaddexp(0, X)}),
    "nothing": pictures.nothing,
}
ALL = {name: lambda draw=draw: draw(runs()) for name, (draw, _) in OF_FRAMES.items()}
ALL |= {name: lambda draw=draw: draw(8) for name, (draw, _) in OF_ARRAYS.items()} | FIXED


def shown(picture):
    """What a notebook gets: (mime type, data), after the checks that hold for every picture."""
    data, metadata = picture._repr_mimebundle_()
    ((mime, content),) = data.items()
    assert metadata == {mime: {"alt": picture.alt, "finding": picture.finding}}
    assert re.fullmatch(r"([A-Z].+\.)?", picture.finding)
    assert "nan" not in picture.finding
    assert re.match(r"[A-Z0-9].+?[.:;]\s?", picture.alt)  # a caption
    assert picture.alt.endswith(".")
    assert "nan" not in picture.alt
    return mime, content


def parse(svg):
    """An SVG's root element; checked to be XML that stands for itself."""
    root = ElementTree.fromstring(svg)  # noqa: S314  (our own)
    assert not re.search(r"<!DOCTYPE|<\?xml|dc:date|[\"'(]https?://(?!www.w3.org/(2000/svg|1999/xlink)\")", svg)
    assert "viewBox" in root.attrib
    assert not root.get("width").endswith("pt")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    assert len(ids) == len(set(ids))
    assert set(used) <= set(ids)
    return root, ids


def texts(picture):
    return [element.text for element in parse(picture.data)[0].iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", OF_FRAMES)
def test_figure_of_runs(name):
    draw, expected = OF_FRAMES[name]
    picture = draw(runs())
    assert all(words in picture.alt for words in expected), picture.alt
    assert parse(shown(picture)[1])
    assert parse(shown(draw(runs(seeds=1)))[1])
    assert draw(EMPTY).alt == pictures.nothing().alt


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_figure_of_arrays(name):
    draw, expected = OF_ARRAYS[name]
    picture = draw(8)
    assert all(words in picture.alt for words in expected), picture.alt
    assert shown(picture)
    assert draw(0).alt == pictures.nothing().alt


def test_a_titled_picture_is_the_same_under_a_caption():
    for plain in (plots.errors(runs()), pictures.photographs(IMAGES)):
        titled = plain.titled("What it shows")
        assert titled.alt == f"What it shows. {plain.alt}"
        assert (titled.figure, titled.photo, titled.finding) == (plain.figure, plain.photo, plain.finding)


@pytest.fixture(scope="module")
def all_shown():
    return {name: shown(draw()) for name, draw in ALL.items()}


def test_a_picture_is_the_same_every_time(all_shown):
    assert {name: shown(draw()) for name, draw in ALL.items()} == all_shown


def test_no_id_stands_twice_on_a_page(all_shown):
    ids = [i for mime, content in all_shown.values() if mime == "image/svg+xml" for i in parse(content)[1]]
    assert len(ids) > 100
    assert len(ids) == len(set(ids))


def test_photographs_hold_one_png_and_their_captions_are_text(all_shown):
    photos = {"photographs", "samples", "mistakes", "filters", "feature_maps"}
    for name, (mime, content) in all_shown.items():
        assert mime == "image/svg+xml"
        assert parse(content)[0].get("class") == ("photo" if name in photos else "drawing"), name
        found = re.findall(r'href="data:image/png;base64,([^"]+)"', content)
        assert len(found) == (name in photos), name
        if name in photos:
            assert base64.b64decode(found[0]).startswith(b"\x89PNG")
    assert {"a", "b"} <= set(texts(pictures.photographs(IMAGES[:2], ["a", "b"])))


@pytest.mark.parametrize("epochs", [1, 2])
def test_no_curve_has_fractions_of_an_epoch(epochs):
    begun = runs().assign(curve=lambda frame: frame.curve.map(lambda curve: curve[:epochs]))
    ticks = plots.learning_curves(begun).figure.axes[0].get_xticks()
    assert {*range(1, epochs + 1)} <= {*ticks} == {*ticks.astype(int)}


def test_what_a_run_lacks_is_left_out():
    unvalidated = runs(validation=False)
    assert plots.errors(unvalidated, "val_error").alt == pictures.nothing().alt
    assert plots.tradeoff(unvalidated, measure="val_error").alt == pictures.nothing().alt
    assert "validation:" not in plots.learning_curves(unvalidated).alt
    assert plots.per_step(plots.probe(runs(), "updates_end", "cosine"), "cosine").alt == pictures.nothing().alt
    assert plots.probe(runs(), "unknown") == {}
    fewer = plots.errors(pd.concat([runs(1), unvalidated.assign(arm="other")]), "val_error")
    assert "tied n = 2" in fewer.alt
    assert "other" not in fewer.alt


@pytest.mark.parametrize("against", ["parameters", "flops", "depth"])
def test_a_net_of_several_states_stands_beside_those_that_have_a_depth(against):
    frame = pd.concat([runs(), runs(1).assign(test_error=7.0, parameters=129_000.0)], ignore_index=True)
    states = {"architecture": "feedback", "options": {"states": 3, "steps": 9, "feedback": True}}
    frame.experiment = [
        e | states if w == 129_000 else e for e, w in zip(frame.experiment, frame.parameters, strict=True)
    ]
    alt = plots.tradeoff(frame, against).alt
    assert ("tied, 3 states 7.0" in alt) == (against != "depth")
    assert "untied 11.1" in alt


def test_frontier_joins_what_no_cheaper_run_beats():
    frame = pd.DataFrame(
        {"s": [1, 2, 3, 4], "val_error": [20.0, 25.0, 15.0, 16.0], "label": list("abcd"), "family": "tied"}
    )
    assert plots.frontier(frame, "s", "seconds").alt.endswith("4 runs. a: 20.0 at 1; c: 15.0 at 3.")


def test_a_difference_without_interval_and_a_zero_on_a_logarithmic_axis_are_left_out():
    mixed = {"n = 7": stats.Estimate(0.8), "unlike": stats.Estimate(np.nan)}
    assert "n = 7: +0.80." in plots.differences(mixed).alt
    assert "unlike" not in plots.differences(mixed).alt
    picture = plots.per_step({"gap": [1e-3, 0, 1e-5], "none": [0, 0]}, "gap", log=True)
    assert parse(picture.data)
    assert "gap from 0.00100 to 1.00e-05." in picture.alt
    assert plots.per_step({"none": [0, 0]}, "gap", log=True).alt == pictures.nothing().alt


def test_counts_have_no_decimals():
    assert "conv, tied: 1,728" in plots.bars({"conv": {"tied": 1728}, "norm": {"tied": 96}}, "weights").alt


def test_probe_picks_a_field_of_the_value_or_of_each_entry():
    frame = runs(seeds=2)
    assert plots.probe(frame, "gradients_start", "layers")["tied n = 2"] == [[0.5, 0.25, 0.125]] * 2
    assert plots.probe(frame, "updates_end", "size")["untied n = 2"][1]["stage2_step1"] == 0.5


def test_the_course_of_training_in_prose():
    frame = runs(2)[:2]  # errors of 12.0 and 12.1, after 62.5
    unseen, printed = "Validation error after the first epoch: 62.5 %", "Training error as printed in the last epoch"
    assert prose.course(frame) == f"{unseen}, after the last of 2: 12.1 %. {printed}: 11.1 %."
    long = [[{"epoch": e, "train_error": 50.0, "val_error": 62.5 - e} for e in range(12)]]
    said = prose.course(pd.DataFrame([run("net", 0) | {"curve": long[0]}]))
    assert (
        said
        == f"{unseen}, after the last of 12: 51.5 %, of which the last five took off 5.0 points. {printed}: 50.0 %."
    )
    for none in (runs(1)[:0], runs(1, validation=False)):
        assert prose.course(none) == "Not recorded yet."


def test_how_runs_were_trained_is_said_where_it_is_the_same_for_all():
    frame = runs(seeds=2).assign(machine=[{"device": "gpu:0"}] * 6)
    assert prose.setting(frame) == "45,000 images, 2 epochs, 2 seeds an arm, on a GPU"
    one = frame[:1].assign(machine=[{"device": "cpu"}])
    assert prose.setting(one) == "14 layers, 45,000 images, 2 epochs, 1 seed an arm, on CPUs"
    assert prose.setting(pd.concat([one, frame[2:]])) == "45,000 images, 2 epochs"
    assert prose.setting(frame[:0]) == "Not recorded yet"


def test_captions_name_one_of_equals_and_count_the_others():
    def said(**values):
        return plots.cost(values, "FLOPs").finding.partition(" In brackets")[0]

    assert said(a=1.0, b=90.0, c=90.01, d=89.96) == "Lowest: a, 1.00; highest: b and 2 more, 90.0."
    assert said(a=1.0) == ""
    assert said(a=90.0, b=90.0) == "All: 90.0."


def test_how_even_gradients_are():
    table = plots.steepness(runs(2))
    assert list(table.index) == list(dict.fromkeys(runs().arm))
    assert (table.round(9) == [4, 4, 3, 3]).all(axis=None)  # 0.5 over 0.125, 0.3 over 0.1
    assert plots.steepness(EMPTY).empty


def test_numbers_in_prose():
    assert prose.pm([12.0, 12.4, 12.8]) == "12.4 ± 0.4"
    assert prose.pm(pd.Series([1.26, None]), 2) == "1.26"
    assert prose.pm(3) == "3.0"
    assert prose.pm([]) == prose.pm([None]) == "-"


def test_show_displays_the_source_and_say_the_text(monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    prose.show(prose.pm, pictures.Picture.__repr__)
    prose.say("**12**")
    source, text = (markdown.data for markdown in displayed)
    assert source.startswith("```python\ndef pm(values")
    assert "\n\ndef __repr__(self)" in source
    assert text == "**12**"


def test_families_keep_their_colours():
    labels = ["untied n = 3", "untied n = 7", "tied n = 7", "plain n = 7", "shared norm", "group norm"]
    assert [plots.colour(label) for label in labels[1:]] == [
        *(pictures.COLOURS[family] for family in ("untied", "tied", "plain")),
        pictures.GREY,
        pictures.GREY,
    ]
    assert plots.colour("residual n = 1") == plots.colour("untied n = 3") == plots.colour("equal parameters, n = 2")
    looks = plots.styles(labels)
    assert len(set(looks.values())) == 6
    assert len({plots.styles(["CNN", "MLP", "ReLU"])[label][0] for label in ("CNN", "MLP", "ReLU")}) == 3
    assert looks["untied n = 7"][0] == pictures.COLOURS["untied"].lower()


def contrast(*colours):
    luminances = []
    for colour in colours:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        luminances.append(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    low, high = sorted(luminances)
    return (high + 0.05) / (low + 0.05)


def test_marks_and_numbers_stand_out_from_their_ground():
    labels = [f"{family} {n}" for family in ("untied", "tied", "plain", "other") for n in range(6)]
    assert all(contrast(colour, pictures.PANEL) >= 3 for colour, _ in plots.styles(labels).values())
    counts = np.random.default_rng(0).integers(0, 3, (2, 400))
    ax = pictures.confusion(counts[0], [*counts[1]], CLASSES).figure.axes[0]
    fills = ax.collections[0].get_facecolors()
    assert all(contrast(text.get_color(), fill[:3]) >= 4.5 for text, fill in zip(ax.texts, fills, strict=True))
    assert {text.get_color() for text in ax.texts} == {"white", "black"}


def test_a_line_that_ends_early_has_its_label_at_its_end():
    """A dashed leader across the panel would look as if the line went on."""
    notes = plots.per_step({"early": [3, 2], "late": [*range(12)]}, "error").figure.axes[0].texts
    places = {note.get_text().split(":")[0]: note.arrow_patch is None for note in notes}
    assert places == {"early": True, "late": False}


def test_what_stands_at_a_line_far_to_the_right_heads_no_number():
    ax = plots.errors(runs(), paper={"a": 12, "b": 54}).figure.axes[0]
    a, b = (note for note in ax.texts if hasattr(note, "xyann"))  # the others are the numbers
    assert (a.get_text(), b.get_text(), b.get_ha()) == (" a 12 ", " b 54 ", "right")
    assert b.xyann[1] > a.xyann[1]


def test_no_bar_ends_at_the_edge_of_its_panel():
    steps = pd.concat([runs().assign(arm=arm, test_error=error) for arm, error in [("a", 60), ("b", 70), ("c", 40)]])
    low, high = plots.waterfall(steps).figure.axes[0].get_xlim()
    assert low == 0
    assert high > 72


def test_many_runs_have_no_line_of_their_own():
    lines = [len(plots.per_step({"a": [[1, 2]] * n}, "error").figure.axes[0].lines) for n in (plots.THIN, 9)]
    assert lines == [plots.THIN + 1, 1]


def test_what_has_no_order_is_not_joined():
    picture = plots.per_step({"a": [9, 12, 10]}, "share", "class", joined=False)
    assert "a between 9.00 and 12.0." in picture.alt
    assert "a" in texts(picture)  # without the value of the last class
    assert {line.get_linestyle() for line in picture.figure.axes[0].lines} == {"None"}


def test_beyond_what_was_trained_a_line_is_dashed():
    picture = plots.readouts(runs(1))
    dashed = [line for line in picture.figure.axes[0].lines if line.get_linestyle() == "--"]
    # the run and the mean of the one net that went on, with statistics estimated anew
    assert [([*line.get_xdata()], [*line.get_ydata()]) for line in dashed] == [([1, 2], [41, 33])] * 2
    assert "anew: tied n = 2, 41.0 after 1 step, 33.0 after 2 steps." in picture.finding


def test_what_is_read_out_from_a_later_step_on_is_drawn_there():
    read = {"first": 2, "trained": [40.0, 12.0], "beyond": {"6": 20.0}}
    picture = plots.readouts(pd.DataFrame([run("net", 0) | {"probes": {"readouts_end": read}}]))
    assert "trained with 3 steps" in picture.alt
    assert [[*line.get_xdata()] for line in picture.figure.axes[0].lines if len(line.get_xdata()) == 1] == [[6]] * 2


def test_intervals_of_nearly_equal_nets_stand_side_by_side():
    frame = runs()
    frame.parameters = [100_000] * 3 + [100_500] * 3 + [900_000] * 3
    bars = [line.get_xdata() for line in plots.tradeoff(frame).figure.axes[0].lines]
    places = sorted({x[0] for x in bars if len(x) == 2 and x[0] == x[1]})
    assert len(places) == 3
    assert places[1] / places[0] > 1.02
    assert "12.1 at 100k" in plots.tradeoff(frame).alt


def test_labels_of_points_stay_in_the_panel_and_off_each_other():
    cost = [1, 2, 3, 3.1, 3.2]
    labels = [f"tied, 16 layers, width {i}, pooled" for i in range(5)]
    frame = pd.DataFrame({"s": cost, "val_error": [20.0, 15, 12, 11.9, 11.8], "label": labels, "family": "tied"})
    figure = plots.frontier(frame, "s", "seconds").figure
    figure.draw_without_rendering()
    panel, boxes = figure.axes[0].bbox, [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 5
    assert all(panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_labels_at_the_ends_of_lines_do_not_overlap():
    figure = plots.per_step({f"arm {i}": [1, 1 + i / 1000] for i in range(8)}, "error").figure
    figure.savefig("/dev/null", format="svg")
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 8
    assert not any(a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1 for a, b in itertools.combinations(boxes, 2))


# Diagrams: what is drawn is counted against the net's own layers.


def convolutions(model):
    return models.sublayers(model, keras.layers.Conv2D)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("resnet18", {"width": 4}),
        ("resnet18", {"width": 4, "stem": "imagenet"}),
        ("recnet", {"n": 4, "width": 4}),
        ("resnet", {"n": 5, "width": 4}),
        ("plain", {"n": 1, "width": 4}),
    ],
)
def test_net_draws_every_convolution(architecture, options):
    model = models.build(architecture, (32, 32, 3), **options)
    picture = diagrams.net(model)
    drawn = [text for text in texts(picture) if re.fullmatch(r"\dx\d conv", text)]
    assert len(drawn) == len(convolutions(model))
    assert picture.alt.count(" conv ") == len(drawn)
    assert sorted(drawn) == sorted(f"{c.kernel_size[0]}x{c.kernel_size[1]} conv" for c in convolutions(model))
    assert ("times" in " ".join(texts(picture))) == (architecture == "recnet")


def test_net_gives_channels_stride_and_size():
    words = diagrams.net(models.build("resnet18", (32, 32, 3), width=4, stem="imagenet")).alt
    assert "stem, 16x16x4: 7x7 conv 4, /2 16x16, max-pool 3" in words
    assert "stage 4, 1x1x32: 3x3 conv 32, /2 1x1, 3x3 conv 32 1x1, shortcut 1x1 conv 32, /2 1x1" in words


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({}, "3x3 conv 8, batch norm, ReLU, 3x3 conv 8, batch norm, +, ReLU; shortcut: identity"),
        ({"activate": False}, "batch norm, +; shortcut"),
        ({"norm_place": "after"}, "3x3 conv 8, +, batch norm, ReLU; shortcut"),
        ({"norm_place": "pre"}, "a block: batch norm, ReLU, 3x3 conv 8, batch norm, ReLU, 3x3 conv 8, +; shortcut"),
        ({"norm": "group", "activation": "tanh"}, "3x3 conv 8, group norm, tanh"),
        ({"shortcut": False, "norm": None}, "a block: 3x3 conv 8, ReLU, 3x3 conv 8, ReLU."),
        ({"stride": 2, "project": True}, "3x3 conv 8, /2, batch norm, ReLU"),
        ({"stride": 2, "project": True}, "shortcut: 1x1 conv 8, /2, batch norm."),
    ],
)
def test_block_is_drawn_in_the_order_of_its_variant(options, order):
    layer = ResidualBlock(8, **options)
    picture = diagrams.block(layer)
    assert order in picture.alt
    drawn = [text for text in texts(picture) if text.endswith(" conv")]
    assert len(drawn) == len([c for c in layer._flatten_layers() if isinstance(c, keras.layers.Conv2D)])


def test_blocks_are_labelled():
    picture = diagrams.block(ResidualBlock(8), ResidualBlock(8), labels=("one", "two"))
    assert {"one", "two"} <= set(texts(picture))


def box_colours(picture):
    """The fill colours of the boxes; unlike an arrow's head, a box has an edge of another colour."""
    styles = re.findall(r'style="fill: (#[0-9a-f]{6}); stroke: (#[0-9a-f]{6})', picture.data)
    return [fill for fill, edge in styles if fill != edge]


@pytest.mark.parametrize(("norm", "norms"), [("per_step", 5), ("shared", 1), (None, 0)])
def test_unrolled_shows_one_colour_where_weights_are_tied(norm, norms):
    def block(**kwargs):
        return ResidualBlock(8, norm=norm, **kwargs)

    tied, untied = (Stage(block, 5, t, name="tied" if t else "untied") for t in (True, False))
    loop_and_chain, chain = box_colours(diagrams.unrolled(tied)), box_colours(diagrams.unrolled(untied))
    assert len(loop_and_chain) == 1 + 5
    assert len(set(loop_and_chain)) == 1
    assert len(chain) == len(set(chain)) == 5
    words = diagrams.unrolled(tied, untied).alt
    assert "tied, a loop of 5: W" in words
    assert all(f"W{i}" in words for i in range(1, 6))
    steps = re.search(r"; tied, its steps: ([^;]*);", words)[1].split(", ")
    assert len(steps) == 5
    assert len({step for step in steps if "N" in step}) == norms


def test_unrolled_copes_with_stages_without_a_loop():
    assert len(box_colours(diagrams.unrolled(Stage(lambda **kw: ResidualBlock(8, **kw), 1, tied=True)))) == 1
    assert box_colours(diagrams.unrolled(Stage(lambda **kw: ResidualBlock(8, **kw), 0, tied=True))) == []


def test_side_by_side_has_common_layers_in_blue():
    nets = [models.build(name, (32, 32, 3)) for name in ("paper_resnet", "paper_recnet")]
    picture = diagrams.side_by_side(*nets, labels=("ResNet", "RecNet"))
    assert len(box_colours(picture)) == sum(len(net.layers) for net in nets)
    assert picture.alt.endswith("Not in all of them: repeat 7 times, simple RNN 128, tanh.")
    blue, other = (box_colours(picture).count(c) for c in sorted(set(box_colours(picture))))
    assert (blue, other) == (18, 2)
    conv_texts = " ".join(text for text in texts(picture) if "conv" in text)
    assert conv_texts.count(" conv ") == sum(len(convolutions(net)) for net in nets)


@pytest.mark.parametrize("wiring", ["stack", "rows", "state"])
def test_side_by_side_draws_every_reading(wiring):
    padding = "valid" if wiring == "rows" else "same"
    nets = [models.paper_net((32, 32, 3), wiring=w, padding=padding) for w in ("none", wiring)]
    assert len(box_colours(diagrams.side_by_side(*nets))) == sum(len(net.layers) for net in nets)


def test_one_seed_has_an_interval_where_its_mistakes_are_known():
    known = {"wrong": np.packbits([1, 0, 0, 0] * 100).tobytes().hex(), "predictions": "0" * 400}
    bar = plots.errors(pd.DataFrame([run("net", 0, error=25.0) | known])).figure.axes[0].lines[0].get_xdata()
    assert bar[0] < 25 < bar[1]
    assert bar[1] - bar[0] == pytest.approx(2 * 1.96 * 100 * np.sqrt(0.25 * 0.75 / 400), rel=0.1)
    unknown = plots.errors(runs(1)).figure.axes[0].lines[0]
    assert np.isnan(unknown.get_xdata()).all()
