"""Intervals and tests, against scipy, by hand, and by how often they hold what they promise."""

import numpy as np
import pytest
import scipy.stats

from lib import stats
from lib.stats import Estimate

A, B = [12.1, 11.7, 12.9, 12.4], [11.0, 11.9, 11.2]


def masks(seeds, images=2000, error=20.0, seed=0):
    """An arm in which each seed gets its own images wrong."""
    return np.random.default_rng(seed).random((seeds, images)) < error / 100


# --- by Student and Welch ---


@pytest.mark.parametrize("level", [0.90, 0.95])
def test_difference_of_numbers_is_welchs(level):
    expected = scipy.stats.ttest_ind(A, B, equal_var=False)
    estimate = stats.difference(A, B, level)
    assert estimate.value == pytest.approx(np.mean(A) - np.mean(B))
    assert estimate[1:3] == pytest.approx(tuple(expected.confidence_interval(level)))
    assert estimate.p == pytest.approx(expected.pvalue)


def test_mean_of_numbers_is_students():
    expected = scipy.stats.ttest_1samp(A, 0)
    estimate = stats.mean(A)
    assert estimate[1:3] == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert estimate.p == pytest.approx(expected.pvalue)


def test_contrast_by_hand():
    """Four arms of three seeds with variance 1 each: error sqrt(4 / 3), 8 degrees of freedom."""
    arms = [np.array([-1.0, 0.0, 1.0]) + level for level in (8, 5, 4, 3)]
    estimate = stats.contrast(arms, [1, -1, -1, 1])
    half = scipy.stats.t.ppf(0.975, 8) * np.sqrt(4 / 3)
    assert estimate[:3] == pytest.approx((2, 2 - half, 2 + half))


def test_one_seed_of_numbers_has_no_interval():
    estimate = stats.difference([3.0], [1.0, 2.0])
    assert estimate.value == 1.5
    assert np.isnan(estimate[1:]).all()
    assert estimate.above(0) is estimate.below(0) is None


def test_seeds_that_agree_to_the_last_digit_are_no_certainty():
    for a, value in ((3.0, 2), (1.0, 0)):
        estimate = stats.difference([a, a], [1.0, 1.0])
        assert (estimate.value, estimate.above(-9), estimate.below(9)) == (value, None, None)
        assert f"{estimate:epochs}" == f"{value}.0 epochs"


def test_welch_covers_unequal_spreads():
    rng = np.random.default_rng(0)
    held = [stats.difference(rng.normal(2, 1, 5), rng.normal(1, 3, 4))[1:3] for _ in range(2000)]
    assert 0.935 < np.mean([lo <= 1 <= hi for lo, hi in held]) < 0.97


# --- over images ---


def test_errors_of_masks_are_per_cent():
    assert stats.errors([[True, False, False, False], [True, True, True, False]]).tolist() == [25, 75]
    assert stats.errors([1, 2]).tolist() == [1, 2]


def test_one_seed_of_masks_has_the_sampling_interval():
    """Of one net: binomial. Of a difference: the images are the same for both, so of the per-image difference."""
    a, b = masks(1, error=20), masks(1, error=25, seed=1)
    a |= b  # nets agree on most images
    for estimate, each in ((stats.mean(a), 1.0 * a[0]), (stats.difference(a, b), 1.0 * a[0] - b[0])):
        half = 1.96 * 100 * each.std() / np.sqrt(each.size)
        assert estimate.value == pytest.approx(100 * each.mean())
        assert estimate.hi - estimate.lo == pytest.approx(2 * half, rel=0.08)


def test_nets_with_the_same_mistakes_do_not_differ():
    assert stats.difference(masks(1), masks(1))[:3] == (0, 0, 0)


def test_the_wider_interval_and_the_larger_p_count():
    wrong = masks(3)
    seeds = np.stack([np.arange(2000) < count for count in (300, 400, 500)])  # three seeds that differ a lot
    for arms in ([wrong, masks(3, seed=1)], [seeds, wrong]):
        one, other = stats.welch(arms, [1, -1]), stats.bootstrap(arms, [1, -1])
        both = stats.contrast(arms, [1, -1])
        assert both.hi - both.lo == max(one.hi - one.lo, other.hi - other.lo)
        assert both.p == max(one.p, other.p)
    same = np.repeat(masks(1), 3, axis=0)  # no spread between seeds: only the images speak
    assert np.isnan(stats.welch([same], [1]).lo)
    assert stats.mean(same)[:3] == stats.bootstrap([same], [1])[:3]


def test_bootstrap_is_the_same_every_time_and_refuses_other_images():
    arms = [masks(2), masks(3, seed=1)]
    assert stats.bootstrap(arms, [1, -1]) == stats.bootstrap(arms, [1, -1])
    with pytest.raises(ValueError, match="different images"):
        stats.difference(masks(2), masks(2, images=1000))


