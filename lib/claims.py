"""The verdicts that follow from the runs at hand, by the rules of `lib.rules` and `lib.beyond`.

Only full-scale runs on real data get a verdict; the smaller profiles compute the same numbers and are called
"indicative". `python -m lib.claims` prints what was found.
"""

import argparse
import contextlib
import json
import math
import sys
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import pandas as pd

from lib import beyond, commands, experiments, rules, runs
from lib.design import Design, layers
from lib.experiments import on_common_seeds
from lib.findings import ANSWER, DETAIL, STANDS, Arms, Mixed, of_parts
from lib.prose import counted, pm
from lib.records import StoreError
from lib.stats import Estimate

CLAIMS = rules.CLAIMS | beyond.CLAIMS


def judge(profile, records, seed=0, seeds=1, standin=False, only=None):
    """The findings on all claims, or those named, in order, from the runs of one profile.

    records: as `runs.read` gives them. seed, seeds: the first seed and their number in the small profiles. standin:
    take the runs on stand-in data, which get no verdict. Raises ValueError on an unknown profile or claim.
    """
    Design(profile)
    if unknown := set(only or ()) - set(CLAIMS):
        raise ValueError(f"unknown claim {min(unknown)!r}; choose from {', '.join(CLAIMS)}")
    return [_judge(*CLAIMS[name], profile, records, seed, seeds, standin) for name in only or CLAIMS]


def _judge(blank, rule, also, profile, records, seed, seeds, standin):
    designs = [d for d in (blank.id, *also) if d in experiments.DESIGNS]
    tables = {d: experiments.select(records, d, profile, seed, seeds, standin) for d in designs}
    checks = [experiments.find_check(records, name, profile, standin) for name in experiments.CHECKS.get(blank.id, ())]
    wanted = len(experiments.wanted(designs, profile, seed, seeds)) + len(checks)
    made = len({key for table in tables.values() for key in table["key"]}) + sum(map(bool, checks))
    whole = made == wanted
    if not wanted:
        return replace(blank, text="It is measured at full scale alone.")
    if not whole:  # there may be a number, but neither a verdict nor answers
        word = "incomplete" if made else "not run"
        blank = replace(blank, verdict=word, made=f"Runs made: {made} of the {wanted} that it needs.")
        tables = {d: on_common_seeds(table, *experiments.arms(d, profile)) for d, table in tables.items()}
    arms = [Arms(table) for table in tables.values()]
    if not whole and not all([*arms, *checks]):
        return blank
    try:
        found, (value, *interval, _), text = rule(*arms, *checks)
    except Mixed as mixed:
        found, (value, *interval, _), text = "not testable", Estimate(math.nan), str(mixed)
    facts = found if isinstance(found, dict) else {}
    word = of_parts([*facts.values()]) if facts else found
    source = "recorded" if profile == "paper" else f"{profile} run"
    compared = (arms[0].named("final") or arms[0].named(but=["no norm"])) if arms else ()
    n = 0 if blank.unit == "x" else min((len(arms[0][a]) for a in compared), default=0)  # a time is of no seeds
    if standin:
        word, text, source = "not run", f"{text} Stand-in data: no verdict.", f"{source}, stand-in data"
    elif profile != "paper" and (designs or profile == "smoke"):  # without training, a check settles it at any size
        word = "indicative"
    if not whole and not standin:
        word, source, facts = blank.verdict, f"{source}, in part", {}
        text = f"Of the {'seed' if n == 1 else 'seeds'} that every net has: {text}"
    answers = {part: ANSWER[fact] for part, fact in facts.items()}
    found = {"value": value, "interval": tuple(interval), "n": n, "source": source, "parts": answers}
    return replace(blank, verdict=word, text=text, **found)


def fullest(*judged):
    """For each claim the first finding that has a number, out of lists of findings, the fullest first."""
    return [next((f for f in some if f.source != "none"), some[0]) for some in zip(*judged, strict=True)]


def apart(recorded_records, local_records, local_profile="quick", seed=0, seeds=1):
    """How many claims have a number, with an interval, from full-scale runs, and one from small runs; and those of them
    where the latter lies outside that interval."""
    judged = judge("paper", recorded_records), judge(local_profile, local_records, seed, seeds)
    pairs = [(f, s) for f, s in zip(*judged, strict=True) if f.source == "recorded"]
    pairs = [(f, s) for f, s in pairs if not math.isnan(f.interval[0] + s.value)]
    return len(pairs), [f.id for f, s in pairs if not f.interval[0] <= s.value <= f.interval[1]]


