"""What rules are made of: what is measured of a run, comparisons between arms, and the finding that comes of them."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import stats
from lib.experiments import on_common_seeds
from lib.prose import counted
from lib.stats import Estimate

# Each verdict: what it means, in words for everybody; its kind, for a colour; its shape, for those who see none.
VERDICTS = {
    "reproduced": ("What the paper says holds.", "good", "✔"),
    "contradicted": ("What the paper says does not hold.", "bad", "✘"),
    "inconclusive": ("The runs can't decide it.", "fair", "≈"),
    "partly": ("A part of it holds.", "fair", "◐"),
    "not reproduced": ("No part of it is confirmed.", "bad", "■"),
    "not testable": ("What it presupposes did not come about, so there is nothing to judge.", "none", "○"),
    "completed": ("The paper gives no number to compare with; this one fills the gap.", "good", "◆"),
    "erratum": ("The paper slipped here.", "fair", "▲"),
    "indicative": ("A hint from small runs, and no verdict.", "none", "◇"),
    "incomplete": ("Not all the runs that it takes are made yet.", "none", "…"),
    "not run": ("None of the runs that it takes is made yet.", "none", "–"),
}
EQUIVALENT = 0.5  # "no difference" is a 90 % interval within this
STANDS = {True: "better", False: "worse", None: "not surely better or worse"}  # by whether its error is below another's
DETAIL = "In detail"  # the head of what was measured of a claim, with all numbers; a page folds it
ANSWER = {True: "yes", False: "no", None: "open", "partly": "in part"}  # of parts: verdicts are for claims


@dataclass(frozen=True)
class Finding:
    """What was found about one claim; NaN stands where there is no number."""

    id: str
    claim: str  # its short title
    how: str  # how it was tested, in a sentence without terms of art
    paper: str  # what the paper says
    quantity: str  # what the value is
    unit: str  # of the value: a key of stats.UNITS, or "" for a plain number
    verdict: str = "not run"
    text: str = ""  # what was measured, with the numbers
    value: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)  # 95 %
    n: int = 0  # seeds an arm
    source: str = "none"  # "recorded", "quick run", ...; "recorded, in part"; "none" without runs for a number
    made: str = ""  # how many of its runs there are, in a sentence, where not all are
    means: dict[str, str] = field(default_factory=dict)  # what some verdicts come to here, each in a sentence
    parts: dict[str, str] = field(default_factory=dict)  # of a claim of several, each answered by a word of ANSWER

    @property
    def shown(self):
        """The number with its interval and seeds, as tables show it."""
        so_far = " so far" if self.source.endswith("in part") else ""
        seeds = f", {counted(self.n, 'seed')}{so_far}" if self.n else so_far
        return "-" if self.source == "none" else f"{Estimate(self.value, *self.interval):{self.unit}}{seeds}"

    @property
    def answers(self):
        """Which of its parts hold, in a sentence; "" of a claim of one."""
        said = "; ".join(f"{part}: {answer}" for part, answer in self.parts.items())
        return f"{said[0].upper()}{said[1:]}." if said else ""

    @property
    def plain(self):
        """How it was tested, what came out and what that means, in sentences for a student."""
        if self.source == "none":
            return VERDICTS[self.verdict][0]
        if self.verdict == "not run":
            return f"{self.how} It was measured on stand-in images: no verdict."
        number = f"{self.quantity[0].upper()}{self.quantity[1:]}: {self.shown}."
        meaning = self.means.get(self.verdict, VERDICTS[self.verdict][0])
        if self.paper.startswith("nothing"):
            meaning = meaning.replace("What the paper says", "What was expected")
        return f"{self.how} {number} {meaning} {self.answers}".strip()

    def json(self):
        """A dict for JSON, in which None stands for what is no finite number."""
        value, *interval = (float(x) if math.isfinite(x) else None for x in (self.value, *self.interval))
        found = {name: content for name, content in asdict(self).items() if name != "means"}
        return found | {"value": value, "interval": interval}


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


def _kind(device, precision, backend="tensorflow", **_):
    """What all runs of a comparison must have in common, in words."""
    return f"{device.partition(':')[0]} in {precision}", *([f"by {backend}"] if backend != "tensorflow" else [])


class Mixed(ValueError):
    """A comparison of runs from different kinds of device, of different precisions, or of different backends."""


class Arms(dict):
    """The runs of a design, {arm: [run, ...]} in the design's order, and comparisons between arms, each a
    stats.Estimate. Comparisons raise Mixed."""

    def __init__(self, frame):
        super().__init__((arm, list(part.itertuples(index=False))) for arm, part in frame.groupby("arm", sort=False))

    def named(self, *words, but=()):
        """The arms whose label contains all these words, and none of `but`."""
        return [a for a in self if all(w in a for w in words) and not any(w in a for w in but)]

    def measured(self, arms, measure=error):
        """The arms as `stats` takes them. Raises Mixed."""
        machines = (run.machine for a in arms for run in self[a])
        kinds = sorted({" ".join(_kind(**machine)) for machine in machines})
        if len(kinds) > 1:
            raise Mixed(f"Not judged: arms that are to be compared ran on {' and on '.join(kinds)}.")
        return [np.array([measure(run) for run in self[a]]) for a in arms]

    def average(self, arm, measure=error):
        """The mean alone, where no interval is asked for."""
        return stats.errors(*self.measured([arm], measure)).mean()

    def contrast(self, weights, measure=error):
        """The sum of weight x mean over {arm: weight}."""
        return stats.contrast(self.measured(weights, measure), list(weights.values()))

    def mean(self, arm, measure=error):
        return self.contrast({arm: 1}, measure)

    def difference(self, a, b, measure=error):
        return self.contrast({a: 1, b: -1}, measure)

    def equivalent(self, a, b):
        return stats.equivalent(*self.measured((a, b)), EQUIVALENT)

    def ratio(self, above, below):
        """The ratio of two contrasts; `above` names every arm."""
        return stats.ratio(self.measured(above), list(above.values()), [below.get(a, 0) for a in above])


class Shown(Arms):
    """Arms on a page, where what is asked of unlike runs has no value, instead of raising Mixed."""

    def measured(self, arms, measure=error):
        try:
            return super().measured(arms, measure)
        except Mixed:
            return [np.array([math.nan])] * len(arms)


def differences(frame, pairs):
    """The error of arm a minus that of b for each pair (a, b) of a frame as `grid.get` returns it, on the seeds that
    both have, by its name; without the pairs that have none in common."""
    arms = {(a, b): Shown(on_common_seeds(frame, a, b)) for a, b in pairs}
    return {f"{a} minus {b}": both.difference(a, b) for (a, b), both in arms.items() if both}


def in_words(differences):
    """What differences between errors, named as by `differences`, say of the first of each two nets; in sentences
    without a full stop. Those without a value say nothing."""
    return [
        f"{first} is {STANDS[difference.below(0)]} than {second}, {difference:pp}"
        for (first, second), difference in ((name.split(" minus "), d) for name, d in differences.items())
        if math.isfinite(difference.value)
    ]


def verdict(fact):
    """The word for True, False or None, as the questions of stats.Estimate are answered."""
    return {True: "reproduced", False: "contradicted", None: "inconclusive"}[fact]


def of_parts(facts):
    """The verdict on a claim of several parts, each True, False, None or "partly"."""
    if len(set(facts)) == 1:
        return "partly" if facts[0] == "partly" else verdict(facts[0])
    return "partly" if True in facts or "partly" in facts else "not reproduced"


class Entry(NamedTuple):
    """A claim and its rule."""

    blank: Finding  # without what is found
    # Takes the Arms of each design and the record of each check that the claim needs; gives (verdict, Estimate, text),
    # for the verdict of a claim of several parts {part: True, False, None or "partly"}.
    rule: Callable
    also: tuple[str, ...]  # the designs that it needs beside the claim's own


class Rules(dict):
    """{id of a claim: Entry}, in the order of all tables."""

    def claim(self, name, title, *, how, paper, quantity, unit="pp", also=(), means=None):
        """The decorator that enters a rule. The arguments are fields of Finding; verdicts that `means` lacks are said
        as VERDICTS has it. Raises ValueError where the name is taken."""
        if name in self:
            raise ValueError(f"there is a rule for {name} already")
        blank = Finding(name, title, how, paper, quantity, unit, means=means or {})

        def enter(rule):
            self[name] = Entry(blank, rule, also)
            return rule

        return enter
