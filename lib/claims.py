"""The claims, the rule that judges each, and the verdicts that follow from the runs at hand.

Rules and margins were fixed before the first run, and none is moved after seeing a number. Only full-scale runs on real
data get a verdict; the smaller profiles compute the same numbers and are called "indicative". `python -m lib.claims`
prints what was found.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import experiments, runs, stats
from lib.stats import Estimate, both

# Margins; those on errors are in percentage points (pp).
MARGIN, STRONG = 1.0, 0.5  # C11: as good is worse by less than this, and strongly so by less than this
RETENTION, FEWER = 0.5, 3  # C11: share of the gain that is kept, and at how many times fewer parameters
PUBLISHED, COMPETENCE = {3: 8.75, 7: 7.17}, 0.5  # C11: He et al. (2015), table 6, by n; ours may be worse by so much
EQUIVALENT = 0.5  # "no difference" is a 90 % interval within this
DEPTH_1, RECNET, NEAR = 54, 45, 5  # the paper's two results (section 5), and how near to them counts
OVERFIT = 10  # C8: test minus clean training error
HEAVY = 5  # C6: times RecNet's seconds an image
EXACT = 1e-10  # C10: relative, in float64
LEARNT = 20  # C16: the error at which a net has learnt
PASSED, PASSED_BY = 45, 2  # B5: the error, and the epoch by which it is passed
ALPHA = 0.05  # of a family of comparisons, after Holm
TESTED = 1000  # C1: the paper's number of test images

EXACT_CLAIMS = ("C9", "C10", "C14")  # need no training: a check at profile "quick" settles them


@dataclass(frozen=True)
class Finding:
    """What was found about one claim; NaN stands where there is no number."""

    id: str
    claim: str  # its short title
    paper: str  # what the paper says
    verdict: str = "not run"
    text: str = ""  # what was measured, with the numbers
    value: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)  # 95 %
    unit: str = "pp"  # a key of stats.UNITS, or "" for a plain number
    n: int = 0  # seeds an arm
    source: str = "none"  # "recorded", "this run: quick", ...; "none" where its runs are missing

    @property
    def shown(self):
        """The number with its interval and seeds, as tables show it."""
        seeds = f", {self.n} seed{'s' * (self.n > 1)}" if self.n else ""
        return "-" if self.source == "none" else f"{Estimate(self.value, *self.interval):{self.unit}}{seeds}"

    def json(self):
        """A dict for JSON, in which None stands for what is no finite number."""
        value, *interval = (float(x) if math.isfinite(x) else None for x in (self.value, *self.interval))
        return asdict(self) | {"value": value, "interval": interval}


class Claim(NamedTuple):
    rule: Callable | None  # (Arms of each design, record of each check) -> (verdict, Estimate, text)
    id: str
    title: str
    paper: str
    unit: str = "pp"
    also: tuple[str, ...] = ()  # designs in `experiments` that it needs beside its own


CLAIMS = {}


def claim(name, *rest, **options):
    """Enters the rule it decorates; None is the rule of a claim whose runs are not designed yet."""
    return lambda rule: CLAIMS.setdefault(name, Claim(rule, name, *rest, **options))


# -- What is measured of a run: a number, or the mask of the images it got wrong.


def error(run):
    """The test error where the test was read (as a mask), else the validation error in %."""
    return stats.unpack(run.wrong, len(run.predictions)) if isinstance(run.wrong, str) else run.val_error


def train(run):
    """Clean training error in %: inference mode, no augmentation."""
    return run.train_error


def printed(run):
    """The last epoch's training error in %, as Keras prints it: dropout on, running mean."""
    return run.curve[-1]["train_error"]


def gap(run):
    """Test (or validation) error minus clean training error, in pp."""
    return (run.val_error if pd.isna(run.test_error) else run.test_error) - run.train_error


class Mixed(ValueError):
    """A comparison of runs from different kinds of device, or of different precisions."""


