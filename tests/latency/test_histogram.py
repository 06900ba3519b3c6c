import math

from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.latency.histogram import MAX_NS, Histogram, RecentValues

DURATIONS = st.lists(st.integers(0, 10**13), min_size=1, max_size=200)
PERCENTS = st.sampled_from([0, 1, 50, 90, 99, 99.9, 100])


def exact(values, percent):
    return sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]


def filled(values):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(DURATIONS, PERCENTS)
def test_a_percentile_is_the_exact_one_or_up_to_one_part_in_256_above_it(values, percent):
    found = filled(values).percentile_ns(percent)
    assert exact(values, percent) <= found <= exact(values, percent) * 257 / 256


@given(DURATIONS, DURATIONS, PERCENTS)
def test_two_merged_histograms_are_the_histogram_of_both(one, other, percent):
    merged = filled(one)
    merged.merge(filled(other))
    both = filled(one + other)
    assert merged.percentile_ns(percent) == both.percentile_ns(percent)
    assert (merged.count, merged.min_ns, merged.max_ns) == (both.count, both.min_ns, both.max_ns)


def test_an_empty_histogram_has_no_percentiles():
    assert Histogram().percentile_ns(50) is None
    assert RecentValues(10).percentile_ns(50) is None


def test_a_negative_duration_counts_as_nothing_and_is_told():
    histogram = filled([-5, 7])
    assert (histogram.count, histogram.negative, histogram.min_ns) == (2, 1, 0)


def test_a_duration_beyond_all_reason_is_cut():
    assert filled([2**62]).percentile_ns(100) == MAX_NS


def test_the_curve_ends_at_the_longest_with_all_of_them():
    *_, last = filled([5, 10_000_000, 10_000_001]).curve()
    assert last == (10_000_001, 3)


def test_at_most_counts_those_within_each_bound():
    assert filled([10, 20, 30]).at_most([5, 20, 25, 40]) == [0, 2, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1000)), min_size=1, max_size=100))
def test_recent_values_are_those_of_the_window(steps):
    recent, now, seen = RecentValues(window_ns=100), 0, []
    for gap, value in steps:
        now += gap
        seen.append((now, value))
        recent.add(now, value)
    kept = [value for at, value in seen if at >= now - 100]
    assert len(recent) == len(kept)
    assert recent.percentile_ns(90) == exact(kept, 90)


def test_recent_values_keep_no_more_than_their_limit():
    recent = RecentValues(window_ns=10**9, limit=3)
    for value in (9, 1, 2, 3):
        recent.add(0, value)
    assert (len(recent), recent.percentile_ns(100)) == (3, 3)
