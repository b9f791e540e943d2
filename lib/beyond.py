"""What is asked beyond the paper, and the rule that judges each: B1 to B7.

As in `lib.rules`: fixed before the first run, and none is moved after seeing a number.
"""

from itertools import pairwise

import numpy as np

from lib.findings import EQUIVALENT, Rules, verdict
from lib.stats import below_zero, both, each

FEWER = 3  # B3: times fewer weights than ResNet-44
SMALL_CPU, SMALL_GPU = 6.5, 6.0  # B3: the error of a tied net below 1M on either kind of budget
PASSED, PASSED_BY = 45, 2  # B5: the error to be passed, and the epoch to pass it by

CLAIMS = Rules()
claim = CLAIMS.claim


@claim(
    "B1",
    "Does sharing the norm break sharing?",
    how="The tied net was trained with one batch norm for all its steps, with one for each, and with others, at full "
    "scale for ten epochs.",
    paper="nothing; we expected: a shared norm is clearly worse",
    quantity="error, shared minus own norm",
    means={
        "reproduced": "A norm that all steps share is worse: each step needs its own.",
        "contradicted": "A norm that all steps share does no harm.",
    },
)
def b1(arms):
    """Own minus shared norm below 0, after Holm over the norms. Jastrzebski et al. (2018) found it so."""

    def under(statistics):
        return lambda run: run.probes["statistics_end"][statistics]

    own, shared = "own norm", "shared norm"
    changes = {a: arms.difference(own, a) for a in arms if a != own}
    ways = {kind: arms.difference(shared, own, under(kind)) for kind in ("running", "batch", "reestimated")}
    text = f"Shared minus own norm, by the statistics used: {each(ways)}. Own norm minus the others: {each(changes)}."
    return verdict(below_zero(changes)[shared]), arms.difference(shared, own), text


@claim(
    "B2",
    "What does each step do?",
    how="The tied net, at full scale trained for ten epochs, was stopped after each of its steps, and run for twice as "
    "many, to see what each adds.",
    paper="nothing; we expected: the error falls step by step, extrapolation is limited",
    quantity="error, after minus before a step, the weakest of them",
    means={
        "reproduced": "Each step lowers the error, and steps beyond the trained ones do not help.",
        "inconclusive": "It can't be said of every single step that it lowers the error.",
    },
)
def b2(arms):
    """Each step lowers the error read out after it (a family); twice the trained steps gain less than EQUIVALENT on
    them, both with statistics estimated anew."""

    def course(run):  # after the transition, then after each step
        return run.probes["readouts_end"]["trained"]

    def anew(run):  # with statistics estimated anew: after the trained steps, after twice as many
        return [run.probes["statistics_end"]["reestimated"], [*run.probes["readouts_end"]["beyond"].values()][-1]]

    shown, ends = (np.mean([errors(run) for run in arms["tied"]], axis=0) for errors in (course, anew))
    steps = [arms.mean("tied", lambda run, t=t: np.diff(course(run))[t]) for t in range(len(shown) - 1)]
    total = arms.mean("tied", lambda run: course(run)[-1] - course(run)[0])
    more = arms.mean("tied", lambda run: np.diff(anew(run))[0])
    text = f"Error in % after the transition and each step: {', '.join(f'{e:.1f}' for e in shown)}; by the steps "
    text += f"{total:pp}. With statistics estimated anew {ends[0]:.1f} after them, {ends[1]:.1f} after as many again: "
    text += f"{more:pp}."
    weakest = max(steps, key=lambda step: step.value)
    return verdict(both(*below_zero(dict(enumerate(steps))).values(), more.above(-EQUIVALENT))), weakest, text


@claim(
    "B3",
    "The aim, reached",
    how="Tied nets of two sizes were trained beside what a user would take instead: a deep ResNet, or a small one.",
    paper="to reproduce a deep ResNet's results with a shallow RNN is the aim (abstract)",
    quantity="error, tied below 0.15M minus ResNet-44",
    means={
        "reproduced": "The aim is reached, in all three ways.",
        "partly": "The aim is reached in some of three ways.",
        "contradicted": "The aim is reached in none of three ways.",
    },
)
def b3(arms):
    """(a) a tied net of at most a third of ResNet-44's weights: upper end of the difference < EQUIVALENT. (b) one below
    0.15M is by less than that worse than ResNet-20, and better than every untied net below 0.15M, lower end > 0. (c)
    the mean of one below 1M is at most SMALL_CPU, or SMALL_GPU where it was trained on a GPU."""
    small, large = arms.named("tied, below", but=["untied"])
    deep, shallow = arms.named("ResNet-44") + arms.named("ResNet-20")
    d, lost, level = arms.difference(small, deep), arms.difference(small, shallow), arms.mean(large)
    rivals = {a: arms.difference(a, small) for a in arms.named("untied, below")}
    fewer = arms[deep][0].parameters / arms[small][0].parameters
    bar = SMALL_GPU if arms[large][0].machine["device"].startswith("gpu") else SMALL_CPU
    stands = both(lost.below(EQUIVALENT), *(gain.above(0) for gain in rivals.values()))
    facts = {
        "a third of ResNet-44's weights do its work": both(d.below(EQUIVALENT), bool(fewer >= FEWER)),
        "below 0.15M weights it stands up to ResNet-20, and beats untied nets": stands,
        f"below 1M the error is at most {bar} %": bool(level.value <= bar),
    }
    text = f"{fewer:.1f} times fewer weights than ResNet-44; minus ResNet-20 {lost:pp}; minus it {each(rivals)}; "
    return facts, d, f"{text}{large} {level:%}."