class Arms:
    """The runs of a design by arm, and comparisons between arms, by label."""

    def __init__(self, frame):
        self.runs = {label: list(part.itertuples(index=False)) for label, part in frame.groupby("arm", sort=False)}

    def labels(self, *words, but=()):
        """The arms whose label contains all these words, and none of `but`, in the design's order."""
        return [a for a in self.runs if all(w in a for w in words) and not any(w in a for w in but)]

    def values(self, labels, measure=error):
        """The arms as `stats` takes them. Raises Mixed."""
        machines = (run.machine for label in labels for run in self.runs[label])
        kinds = sorted({f"{m['device'].partition(':')[0]} in {m['precision']}" for m in machines})
        if len(kinds) > 1:
            raise Mixed(f"Not judged: arms that are to be compared ran on {' and on '.join(kinds)}.")
        return [np.array([measure(run) for run in self.runs[label]]) for label in labels]

    def average(self, label, measure=error):
        """The mean alone, for where no interval is asked for."""
        return stats.errors(*self.values([label], measure)).mean()

    def contrast(self, weights, measure=error):
        """The sum of weight x mean over {label: weight}."""
        return stats.contrast(self.values(weights, measure), list(weights.values()))

    def mean(self, label, measure=error):
        return self.contrast({label: 1}, measure)

    def difference(self, a, b, measure=error):
        return self.contrast({a: 1, b: -1}, measure)

    def equivalent(self, a, b):
        return stats.equivalent(*self.values((a, b)), EQUIVALENT)

    def ratio(self, above, below):
        """The ratio of two contrasts; `above` names every arm."""
        return stats.ratio(self.values(above), list(above.values()), [below.get(label, 0) for label in above])


# -- From facts (True, False or None, see stats.Estimate) to words.


def verdict(fact):
    return {True: "reproduced", False: "contradicted", None: "inconclusive"}[fact]


def parts(*verdicts):
    """The verdict on a claim of several parts."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return "partly" if {"reproduced", "partly"} & set(verdicts) else "not reproduced"


def below_zero(family):
    """Of each estimate, whether it is below 0 (True), above (False), or neither after Holm's correction (None)."""
    adjusted = stats.holm([e.p for e in family])
    return [bool(e.value < 0) if p <= ALPHA else None for e, p in zip(family, adjusted, strict=True)]


def each(estimates, unit="pp"):
    """{name: estimate} in a line of text."""
    return "; ".join(f"{name} {estimate:{unit}}" for name, estimate in estimates.items())


# -- The paper's claims.


@claim("C1", "A CNN on MNIST", "describes a net and its 10,000 / 1,000 images, gives no accuracy (3.1.1)", "%")
def c1(arms):
    """`completed`: the missing number; the interval is over subsets where there are several."""
    draws = arms.labels(", draw ")

    def mean(measure):
        masks = arms.values(draws, measure)
        return stats.mean([stats.errors(m).mean() for m in masks] if len(draws) > 1 else masks[0])

    few = mean(lambda run: np.random.default_rng(run.experiment["draw"]).permutation(error(run))[:TESTED])
    others = {a: arms.mean(a) for a in arms.labels(but=draws)}
    return "completed", few, f"On {TESTED:,} test images {few:%}, on all {mean(error):%}. {each(others, '%')}"


@claim("C2", "ReLU and softplus", "ReLU approximates the analytic function ln(1 + e^x) (3.1.1)")
def c2(arms, check):
    """`erratum`: it is the other way round. With it: are the two nets equivalent?"""
    largest, at, above = (check["result"][name] for name in ("gap", "at", "everywhere_above"))
    change, same = arms.difference("softplus", "ReLU"), arms.equivalent("softplus", "ReLU")
    text = f"ln(1 + e^x) approximates ReLU from above, off by at most {largest:.4f}, at {at:g}. Softplus net minus ReLU net "
    text += f"{change:pp}; equivalent within {EQUIVALENT} pp: {'open' if same is None else same}."
    return "erratum" if above and math.isclose(largest, math.log(2), rel_tol=1e-6) else "inconclusive", change, text


