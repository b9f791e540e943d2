"""The paper's claims, and the rule that judges each.

Rules and margins (of errors, in percentage points) were fixed before the first run; none is moved after seeing a
number. A rule takes the runs of a claim's arms, and gives a verdict, a number with its interval, and a text.
"""

import math

import numpy as np
import pandas as pd

from lib import stats
from lib.findings import ANSWER, EQUIVALENT, Rules, error, gap, printed, train, verdict
from lib.prose import counted
from lib.stats import Estimate, below_zero, both, each, holm

MARGIN, STRONG = 1.0, 0.5  # C11: as good is worse by less than this; strongly so by less than this
RETENTION, FEWER = 0.5, 3  # C11: share of the gain that is kept; times fewer parameters
PUBLISHED, COMPETENCE = {3: 8.75, 7: 7.17}, 0.5  # C11: He et al. (2015), table 6, by n; ours may be worse by so much
DEPTH_1, RECNET, NEAR = 54, 45, 5  # the paper's two results (section 5), and how near to them counts
OVERFIT, HEAVY, EXACT = 10, 5, 1e-10  # C8: gap; C6: times RecNet's seconds an image; C10: relative, in float64
LEARNT = 20  # C16: the error to be reached
TESTED = 1000  # C1: the paper's number of test images

CLAIMS = Rules()
claim = CLAIMS.claim


@claim(
    "C1",
    "A CNN on MNIST",
    how="The paper's small CNN was trained. It does not say on which digits: at full scale we took five random draws.",
    paper="describes a net and its 10,000 / 1,000 images, gives no accuracy (3.1.1)",
    quantity="test error on 1,000 images",
    unit="%",
    means={"completed": "The paper gives no number; this one fills the gap. (Each draw was trained with all seeds.)"},
)
def c1(arms):
    """`completed`: the missing number; the interval is over subsets where there are several."""
    draws = arms.named(", draw ")

    def mean(measure):
        masks = arms.measured(draws, measure)
        return stats.mean([stats.errors(m).mean() for m in masks] if len(draws) > 1 else masks[0])

    few = mean(lambda run: np.random.default_rng(run.experiment["draw"]).permutation(error(run))[:TESTED])
    others = {a: arms.mean(a) for a in arms.named(but=draws)}
    text = each({f"On {TESTED:,} test images": few, "on all": mean(error)} | others, "%") + "."
    if len(draws) > 1:
        text += f" Intervals of the first two: over {len(draws)} draws; that on all, the same images for every draw, "
        text += "leaves out what these add by chance."
    return "completed", few, text


@claim(
    "C2",
    "ReLU and softplus",
    how="The two formulas were compared point by point, and the MNIST net was trained with either.",
    paper="ReLU approximates the analytic function ln(1\u00a0+\u00a0eˣ) (3.1.1)",
    quantity="error, softplus minus ReLU",
    means={"erratum": "It is the other way round: that function is a smooth form of ReLU."},
)
def c2(arms, check):
    """`erratum`: it is the other way round. With it: are the two nets equivalent?"""
    largest, at, above = map(check["result"].get, ("gap", "at", "everywhere_above"))
    change, same = arms.difference("softplus", "ReLU"), arms.equivalent("softplus", "ReLU")
    text = f"ln(1 + eˣ) approximates ReLU, off by at most {largest:.4f}, at {at:g}. Its net minus ReLU's {change:pp}; "
    text += f"equivalent within {EQUIVALENT} pp: {ANSWER[same]}."
    return "erratum" if above and math.isclose(largest, math.log(2), rel_tol=1e-6) else "inconclusive", change, text


