from dataclasses import replace

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.liveness import StreamMonitor, duration_text
from fusion_rt.messages import ProcessState
from tests.stream_player import (
    DELAY_NS,
    HOP_NS,
    START_NS,
    Fault,
    arrival,
    corrupt,
    flapping,
    frozen,
    late,
    monitor_of,
    period_ns,
    play,
    silent,
    slow,
    steady,
    with_fault,
)

SENSORS = ["camera/front", "lidar/top", "audio/array", "gps/main"]
FAULT_NS = START_NS + 5 * NS_PER_S
GOOD_NS = START_NS + 10 * NS_PER_S
END_NS = START_NS + 15 * NS_PER_S
FAULTS: list[tuple[Fault, str]] = [
    (silent, "silent"),
    (late, "late"),
    (frozen, "frozen"),
    (corrupt, "invalid"),
    (slow, "out_of_rate"),
    (flapping, "silent"),
]


def faulty(topic, fault):
    return with_fault(steady(topic, 16), topic, fault, FAULT_NS, GOOD_NS)


def longest_detection_ns(topic, state):
    """From the first missing or faulty message; silence counts from the last good one."""
    return {
        "silent": 3 * period_ns(topic) + 20 * NS_PER_MS,
        "late": 3 * period_ns(topic),
        "invalid": 3 * period_ns(topic),
        "frozen": max(500 * NS_PER_MS, 5 * period_ns(topic)) + 2 * period_ns(topic),
        "out_of_rate": 2 * NS_PER_S,
    }[state]


def alive_camera(seconds=2.0):
    """A monitor of a camera that was well until now, and its last arrival."""
    monitor = monitor_of("camera/front")
    arrivals = steady("camera/front", seconds)
    for item in arrivals:
        monitor.observe(item, item.recv_ns)
        monitor.check(item.recv_ns, inbox_drained=True)
    return monitor, arrivals[-1]