@claim("C3", "Depth hurts plain nets", "more layers bring vanishing gradients and harder training (1)")
def c3(arms):
    """(a) the deepest net's clean training error is higher, lower end > 0. (b), only where (a) holds: so is its ratio of the
    first to the last layer's gradient norm lower, at the start and after epoch 1."""

    def log_ratio(when):
        return lambda run: math.log10(run.probes[f"gradients_{when}"]["ratio"] or math.nan)

    shallow, deep = arms.labels(but=["no norm"])[-2:]
    worse = arms.difference(deep, shallow, train)
    ratios = {when: arms.difference(deep, shallow, log_ratio(when)) for when in ("start", "epoch1")}
    falls = both(*(ratio.below(0) for ratio in ratios.values()))
    bare = sorted(arms.labels("no norm"), key=arms.average, reverse=True)
    best = {a.split(", rate")[0]: arms.mean(a) for a in bare}  # the last of a depth is its best rate
    text = f"{deep} minus {shallow}: clean training error {worse:pp}; log10 of first- over last-layer gradient norm "
    text += f"{each(ratios, '')}. Validation error at the own best rate: {each(best, '%')}."
    word = verdict(worse.above(0))
    return "partly" if word == "reproduced" and not falls else word, worse, text


@claim("C4", "The shortcut cures it", "shortcuts keep gradients alive, so that ultra-deep nets train (1, 2)")
def c4(arms):
    """Degradation of plain minus that of residual nets, lower end > 0. Not testable unless plain nets degrade (C3a)."""
    (a, b), (c, d) = arms.labels("plain")[-2:], arms.labels("residual")[-2:]
    plain, residual = arms.difference(b, a, train), arms.difference(d, c, train)
    cure = arms.contrast({b: 1, a: -1, d: -1, c: 1}, train)
    text = f"Clean training error, {b} minus {a} {plain:pp}, {d} minus {c} {residual:pp}; the shortcut saves {cure:pp}."
    return verdict(cure.above(0)) if plain.above(0) else "not testable", cure, text


@claim("C5", "What may follow the addition", "batch norm there hurts; a ReLU makes no major difference (2, ref. 7)")
def c5(arms):
    """At the deepest: (a) norm after minus norm before, lower end > 0; (b) with and without ReLU equivalent."""
    originals = arms.labels("norm before, ReLU after")
    changes = {a: arms.difference(a, o) for o in originals for a in arms.labels(o.split(", ")[-1], but=[o])}
    after, bare = (originals[-1].replace(*pair) for pair in (("norm before", "norm after"), ("ReLU after", "no ReLU")))
    words = verdict(changes[after].above(0)), verdict(arms.equivalent(bare, originals[-1]))
    text = f"Norm after the addition hurts: {words[0]}; the ReLU makes no difference: {words[1]}. Minus the original: "
    return parts(*words), changes[after], text + each(changes) + "."


@claim("C6", "ResNet-18 is heavy and over-fits", "ResNet-18 is prone to over-fit, and intensive on CPUs (3.2)", "x")
def c6(arms, check):
    """Heavy: at least HEAVY times the seconds an image of RecNet at the main claims' n = 7. Over-fit: larger gap than
    ResNet-20 and error not lower, same recipe; larger gap but lower error is `partly`."""
    seconds = check["machine"]["seconds_per_image"]
    times = Estimate(seconds["ResNet-18"] / seconds["RecNet, n = 7"])
    words, text = [verdict(times.value >= HEAVY)], f"Seconds an image in training, over RecNet's: {times:x}"
    for recipe in ("augmented", "not augmented") if arms.runs else ():
        nets = f"ResNet-18, {recipe}", f"ResNet-20, {recipe}"
        wider, worse = arms.difference(*nets, gap), arms.difference(*nets)
        better = wider.above(0) and worse.below(0)
        words.append("partly" if better else verdict(both(wider.above(0), worse.above(0))))
        text += f"; minus ResNet-20, {recipe}: gap {wider:pp}, error {worse:pp}"
    return parts(*words), times, text + "."


