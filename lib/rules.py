"""The claims and the rule that judges each.

Rules and margins (of errors, in percentage points) were fixed before the first run; none is moved after seeing a
number. A rule takes the runs of a claim's arms, and gives a verdict, a number with its interval, and a text.
"""

import math
from itertools import pairwise

import numpy as np
import pandas as pd

from lib import stats
from lib.findings import ANSWER, EQUIVALENT, Finding, error, gap, parts, printed, train, verdict
from lib.stats import Estimate, below_zero, both, each

MARGIN, STRONG = 1.0, 0.5  # C11: as good is worse by less than this; strongly so by less than this
RETENTION, FEWER = 0.5, 3  # C11: share of the gain that is kept; times fewer parameters
PUBLISHED, COMPETENCE = {3: 8.75, 7: 7.17}, 0.5  # C11: He et al. (2015), table 6, by n; ours may be worse by so much
DEPTH_1, RECNET, NEAR = 54, 45, 5  # the paper's two results (section 5), and how near to them counts
OVERFIT, HEAVY, EXACT = 10, 5, 1e-10  # C8: gap; C6: times RecNet's seconds an image; C10: relative, in float64
SMALL_CPU, SMALL_GPU = 6.5, 6.0  # B3: the error of a tied net below 1M on either kind of budget
LEARNT, PASSED, PASSED_BY = 20, 45, 2  # C16: the error to be reached; B5: another, and the epoch to reach it by
TESTED = 1000  # C1: the paper's number of test images

CLAIMS = {}  # id: (Finding without numbers, rule, designs in `experiments` that the rule needs beside its own)


def claim(name, title, how, paper, quantity="", unit="pp", also=(), means=None):
    """Enters the rule it decorates: (Arms of each design, record of each check) -> (verdict, Estimate, text).

    means: what a verdict comes to here, in words for everybody; those it lacks are said as VERDICTS has it.
    """
    blank = Finding(name, title, how, paper, quantity, unit, means=means or {})
    return lambda rule: CLAIMS.setdefault(name, (blank, rule, also))


# -- The claims: the paper's, then those beyond it.


@claim(
    "C1",
    "A CNN on MNIST",
    "The paper's small CNN was trained on 10,000 MNIST digits; which ones it took it does not say, so on five draws.",
    "describes a net and its 10,000 / 1,000 images, gives no accuracy (3.1.1)",
    "test error on 1,000 images",
    "%",
)
def c1(arms):
    """`completed`: the missing number; the interval is over subsets where there are several."""
    draws = arms.named(", draw ")

    def mean(measure):
        masks = arms.measured(draws, measure)
        return stats.mean([stats.errors(m).mean() for m in masks] if len(draws) > 1 else masks[0])

    few = mean(lambda run: np.random.default_rng(run.experiment["draw"]).permutation(error(run))[:TESTED])
    others = {a: arms.mean(a) for a in arms.named(but=draws)}
    over = f" Intervals of the first two: over {len(draws)} draws." * (len(draws) > 1)
    return "completed", few, each({f"On {TESTED:,} test images": few, "on all": mean(error)} | others, "%") + "." + over


@claim(
    "C2",
    "ReLU and softplus",
    "The two formulas were compared point by point, and the MNIST net was trained with either.",
    "ReLU approximates the analytic function ln(1 + e^x) (3.1.1)",
    "error, softplus minus ReLU",
    means={
        "erratum": "It is the other way round: that function is a smooth form of ReLU.",
    },
)
def c2(arms, check):
    """`erratum`: it is the other way round. With it: are the two nets equivalent?"""
    largest, at, above = map(check["result"].get, ("gap", "at", "everywhere_above"))
    change, same = arms.difference("softplus", "ReLU"), arms.equivalent("softplus", "ReLU")
    text = f"ln(1 + e^x) approximates ReLU, off by at most {largest:.4f}, at {at:g}. Its net minus ReLU's {change:pp}; "
    text += f"equivalent within {EQUIVALENT} pp: {ANSWER[same]}."
    return "erratum" if above and math.isclose(largest, math.log(2), rel_tol=1e-6) else "inconclusive", change, text