def test_difference_of_masks_covers():
    """Images of all degrees of difficulty, common to both arms; seeds of all degrees of luck."""
    rng = np.random.default_rng(0)
    held, widths = [], []
    for _ in range(100):
        hard = rng.normal(-1.5, 1.5, 300)

        def arm(shift, hard=hard):
            return rng.random((5, 300)) < 1 / (1 + np.exp(-hard - shift - rng.normal(0, 0.1, (5, 1))))

        estimate = stats.difference(arm(0.5), arm(0.0))
        held.append(estimate.lo <= TRUTH <= estimate.hi)
        widths.append(estimate.hi - estimate.lo)
    assert np.mean(held) >= 0.95
    assert np.median(widths) < 12  # on the wide side, as the two-way bootstrap is: 7 would do


def _truth():
    hard = np.random.default_rng(1).normal(-1.5, 1.5, 1_000_000) + np.random.default_rng(2).normal(0, 0.1, 1_000_000)
    return 100 * float(np.mean(1 / (1 + np.exp(-hard - 0.5)) - 1 / (1 + np.exp(-hard))))


TRUTH = _truth()


# --- ratios, families, equivalence ---


def test_ratio():
    errors = (30.0, 22.0, 20.0)  # of equal parameters, tied, untied
    arms = [np.tile(np.arange(2000) < e * 20, (3, 1)) for e in errors]
    kept = stats.ratio(arms, [1, -1, 0], [1, 0, -1])
    assert kept.value == pytest.approx(0.8)
    # delta method, for nested mistakes: of the 10 % that the weak net alone gets wrong, 8 in 10 are kept
    assert (kept.hi - kept.lo) / 2 == pytest.approx(1.96 * np.sqrt(0.8 * 0.2 / 200), rel=0.15)
    assert kept.lo < 0.8 < kept.hi
    assert kept == stats.ratio(arms, [1, -1, 0], [1, 0, -1])


def test_ratio_without_a_sure_denominator_has_no_lower_end():
    arms = [masks(3, error=20), masks(3, error=20, seed=1), masks(3, error=20, seed=2)]
    assert stats.ratio(arms, [1, -1, 0], [1, 0, -1]).lo == -np.inf


def test_holm():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, 0.6]).tolist() == [1, 1]
    assert stats.holm([np.nan, 0.01]).tolist() == [1, 0.02]
    assert stats.holm([]).size == 0


def test_below_zero_is_corrected():
    clear, weak = Estimate(-1, -2, -0.1, 0.01), Estimate(-1, -2, -0.1, 0.04)
    worse, open_ = Estimate(1, 0.5, 1.5, 0.001), Estimate(-1, -3, 1, 0.3)
    assert stats.below_zero({"a": weak}) == {"a": True}
    assert stats.below_zero({"a": weak, "b": open_}) == {"a": None, "b": None}
    assert stats.below_zero({"a": clear, "b": worse, "c": open_}) == {"a": True, "b": False, "c": None}


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.30, 0.31, 0.32, 0.33, 0.35, 0.45])
def test_equivalence_is_two_one_sided_tests(shift):
    a, b = np.array([10.0, 10.1, 10.2, 9.9, 9.8]) + shift, np.array([10.1, 10.0, 9.9, 10.05, 9.95])
    sides = [scipy.stats.ttest_ind(a - bound, b, equal_var=False, alternative=side).pvalue
             for bound, side in ((-0.5, "greater"), (0.5, "less"))]  # fmt: skip
    assert (stats.equivalent(a, b, 0.5) is True) == (max(sides) < 0.05)


def test_equivalence_has_three_answers():
    a = np.array([10.0, 10.1, 10.2])
    assert stats.equivalent(a, a + 3, 0.5) is False
    assert stats.equivalent(a, [9.0, 10.0, 11.5], 0.5) is None


# --- small parts ---


def test_estimate_answers():
    inside = Estimate(0.6, 0.4, 0.8)
    assert (inside.above(0.3), inside.above(0.5), inside.above(0.9)) == (True, None, False)
    assert (inside.below(0.9), inside.below(0.5), inside.below(0.3)) == (True, None, False)
    assert (inside.within(0.5, 0.5), inside.within(0.5, 0.2), inside.within(2, 1)) == (True, None, False)
    assert inside.below(0.8) is inside.above(0.4) is None  # the bound itself is not beyond it


def test_both():
    assert stats.both(True, True) is True
    assert stats.both(True, None) is None
    assert stats.both(None, False) is False


def test_estimates_as_text():
    estimate = Estimate(0.617, 0.3, 0.93)
    assert f"{estimate:pp}" == "+0.62 pp [+0.30, +0.93]"
    assert f"{Estimate(60_000):images}" == "60,000 images"
    assert f"{Estimate(1.5e-15)}" == "1.5e-15"
    assert f"{Estimate(np.nan):%}" == "no value"
    assert stats.each({"a": Estimate(1), "b": Estimate(2)}, "x") == "a: 1.0 x; b: 2.0 x"


@pytest.mark.parametrize("n", [8, 60, 100, 10_000])
def test_unpack_undoes_packing(n):
    wrong = np.random.default_rng(n).random(n) < 0.3
    assert stats.unpack(np.packbits(wrong).tobytes().hex(), n).tolist() == wrong.tolist()