def near(arms, label, centre, *measures):
    """Whether an arm's means are within NEAR of the paper's number, chance aside."""
    return all(abs(arms.average(label, measure) - centre) <= NEAR for measure in measures)


@claim("C7", "The depth-1 ResNet fails", "at depth 1 a ResNet fails to converge: about 54 % on both sets (5)", "%")
def c7(arms):
    """Reading P1: test and clean training error within DEPTH_1 ± NEAR."""
    (final,), readings = arms.labels("final"), arms.labels(but=["final"])
    test, clean = arms.mean(final), arms.mean(final, train)
    landed = sum(near(arms, a, DEPTH_1, error, train) for a in readings)
    text = f"P1: test {test:%}, clean training {clean:%}, printed while training {arms.average(final, printed):.1f} %. "
    fact = both(test.within(DEPTH_1, NEAR), clean.within(DEPTH_1, NEAR))
    return verdict(fact), test, text + f"{landed} of {len(readings)} readings land."


@claim("C8", "The paper's RecNet", "flatten, then an RNN of seven steps: about 45 % on test, over-fitted (5)", "%")
def c8(arms):
    """Reading P1: test error within RECNET ± NEAR, and gap > OVERFIT."""
    (final,), readings = arms.labels("final"), arms.labels("RecNet", but=["final"])
    test, fit = arms.mean(final), arms.mean(final, gap)
    landed = sum(near(arms, a, RECNET, error) and arms.average(a, gap) > OVERFIT for a in readings)
    others = [a for a in arms.labels(but=["RecNet"]) if near(arms, a, RECNET, error)]
    text = f"P1: test {test:%}, gap {fit:pp}, printed while training {arms.average(final, printed):.1f} %. {landed} of "
    text += (
        f"{len(readings)} readings land. As near with no RNN (then a match proves nothing): {', '.join(others) or '-'}."
    )
    return verdict(both(test.within(RECNET, NEAR), fit.above(OVERFIT))), test, text


@claim("C9", "Seven RNN steps are seven blocks", "that RNN is equivalent to seven residual blocks (5)", "of 3")
def c9(check):
    """`contradicted` if three differences hold."""
    found = check["result"]
    state, identity, again = found["bounded"], found["identity"], found["input_again"]
    differences = {
        "the RNN's state is bounded, a residual one is not": max(state["rnn"]) <= 1 < state["residual"][-1],
        "it has no identity path, a block has": max(identity["rnn"], identity["residual"]) < 1e-6,
        "its steps share weights and see the input again": found["tied_weights"]["rnn"] < 7 and again > 1e-6,
    }
    held = [text for text, holds in differences.items() if holds]
    return "contradicted" if len(held) == 3 else "inconclusive", Estimate(len(held)), f"It holds: {'; '.join(held)}."


@claim("C10", "A shallow RNN is a deep tied ResNet", "exact equivalence, given weight sharing (abstract, 1)", "")
def c10(check):
    """To EXACT, without norm or with a shared one; with a norm a step only for a cell that knows its step."""
    rows = pd.DataFrame(check["result"]["rows"])
    off, own, blind = (
        rows[["output", "gradient"]].max(axis=1),
        rows["norm"] == "per_step",
        rows["cell_knows_step"].eq(False),
    )
    shared, knowing, unaware = off[~own].max(), off[own & ~blind].max(), off[own & blind].min()
    text = f"Largest relative difference of outputs and gradients, up to {rows['steps'].max()} steps: {shared:.1g} without norm "
    text += f"or with a shared one at inference (by definition); with a norm a step {knowing:.1g} if the cell knows its step, "
    text += f"at least {unaware:.1g} if not. The whole net changes its shape twice: a chain of three RNNs, not one."
    return verdict(shared <= EXACT and knowing <= EXACT), Estimate(shared), text