def table(recorded_records, local_records, local_profile="quick", seed=0, seeds=1, standin=False):
    """A row a claim: what the paper says, what was recorded, what this run found, and the verdict.

    The verdict is that of the recorded runs; without them this run's, which is "indicative" as a rule. What C11's
    pair says after fewer epochs stands there until it has a number of its own, and then no verdict of this run's:
    small runs may say the opposite.
    """
    recorded, local = judge("paper", recorded_records), judge(local_profile, local_records, seed, seeds, standin)
    first = _first(recorded_records)
    so_far = {f.id: first.short for f in recorded if first and (f.id, f.source) == ("C11", "none")}
    best = [a if a.id in so_far else f for a, f in zip(recorded, fullest(recorded, local), strict=True)]
    cells = [
        (a.id, a.claim, a.paper, a.quantity, so_far.get(a.id, a.shown), b.shown, f.verdict, f.answers)
        for a, b, f in zip(recorded, local, best, strict=True)
    ]
    return pd.DataFrame(cells, columns=["id", "claim", "paper", "number", "recorded", "this run", "verdict", "parts"])


def title(findings):
    """The title's two halves out of `judge`'s findings, {"experiment": ..., "thesis": ...}: "[Re]", "[¬Re]", or "[?]"
    while it is not decided."""

    def half(*names):
        words = {f.verdict if f.source == "recorded" else "not run" for f in findings if f.id in names}
        failed = words & {"contradicted", "not reproduced", "partly"}
        return "[¬Re]" if failed else "[Re]" if words == {"reproduced"} else "[?]"

    return {"experiment": half("C7", "C8", "C15"), "thesis": half("C11")}


# What tells of the thesis before C11's own runs do: the runs of this design, and the tied nets beside the untied ones
# of the tied one's depth and of its weights.
INTERIM = "early"
INTERIM_TIED, INTERIM_UNTIED = ("tied n = 7", "tied, 3 states"), ("untied n = 7", "untied n = 2")
INTERIM_PAIRS = tuple(product(INTERIM_TIED, INTERIM_UNTIED))
RESNET_44 = "0.66M weights, 195 MFLOP"  # He et al. (2015), table 6; FLOPs: models.flops of our ResNet of n = 7


class Twins(NamedTuple):
    """A tied net and an untied one beside it, on the seeds that both have."""

    tied: Any  # a run of it
    untied: Any
    errors: tuple[float, float]  # the means of both, in %
    difference: Estimate
    seeds: int

    @property
    def short(self):
        """Their difference for a table."""
        return f"{self.difference:pp}, {self._basis}".replace(" pp", f" pp so far, after {len(self.tied.curve)} epochs")

    @property
    def _basis(self):
        images = self.seeds == 1 and not math.isnan(self.difference.lo)
        return counted(self.seeds, "seed") + ", interval over the images alone" * images

    def __str__(self):
        kind, epochs = "Validation" if pd.isna(self.tied.test_error) else "Test", len(self.tied.curve)
        tied, untied = (f"{error:.1f} %" for error in self.errors)
        return (
            f"{kind} error after {epochs} epochs: {tied} with shared weights ({_size(self.tied)}), {untied} without "
            f"({_size(self.untied)}): {self.difference:pp}, {self._basis}"
        )


def interim(records):
    """What full-scale runs say of the thesis until C11's own are all there: sentences without a full stop on those of
    C11 that are there, on INTERIM's, which are counted first, and on the race's."""
    if _decided(records):
        return []
    beside = [[_twins(records, INTERIM, tied, untied) for untied in INTERIM_UNTIED] for tied in INTERIM_TIED]
    beside = [(deep, small) for deep, small in beside if deep and small]
    said = [_in_short(beside), str(_first(records) or "")]
    for deep, small in beside:
        bargain = f"{STANDS[small.difference.above(0)]}, at {small.errors[1]:.1f} %"
        said.append(f"{deep}. An untied net of no fewer weights ({_size(small.untied)}) is {bargain}")
    wide = Arms(experiments.select(records, "race", "paper"))
    if tied := wide.named("tied", but=["untied"]):
        best = min(tied, key=wide.average)
        price = f"{_weights(wide[best][0])}, {wide[best][0].flops / 1e6:.0f} MFLOP"
        level = f"{wide.mean(best):%} ({best.removeprefix('tied, ')}, {price})"
        known = f"published for ResNet-44: {rules.PUBLISHED[7]} % ({RESNET_44})"
        said.append(
            f"The lowest test error of {len(tied)} wider tied nets, one seed each: {level}; {known}. None has an "
            "untied twin, so they say nothing of what sharing costs"
        )
    said = [sentence for sentence in said if sentence]
    if said:
        runs_of = experiments.seeds("C11", "paper", "tied n = 7")
        epochs = experiments.arms("C11", "paper")["tied n = 7"].recipe.epochs
        begun = len(experiments.select(records, "C11", "paper"))
        made = f"{begun} made so far" if begun else "none made yet"
        said.append(f"The runs that decide it are of {epochs} epochs, with {len(runs_of)} seeds a net: {made}")
    return said


def _in_short(beside):
    """Tied nets, each beside the deep untied one and the small one, [(Twins, Twins), ...], counted; "" without any."""
    if not beside:
        return ""
    worse = sum(deep.difference.above(0) is True for deep, _ in beside)
    better = sum(small.difference.below(0) is True for _, small in beside)
    return (
        f"So far {worse} of {counted(len(beside), 'net')} with shared weights did surely worse than the deep net, and "
        f"{better} of {len(beside)} surely better than a small ordinary net that stores no less"
    )


