import math

import numpy as np
import pytest
from scipy import stats

from metrics import jackknife
from metrics.result import NanBecause


def mean(x) -> float:
    return float(np.mean(x))


def test_of_a_mean_it_is_students_interval() -> None:
    # The jackknife variance of a mean is s²/n exactly; SciPy gives Student's interval.
    x = np.random.default_rng(0).gamma(2.0, size=17)
    made = jackknife.estimate(mean, x, name="mean")
    expected = stats.t.interval(0.95, 16, loc=x.mean(), scale=stats.sem(x))
    assert (made.ci_low, made.ci_high) == pytest.approx(expected)
    assert made.signature == "mean|n:17|groups:17|ci:jackknife|scale:linear|level:0.95|v:0.1.0"
    wide = jackknife.estimate(mean, x, name="mean", confidence=0.99)
    assert (wide.ci_low, wide.ci_high) == pytest.approx(stats.t.interval(0.99, 16, loc=x.mean(), scale=stats.sem(x)))


def test_groups_are_left_out_whole() -> None:
    x, groups = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), ["a", "a", "b", "b", "b", "c"]
    left = [mean(x[2:]), mean(x[[0, 1, 5]]), mean(x[:5])]
    half = stats.t.ppf(0.975, 2) * math.sqrt(2 / 3 * np.sum((left - np.mean(left)) ** 2))
    made = jackknife.estimate(mean, x, groups, name="mean")
    assert (made.ci_low, made.value, made.ci_high) == pytest.approx((10.5 - half, 10.5, 10.5 + half))
    again = jackknife.mean_estimate(x, groups, name="mean")
    assert (again.ci_low, again.value, again.ci_high) == pytest.approx((10.5 - half, 10.5, 10.5 + half))


def test_the_log_scale_is_symmetric_in_ratios() -> None:
    x = np.random.default_rng(1).lognormal(size=12)
    made = jackknife.estimate(lambda v: math.exp(np.mean(np.log(v))), x, name="geometric", scale="log")
    assert made.value / made.ci_low == pytest.approx(made.ci_high / made.value)
    expected = stats.t.interval(0.95, 11, loc=np.log(x).mean(), scale=stats.sem(np.log(x)))
    assert (made.ci_low, made.ci_high) == pytest.approx(tuple(np.exp(expected)))


def test_intervals_are_cut_to_what_is_possible() -> None:
    x = np.array([0.0, 0.0, 0.0, 1.0])
    made = jackknife.estimate(mean, x, name="share", low=0.0, high=1.0)
    # Uncut it would be 0.25 ± t(.975, 3) · 0.25 = (−0.55, 1.05).
    assert (made.ci_low, made.value, made.ci_high) == (0.0, 0.25, 1.0)


def test_lists_stay_lists() -> None:
    seen: list[type] = []
    jackknife.estimate(lambda texts: float(seen.append(type(texts)) or len(texts[0])), ["a", "bb", "cc"], name="m")
    assert set(seen) == {list}


def constant(x) -> float:
    return 0.5


def zero_without_the_last(x) -> float:
    return float(np.max(x))


@pytest.mark.parametrize(
    ("statistic", "x", "scale", "reason"),
    [
        (mean, [1.0, 2.0], "linear", "a jackknife needs 3 groups; there are 2"),
        (constant, [1.0, 2.0, 3.0], "linear", "leaving out any one group changes nothing"),
        (zero_without_the_last, [0.0, 0.0, 1.0], "log", "the statistic reaches 0"),
        (
            lambda x: NanBecause("too few") if len(x) < 3 else 1.0,
            [1.0, 2.0, 3.0],
            "linear",
            "one of the groups: too few",
        ),
    ],
)
def test_a_missing_interval_leaves_the_value_and_says_why(statistic, x: list, scale: str, reason: str) -> None:
    made = jackknife.estimate(statistic, np.array(x), name="m", scale=scale)
    assert not math.isnan(made.value)
    assert math.isnan(made.ci_low)
    assert made.undefined.startswith("no interval: ")
    assert reason in made.undefined


def test_an_undefined_value_keeps_its_reason_or_says_that_it_had_none() -> None:
    x = np.ones(4)
    assert jackknife.estimate(lambda v: NanBecause("not today"), x, name="m").undefined == "not today"
    assert jackknife.estimate(lambda v: math.nan, x, name="m").undefined == "the statistic returned nan"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jackknife.estimate(mean, np.array([]), name="m"), "x is empty"),
        (lambda: jackknife.estimate(mean, np.ones(3), [1, 2], name="m"), "one group for each of the 3"),
        (lambda: jackknife.estimate(mean, np.ones(3), name="m", confidence=1.0), "between 0 and 1"),
        (lambda: jackknife.estimate(mean, np.arange(3.0), name="a|b"), "cannot be part of a signature"),
        (lambda: jackknife.mean_estimate([], name="m"), "one axis and not be empty"),
        (lambda: jackknife.mean_estimate([[1.0]], name="m"), "one axis"),
        (lambda: jackknife.mean_estimate([1.0, math.inf], name="m"), "infinite"),
    ],
)
def test_bad_input_is_an_error(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_missing_values_are_left_out_and_counted() -> None:
    made = jackknife.mean_estimate([1.0, math.nan, 2.0, 4.0], ["a", "b", "c", "d"], name="m")
    same = jackknife.mean_estimate([1.0, 2.0, 4.0], name="m")
    assert (made.value, made.ci_low, made.ci_high, made.n) == (same.value, same.ci_low, same.ci_high, 3)
    assert "|missing:1|n:3|groups:3|" in made.signature
    assert jackknife.mean_estimate([math.nan], name="m").undefined == "all values are missing"


@pytest.mark.parametrize("groups", [12, 48])
def test_mean_intervals_cover_at_their_stated_rate_when_replicates_agree(groups: int) -> None:
    rng = np.random.default_rng(groups)
    labels = np.repeat(np.arange(groups), 3)
    made = [
        jackknife.mean_estimate(rng.normal(size=groups)[labels] + 0.5 * rng.normal(size=3 * groups), labels, name="m")
        for _ in range(800)
    ]
    assert 0.92 <= np.mean([e.ci_low <= 0.0 <= e.ci_high for e in made]) <= 0.98
