"""What holds for any arrivals: gaps, jumps of stamps, faults and pauses of the consumer."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.liveness import Verdict
from fusion_rt.modes import ModeKeeper, mode_from_verdicts
from tests.stream_player import START_NS, arrival, monitor_of, play

TOPIC = "camera/front"
FROM_WORST = ["BLIND", "MINIMAL", "DEGRADED", "NORMAL"]
PERIOD_MS = 33
LONGEST_SILENCE_NS = 6 * PERIOD_MS * NS_PER_MS + 20 * NS_PER_MS
"""Six periods is as far as jitter stretches it; the drawn gaps' median stays at one."""

gaps_ms = st.lists(
    st.one_of(
        st.integers(PERIOD_MS - 5, PERIOD_MS + 5), st.integers(0, 60), st.sampled_from([300, 2000])
    ),
    min_size=1,
    max_size=120,
)
mostly_regular_ms = st.lists(st.integers(PERIOD_MS - 5, PERIOD_MS + 5), min_size=30, max_size=60)


def arrivals_from(gaps, jumps_ms=()):
    recv_ns, found = START_NS, []
    for seq, gap_ms in enumerate(gaps):
        recv_ns += gap_ms * NS_PER_MS
        jump_ns = (jumps_ms[seq % len(jumps_ms)] if jumps_ms else 0) * NS_PER_MS
        item = arrival(recv_ns, seq, node=TOPIC)
        found.append(replace(item, stamp_ns=item.stamp_ns + jump_ns))
    return found


@given(regular=mostly_regular_ms, gaps=gaps_ms, after_ms=st.integers(0, 5000))
def test_a_stream_is_never_alive_while_silent_beyond_its_bound(regular, gaps, after_ms):
    arrivals = arrivals_from([*regular, *gaps, *regular])
    until_ns = arrivals[-1].recv_ns + after_ms * NS_PER_MS
    history = play({TOPIC: arrivals}, until_ns)

    if until_ns - arrivals[-1].recv_ns > LONGEST_SILENCE_NS:
        assert history.states(TOPIC)[-1] == "silent"
    for before, after in pairwise(arrivals):
        if after.recv_ns - before.recv_ns > LONGEST_SILENCE_NS:
            assert any(
                verdict.state == "silent" and now <= before.recv_ns + LONGEST_SILENCE_NS
                for now, verdict in history.verdicts[TOPIC]
                if now < after.recv_ns
            )


@given(regular=mostly_regular_ms, phase_ms=st.integers(0, 4))
def test_a_regular_sensor_of_20_hz_or_faster_is_silent_within_three_periods_and_20_ms(
    regular, phase_ms
):
    monitor, last_ns = monitor_of(TOPIC), START_NS
    for item in arrivals_from(regular):
        monitor.observe(item, item.recv_ns)
        monitor.check(item.recv_ns, inbox_drained=True)
        last_ns = item.recv_ns

    now_ns = last_ns + phase_ms * NS_PER_MS
    while monitor.check(now_ns, inbox_drained=True).state != "silent":
        now_ns += 5 * NS_PER_MS
    assert now_ns - last_ns <= 3 * NS_PER_S // 30 + 20 * NS_PER_MS


@given(gaps=gaps_ms, corrupt=st.sets(st.integers(0, 119)))
def test_alive_comes_back_only_after_the_dwell(gaps, corrupt):
    arrivals = [
        replace(item, is_corrupt=index in corrupt) for index, item in enumerate(arrivals_from(gaps))
    ]
    changes = play({TOPIC: arrivals}, arrivals[-1].recv_ns + 3 * NS_PER_S).verdicts[TOPIC]

    for (left_ns, left), (entered_ns, entered) in pairwise(changes):
        if entered.state == "alive" and left.state != "waiting":
            assert left.state == "recovered"
            assert entered_ns - left_ns >= NS_PER_S


@given(gaps=gaps_ms, pauses_ms=st.lists(st.integers(0, 3000), min_size=1, max_size=40))
def test_no_stream_is_blamed_by_a_consumer_that_never_empties_its_inbox(gaps, pauses_ms):
    monitor, arrivals = monitor_of(TOPIC), arrivals_from(gaps)
    now_ns = START_NS
    for index, item in enumerate(arrivals):
        now_ns = max(now_ns + pauses_ms[index % len(pauses_ms)] * NS_PER_MS, item.recv_ns)
        monitor.observe(item, now_ns)

        assert monitor.check(now_ns, inbox_drained=False).state == "alive"


@given(pauses_ms=st.lists(st.integers(0, 3000), min_size=1, max_size=30))
def test_a_consumer_that_pauses_and_then_reads_everything_blames_nobody(pauses_ms):
    monitor, now_ns, read = monitor_of(TOPIC), START_NS, 0
    for pause_ms in pauses_ms:
        now_ns += pause_ms * NS_PER_MS
        # Right after a pause the socket has not brought yet what was sent meanwhile.
        assert monitor.check(now_ns, inbox_drained=True).state in ("waiting", "alive")
        sent = (now_ns - START_NS) // (PERIOD_MS * NS_PER_MS)
        for seq in range(read + 1, sent + 1):
            item = arrival(START_NS + seq * PERIOD_MS * NS_PER_MS, seq)
            monitor.observe(item, now_ns + NS_PER_MS)
        read = sent


@given(gaps=gaps_ms, jumps_ms=st.lists(st.integers(-(10**9), 0), min_size=1, max_size=20))
def test_jumps_of_stamps_move_no_decision_about_silence(gaps, jumps_ms):
    until_ns = START_NS + (sum(gaps) + 3000) * NS_PER_MS
    straight = play({TOPIC: arrivals_from(gaps)}, until_ns).verdicts[TOPIC]
    jumping = play({TOPIC: arrivals_from(gaps, jumps_ms)}, until_ns).verdicts[TOPIC]

    assert [now for now, v in straight if v.state == "silent"] == [
        now for now, v in jumping if v.state == "silent"
    ]


@given(
    st.lists(
        st.tuples(st.integers(1, 1500), st.sampled_from(["alive", "silent", "out_of_rate"])),
        min_size=1,
        max_size=60,
    )
)
def test_a_mode_falls_at_once_and_rises_after_a_dwell_without_worse(steps):
    keeper, now_ns, worse_ns = ModeKeeper(0), 0, dict.fromkeys(FROM_WORST, 0)
    target = "BLIND"
    for after_ms, state in steps:
        now_ns += after_ms * NS_PER_MS
        worse_ns[target] = now_ns  # called for until now
        verdicts = {TOPIC: Verdict(state, 0), "lidar/top": Verdict("alive", 0)}
        target = mode_from_verdicts(verdicts)
        before = FROM_WORST.index(keeper.decision.mode)
        after = FROM_WORST.index(keeper.update(verdicts, now_ns).mode)

        assert after <= FROM_WORST.index(target)
        if after > before:
            assert all(now_ns - worse_ns[mode] >= 2 * NS_PER_S for mode in FROM_WORST[:after])