@claim(
    "C11",
    "RecNet does the deep net's work",
    "with shared, so fewer, weights it is as good (abstract, 1)",
    also=("rates",),
)
def c11(arms, rates):
    """D = tied minus untied at the deepest. Reproduced: upper end of D < MARGIN and lower end of R > RETENTION, at FEWER
    times fewer parameters. Contradicted: lower end of D > MARGIN. Judged only if untied beats E, lower end > 0, and has at
    most its published error + COMPETENCE."""
    *shallower, tied = arms.labels("tied", but=["untied"])
    untied, trials = f"un{tied}", {a: rates.average(a) for a in rates.runs}
    equal = min(arms.labels("equal parameters"), key=lambda a: trials.get(a, 0))  # E: the best on validation
    d, gain, level = arms.difference(tied, untied), arms.difference(equal, untied), arms.mean(untied)
    kept = arms.ratio({equal: 1, tied: -1, untied: 0}, {equal: 1, untied: -1})
    fewer = arms.runs[untied][0].parameters / arms.runs[tied][0].parameters
    bar = PUBLISHED.get(int(tied.split()[-1]), math.nan) + COMPETENCE
    judged = gain.above(0) and level.value <= bar
    good = judged and both(d.below(MARGIN), kept.above(RETENTION), bool(fewer >= FEWER))
    word = "contradicted" if d.above(MARGIN) else "reproduced" if good else "inconclusive"
    text = f"D, {tied}: {d:pp}{', strong' if good and d.below(STRONG) else ''}; {fewer:.1f} times fewer parameters; R = {kept}. "
    text += f"Untied {level:%}, to be judged at most {bar:.2f}; {equal} (E) minus untied {gain:pp}. "
    text += each({f"D, {a}": arms.difference(a, f"un{a}") for a in shallower})
    best = (min(rates.labels(f"{kind}, rate"), key=trials.get, default="") for kind in ("tied", "untied"))
    return word if judged else "not testable", d, f"{text} Best on validation: {'; '.join(best)}."


@claim("C12", "Deeper would train better", "its low accuracy suggests more deep blocks (7)")
def c12(arms):
    """Both main effects and the interaction, as a family; the verdict is on depth."""
    (a, b), (c, d) = arms.labels("depth-1"), arms.labels("n = ")  # the paper's recipe, the modern one
    effects = {
        "depth": arms.contrast({c: 0.5, d: 0.5, a: -0.5, b: -0.5}),
        "recipe": arms.contrast({b: 0.5, d: 0.5, a: -0.5, c: -0.5}),
        "depth given the modern recipe minus given the paper's": arms.contrast({d: 1, b: -1, c: -1, a: 1}),
    }
    return verdict(below_zero(effects.values())[0]), effects["depth"], f"Change of the error by {each(effects)}."


@claim("C13", "What might help", "RecNets might do better without dropout, with other unrolls or activations (7)")
def c13(arms):
    """A change helps if its interval lies below 0, after Holm; `partly` if some help. The number is the first conjecture's:
    no dropout, in the true RecNet."""
    pairs = {a: (a, a.split(",")[0]) for a in arms.labels(", ")}
    pairs["true, dropout 0.5"] = pairs["true, dropout 0.5"][::-1]  # the true one has none: the change is to take it out
    changes = {a.replace("true, dropout 0.5", "true, no dropout"): arms.difference(*pair) for a, pair in pairs.items()}
    helpful = [a for a, helps in zip(changes, below_zero(changes.values()), strict=True) if helps]
    word = "reproduced" if len(helpful) == len(changes) else "partly" if helpful else "not reproduced"
    text = f"Change of the error: {each(changes)}. Helpful: {'; '.join(helpful) or 'none'}."
    return word, changes["true, no dropout"], text


@claim("C14", "Facts about CIFAR-10", "its counts; classes such as boats and train (4.1)", "images")
def c14(check):
    """Counts `reproduced`, names `erratum`: in one word, an erratum."""
    found = check["result"]
    counts = found["training"], found["test"], found["shape"], found["per_class_training"], found["per_class_test"]
    right = counts == (50_000, 10_000, [32, 32, 3], [5000] * 10, [1000] * 10)
    uneven, absent = sum(batch != [1000] * 10 for batch in found["per_class_batch"]), ", ".join(found["absent"])
    text = (
        f"Counts as stated: {right}; {uneven} of 5 training batches are uneven. Named but no class: {absent or 'none'}."
    )
    word = "contradicted" if not right else "erratum" if absent else "reproduced"
    return word, Estimate(counts[0] + counts[1]), text