@claim(
    "C3",
    "Depth hurts plain nets",
    "Plain nets of growing depth were trained alike, and compared on the very images that they were trained on.",
    "more layers bring vanishing gradients and harder training (1)",
    "training error, deepest minus next",
    means={
        "reproduced": "The deepest fits its training images worst, and less of the gradient reaches its first layer.",
        "partly": "The deepest fits its training images worst, but a vanishing gradient is not what the runs show.",
        "contradicted": "The deepest fits its training images no worse than the next.",
    },
)
def c3(arms):
    """(a) the deepest net's clean training error is higher, lower end > 0. (b), only where (a) holds: its ratio of the
    first to the last layer's gradient norm is lower, at the start and after epoch 1; if not, `partly`."""

    def log_ratio(when):
        return lambda run: math.log10(run.probes[f"gradients_{when}"]["ratio"] or math.nan)

    shallow, deep = arms.named(but=["no norm"])[-2:]
    worse = arms.difference(deep, shallow, train)
    ratios = {when: arms.difference(deep, shallow, log_ratio(when)) for when in ("start", "epoch1")}
    bare = sorted(arms.named("no norm"), key=arms.average, reverse=True)
    best = {a.split(", rate")[0]: arms.mean(a) for a in bare}  # the last of a depth is that with its best rate
    text = f"{deep} minus {shallow}: clean training error {worse:pp}; log10 of first over last layer's gradient norm "
    text += f"{each(ratios, '')}. Error, each depth at its best rate: {each(best, '%')}."
    falls = both(*(ratio.below(0) for ratio in ratios.values()))
    return "partly" if worse.above(0) and not falls else verdict(worse.above(0)), worse, text


@claim(
    "C4",
    "The shortcut cures it",
    "The same nets were trained with shortcuts, to see whether depth still costs them anything.",
    "shortcuts keep gradients alive, so that ultra-deep nets train (1, 2)",
    "training error of depth that the shortcut saves",
    means={
        "reproduced": "Depth costs plain nets more than nets with shortcuts.",
        "contradicted": "Shortcuts take nothing off what depth costs.",
        "not testable": "Depth did not surely cost the plain nets anything, so there is nothing to cure.",
    },
)
def c4(arms):
    """Degradation of plain minus that of residual nets, lower end > 0. Not testable unless plain nets degrade (C3a)."""
    (a, b), (c, d) = arms.named("plain")[-2:], arms.named("residual")[-2:]
    plain, residual = arms.difference(b, a, train), arms.difference(d, c, train)
    cure = arms.contrast({b: 1, a: -1, d: -1, c: 1}, train)
    text = f"Clean training error, {b} minus {a} {plain:pp}, {d} minus {c} {residual:pp}; the shortcut saves {cure:pp}."
    return verdict(cure.above(0)) if plain.above(0) else "not testable", cure, text


@claim(
    "C5",
    "What may follow the addition",
    "Residual nets were trained that differ in where batch norm stands and whether a ReLU follows the addition.",
    "batch norm there hurts; a ReLU makes no major difference (2, ref. 7)",
    "error, norm after minus norm before the addition",
)
def c5(arms):
    """At the deepest: (a) norm after minus norm before, lower end > 0; (b) with and without ReLU equivalent."""
    originals = arms.named("norm before, ReLU after")
    changes = {a: arms.difference(a, o) for o in originals for a in arms.named(o.split(", ")[-1], but=[o])}
    after, bare = (originals[-1].replace(*pair) for pair in (("norm before", "norm after"), ("ReLU after", "no ReLU")))
    hurts, same = changes[after].above(0), arms.equivalent(bare, originals[-1])
    text = f"(a): {ANSWER[hurts]}, (b): {ANSWER[same]}. Error minus the original block's: {each(changes)}."
    return parts(verdict(hurts), verdict(same)), changes[after], text


