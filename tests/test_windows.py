import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.windows import FaultWindow, GapWindow, HopWindow, RateWindow, Repeats

PERIOD_NS = 100 * NS_PER_MS
SLACK_NS = 10 * NS_PER_MS


def gaps_of(*gaps_ns):
    gaps = GapWindow(PERIOD_NS)
    for gap_ns in gaps_ns:
        gaps.add(gap_ns)
    return gaps


def test_silence_is_three_stated_periods_and_slack():
    assert gaps_of(*[PERIOD_NS] * 20).silence_ns == 3 * PERIOD_NS + SLACK_NS


def test_a_faster_stream_keeps_the_stated_period():
    assert gaps_of(*[PERIOD_NS // 5] * 20).silence_ns == 3 * PERIOD_NS + SLACK_NS


def test_a_stream_within_a_quarter_of_its_period_keeps_the_stated_period():
    assert gaps_of(*[PERIOD_NS * 6 // 5] * 20).silence_ns == 3 * PERIOD_NS + SLACK_NS


def test_a_slower_stream_is_measured_by_its_own_gap():
    gaps = gaps_of(*[NS_PER_S] * 9)

    assert (gaps.typical_ns, gaps.silence_ns) == (NS_PER_S, 3 * NS_PER_S + SLACK_NS)


def test_no_stream_may_be_silent_longer_than_ten_seconds_by_its_own_gap():
    assert gaps_of(*[8 * NS_PER_S] * 16).silence_ns == 10 * NS_PER_S + SLACK_NS


def test_two_outages_do_not_lengthen_the_silence_allowed():
    gaps = gaps_of(NS_PER_S, NS_PER_S, *[PERIOD_NS] * 14)

    assert gaps.silence_ns == 3 * PERIOD_NS + SLACK_NS


def test_a_jittery_stream_is_given_its_usual_longest_gap_and_a_quarter():
    gaps = gaps_of(*[0, 0, 400 * NS_PER_MS] * 5)

    assert gaps.silence_ns == 500 * NS_PER_MS + SLACK_NS


def test_jitter_never_counts_beyond_six_periods():
    assert gaps_of(*[0, 0, 900 * NS_PER_MS] * 5).silence_ns == 6 * PERIOD_NS + SLACK_NS


def test_a_hiccup_at_the_start_is_not_typical():
    assert gaps_of(NS_PER_S, NS_PER_S).silence_ns == 3 * PERIOD_NS + SLACK_NS


def test_jitter_of_a_fast_stream_counts_up_to_100_milliseconds():
    gaps = GapWindow(5 * NS_PER_MS)
    for gap_ms in [0, 0, 60] * 5:
        gaps.add(gap_ms * NS_PER_MS)

    assert gaps.silence_ns == 75 * NS_PER_MS + SLACK_NS


def rate_of(totals, period_ns=PERIOD_NS):
    rate = RateWindow(2 * NS_PER_S)
    for index, total in enumerate(totals):
        rate.add(index * period_ns, total)
    return rate


def test_a_rate_is_the_growth_of_the_count():
    assert rate_of(range(0, 90, 3)).rate_hz() == pytest.approx(30)


def test_a_rate_of_nothing_or_of_one_count_is_zero():
    assert [rate_of([]).rate_hz(), rate_of([5]).rate_hz()] == [0, 0]


def test_a_window_is_full_after_its_span():
    assert not rate_of(range(20)).is_full()
    assert rate_of(range(21)).is_full()


def test_the_rate_window_forgets_what_is_older_than_its_span():
    rate = rate_of(range(0, 1000, 10))
    for index in range(100, 140):
        rate.add(index * PERIOD_NS, 1000 + index)

    assert rate.rate_hz() == pytest.approx(10)


def test_a_reordered_count_changes_nothing():
    rate = rate_of(range(21))
    rate.add(19 * PERIOD_NS, 3)

    assert rate.rate_hz() == pytest.approx(10)


def test_the_window_starts_over_when_its_clock_steps_back():
    rate = rate_of(range(100))
    rate.add(0, 100)

    assert not rate.is_full()
    assert rate.rate_hz() == 0


def test_the_rate_window_is_bounded_at_any_rate():
    assert len(rate_of(range(100_000), period_ns=NS_PER_MS // 10)._marks) <= 18


@pytest.mark.parametrize(("percent", "hop_ns"), [(0, 1), (50, 50), (99, 99), (100, 100)])
def test_hop_percentiles_are_of_nearest_rank(percent, hop_ns):
    hops = HopWindow()
    for value in reversed(range(1, 101)):
        hops.add(value)

    assert hops.percentile_ns(percent) == hop_ns


def test_hops_before_the_last_256_are_forgotten():
    hops = HopWindow()
    for value in [10**9, *[5] * 256]:
        hops.add(value)

    assert hops.percentile_ns(100) == 5


def test_three_faults_of_ten_are_often():
    faults = FaultWindow()
    for is_fault in [True, False, True, False, False, True]:
        faults.add(is_fault)
    assert faults.is_often()

    for _ in range(5):
        faults.add(False)
    assert not faults.is_often()
    assert str(faults) == "2 of the last 10 messages"


def test_a_burst_of_repeats_is_not_stuck():
    repeats = Repeats()
    for _ in range(50):
        repeats.add(7, 1000)

    assert not repeats.is_stuck()


def test_few_repeats_of_a_slow_stream_are_not_stuck():
    repeats = Repeats()
    for second in range(4):
        repeats.add(7, second * NS_PER_S)
    assert not repeats.is_stuck()

    repeats.add(7, 4 * NS_PER_S)
    assert repeats.is_stuck()