@claim("C15", "Why RecNet was better", "the RNN takes 54 % to 45 %; depth 1 fails, shallowness over-fits (5)")
def c15(arms):
    """Recurrence helps: seven steps beat no RNN and one step (a family). Depth 1 is why the ResNet fails: a correct
    depth-1 net fails too, lower end > DEPTH_1 - NEAR. Shallowness is why RecNet over-fits: the gap of one step is larger
    than that of seven."""
    none, seven, *_, one = arms.labels("P1, final") + arms.labels("1 step")
    correct, *readings = arms.labels("a correct") + arms.labels("RecNet", but=["final"])
    rnn, recurrence, shallow = (
        arms.difference(seven, none),
        arms.difference(seven, one),
        arms.difference(one, seven, gap),
    )
    facts = both(*below_zero([rnn, recurrence])), arms.mean(correct).above(DEPTH_1 - NEAR), shallow.above(0)
    words = [verdict(fact) for fact in facts]
    lower = sum(arms.average(a) < arms.average(a.replace("RecNet", "depth-1")) for a in readings)
    text = f"Recurrence helps: {words[0]}; depth 1 is why: {words[1]}; shallowness is why: {words[2]}. Seven steps minus no RNN "
    text += f"{rnn:pp} (lower in {lower} of {len(readings)} readings), minus one {recurrence:pp}; gap of one minus of seven "
    text += f"{shallow:pp}. {each({a: arms.mean(a) for a in arms.labels('final')}, '%')}."
    return parts(*words), rnn, text


@claim(
    "C16", "Said in passing", "residual nets learn faster; pooling makes invariant; CNNs train easily (1, 2)", "epochs"
)
def c16(arms):
    """`completed`: a sentence and a number each."""

    def epochs(run):
        return next((e["epoch"] for e in run.curve if e["val_error"] <= LEARNT), math.nan)

    (*_, plain), (*_, residual) = arms.labels("plain"), arms.labels("residual")
    saved = arms.difference(plain, residual, epochs)
    shifted = {f"{d} px": arms.mean("MNIST CNN", lambda run, d=d: run.probes["shifts_end"][d]) for d in (0, 6)}
    others = {a: arms.difference(a, "MNIST CNN") for a in arms.labels("MNIST", but=["CNN"])}
    drops = pd.DataFrame([run.probes["drops_end"] for run in arms.runs[residual]]).mean()
    rises = (drops - drops["none"]).drop("none")
    text = f"To {LEARNT} % {plain} takes {saved:epochs} more than {residual}. MNIST shifted: {each(shifted, '%')}. Minus the CNN: "
    text += f"{each(others)}. One of {len(rises)} steps left out costs {residual} {rises.min():.2f} to {rises.max():.2f} pp."
    return "completed", saved, text


# -- Beyond the paper.


@claim("B1", "Does sharing the norm break sharing?", "nothing; expected: a shared norm is clearly worse")
def b1(arms):
    """Own minus shared norm below 0, after Holm over the norms. Jastrzebski et al. (2018) found it so."""

    def with_statistics(kind):
        return lambda run: run.probes["statistics_end"][kind]

    own, *others = arms.runs
    changes = {a: arms.difference(own, a) for a in others}
    worse = dict(zip(changes, below_zero(changes.values()), strict=True))["shared norm"]
    kinds = ("running", "batch", "reestimated")
    ways = {kind: arms.difference("shared norm", own, with_statistics(kind)) for kind in kinds}
    text = f"Shared minus own norm, by the statistics used: {each(ways)}. Own norm minus the others: {each(changes)}."
    return verdict(worse), arms.difference("shared norm", own), text