@claim(
    "C6",
    "ResNet-18 is heavy and over-fits",
    "ResNet-18 was timed beside our RecNet and, at full scale, trained beside the small ResNet-20 by the same recipe.",
    "ResNet-18 is prone to over-fit, and intensive on CPUs (3.2)",
    "time an image, ResNet-18 over RecNet at n = 7",
    "x",
)
def c6(arms, check):
    """Heavy: at least HEAVY times the seconds an image of RecNet at the main claims' n = 7. Over-fit: larger gap than
    ResNet-20 and error not lower, same recipe; larger gap but lower error is `partly`."""
    seconds = check["machine"]["seconds_per_image"]
    times = Estimate(seconds["ResNet-18"] / seconds["RecNet, n = 7"])
    words, threads = [verdict(times.value >= HEAVY)], check["machine"]["threads"]
    text = f"Seconds an image in training, over RecNet's: {times:x} on {threads} thread{'s' * (threads > 1)}"
    for recipe in ("augmented", "not augmented") if arms else ():
        wider, worse = (arms.difference(f"ResNet-18, {recipe}", f"ResNet-20, {recipe}", m) for m in (gap, error))
        better = wider.above(0) and worse.below(0)
        words.append("partly" if better else verdict(both(wider.above(0), worse.above(0))))
        text += f"; minus ResNet-20, {recipe}: gap {wider:pp}, error {worse:pp}"
    return parts(*words), times, text + "."


def near(arms, arm, centre, *measures):
    """Whether an arm's means are within NEAR of the paper's number, chance aside."""
    return all(abs(arms.average(arm, measure) - centre) <= NEAR for measure in measures)


@claim(
    "C7",
    "The depth-1 ResNet fails",
    "The paper's residual net with a single block was rebuilt from its text and trained for as many epochs.",
    "at depth 1 a ResNet fails to converge: about 54 % on both sets (5)",
    "test error",
    "%",
    means={
        "reproduced": "Rebuilt from its text, that net ends near 54 % on both sets.",
        "contradicted": "Rebuilt from its text, that net does not stay near 54 %.",
    },
)
def c7(arms):
    """Reading P1: test and clean training error within DEPTH_1 ± NEAR."""
    (final,), readings = arms.named("final"), arms.named(but=["final"])
    test, clean = arms.mean(final), arms.mean(final, train)
    text = f"P1: test {test:%}, clean training {clean:%}, printed in training {arms.average(final, printed):.1f} %. "
    text += f"{sum(near(arms, a, DEPTH_1, error, train) for a in readings)} of {len(readings)} readings land."
    return verdict(both(test.within(DEPTH_1, NEAR), clean.within(DEPTH_1, NEAR))), test, text


@claim(
    "C8",
    "The paper's RecNet",
    "The paper's RecNet, that net with an RNN of seven steps behind it, was rebuilt and trained alike.",
    "flatten, then an RNN of seven steps: about 45 % on test, over-fitted (5)",
    "test error",
    "%",
    means={
        "reproduced": "Rebuilt from its text, that net ends where the paper's did, and over-fits.",
        "contradicted": "Rebuilt from its text, that net does not end as the paper's did.",
    },
)
def c8(arms):
    """Reading P1: test error within RECNET ± NEAR, and gap > OVERFIT."""
    (final,), readings = arms.named("final"), arms.named("RecNet", but=["final"])
    test, fit = arms.mean(final), arms.mean(final, gap)
    landed = sum(near(arms, a, RECNET, error) and arms.average(a, gap) > OVERFIT for a in readings)
    others = ", ".join(a for a in arms.named(but=["RecNet"]) if near(arms, a, RECNET, error)) or "none"
    text = f"P1: test {test:%}, gap {fit:pp}, printed in training {arms.average(final, printed):.1f} %. {landed} of "
    text += f"{len(readings)} readings land. Within {NEAR} points of {RECNET} % with no RNN at all: {others}."
    return verdict(both(test.within(RECNET, NEAR), fit.above(OVERFIT))), test, text