@claim(
    "C3",
    "Depth hurts plain nets",
    how="Plain nets of growing depth were trained alike, at one rate and at full scale for ten epochs, and compared on "
    "their own training images.",
    paper="more layers bring vanishing gradients and harder training (1)",
    quantity="training error, deepest minus next",
    means={
        "reproduced": "The deepest fits its training images worst, and less of the gradient reaches its first layer.",
        "partly": "The deepest fits its training images worst. That less of the gradient reaches its first layer "
        "does not show: these nets have batch norm.",
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
    moments = {"before training": "start", "after epoch 1": "epoch1"}
    ratios = {when: arms.difference(deep, shallow, log_ratio(moment)) for when, moment in moments.items()}
    best = {}
    for a in sorted(arms.named("no norm"), key=arms.average):
        best.setdefault(a.split(", rate")[0], a)
    errors, at_epoch1 = ({b: arms.mean(a, m) for b, a in best.items()} for m in (error, log_ratio("epoch1")))
    text = (
        f"{deep} minus {shallow}: clean training error {worse:pp}; log10 of the first layer's gradient norm over the "
    )
    text += (
        f"last's, which falls where gradients vanish: {each(ratios, '')}. Without norm, each depth at its best rate: "
    )
    text += f"validation error (a guess has 90 %) {each(errors, '%')}; that log10 after epoch 1 {each(at_epoch1, '')}."
    falls = both(*(ratio.below(0) for ratio in ratios.values()))
    return "partly" if worse.above(0) and not falls else verdict(worse.above(0)), worse, text


@claim(
    "C4",
    "The shortcut cures it",
    how="The same nets were trained with shortcuts, at the same rate, as long, to see whether depth still "
    "costs them anything.",
    paper="shortcuts keep gradients alive, so that ultra-deep nets train (1, 2)",
    quantity="training error of depth that the shortcut saves",
    means={
        "reproduced": "Depth costs plain nets more than nets with shortcuts, up to 44 layers. Whether that is because "
        "gradients are kept alive is not part of the rule.",
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
    how="Residual nets were trained, at full scale for ten epochs, that differ in where batch norm stands and whether "
    "a ReLU follows the addition.",
    paper="batch norm there hurts; a ReLU makes no major difference (2, ref. 7)",
    quantity="error, norm after minus norm before the addition",
)
def c5(arms):
    """At the deepest: (a) norm after minus norm before, both with ReLU, lower end > 0; (b) with and without ReLU
    equivalent."""
    originals = arms.named("norm before, ReLU after")
    changes = {a: arms.difference(a, o) for o in originals for a in arms.named(o.split(", ")[-1], but=[o])}
    after, bare = (originals[-1].replace(*pair) for pair in (("norm before", "norm after"), ("ReLU after", "no ReLU")))
    hurts, same = changes[after].above(0), arms.equivalent(bare, originals[-1])
    facts = {"batch norm between the addition and a ReLU hurts": hurts, "a ReLU there makes no difference": same}
    text = f"Error minus the original block's: {each(changes)}."
    if (moved := bare.replace("norm before", "norm after")) in arms:
        text += f" Norm after minus before, both without ReLU, at the deepest: {arms.difference(moved, bare):pp}."
    return facts, changes[after], text


@claim(
    "C6",
    "ResNet-18 is heavy and over-fits",
    how="ResNet-18 was timed beside our RecNet and, at full scale, trained beside ResNet-20 by the same recipe.",
    paper="ResNet-18 is prone to over-fit, and intensive on CPUs (3.2)",
    quantity="time an image, ResNet-18 over RecNet at n = 7",
    unit="x",
    means={"partly": "It holds in part."},
)
def c6(arms, check):
    """Heavy: at least HEAVY times the seconds an image of RecNet at the main claims' n = 7. Over-fit: larger gap than
    ResNet-20 and error not lower, same recipe; larger gap but lower error is `partly`."""
    seconds = check["machine"]["seconds_per_image"]
    times = Estimate(seconds["ResNet-18"] / seconds["RecNet, n = 7"])
    facts = {f"it takes at least {HEAVY} times RecNet's time": bool(times.value >= HEAVY)}
    shallow = Estimate(seconds["ResNet-18"] / seconds["RecNet, n = 3"])
    text = f"Seconds an image over RecNet's: {times:x} (at n = 3: {shallow:x}), timed once on "
    text += counted(check["machine"]["threads"], "thread")
    for recipe in ("augmented", "not augmented") if arms else ():
        wider, worse = (arms.difference(f"ResNet-18, {recipe}", f"ResNet-20, {recipe}", m) for m in (gap, error))
        better, fact = wider.above(0) and worse.below(0), both(wider.above(0), worse.above(0))
        facts[f"it over-fits, {recipe}"] = "partly" if better else fact
        text += f"; minus ResNet-20, {recipe}: gap {wider:pp}, error {worse:pp}"
    return facts, times, text + "."


def near(arms, arm, centre, *measures):
    """Whether an arm's means are within NEAR of the paper's number, chance aside."""
    return all(abs(arms.average(arm, measure) - centre) <= NEAR for measure in measures)


def lands(arms, arm):
    """Whether a reading's means are what the paper reports, chance aside: of a depth-1 net the error and the clean
    training error within DEPTH_1 ± NEAR; of any other the error within RECNET ± NEAR, and the gap above OVERFIT."""
    if "depth-1" in arm:
        return near(arms, arm, DEPTH_1, error, train)
    return near(arms, arm, RECNET, error) and arms.average(arm, gap) > OVERFIT


@claim(
    "C7",
    "The depth-1 ResNet fails",
    how="The paper's residual net of a single block was rebuilt from its text and trained, at full scale 30 epochs.",
    paper="at depth 1 a ResNet fails to converge: about 54 % on both sets (5)",
    quantity="test error in reading P1",
    unit="%",
    means={
        "reproduced": "Rebuilt from its text, that net ends near 54 % on both sets.",
        "contradicted": "Rebuilt from its text, that net does not stay near 54 %.",
    },
)
def c7(arms):
    """Reading P1: test and clean training error within DEPTH_1 ± NEAR. Readings that differ in the RNN alone are one
    net here."""
    (final,), readings = arms.named("final"), {arms[a][0].key: a for a in arms.named(but=["final"])}.values()
    test, clean = arms.mean(final), arms.mean(final, train)
    text = f"P1: test {test:%}, clean training {clean:%}, printed in training {arms.average(final, printed):.1f} %. "
    text += f"{sum(lands(arms, a) for a in readings)} of {len(readings)} nets land."
    return verdict(both(test.within(DEPTH_1, NEAR), clean.within(DEPTH_1, NEAR))), test, text


@claim(
    "C8",
    "The paper's RecNet",
    how="The paper's RecNet, that net with an RNN of seven steps behind it, was rebuilt and trained alike.",
    paper="flatten, then an RNN of seven steps: about 45 % on test, over-fitted (5)",
    quantity="test error in reading P1",
    unit="%",
    means={
        "reproduced": "Rebuilt from its text, that net ends where the paper's did, and over-fits.",
        "contradicted": "Rebuilt from its text, that net does not end as the paper's did.",
    },
)
def c8(arms):
    """Reading P1: test error within RECNET ± NEAR, and gap > OVERFIT."""
    (final,), readings = arms.named("final"), arms.named("RecNet", but=["final"])
    test, fit = arms.mean(final), arms.mean(final, gap)
    landed = sum(lands(arms, a) for a in readings)
    others = ", ".join(a for a in arms.named(but=["RecNet"]) if near(arms, a, RECNET, error)) or "none"
    text = f"P1: test {test:%}, gap {fit:pp}, printed in training {arms.average(final, printed):.1f} %. {landed} of "
    text += f"{len(readings)} readings land. Within {NEAR} points of {RECNET} % with no RNN at all: {others}."
    return verdict(both(test.within(RECNET, NEAR), fit.above(OVERFIT))), test, text


@claim(
    "C9",
    "Seven RNN steps are seven blocks",
    how="The RNN of the paper's net and a chain of residual blocks were compared: what either can compute.",
    paper="that RNN is equivalent to seven residual blocks (5)",
    quantity="differences from a residual block",
    unit="of 3",
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
    word = "contradicted" if len(held) == 3 else "inconclusive"
    return word, Estimate(len(held)), f"{len(held)} differences hold: {'; '.join(held)}."


@claim(
    "C10",
    "A shallow RNN is a deep tied ResNet",
    how="Blocks with copied weights, a loop over one block, and Keras' own RNN layer were given the same numbers.",
    paper="exact equivalence, given weight sharing (abstract, 1)",
    quantity="largest relative difference, outputs and gradients, without norm or with a shared one",
    unit="",
    means={
        "reproduced": "One stage with shared weights is an RNN, by construction; with a norm for each step it is one "
        "that knows which step it is at. The whole net is a chain of three.",
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
    how="A deep ResNet and its tied twin, whose repeated blocks share one set of weights, were trained alike.",
    paper="it performs like the deep one, with fewer weights (abstract, 1)",
    quantity="error, tied minus untied",
    also=("rates",),
    means={
        "reproduced": "With far fewer weights it stays within a point of the deep net and keeps most of its gain.",
        "contradicted": "Sharing the weights costs more than a point of error.",
        "not testable": "The deep net itself did not get far enough to be a yardstick.",
    },
)
def c11(arms, rates):
    """D = tied minus untied at the deepest. Reproduced: upper end of D < MARGIN, R surely > RETENTION (as a contrast:
    E - tied - RETENTION (E - untied), lower end > 0, as Fieller does), at least FEWER times fewer parameters.
    Contradicted: lower end of D > MARGIN. Judged only if untied beats E, lower end > 0, and has at most its published
    error + COMPETENCE."""
    (tied,), (equal,) = arms.named("tied", but=["untied"]), arms.named("equal parameters")
    untied = f"un{tied}"
    d, gain, level = arms.difference(tied, untied), arms.difference(equal, untied), arms.mean(untied)
    kept = arms.ratio({equal: 1, tied: -1, untied: 0}, {equal: 1, untied: -1})
    fewer = arms[untied][0].parameters / arms[tied][0].parameters
    bar = PUBLISHED.get(int(tied.split()[-1]), math.nan) + COMPETENCE
    judged = gain.above(0) and level.value <= bar
    retained = arms.contrast({equal: 1 - RETENTION, tied: -1, untied: RETENTION}).above(0)
    good = judged and both(d.below(MARGIN), retained, bool(fewer >= FEWER))
    word = "contradicted" if d.above(MARGIN) else "reproduced" if good else "inconclusive"
    trials = sorted(rates, key=rates.average, reverse=True)
    best = {a.split(", ")[0]: a for a in trials}  # the last of an arm is that with its best rate
    strong = ANSWER[both(bool(judged), good, d.below(STRONG))]
    text = f"{tied} minus {untied} {d:pp}; within {STRONG} pp: {strong}; {fewer:.1f} times fewer parameters; R, which "
    text += f"needs untied to beat E: {kept}; untied {level:%}, to be at most {Estimate(bar):%} at this depth; "
    text += f"{equal} (E) minus untied {gain:pp}." + f" Best on validation: {'; '.join(best.values())}." * bool(best)
    return word if judged else "not testable", d, text


@claim(
    "C12",
    "Deeper would train better",
    how="A shallow and a deep net were each trained by the paper's recipe and by a modern one, and compared on images "
    "that they had not seen.",
    paper="its low accuracy suggests more deep blocks (7)",
    quantity="error, deep minus depth-1, mean of both recipes",
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
    fit = {"by the paper's recipe": arms.difference(c, a, train), "by the modern one": arms.difference(d, b, train)}
    text = f"Change of the error by {each(effects)}. Depth alone, {each(simple)}. "
    text += f"Of the clean training error: {each(fit)}."
    return verdict(below_zero(effects)["depth"]), effects["depth"], text


@claim(
    "C13",
    "What might help",
    how="Each thing that the paper hopes for was changed alone, in its own RecNet and, at full scale for ten epochs, "
    "in the true one.",
    paper="RecNets might do better without dropout, with other unrolls or activations (7)",
    quantity="error of the true RecNet, without minus with dropout, before Holm's correction",
    means={
        "reproduced": "All of it helps.",
        "partly": "Some of it helps.",
        "not reproduced": "None of it surely helps, once the interval allows for the number of things tried.",
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
    corrected = dict(zip(changes, holm([change.p for change in changes.values()]), strict=True))
    likeliest = min((a for a in changes if changes[a].value < 0), key=corrected.get, default=None)
    text = f"Change of the error: {each(changes)}. Helpful, after Holm's correction for {len(changes)} tries: "
    text += f"{'; '.join(helpful) or 'none'}." + (
        f" Likeliest: {likeliest}, p {changes[likeliest].p:.2g}, corrected {corrected[likeliest]:.2g}."
        if likeliest
        else ""
    )
    return word, changes["true, no dropout"], text


@claim(
    "C14",
    "Facts about CIFAR-10",
    how="The images were counted in the official files.",
    paper="its counts; classes such as boats and train (4.1)",
    quantity="counted",
    unit="images",
    means={"erratum": "The counts are right, but it names classes that are not in it."},
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
    how="The paper's RecNet was compared with controls: no RNN, fewer steps, a usual net of one block a stage.",
    paper="the RNN takes 54 % to 45 %; depth 1 fails, shallowness over-fits (5)",
    quantity="error, RNN of 7 steps minus 1 step, a dense layer",
    means={
        "reproduced": "All three explanations hold.",
        "partly": "Some of its three explanations hold.",
        "not reproduced": "None of its three explanations is confirmed.",
    },
)
def c15(arms):
    """(a) recurrence helps: seven steps beat no RNN and one step, a family; the number is against one. (b) depth 1 is
    why the ResNet fails: a usual net of one block a stage fails too, lower end > DEPTH_1 - NEAR. (c) shallowness is why
    RecNet over-fits: the gap of one step is larger than that of seven."""
    none, seven, one = "depth-1, P1, final", "RecNet, P1, final", "1 step, final"
    rnn, recurrence, gaps = arms.difference(seven, none), arms.difference(seven, one), arms.difference(one, seven, gap)
    usual, readings = arms.mean("ResNet-8, final"), arms.named("RecNet", but=["final"])
    facts = {
        "seven steps beat one and none": both(*below_zero({none: rnn, one: recurrence}).values()),
        "depth 1 is why the ResNet fails": usual.above(DEPTH_1 - NEAR),
        "shallowness is why RecNet over-fits": gaps.above(0),
    }
    lower = sum(arms.average(r) < arms.average(r.replace("RecNet", "depth-1")) for r in readings)
    text = f"Seven steps minus no RNN {rnn:pp}, below 0 in {lower} of {len(readings)} readings, minus one "
    text += f"{recurrence:pp}; gap of one step minus gap of seven {gaps:pp}. Errors: "
    text += each({r: arms.mean(r) for r in arms.named("final")}, "%") + "."
    return facts, recurrence, text


@claim(
    "C16",
    "Said in passing",
    how="Three remarks were measured: the epochs either kind of net needs, digits that are shifted, simpler nets.",
    paper="residual nets learn faster; pooling makes invariant; CNNs train easily (1, 2)",
    quantity="epochs to 20 % error, plain minus residual, where both get there",
    unit="epochs",
    means={
        "completed": "The paper gives no numbers. (Whole epochs, at the largest depth at which every net got there.)"
    },
)
def c16(arms):
    """`completed`: a sentence and a number each."""

    def epochs(run):
        return next((e["epoch"] for e in run.curve if e["val_error"] <= LEARNT), math.nan)

    pairs = list(zip(arms.named("plain"), arms.named("residual"), strict=True))[::-1]  # the deepest first
    there = {a: np.isfinite([epochs(run) for run in arms[a]]) for pair in pairs for a in pair}
    plain, residual = next((pair for pair in pairs if all(there[a].all() for a in pair)), pairs[0])
    saved = arms.difference(plain, residual, epochs)
    shifts = {f"{d} px": arms.mean("MNIST CNN", lambda run, d=d: run.probes["shifts_end"][d]) for d in (0, 2, 6)}
    others = {a: arms.difference(a, "MNIST CNN") for a in arms.named("MNIST", but=["CNN"])}
    drops = pd.DataFrame([run.probes["drops_end"] for run in arms[pairs[0][1]]]).mean()
    rises = (drops - drops["none"]).drop("none")
    got = "; ".join(f"{a}: {there[a].sum()} of {len(there[a])}" for a in pairs[0])
    text = f"To {LEARNT} %, {plain} minus {residual}: {saved:epochs}; got there: {got}. MNIST, "
    text += f"shifted: {each(shifts, '%')}; minus the CNN: {each(others)}. "
    text += f"Any one of {len(rises)} steps left out costs {rises.min():.2f} to {rises.max():.2f} pp."
    return "completed", saved, text
