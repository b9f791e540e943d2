"""Intervals and tests: what a difference between arms is, and how sure.

An *arm* is what one configuration gave: an array with either a number a seed, float (seeds,), or which of the evaluated
images each seed got wrong, bool (seeds, images), which stands for the errors in %. Numbers alone know of the spread
between seeds; masks know of the images too, so that even one seed has an interval.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

RESAMPLES = 2000
ALPHA = 0.05  # of a family of comparisons
UNITS = {"pp": "+.2f", "%": ".2f", "x": ".1f", "epochs": ".1f", "of 3": ".0f", "images": ",.0f"}  # how each is printed


class Estimate(NamedTuple):
    """A value with its interval, NaN where there is none, and the two-sided p-value of its being 0.

    `above`, `below` and `within` answer True (the interval lies wholly inside), False (wholly outside) or None
    (neither). A format takes the unit, a key of UNITS: f"{estimate:pp}" is `+0.62 pp [+0.31, +0.93]`.
    """

    value: float
    lo: float = np.nan
    hi: float = np.nan
    p: float = np.nan

    def above(self, bound):
        return True if self.lo > bound else False if self.hi < bound else None

    def below(self, bound):
        return True if self.hi < bound else False if self.lo > bound else None

    def within(self, centre, tolerance):
        return both(self.above(centre - tolerance), self.below(centre + tolerance))

    def __format__(self, unit):
        if not np.isfinite(self.value):
            return "no value"
        number = UNITS.get(unit, ".3g")
        shown = f"{self.value:{number}} {unit}".strip()
        return shown if np.isnan(self.lo) else f"{shown} [{self.lo:{number}}, {self.hi:{number}}]"


def both(*facts):
    """Kleene's "and" of True, False and None: one False decides, else one None leaves it open."""
    return False if False in facts else None if None in facts else True


def unpack(wrong, n):
    """A record's `wrong` (hex of packed bits) as a bool array of n images. Raises ValueError where it is of another
    number of them."""
    packed = np.frombuffer(bytes.fromhex(wrong), np.uint8)
    if len(packed) != -(-n // 8):
        raise ValueError(f"{n} images are {-(-n // 8)} bytes of bits, not {len(packed)}")
    return np.unpackbits(packed, count=n).astype(bool)


def errors(arm):
    """An arm as one number a seed, (seeds,); masks become errors in %. Raises ValueError on what is no arm."""
    arm = np.asarray(arm)
    if arm.ndim not in (1, 2) or not arm.size:
        raise ValueError(f"an arm is (seeds,) or (seeds, images), at least one of each; this one is {arm.shape}")
    return 100 * arm.mean(axis=1) if arm.ndim == 2 else arm.astype(float)


def welch(arms, weights, level=0.95):
    """The weighted sum of the arms' means, by Student's t over seeds, with the degrees of freedom of Satterthwaite
    (1946) and Welch (1947).

    Weights (1, -1) give Welch's interval of a difference, (1,) the usual one of a mean. Where an arm has one seed, or
    all seeds of each arm agree to the last digit, there is no interval. Raises ValueError on a level outside (0, 1),
    and where weights and arms differ in number.
    """
    if not 0 < level < 1 or len(weights) != len(arms):
        raise ValueError(f"{len(arms)} arms, weights {weights}, level {level}: a weight an arm, a level within (0, 1)")
    values = [errors(arm) for arm in arms]
    value = sum(w * v.mean() for w, v in zip(weights, values, strict=True))
    if min(map(len, values)) < 2:
        return Estimate(value)
    terms = np.array([w**2 * v.var(ddof=1) / len(v) for w, v in zip(weights, values, strict=True)])
    error = np.sqrt(terms.sum())
    if error == 0:  # whole numbers, as of epochs, can agree by chance: that is no certainty
        return Estimate(value)
    freedom = terms.sum() ** 2 / sum(t**2 / (len(v) - 1) for t, v in zip(terms, values, strict=True))
    half = student.ppf((1 + level) / 2, freedom) * error
    return Estimate(value, value - half, value + half, 2 * student.sf(abs(value) / error, freedom))


@lru_cache(maxsize=2)
def _image_counts(images):
    """How often each image is drawn in each resample, float32 (RESAMPLES, images); the same for every comparison."""
    rng = np.random.default_rng(0)
    return np.stack(
        [np.bincount(rng.integers(images, size=images), minlength=images) for _ in range(RESAMPLES)], dtype=np.float32
    )


def resample(arms):
    """Mean errors in %, (RESAMPLES, arms), of arms of masks, when images (jointly for all arms) and seeds (within each
    arm) are drawn anew with replacement: Owen's (2007) pigeonhole bootstrap, which errs on the wide side. Always the
    same draws.

    Raises ValueError where arms were evaluated on different numbers of images.
    """
    rng = np.random.default_rng(1)
    arms = [np.asarray(arm) for arm in arms]
    images = {arm.shape[1] for arm in arms}
    if len(images) > 1:
        raise ValueError(f"arms evaluated on different images can't be compared: {sorted(images)} of them")
    counts, together = _image_counts(*images), np.concatenate(arms).T.astype(np.float32)
    each_seed = 100 / len(together) * (counts @ together).astype(float)  # (RESAMPLES, all arms' seeds)
    means = []
    for part in np.split(each_seed, np.cumsum([len(arm) for arm in arms])[:-1], axis=1):
        seeds = rng.integers(part.shape[1], size=part.shape)
        means.append(np.take_along_axis(part, seeds, axis=1).mean(axis=1))
    return np.stack(means, axis=1)


def bootstrap(arms, weights, level=0.95):
    """The weighted sum of the means of arms of masks, with its percentile interval (Efron & Tibshirani 1993, ch. 13)
    over seeds x images."""
    draws = resample(arms) @ weights
    value = sum(w * errors(arm).mean() for w, arm in zip(weights, arms, strict=True))
    p = min(1, 2 * max(1 / RESAMPLES, min(np.mean(draws <= 0), np.mean(draws >= 0))))
    return Estimate(value, *np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]), p)