@claim(
    "C9",
    "Seven RNN steps are seven blocks",
    "The RNN of the paper's net and a chain of residual blocks were compared: what either can compute.",
    "that RNN is equivalent to seven residual blocks (5)",
    "differences that hold",
    "of 3",
    means={
        "contradicted": "Its state is squashed, nothing leads around a step, its input comes again: no residual block.",
    },
)
def c9(check):
    """`contradicted` if three differences hold."""
    state, identity, again, weights = map(check["result"].get, ("bounded", "identity", "input_again", "tied_weights"))
    differences = {
        "the RNN's state is bounded, a residual one is not": max(state["rnn"]) <= 1 < state["residual"][-1],
        "it has no identity path, a block has": max(identity["rnn"], identity["residual"]) < 1e-6,
        "its steps share weights and see the input again": weights["rnn"] < 7 and again > 1e-6,
    }
    held = [text for text, holds in differences.items() if holds]
    return (
        "contradicted" if len(held) == 3 else "inconclusive",
        Estimate(len(held)),
        f"{len(held)} differences hold: {'; '.join(held)}.",
    )


@claim(
    "C10",
    "A shallow RNN is a deep tied ResNet",
    "Blocks with copied weights, a loop over one block, and Keras' own RNN layer were given the same numbers.",
    "exact equivalence, given weight sharing (abstract, 1)",
    "largest relative difference of outputs",
    "",
    means={
        "reproduced": "One stage with shared weights is an RNN, by construction; the whole net is a chain of three.",
    },
)
def c10(check):
    """To EXACT, without norm or with a shared one; with a norm a step only for a cell that knows its step."""
    rows = pd.DataFrame(check["result"]["rows"])
    off, own = rows[["output", "gradient"]].max(axis=1), rows["norm"].eq("per_step")
    blind = own & rows["cell_knows_step"].eq(False)
    shared, knowing, unaware = off[~own].max(), off[own & ~blind].max(), off[blind]
    text = f"Relative difference, up to {rows['steps'].max()} steps: {shared:.1g} without norm or with a shared one at "
    text += f"inference (by definition); a norm a step: {knowing:.1g} if the cell knows its step, else "
    text += f"{unaware.min():.1g} to {unaware.max():.2g}. The whole net changes its shape twice: a chain of three RNNs."
    return verdict(shared <= EXACT and knowing <= EXACT), Estimate(shared), text


@claim(
    "C11",
    "RecNet does the deep net's work",
    "A deep ResNet and its tied twin, whose repeated blocks share one set of weights, were trained alike.",
    "it is as good, with fewer weights (abstract, 1)",
    "D: error, tied minus untied",
    also=("rates",),
    means={
        "reproduced": "With far fewer weights it stays within a point of the deep net and keeps most of its gain.",
        "contradicted": "Sharing the weights costs more than a point of error.",
        "not testable": "The deep net itself did not get far enough to be a yardstick.",
    },
)
def c11(arms, rates):
    """D = tied minus untied at the deepest. Reproduced: upper end of D < MARGIN, lower end of R > RETENTION, at least
    FEWER times fewer parameters. Contradicted: lower end of D > MARGIN. Judged only if untied beats E, lower end > 0,
    and has at most its published error + COMPETENCE."""
    (tied,), (equal,) = arms.named("tied", but=["untied"]), arms.named("equal parameters")
    untied = f"un{tied}"
    d, gain, level = arms.difference(tied, untied), arms.difference(equal, untied), arms.mean(untied)
    kept = arms.ratio({equal: 1, tied: -1, untied: 0}, {equal: 1, untied: -1})
    fewer = arms[untied][0].parameters / arms[tied][0].parameters
    bar = PUBLISHED.get(int(tied.split()[-1]), math.nan) + COMPETENCE
    judged = gain.above(0) and level.value <= bar
    good = judged and both(d.below(MARGIN), kept.above(RETENTION), bool(fewer >= FEWER))
    word = "contradicted" if d.above(MARGIN) else "reproduced" if good else "inconclusive"
    trials = sorted(rates, key=rates.average, reverse=True)
    best = {a.split(", ")[0]: a for a in trials}  # the last of an arm is that with its best rate
    text = f"{tied} minus {untied} {d:pp}; strong: {ANSWER[bool(good and d.below(STRONG))]}; {fewer:.1f} times fewer "
    text += f"parameters; R, which needs untied to beat E: {kept}; untied {level:%}, to be at most {Estimate(bar):%}; "
    text += f"{equal} (E) minus untied {gain:pp}." + f" Best on validation: {'; '.join(best.values())}." * bool(best)
    return word if judged else "not testable", d, text