@claim("B2", "What does each step do?", "nothing; expected: the error falls step by step, extrapolation is limited")
def b2(arms):
    """Each step lowers the error read out after it (a family); twice the trained steps gain less than EQUIVALENT."""

    def course(run):  # read out after the transition, after each step, after twice the steps
        return [*run.probes["readouts_end"]["trained"], [*run.probes["readouts_end"]["beyond"].values()][-1]]

    mean = np.mean([course(run) for run in arms.runs["tied"]], axis=0)
    *steps, more = (arms.mean("tied", lambda run, t=t: np.diff(course(run))[t]) for t in range(len(mean) - 1))
    total = arms.mean("tied", lambda run: course(run)[-2] - course(run)[0])
    text = f"Error in % read out after the transition, each step, and twice the steps: {', '.join(f'{e:.1f}' for e in mean)}; "
    text += f"the steps change it by {total:pp}, as many again by {more:pp}."
    return verdict(both(*below_zero(steps), more.above(-EQUIVALENT))), total, text


claim("B3", "The aim, reached", "to reproduce a deep ResNet's results with a shallow RNN is the aim (abstract)")(None)
claim("B4", "Several states with feed-back", "nothing; after ref. 2")(None)


@claim("B5", "How far from normal is 54 / 45?", "nothing; expected: 45 % is passed within two epochs", "%")
def b5(arms):
    """Every corrected net's validation error by epoch PASSED_BY, upper end < PASSED. The number is the deepest net's."""

    def after(epoch):
        return lambda run: run.curve[:epoch][-1]["val_error"]

    early, (*_, deep) = {a: arms.mean(a, after(PASSED_BY)) for a in arms.runs}, arms.runs
    course = ", ".join(f"{arms.average(deep, after(epoch)):.1f}" for epoch in (1, 2, 5, 10))
    text = (
        f"By epoch {PASSED_BY}: {each(early, '%')}. {deep} by epoch 1, 2, 5, 10, as far as it was trained: {course} %."
    )
    return verdict(both(*(e.below(PASSED) for e in early.values()))), early[deep], text


@claim("B6", "What closes the gap?", "nothing; expected: most is recipe and wiring, not depth", "")
def b6(arms):
    """Share of wiring, optimiser and augmentation in the gain from the paper's RecNet to the deep net: lower end > 1/2."""
    start, wiring, stem, optimiser, augmentation, depth, _ = arms.runs
    bars = {after: arms.difference(after, before) for before, after in pairwise(arms.runs)}
    sure = [a for a, fact in zip(bars, below_zero(bars.values()), strict=True) if fact is not None]
    share = arms.ratio({start: 1, wiring: -1, stem: 1, optimiser: 0, augmentation: -1, depth: 0}, {start: 1, depth: -1})
    text = f"From {arms.average(start):.1f} % on: {each(bars)}. Beyond chance: {'; '.join(sure) or 'none'}. "
    return verdict(share.above(0.5)), share, text + f"Share of wiring and recipe in the gain up to depth: {share}."


claim("B7", "Where should one share?", "nothing; ref. 2 is said to find sharing harmful late")(None)


# -- Findings.


def judge(profile, records, seed=0, seeds=1, standin=False):
    """The findings on all claims, in order, from the runs of one profile.

    records: as `runs.read` gives them. seed, seeds: the first seed and their number in the small profiles. standin: take the
    runs on stand-in data, which get no verdict. Raises ValueError on an unknown profile.
    """
    experiments.Design(profile)
    return [_judge(c, profile, records, seed, seeds, standin) for c in CLAIMS.values()]