def contrast(arms, weights, level=0.95):
    """The weighted sum of the arms' means: where all arms are masks with the wider of the intervals of `welch` and
    `bootstrap` and the larger of their p-values, else with `welch`'s."""
    seeds = welch(arms, weights, level)
    if any(np.ndim(arm) == 1 for arm in arms):
        return seeds
    images = bootstrap(arms, weights, level)
    wider = seeds if seeds.hi - seeds.lo > images.hi - images.lo else images
    return wider._replace(p=float(np.fmax(seeds.p, images.p)))


def mean(arm, level=0.95):
    """The mean of an arm over its seeds. For runs in clusters (several seeds on each of some subsets), pass the mean of
    each."""
    return contrast([arm], [1], level)


def difference(a, b, level=0.95):
    """Mean of arm a minus mean of arm b."""
    return contrast([a, b], [1, -1], level)


def equivalent(a, b, margin):
    """Whether two arms differ by less than `margin`: True if the 90 % interval lies within it, which is two one-sided
    tests (TOST) at 5 % (Schuirmann 1987); False if wholly outside, None if neither."""
    return difference(a, b, 0.90).within(0, margin)


def ratio(arms, above, below, level=0.95):
    """The ratio of two weighted sums of the means of arms of masks, with its percentile bootstrap interval.

    A resample in which the denominator is not positive speaks for no ratio: it counts as minus infinity.
    """
    means = np.array([errors(arm).mean() for arm in arms])
    draws = np.vstack([means, resample(arms)])
    top, bottom = draws @ above, draws @ below
    ratios = np.divide(top, bottom, out=np.full(len(top), -np.inf), where=bottom > 0)
    # an observed value as quantile: interpolating between infinities gives none
    return Estimate(ratios[0], *np.quantile(ratios[1:], [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf"))


def holm(p_values):
    """p-values adjusted for being a family, in the order given (Holm 1979); an unknown one (NaN) counts as 1."""
    p = np.nan_to_num(np.asarray(p_values, float), nan=1.0)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def below_zero(family):
    """Of each in {name: Estimate} whether it is below 0 (True), above (False), or neither (None), corrected by Holm."""
    adjusted = holm([estimate.p for estimate in family.values()])
    return {a: bool(family[a].value < 0) if p <= ALPHA else None for a, p in zip(family, adjusted, strict=True)}


def each(estimates, unit="pp"):
    """{name: Estimate} as a line of text."""
    return "; ".join(f"{name}: {estimate:{unit}}" for name, estimate in estimates.items())