@claim(
    "C12",
    "Deeper would train better",
    "A shallow and a deep net were each trained by the paper's recipe and by a modern one.",
    "its low accuracy suggests more deep blocks (7)",
    "error, deep minus depth-1, mean of both recipes",
    means={
        "reproduced": "Over both recipes, the deep net errs less.",
        "contradicted": "Over both recipes, the deep net errs no less.",
    },
)
def c12(arms):
    """Both main effects and the interaction, as a family; the verdict is on depth."""
    (a, b), (c, d) = arms.named("depth-1"), arms.named("n = ")  # the paper's recipe, the modern one
    effects = {
        "depth": arms.contrast({c: 0.5, d: 0.5, a: -0.5, b: -0.5}),
        "recipe": arms.contrast({b: 0.5, d: 0.5, a: -0.5, c: -0.5}),
        "depth given the modern recipe minus given the paper's": arms.contrast({d: 1, b: -1, c: -1, a: 1}),
    }
    simple = {"by the paper's recipe": arms.difference(c, a), "by the modern one": arms.difference(d, b)}
    text = f"Change of the error by {each(effects)}. Depth alone, {each(simple)}."
    return verdict(below_zero(effects)["depth"]), effects["depth"], text


@claim(
    "C13",
    "What might help",
    "Each thing that the paper hopes for was changed alone, in its own RecNet and in the true one.",
    "RecNets might do better without dropout, with other unrolls or activations (7)",
    "error of the true RecNet, without minus with dropout",
    means={
        "reproduced": "All of it helps.",
        "partly": "Some of it helps.",
        "not reproduced": "None of it surely helps.",
    },
)
def c13(arms):
    """A change helps if its interval lies below 0, after Holm; `partly` if some help. The number is that of the first
    conjecture, no dropout, in the true RecNet."""
    pairs = {a: (a, a.split(",")[0]) for a in arms.named(", ")}
    pairs["true, no dropout"] = pairs.pop("true, dropout 0.5")[::-1]  # the true one has none, so it is the base
    changes = {a: arms.difference(*pair) for a, pair in pairs.items()}
    helpful = [a for a, helps in below_zero(changes).items() if helps]
    word = "reproduced" if len(helpful) == len(changes) else "partly" if helpful else "not reproduced"
    text = f"Change of the error: {each(changes)}. Helpful: {'; '.join(helpful) or 'none'}."
    return word, changes["true, no dropout"], text


@claim(
    "C14",
    "Facts about CIFAR-10",
    "The images were counted in the official files.",
    "its counts; classes such as boats and train (4.1)",
    "counted",
    "images",
    means={
        "erratum": "The counts are right, but it names classes that are not in it.",
    },
)
def c14(check):
    """Counts `reproduced`, names `erratum`: in one word, an erratum."""
    found = check["result"]
    stated = {"training": 50_000, "test": 10_000, "shape": [32, 32, 3]}
    stated |= {"per_class_training": [5000] * 10, "per_class_test": [1000] * 10}
    right = all(found[what] == count for what, count in stated.items())
    uneven, absent = sum(batch != [1000] * 10 for batch in found["per_class_batch"]), ", ".join(found["absent"])
    text = f"Counts as stated: {ANSWER[right]}; uneven batches: {uneven} of 5; named, but no class: {absent or 'none'}."
    word = "contradicted" if not right else "erratum" if absent else "reproduced"
    return word, Estimate(found["training"] + found["test"]), text