@claim(
    "B4",
    "Several states with feed-back",
    how="Nets of two and three states that feed each other, trained for ten epochs, were read out after every step.",
    paper="nothing; after ref. 2",
    quantity="error, with minus without feed-back, three states",
)
def b4(arms):
    """`completed`: errors by the step of the read-out, and what the way back buys."""

    def course(arm):
        found = [run.probes["readouts_end"] for run in arms[arm]]
        shown = ", ".join(f"{e:.1f}" for e in np.mean([f["trained"] for f in found], axis=0))
        return f"{arm} ({arms[arm][0].parameters:,} weights): {shown} from t = {found[0]['first']} on"

    changes = {a: arms.difference(a, a.replace("with feed-back", "without")) for a in arms.named("with feed-back")}
    text = f"Minus the same without: {each(changes)}. Error in % by the step of the read-out: "
    return "completed", [*changes.values()][-1], text + "; ".join(map(course, arms)) + "."


@claim(
    "B5",
    "How far from normal is 54 / 45?",
    how="Residual nets built and trained as the field does it were watched over their first epochs.",
    paper="nothing; we expected: 45 % is passed within two epochs",
    quantity="error after two epochs, deepest net",
    unit="%",
    means={
        "reproduced": "Nets built and trained as the field does it pass 45 % within two epochs.",
        "contradicted": "Not every such net passes 45 % within two epochs.",
        "inconclusive": "The seeds differ too much to say it of every net.",
    },
)
def b5(arms):
    """Every corrected net's error by epoch PASSED_BY, upper end < PASSED; the number is the deepest net's."""

    def after(epoch):
        return lambda run: run.curve[:epoch][-1]["val_error"]

    early, (*_, deep) = {a: arms.mean(a, after(PASSED_BY)) for a in arms}, arms
    course = ", ".join(f"{arms.average(deep, after(epoch)):.1f}" for epoch in (1, 2, 5, 10))
    text = f"By epoch {PASSED_BY}: {each(early, '%')}. {deep} by epoch 1, 2, 5, 10, as far as trained: {course} %."
    return verdict(both(*(e.below(PASSED) for e in early.values()))), early[deep], text


@claim(
    "B6",
    "What closes the gap?",
    how="From the paper's net to the tied deep one, one thing was changed at a time, in an order stated beforehand.",
    paper="nothing; we expected: most is recipe and wiring, not depth",
    quantity="share of wiring, optimiser and augmentation together in the gain",
    unit="%",
    means={
        "reproduced": "Most of the gain is wiring and recipe, not depth.",
        "contradicted": "Wiring and recipe are not most of the gain.",
    },
)
def b6(arms):
    """Share of wiring, optimiser and augmentation in the gain from the paper's RecNet to depth, surely > 0.5 (as a
    contrast: their sum minus half the gain, lower end > 0, where the gain's is too)."""
    start, wiring, stem, optimiser, augmentation, depth, _ = arms
    bars = {after: arms.difference(after, before) for before, after in pairwise(arms)}
    sure = [a for a, fact in below_zero(bars).items() if fact is not None]
    parts = {start: 100, wiring: -100, stem: 100, optimiser: 0, augmentation: -100, depth: 0}
    share = arms.ratio(parts, {start: 1, depth: -1})
    text = f"From {arms.average(start):.1f} % on: {each(bars)}. Beyond chance: {'; '.join(sure) or 'none'}. "
    most = arms.contrast({start: 0.5, wiring: -1, stem: 1, augmentation: -1, depth: 0.5}).above(0)
    return (
        verdict(both(arms.difference(start, depth).above(0), most)),
        share,
        text + f"Share of wiring and recipe in the gain up to depth: {share:%}.",
    )


@claim(
    "B7",
    "Where should one share?",
    how="Nets were trained alike, at full scale for ten epochs, that share their weights in no stage, in the first "
    "alone, in the last alone, in all.",
    paper="nothing; ref. 2 is said to find sharing harmful late",
    quantity="error, last stage shared minus first stage shared",
    means={
        "reproduced": "Sharing is most harmful late.",
        "contradicted": "Sharing is not most harmful late.",
    },
)
def b7(arms):
    """Sharing harms late: the last stage alone is worse than no sharing and than the first stage alone, lower ends
    > 0."""
    none, late, early = "no stage", "stage 3 alone", "stage 1 alone"
    costs = {a: arms.difference(a, none) for a in arms if a != none}
    later = arms.difference(late, early)
    weights = "; ".join(f"{a}: {runs[0].parameters:,}" for a, runs in arms.items())
    text = f"Minus no sharing: {each(costs)}. Weights: {weights}."
    return verdict(both(costs[late].above(0), later.above(0))), later, text