@pytest.mark.parametrize("topic", SENSORS)
@pytest.mark.parametrize(
    ("fault", "state"), FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_fault_is_named_in_time(topic, fault, state):
    history = play({topic: faulty(topic, fault)}, END_NS)

    assert history.states(topic)[:3] == ["waiting", "alive", state]
    assert history.when_ns(topic, state) - FAULT_NS <= longest_detection_ns(topic, state)


@pytest.mark.parametrize("topic", SENSORS)
@pytest.mark.parametrize("fault", [fault for fault, _ in FAULTS], ids=lambda fault: fault.__name__)
def test_a_sensor_that_is_back_is_recovered_for_the_dwell_and_then_alive(topic, fault):
    history = play({topic: faulty(topic, fault)}, END_NS)

    (recovered_ns, recovered), (alive_ns, alive) = history.verdicts[topic][-2:]
    assert (recovered.state, alive.state) == ("recovered", "alive")
    assert alive_ns - recovered_ns >= NS_PER_S
    assert alive.reason == ""


@pytest.mark.parametrize("topic", SENSORS)
def test_a_healthy_sensor_changes_state_once(topic):
    assert play({topic: steady(topic, 16)}, END_NS).states(topic) == ["waiting", "alive"]


@pytest.mark.parametrize("fault", [late, corrupt], ids=lambda fault: fault.__name__)
def test_two_bad_messages_are_no_state(fault):
    to_ns = FAULT_NS + 2 * period_ns("lidar/top")
    arrivals = with_fault(steady("lidar/top", 8), "lidar/top", fault, FAULT_NS, to_ns)

    assert play({"lidar/top": arrivals}, to_ns).states("lidar/top") == ["waiting", "alive"]


def fall_silent(monitor):
    """Serve its deadlines, as a punctual loop does, until it is silent; when that was."""
    while (due_ns := monitor.next_deadline_ns()) is not None:
        monitor.check(due_ns, inbox_drained=True)
        silent_ns = due_ns
    return silent_ns


def test_silence_is_looked_at_twice_before_it_is_called():
    monitor, last = alive_camera()
    first_ns = last.recv_ns + 3 * period_ns("camera/front") + 10 * NS_PER_MS
    assert monitor.next_deadline_ns() == first_ns

    assert monitor.check(first_ns, inbox_drained=True).state == "alive"
    assert monitor.next_deadline_ns() == first_ns + 5 * NS_PER_MS
    assert monitor.check(first_ns + 5 * NS_PER_MS - 1, inbox_drained=True).state == "alive"
    assert monitor.check(first_ns + 5 * NS_PER_MS, inbox_drained=True).state == "silent"


def test_a_silent_stream_has_no_deadline():
    monitor, _ = alive_camera()
    fall_silent(monitor)

    assert monitor.next_deadline_ns() is None


def test_silence_outlasts_a_lone_message():
    monitor, last = alive_camera()
    fall_silent(monitor)
    first_ns = last.recv_ns + NS_PER_S
    monitor.observe(arrival(first_ns, last.seq + 1), first_ns)
    verdict = monitor.check(first_ns, inbox_drained=True)
    assert (verdict.state, verdict.reason[:27]) == ("silent", "one message after a silence")

    second_ns = first_ns + period_ns("camera/front")
    monitor.observe(arrival(second_ns, last.seq + 2), second_ns)
    assert monitor.check(second_ns, inbox_drained=True).state == "recovered"


def test_a_node_that_catches_up_after_a_stall_is_not_out_of_rate():
    back_ns = GOOD_NS - NS_PER_MS
    stalled = [
        replace(a, recv_ns=back_ns + a.seq, sent_ns=back_ns + a.seq - HOP_NS, stamp_ns=back_ns)
        if GOOD_NS - NS_PER_S <= a.recv_ns < GOOD_NS
        else a
        for a in steady("audio/array", 16)
    ]

    assert play({"audio/array": stalled}, END_NS).states("audio/array") == [
        "waiting",
        "alive",
        "silent",
        "recovered",
        "alive",
    ]


def test_a_receiver_slower_than_stated_is_out_of_rate_and_ends_flapping():
    arrivals = [arrival(START_NS + n * NS_PER_S, n, has_payload=False) for n in range(1, 60)]
    history = play({"gps/main": arrivals}, START_NS + 60 * NS_PER_S)

    assert history.states("gps/main")[-1] == "out_of_rate"
    assert history.verdicts["gps/main"][-1][0] < START_NS + 20 * NS_PER_S


def test_a_camera_that_delivers_in_bursts_ends_flapping():
    burst_ns = [START_NS + n * 132 * NS_PER_MS + k for n in range(1, 120) for k in range(4)]
    arrivals = [arrival(recv_ns, seq) for seq, recv_ns in enumerate(burst_ns)]
    history = play({"camera/front": arrivals}, burst_ns[-1])

    assert history.states("camera/front")[-1] == "alive"
    assert history.verdicts["camera/front"][-1][0] < START_NS + 3 * NS_PER_S


def test_a_stream_that_never_came_waits_and_is_silent_after_the_startup_deadline():
    monitor = monitor_of("lidar/top", device="velodyne at 192.168.1.201")
    assert monitor.check(START_NS + NS_PER_S, inbox_drained=True).state == "waiting"

    assert monitor.next_deadline_ns() == START_NS + 10 * NS_PER_S
    verdict = monitor.check(fall_silent(monitor), inbox_drained=True, process="ready")
    assert verdict.state == "silent"
    assert verdict.reason == (
        "no message since the start 10.0 s ago; "
        "node lidar/top is alive: check velodyne at 192.168.1.201"
    )


def test_an_undecodable_first_message_is_no_life():
    monitor = monitor_of("lidar/top")
    monitor.invalid(START_NS + 1, "header: truncated")

    verdict = monitor.check(START_NS + 1, inbox_drained=True)
    assert (verdict.state, verdict.reason) == ("waiting", "no good message yet from the sensor")


def test_no_stream_is_blamed_while_its_inbox_is_not_emptied():
    monitor, last = alive_camera()
    verdict = monitor.check(last.recv_ns + 3 * NS_PER_S, inbox_drained=False)

    assert verdict.state == "alive"
    assert verdict.reason == ("not judged: this consumer has not emptied its own inbox for 3.0 s")


def test_a_consumer_that_was_away_gives_the_stream_one_period_more():
    monitor, last = alive_camera()
    back_ns = last.recv_ns + 5 * NS_PER_S

    assert monitor.check(back_ns, inbox_drained=True).state == "alive"
    assert monitor.next_deadline_ns() == back_ns + period_ns("camera/front")
    assert monitor.check(monitor.next_deadline_ns(), inbox_drained=True).state == "silent"


def test_a_consumer_that_only_ever_comes_late_still_sees_silence():
    monitor, last = alive_camera()
    states = [
        monitor.check(last.recv_ns + n * 500 * NS_PER_MS, inbox_drained=True).state for n in (1, 2)
    ]

    assert states == ["alive", "silent"]


def test_a_backlog_is_late_because_of_us():
    monitor, last = alive_camera()
    backlog = [
        arrival(last.recv_ns + n * period_ns("camera/front"), last.seq + n) for n in range(1, 90)
    ]
    read_ns = backlog[-1].recv_ns
    for item in backlog:
        monitor.observe(replace(item, recv_ns=read_ns), read_ns)
        assert monitor.check(read_ns, inbox_drained=item is backlog[-1]).state == "alive"


def test_messages_skipped_by_the_consumer_do_not_slow_the_sensor():
    every_third = steady("audio/array", 10)[::3]

    assert play({"audio/array": every_third}, every_third[-1].recv_ns).states("audio/array") == [
        "waiting",
        "alive",
    ]


def test_a_restarted_publisher_starts_its_numbers_and_contents_over():
    first = steady("lidar/top", 5)
    again = [
        replace(
            a,
            recv_ns=a.recv_ns + 5 * NS_PER_S,
            incarnation=2,
            stamp_ns=a.stamp_ns + 5 * NS_PER_S,
            sent_ns=a.sent_ns + 5 * NS_PER_S,
        )
        for a in first
    ]
    history = play({"lidar/top": first + again}, again[-1].recv_ns)

    assert history.states("lidar/top") == ["waiting", "alive"]


def test_a_crash_looping_publisher_is_not_frozen_by_its_first_numbers():
    firsts = [replace(a, seq=0, fingerprint=9, incarnation=a.seq) for a in steady("lidar/top", 3)]

    assert play({"lidar/top": firsts}, firsts[-1].recv_ns).states("lidar/top") == [
        "waiting",
        "alive",
    ]


def test_a_restarted_publisher_is_not_late_because_of_an_old_jump():
    monitor, last = alive_camera()
    for n in range(1, 10):
        item = arrival(
            last.recv_ns + n * period_ns("camera/front"), last.seq + n, node="camera/front"
        )
        back_ns = 100 * NS_PER_S if n <= 3 else 300 * NS_PER_MS
        item = replace(item, stamp_ns=item.stamp_ns - back_ns, incarnation=1 if n <= 3 else 2)
        monitor.observe(item, item.recv_ns)
        monitor.check(item.recv_ns, inbox_drained=True)

    assert monitor.verdict.reason == (
        "9 of the last 10 messages came late, the last one 321 ms old (limit 200 ms), "
        "already when node camera/front sent it: check the sensor"
    )


def test_a_recovered_stream_is_due_when_its_dwell_ends():
    monitor = monitor_of("lidar/top", dwell_ns=0)
    now_ns = START_NS
    for seq in [*range(10), *range(20, 60)]:
        now_ns = START_NS + seq * period_ns("lidar/top")
        if seq == 20:
            fall_silent(monitor)
        monitor.observe(arrival(now_ns, seq), now_ns)
        if monitor.check(now_ns, inbox_drained=True).state == "recovered":
            break

    ends = [monitor.next_deadline_ns(), monitor.verdict.since_ns + 3 * period_ns("lidar/top")]
    assert ends[0] == ends[1]
    assert monitor.check(ends[0], inbox_drained=True).state == "alive"


def test_a_stuck_sequence_number_is_frozen():
    stuck = [replace(a, seq=7) for a in steady("lidar/top", 3)]
    history = play({"lidar/top": stuck}, stuck[-1].recv_ns)

    assert history.states("lidar/top")[-1] == "frozen"
    assert history.verdicts["lidar/top"][-1][1].reason == (
        "the same sequence number in 6 messages (500 ms): restart node lidar/top, check the sensor"
    )


def test_unknown_content_is_never_frozen():
    unknown = [replace(a, fingerprint=0) for a in steady("camera/front", 3)]

    assert play({"camera/front": unknown}, unknown[-1].recv_ns).states("camera/front") == [
        "waiting",
        "alive",
    ]


def test_stamps_that_jump_back_are_counted_named_and_late():
    arrivals = steady("camera/front", 6)
    jumped = [
        replace(a, stamp_ns=a.stamp_ns - 100 * NS_PER_S) if a.recv_ns >= FAULT_NS else a
        for a in arrivals
    ]
    monitor = monitor_of("camera/front", device="/dev/video0")
    history = play({"camera/front": jumped}, jumped[-1].recv_ns, [monitor])

    assert monitor.stamp_jumps == 1
    assert history.verdicts["camera/front"][-1][1].reason == (
        "3 of the last 10 messages came late, the last one 100.0 s old (limit 200 ms), "
        "as the stamps jumped by -100.0 s: check the clock of /dev/video0"
    )


def test_stamps_from_the_future_are_invalid():
    ahead = [replace(a, stamp_ns=a.stamp_ns + 2 * NS_PER_S) for a in steady("camera/front", 1)]
    history = play({"camera/front": ahead}, ahead[-1].recv_ns)

    assert history.verdicts["camera/front"][-1][1].reason == (
        "3 of the last 3 messages cannot be used, the last one: "
        "stamped 2.0 s ahead of the rig's clock; check the sensor"
    )


def test_stamps_that_jump_back_and_return_are_two_jumps_and_no_cause_any_more():
    monitor = monitor_of("camera/front")
    arrivals = [
        replace(a, stamp_ns=a.stamp_ns - 100 * NS_PER_S) if 30 <= a.seq < 60 else a
        for a in steady("camera/front", 5)
    ]
    play({"camera/front": arrivals}, arrivals[-1].recv_ns, [monitor])

    assert (monitor.stamp_jumps, monitor.verdict.state) == (2, "alive")


def test_a_stalled_node_is_no_jump_of_the_clock():
    monitor = monitor_of("camera/front")
    arrivals = [
        replace(a, stamp_ns=a.stamp_ns - 300 * NS_PER_MS) if a.seq == 45 else a
        for a in steady("camera/front", 3)
        if not 34 < a.seq < 45
    ]
    play({"camera/front": arrivals}, arrivals[-1].recv_ns, [monitor])

    assert monitor.stamp_jumps == 0


def test_a_late_stream_that_gets_better_still_names_the_last_late_message():
    monitor = monitor_of("camera/front")
    for item in steady("camera/front", 0.3):
        by_ns = 300 * NS_PER_MS if item.seq <= 4 else 0
        monitor.observe(replace(item, stamp_ns=item.stamp_ns - by_ns), item.recv_ns)
        monitor.check(item.recv_ns, inbox_drained=True)

    assert monitor.verdict.reason == (
        "4 of the last 9 messages came late, the last one 321 ms old (limit 200 ms), "
        "already when node camera/front sent it: check the sensor"
    )


WHERE_TO_LOOK: list[tuple[ProcessState | None, str]] = [
    (None, "check the sensor and node camera/front"),
    ("starting", "node camera/front is starting: wait"),
    ("ready", "node camera/front is alive: check the sensor"),
    ("hung", "node camera/front hangs and will be restarted: see its log"),
    ("backing_off", "node camera/front died and is being restarted: see its log"),
    ("failed", "node camera/front kept dying and was given up: see its log"),
    ("stopped", "node camera/front was stopped"),
]


@pytest.mark.parametrize(("process", "where"), WHERE_TO_LOOK)
def test_silence_says_how_long_and_where_to_look(process, where):
    monitor, last = alive_camera()
    fall_silent(monitor)
    verdict = monitor.check(last.recv_ns + 412 * NS_PER_MS, inbox_drained=True, process=process)

    assert verdict.reason == f"no message for 412 ms (expected every 33 ms); {where}"


def late_reason(stamp_shift_ns, sent_shift_ns):
    """Of a camera whose messages were late from the very first."""
    monitor = monitor_of("camera/front")
    for item in steady("camera/front", 0.2):
        shifted = replace(
            item, stamp_ns=item.stamp_ns - stamp_shift_ns, sent_ns=item.sent_ns - sent_shift_ns
        )
        monitor.observe(shifted, item.recv_ns)
        monitor.check(item.recv_ns, inbox_drained=True)
    return monitor.verdict.reason


def test_lateness_before_sending_is_the_nodes():
    assert late_reason(300 * NS_PER_MS, 0) == (
        "6 of the last 6 messages came late, the last one 321 ms old (limit 200 ms), "
        "already when node camera/front sent it: check the sensor"
    )


def test_lateness_after_sending_is_the_ways():
    assert late_reason(300 * NS_PER_MS, 300 * NS_PER_MS) == (
        "6 of the last 6 messages came late, the last one 321 ms old (limit 200 ms), "
        "301 ms of it on the way: check the load and the link"
    )


def test_an_invalid_stream_names_the_last_fault():
    history = play({"camera/front": faulty("camera/front", corrupt)}, END_NS)

    assert history.verdicts["camera/front"][2][1].reason == (
        "3 of the last 10 messages cannot be used, the last one: header: truncated; "
        "check the sensor"
    )


def test_a_wrong_rate_is_told_with_both_rates():
    half = [replace(a, seq=n) for n, a in enumerate(steady("lidar/top", 8)[::2])]
    history = play({"lidar/top": half}, half[-1].recv_ns)

    assert history.verdicts["lidar/top"][-1][1].reason == (
        "5.0 Hz instead of 10 Hz over 2.0 s: "
        "check the settings of the sensor, or rate_hz in the rig"
    )


def test_health_carries_the_verdict_and_the_statistics():
    monitor, last = alive_camera(5)
    health = monitor.health(last.recv_ns + NS_PER_MS, {"superseded": 3})

    assert (health.topic, health.state, health.received) == ("camera/front", "alive", 150)
    assert health.rate_hz == pytest.approx(30, rel=1e-6)
    assert health.age_ns == DELAY_NS + HOP_NS + NS_PER_MS
    assert (health.hop_p50_ns, health.hop_p99_ns) == (HOP_NS, HOP_NS)
    assert health.drops == {"superseded": 3}


def test_health_before_the_first_message_has_no_figures():
    health = monitor_of("lidar/top").health(START_NS + NS_PER_S, {})

    assert (health.state, health.rate_hz, health.age_ns, health.hop_p50_ns) == (
        "waiting",
        0.0,
        None,
        None,
    )


def test_the_rate_of_a_silent_stream_is_zero():
    monitor, last = alive_camera()
    fall_silent(monitor)

    assert monitor.health(last.recv_ns + NS_PER_S, {}).rate_hz == 0


def test_a_state_keeps_its_beginning_while_its_reason_grows():
    monitor = StreamMonitor("camera/front", 30, 200 * NS_PER_MS, START_NS, startup_ns=NS_PER_S)
    first = monitor.check(fall_silent(monitor), inbox_drained=True)
    later = monitor.check(START_NS + 2 * NS_PER_S, inbox_drained=True)

    assert first.since_ns == later.since_ns
    assert first.reason != later.reason


@pytest.mark.parametrize(
    ("duration_ns", "text"), [(412_400_000, "412 ms"), (3_240_000_000, "3.2 s"), (-5e6, "-5 ms")]
)
def test_durations_read_in_milliseconds_below_a_second(duration_ns, text):
    assert duration_text(duration_ns) == text