@claim(
    "C15",
    "Why RecNet was better",
    "The paper's RecNet was compared with controls: no RNN, fewer steps, a well-built residual net of one block.",
    "the RNN takes 54 % to 45 %; depth 1 fails, shallowness over-fits (5)",
    "error, RNN of 7 steps minus 1 step, a dense layer",
    means={
        "reproduced": "All three explanations hold.",
        "partly": "Some of its three explanations hold.",
        "not reproduced": "None of its three explanations is confirmed: that seven steps beat one and none, that depth "
        "1 fails, that shallowness over-fits.",
    },
)
def c15(arms):
    """(a) recurrence helps: seven steps beat no RNN and one step, a family; the number is against one. (b) depth 1 is
    why the ResNet fails: a correct depth-1 net fails too, lower end > DEPTH_1 - NEAR. (c) shallowness is why RecNet
    over-fits: the gap of one step is larger than that of seven."""
    none, seven, one = "depth-1, P1, final", "RecNet, P1, final", "1 step, final"
    rnn, recurrence, gaps = arms.difference(seven, none), arms.difference(seven, one), arms.difference(one, seven, gap)
    correct, readings = arms.mean("a correct depth-1 net, final"), arms.named("RecNet", but=["final"])
    facts = both(*below_zero({none: rnn, one: recurrence}).values()), correct.above(DEPTH_1 - NEAR), gaps.above(0)
    a, b, c = (ANSWER[fact] for fact in facts)
    lower = sum(arms.average(r) < arms.average(r.replace("RecNet", "depth-1")) for r in readings)
    text = f"(a): {a}, seven steps minus no RNN {rnn:pp}, below 0 in {lower} of {len(readings)} readings, minus one "
    text += f"{recurrence:pp}; (b): {b}; (c): {c}, gap of one step minus gap of seven {gaps:pp}. Errors: "
    text += each({r: arms.mean(r) for r in arms.named("final")}, "%") + "."
    return parts(*map(verdict, facts)), recurrence, text


@claim(
    "C16",
    "Said in passing",
    "Three remarks were measured: the epochs either kind of net needs, digits that are shifted, simpler nets.",
    "residual nets learn faster; pooling makes invariant; CNNs train easily (1)",
    "epochs to 20 % error, plain minus residual",
    "epochs",
)
def c16(arms):
    """`completed`: a sentence and a number each."""

    def epochs(run):
        return next((e["epoch"] for e in run.curve if e["val_error"] <= LEARNT), math.nan)

    (*_, plain), (*_, residual) = arms.named("plain"), arms.named("residual")
    saved = arms.difference(plain, residual, epochs)
    shifts = {f"{d} px": arms.mean("MNIST CNN", lambda run, d=d: run.probes["shifts_end"][d]) for d in (0, 6)}
    others = {a: arms.difference(a, "MNIST CNN") for a in arms.named("MNIST", but=["CNN"])}
    drops = pd.DataFrame([run.probes["drops_end"] for run in arms[residual]]).mean()
    rises = (drops - drops["none"]).drop("none")
    text = f"To {LEARNT} %, {plain} minus {residual}: {saved:epochs}. MNIST, shifted: {each(shifts, '%')}; minus the "
    text += f"CNN: {each(others)}. One of {len(rises)} steps is worth {rises.min():.2f} to {rises.max():.2f} pp."
    return "completed", saved, text


@claim(
    "B1",
    "Does sharing the norm break sharing?",
    "The tied net was trained with one batch norm for all its steps, with one for each, and with others.",
    "nothing; expected: a shared norm is clearly worse",
    "error, shared minus own norm",
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
    "The tied net was stopped after each of its steps, and run for twice as many, to see what each adds.",
    "nothing; expected: the error falls step by step, extrapolation is limited",
    "error, after minus before all tied steps; each is judged",
    means={
        "reproduced": "Each step lowers the error, and steps beyond the trained ones do not help.",
        "inconclusive": "The number is of all steps together; for each single one the seeds do not suffice.",
    },
)
def b2(arms):
    """Each step lowers the error read out after it (a family); twice the trained steps gain less than EQUIVALENT."""

    def course(run):  # after the transition, after each step, after twice the steps
        return [*run.probes["readouts_end"]["trained"], [*run.probes["readouts_end"]["beyond"].values()][-1]]

    shown = np.mean([course(run) for run in arms["tied"]], axis=0)
    *steps, more = (arms.mean("tied", lambda run, t=t: np.diff(course(run))[t]) for t in range(len(shown) - 1))
    total = arms.mean("tied", lambda run: course(run)[-2] - course(run)[0])
    text = f"Error in % after the transition, each step, twice the steps: {', '.join(f'{e:.1f}' for e in shown)}; by "
    text += f"the steps {total:pp}, by as many again {more:pp}."
    return verdict(both(*below_zero(dict(enumerate(steps))).values(), more.above(-EQUIVALENT))), total, text