def first_runs(records):
    """What C11's own full-scale runs say while they are not all there, or those of its pair in fewer epochs: a sentence
    without a full stop, with whether the untied net is good enough for a verdict; "" where the two nets were not run on
    a common seed."""
    if _decided(records) or not (found := _first(records)):
        return ""
    bar = rules.PUBLISHED[7] + rules.COMPETENCE
    return f"{found}; it is judged only if the untied net ends at {bar:.2f} % or less, so far {found.errors[1]:.2f} %"


def _decided(records):
    return judge("paper", records, only=["C11"])[0].source == "recorded"


def _first(records):
    """The Twins of C11, or else of the same pair trained for less; None where there are none."""
    return next(filter(None, (_twins(records, design, *INTERIM_PAIRS[0]) for design in ("C11", "shorter"))), None)


def _twins(records, design, tied, untied):
    """The Twins of a design; None where they have no seed in common or can't be compared."""
    arms = Arms(on_common_seeds(experiments.select(records, design, "paper"), tied, untied))
    with contextlib.suppress(Mixed):
        if arms:
            errors = arms.average(tied), arms.average(untied)
            return Twins(arms[tied][0], arms[untied][0], errors, arms.difference(tied, untied), len(arms[tied]))
    return None


def _size(run):
    """A net in words."""
    n, states, steps = map(run.experiment["options"].get, ("n", "states", "steps"))
    return f"{f'{layers(n)} layers' if n else f'{states} states, {steps} steps'}, {_weights(run)}"


def _weights(run):
    return f"{run.parameters / 1e6:.2f}M weights"


def so_far(name, records):
    """What a claim's full-scale runs say, in sentences: its number and verdict, or the errors there are while they are
    not all there (of C11 what `first_runs` says); "" where none is."""
    (finding,) = judge("paper", records, only=[name])
    if finding.source == "recorded":
        return f"{finding.shown}: {finding.verdict}."
    if name == "C11" and (first := first_runs(records)):
        return f"{first}."
    frame = experiments.select(records, name, "paper")
    if finding.verdict != "incomplete" or frame.empty:
        return ""
    errors = frame.assign(error=frame.test_error.fillna(frame.val_error)).groupby("arm", sort=False).error
    arms = (f"{arm}: {pm(e)} ({counted(len(e), 'seed')})" for arm, e in errors)
    return f"{finding.made} Errors in %: {'; '.join(arms)}."


def show(name, profile, seed=0, seeds=1, short=False):
    """In a notebook: a claim, what the paper says of it, what was found in the runs that are shown, and the verdict;
    and what full-scale runs there are, where they are not all there.

    short: the sentences for a student alone, and as in `table` of full-scale runs where those can be told of. The kind
    of data is that of the runs at hand, real ones first.
    """
    from IPython.display import Markdown, display

    judged = []
    for level, folder in runs.stores(profile):
        records = runs.read(folder)
        judged += (judge(level, records, seed, seeds, fake, only=[name]) for fake in (False, True))
    (f,) = fullest(*judged)
    full = "" if f.source == "recorded" else so_far(name, runs.read(runs.RESULTS))
    if short:
        if full:
            (f,) = judge("paper", runs.read(runs.RESULTS), only=[name])
            full = "" if f.source == "recorded" else full
        text = f"**{f.id}, {f.claim}: {f.verdict}.** *The paper:* {f.paper}. {f.plain}"
        text += f" *At full scale, so far:* {full}" * bool(full)
    else:
        parts = {"The paper": f.paper, DETAIL: f.text, "At full scale, so far": full}
        text = f"> **{f.id}, {f.claim}: {f.verdict}.** {f.plain}"
        text += "".join(f"\n>\n> *{head}:* {said}" for head, said in parts.items() if said)
    display(Markdown(text))


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m lib.claims", description="The claims and what was found.")
    parser.add_argument("--runs", help="a store: results, results/quick or build/runs (default: all three)")
    parser.add_argument("--profile", choices=experiments.PROFILES, help="default: for each claim the fullest there is")
    parser.add_argument("--json", action="store_true", help="one JSON array")
    args = parser.parse_args(argv)
    if args.runs and not commands.is_folder(args.runs):
        parser.error(f"there is no store {args.runs!r}; results and build/runs are the usual ones")
    return commands.ended(lambda: _print(args), StoreError)


def _print(args):
    stores = [args.runs] if args.runs else (runs.RESULTS, runs.QUICK, runs.LOCAL)
    records = [r for store in stores for r in runs.read(store)]
    profiles = [args.profile] if args.profile else experiments.PROFILES[::-1]
    found = fullest(*(judge(p, records, standin=fake) for p in profiles for fake in (False, True)))
    if args.json:
        print(json.dumps([f.json() for f in found], indent=1, ensure_ascii=False, allow_nan=False))
    else:
        rows = ((f.id, f.claim, f.quantity, f.shown, f.verdict) for f in found)
        print(pd.DataFrame(rows, columns=["id", "claim", "number", "found", "verdict"]).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