def _judge(c, profile, records, seed, seeds, standin):
    none = Finding(c.id, c.title, c.paper, unit=c.unit, text="Its runs are not designed yet.")
    if c.rule is None:
        return none
    designs = [d for d in (c.id, *c.also) if d in experiments.CLAIMS]
    frames = [experiments.select(records, d, profile, seed, seeds, standin) for d in designs]
    checks = [_check(records, name, profile, standin) for name in experiments.CHECKS.get(c.id, ())]
    wanted = len(experiments.wanted(designs, profile, seed, seeds)) + len(checks)
    made = len({key for frame in frames for key in frame.get("key", ())}) + sum(map(bool, checks))
    if made < wanted:
        return replace(none, text=f"{made} of the {wanted} runs that it needs are there.")
    arms = [Arms(frame) for frame in frames]
    try:
        word, (value, *interval, _), text = c.rule(*arms, *checks)
    except Mixed as mixed:
        word, (value, *interval, _), text = "not testable", Estimate(math.nan), str(mixed)
    source = "recorded" if profile == "paper" else f"this run: {profile}"
    if standin:
        word, text, source = "not run", f"{text} Stand-in data: no verdict.", f"{source}, stand-in data"
    elif not (profile == "paper" or (profile == "quick" and c.id in EXACT_CLAIMS)):
        word = "indicative"
    n = min((len(arms[0].runs[a]) for a in arms[0].labels("final") or arms[0].runs), default=0) if arms else 0
    return replace(none, verdict=word, text=text, value=value, interval=tuple(interval), n=n, source=source)


def _check(records, name, profile, standin):
    """The record of a check; only C14's looks at the data."""
    found = runs.find_check(records, name, profile, standin)
    return found if found or name == "cifar10" else runs.find_check(records, name, profile, not standin)


def fullest(*judged):
    """For each claim the first finding whose runs are there, out of lists of findings, the fullest first."""
    return [next((f for f in some if f.source != "none"), some[0]) for some in zip(*judged, strict=True)]


def table(recorded_records, local_records, local_profile="quick", seed=0, seeds=1, standin=False):
    """A row a claim: what the paper says, what was recorded, what this run found, and the verdict.

    The verdict is that of the recorded runs; without them this run's, which is "indicative" as a rule.
    """
    recorded, local = judge("paper", recorded_records), judge(local_profile, local_records, seed, seeds, standin)
    rows = zip(recorded, local, fullest(recorded, local), strict=True)
    return pd.DataFrame(
        [(a.id, a.claim, a.paper, a.shown, b.shown, best.verdict) for a, b, best in rows],
        columns=["id", "claim", "paper", "recorded", "this run", "verdict"],
    )


def title(findings):
    """The title's two halves, {"experiment": ..., "thesis": ...}: "[Re]", "[¬Re]", or "[?]" while it is not decided."""
    words = {f.id: f.verdict for f in findings if f.source == "recorded"}

    def half(*names):
        verdicts = {words.get(name) for name in names}
        failed = {"contradicted", "not reproduced", "partly"} & verdicts
        return "[¬Re]" if failed else "[Re]" if verdicts == {"reproduced"} else "[?]"

    return {"experiment": half("C7", "C8", "C15"), "thesis": half("C11")}


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m lib.claims", description="The claims and what was found.")
    parser.add_argument("--runs", help="a store: results or build/runs (default: both)")
    parser.add_argument("--profile", choices=experiments.PROFILES, help="default: for each claim the fullest there is")
    parser.add_argument("--seed", type=int, default=0, help="first seed of the small profiles")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds of the small profiles")
    parser.add_argument("--json", action="store_true", help="one JSON array")
    args = parser.parse_args(argv)
    if args.runs and not Path(args.runs).is_dir():
        parser.error(f"there is no store {args.runs!r}; results and build/runs are the usual ones")
    try:
        records = [r for store in ([args.runs] if args.runs else (runs.RESULTS, runs.LOCAL)) for r in runs.read(store)]
    except runs.StoreError as damaged:
        print(damaged, file=sys.stderr)
        return 1
    profiles = [args.profile] if args.profile else experiments.PROFILES[::-1]
    found = fullest(*(judge(p, records, args.seed, args.seeds, fake) for p in profiles for fake in (False, True)))
    if args.json:
        print(json.dumps([f.json() for f in found], indent=1, ensure_ascii=False, allow_nan=False))
    else:
        shown = pd.DataFrame({"id": f.id, "claim": f.claim, "found": f.shown, "verdict": f.verdict} for f in found)
        print(shown.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