@claim(
    "B3",
    "The aim, reached",
    "Tied nets of three sizes were trained beside what a user would take instead: a deep ResNet, or a small one.",
    "to reproduce a deep ResNet's results with a shallow RNN is the aim (abstract)",
    "error, tied with a third of the weights minus ResNet-44",
    means={
        "reproduced": "The aim is reached, at all three sizes.",
        "partly": "The aim is reached at some of the three sizes.",
        "contradicted": "The aim is reached at none of the three sizes.",
    },
)
def b3(arms):
    """(a) a tied net of at most a third of ResNet-44's weights: upper end of the difference < EQUIVALENT. (b) one below
    0.15M is by less than that worse than ResNet-20, and better than every untied net below 0.15M, lower end > 0. (c)
    the mean of one below 1M is at most SMALL_CPU, or SMALL_GPU where it was trained on a GPU."""
    third, small, large = arms.named("tied, below", but=["untied"])
    deep, shallow = arms.named("ResNet-44") + arms.named("ResNet-20")
    d, lost, level = arms.difference(third, deep), arms.difference(small, shallow), arms.mean(large)
    rivals = {a: arms.difference(a, small) for a in arms.named("untied, below")}
    fewer = arms[deep][0].parameters / arms[third][0].parameters
    bar = SMALL_GPU if arms[large][0].machine["device"].startswith("gpu") else SMALL_CPU
    stands = both(lost.below(EQUIVALENT), *(gain.above(0) for gain in rivals.values()))
    facts = both(d.below(EQUIVALENT), bool(fewer >= FEWER)), stands, bool(level.value <= bar)
    a, b, c = (ANSWER[fact] for fact in facts)
    text = f"(a): {a}, {fewer:.1f} times fewer weights; (b): {b}, minus ResNet-20 {lost:pp}; minus it {each(rivals)}; "
    return parts(*map(verdict, facts)), d, text + f"(c): {c}, {large} {level:%}, to be at most {bar} %."


@claim(
    "B4",
    "Several states with feed-back",
    "Nets of two and three states that feed each other were read out after every step.",
    "nothing; after ref. 2",
    "error, with minus without feed-back, three states",
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
    "Residual nets built and trained as the field does it were watched over their first epochs.",
    "nothing; expected: 45 % is passed within two epochs",
    "error after two epochs",
    "%",
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
    "From the paper's net to the tied deep one a single thing was changed at a time, in an order stated beforehand.",
    "nothing; expected: most is recipe and wiring, not depth",
    "share of wiring, optimiser and augmentation together in the gain",
    "",
    means={
        "reproduced": "Most of the gain is wiring and recipe, not depth.",
        "contradicted": "Wiring and recipe are not most of the gain.",
    },
)
def b6(arms):
    """Share of wiring, optimiser and augmentation in the gain from the paper's RecNet to depth: lower end > 0.5."""
    start, wiring, stem, optimiser, augmentation, depth, _ = arms
    bars = {after: arms.difference(after, before) for before, after in pairwise(arms)}
    sure = [a for a, fact in below_zero(bars).items() if fact is not None]
    share = arms.ratio({start: 1, wiring: -1, stem: 1, optimiser: 0, augmentation: -1, depth: 0}, {start: 1, depth: -1})
    text = f"From {arms.average(start):.1f} % on: {each(bars)}. Beyond chance: {'; '.join(sure) or 'none'}. "
    return verdict(share.above(0.5)), share, text + f"Share of wiring and recipe in the gain up to depth: {share}."


@claim(
    "B7",
    "Where should one share?",
    "Nets were trained alike that share their weights in no stage, in the first alone, in the last alone, in all.",
    "nothing; ref. 2 is said to find sharing harmful late",
    "error, last stage shared minus first stage shared",
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
    weights = "; ".join(f"{a} {runs[0].parameters:,}" for a, runs in arms.items())
    text = f"Minus no sharing: {each(costs)}. Weights: {weights}."
    return verdict(both(costs[late].above(0), later.above(0))), later, text
