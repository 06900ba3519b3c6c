"""What the synchronizer does with a few messages, one sentence each."""

from itertools import pairwise

import pytest
from msgspec import structs

from fusion_rt.errors import SyncConfigError, UnknownStreamError
from fusion_rt.sync import Synchronizer
from fusion_rt.sync.frame_set import FrameSet, StreamSpec, Tick

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
RIG = [
    StreamSpec("camera", 30, 20 * MS),
    StreamSpec("lidar", 10, 55 * MS, required=True),
    StreamSpec("gps", 10, 55 * MS),
]
DELAY_MS = {"camera": 30, "lidar": 50, "gps": 60}
PERIOD_MS = {"camera": 100 / 3, "lidar": 100, "gps": 100}


class Feed:
    """Feeds a synchronizer in whole milliseconds after T0 and keeps what comes out."""

    def __init__(self, sync: Synchronizer) -> None:
        self.sync = sync
        self.sets: list[FrameSet] = []

    def push(self, stream: str, at_ms: float, delay_ms: float | None = None, by_ms: float = 0):
        delay_ms = DELAY_MS[stream] if delay_ms is None else delay_ms
        stamp_ns = T0 + round((at_ms + by_ms) * MS)
        arrival_ns = T0 + round((at_ms + delay_ms) * MS)
        out = self.sync.push(stream, stamp_ns, f"{stream}@{at_ms:.0f}", arrival_ns)
        self.sets += out
        return out

    def run(self, begin_ms: float, end_ms: float, *without: str, by_ms=None) -> None:
        """All sensors measure from `begin_ms` until `end_ms`; stamps of some are off by `by_ms`."""
        messages = [
            (k * PERIOD_MS[name] + DELAY_MS[name], name, k * PERIOD_MS[name])
            for name in PERIOD_MS
            for k in range(int(end_ms / PERIOD_MS[name]) + 1)
        ]
        for _, name, at_ms in sorted(messages):
            if begin_ms <= at_ms < end_ms and name not in without:
                self.push(name, at_ms, by_ms=(by_ms or {}).get(name, 0))

    def advance(self, at_ms: float) -> list[FrameSet]:
        out = self.sync.advance(T0 + round(at_ms * MS))
        self.sets += out
        return out


@pytest.fixture
def feed() -> Feed:
    return Feed(Synchronizer(streams=RIG, reference="lidar"))


def test_a_set_leaves_with_the_message_that_completes_it(feed):
    feed.push("camera", 0)
    assert feed.push("lidar", 0) == []
    (complete,) = feed.push("gps", 0)
    assert complete.status == "complete"
    assert (complete.closed_by, complete.waited_for) == ("arrival", "gps")
    assert complete.reference_ns == T0


def test_members_carry_stamp_error_and_age(feed):
    feed.push("camera", -10)
    feed.push("lidar", 0)
    (complete,) = feed.push("gps", 5)
    camera = complete.members["camera"]
    assert camera.stamp_ns == T0 - 10 * MS
    assert camera.payload == "camera@-10"
    assert camera.error_ns == -10 * MS
    assert camera.age_ns == (65 + 10) * MS
    assert camera.quality == "nearest"
    assert complete.members["lidar"].quality == "exact"


def test_the_nearest_message_is_taken_not_the_first_that_fits(feed):
    feed.push("camera", -15)
    feed.push("camera", 18, delay_ms=25)
    feed.push("lidar", 0)
    (complete,) = feed.push("gps", 0)
    assert complete.members["camera"].payload == "camera@-15"


def test_a_stream_is_waited_for_at_most_the_budget(feed):
    feed.push("camera", 0)
    feed.push("gps", -60)
    feed.push("lidar", 0)
    assert feed.advance(199) == []
    (partial,) = feed.advance(200)
    assert partial.closed_by == "deadline"
    assert partial.closed_ns - partial.opened_ns == 150 * MS
    assert partial.members["gps"].reason == "not arrived"


def test_a_silent_stream_costs_no_waiting(feed):
    feed.run(0, 1000)
    feed.run(1000, 2000, "camera")
    late = [s for s in feed.sets if s.reference_ns > T0 + 1200 * MS]
    assert len(late) >= 6
    assert all(s.members["camera"].reason == "silent" for s in late)
    assert max(s.closed_ns - s.opened_ns for s in late) <= 12 * MS  # the GPS, as before


def test_a_stream_that_returns_is_in_the_next_set(feed):
    feed.run(0, 1000)
    feed.run(1000, 2000, "camera")
    feed.run(2000, 2400)
    assert feed.sets[-1].status == "complete"


def test_a_silent_reference_is_carried_on_as_ticks(feed):
    feed.run(0, 1000)
    feed.run(1000, 2000, "lidar")
    ticks = [s for s in feed.sets if s.is_tick]
    assert len(ticks) >= 7
    assert all(s.members["lidar"].is_missing and not s.is_usable for s in ticks)
    assert all(s.members["camera"].payload for s in ticks)
    gaps = {b.reference_ns - a.reference_ns for a, b in pairwise(ticks)}
    assert gaps == {100 * MS}


def test_a_lost_reference_leaves_a_tick_in_its_place(feed):
    feed.run(0, 1000)
    feed.run(1000, 1500, "lidar")  # makes the GPS and the camera go on
    feed = Feed(Synchronizer(streams=RIG, reference="lidar"))
    feed.run(0, 500)
    for at_ms, name in [(500, "camera"), (500, "gps"), (567, "camera"), (600, "gps")]:
        feed.push(name, at_ms)
    feed.push("lidar", 600, delay_ms=61)
    places = [(s.reference_ns - T0) // MS for s in feed.sets]
    assert places == sorted(set(places))
    assert [s.is_tick for s in feed.sets][-2:] == [True, False]


def test_a_reference_overtaken_by_its_tick_is_counted_late(feed):
    feed.run(0, 1000)
    feed.run(1000, 1400, "lidar")
    feed.push("lidar", 1000, delay_ms=430)
    assert feed.sync.states()["lidar"].counts.late == 1


def test_references_out_of_order_leave_in_order(feed):
    feed.run(0, 1000)
    feed.push("lidar", 1100, delay_ms=20)
    feed.push("lidar", 1000, delay_ms=125)
    feed.advance(1400)
    times = [s.reference_ns for s in feed.sets]
    assert times == sorted(times)
    assert not any(s.is_tick for s in feed.sets if s.reference_ns <= T0 + 1100 * MS)


def test_repeated_messages_are_counted_and_used_once(feed):
    for _ in range(2):
        feed.push("camera", 0)
    for _ in range(2):
        feed.push("lidar", 0)
    feed.push("gps", 0)
    feed.push("lidar", 0, delay_ms=70)
    counts = {name: state.counts for name, state in feed.sync.states().items()}
    assert counts["camera"].duplicate == 1
    assert counts["lidar"].duplicate == 2
    assert len(feed.sets) == 1


def test_a_lone_stamp_from_the_future_is_dropped_and_counted(feed):
    feed.run(0, 1000)
    feed.push("camera", 1000, by_ms=3_600_000)
    feed.run(1001, 1500)
    assert feed.sync.states()["camera"].counts.quarantined == 1
    assert feed.sets[-1].status == "complete"
    assert list(feed.sync.clock_events) == []


@pytest.mark.parametrize("step_ms", [-60_000, -3000, -250, 250, 5000])
def test_a_stepped_clock_is_followed_and_told(feed, step_ms):
    feed.run(0, 3000)
    feed.run(3000, 6000, by_ms={"camera": step_ms})
    (event,) = feed.sync.clock_events
    assert (event.stream, event.kind) == ("camera", "stepped")
    assert abs(event.by_ns - step_ms * MS) < MS
    after = [s for s in feed.sets if s.reference_ns >= T0 + 3300 * MS]
    assert after
    assert all(s.status == "complete" for s in after)


def test_when_all_clocks_step_the_others_follow_on_one_message(feed):
    feed.run(0, 3000)
    feed.run(3000, 6000, by_ms=dict.fromkeys(DELAY_MS, -60_000))
    kinds = {event.stream: event.kind for event in feed.sync.clock_events}
    assert kinds == dict.fromkeys(DELAY_MS, "stepped")
    assert len({event.by_ns for event in feed.sync.clock_events}) == 1
    references = [s.members["lidar"].payload for s in feed.sets if not s.is_tick]
    assert len(references) == len(set(references)) == 60


def test_a_clock_wrong_from_the_start_is_aligned_by_arrival_and_flagged(feed):
    feed.run(0, 3000, by_ms={"camera": -1_000_000})
    state = feed.sync.states()["camera"]
    assert not state.is_clock_trusted
    assert feed.sets[-1].status == "complete"
    feed.run(3000, 4000)
    assert feed.sync.states()["camera"].is_clock_trusted
    assert feed.sync.states()["camera"].learned_offset_ns == 0


def test_calibrated_offset_is_subtracted():
    specs = [StreamSpec("camera", 30, 20 * MS, offset_ns=-200 * MS), *RIG[1:]]
    feed = Feed(Synchronizer(streams=specs, reference="lidar"))
    feed.run(0, 2000, by_ms={"camera": -200})
    assert feed.sets[-1].members["camera"].error_ns == 0
    assert feed.sync.states()["camera"].learned_offset_ns == 0


def test_everything_stalling_gives_few_references_away(feed):
    feed.run(0, 2000)
    stalled = [m for k in range(20, 24) for m in [("lidar", 100 * k)]]
    others = [(n, k * PERIOD_MS[n]) for n in ("camera", "gps") for k in range(90)]
    burst = sorted(stalled + [(n, t) for n, t in others if 2000 <= t < 2400], key=lambda m: m[1])
    for name, at_ms in burst:
        feed.push(name, at_ms, delay_ms=2460 - at_ms)
    feed.run(2400, 3000)
    ticks = [s for s in feed.sets if s.is_tick]
    assert len(ticks) <= 1


def test_fixed_ticks_stand_on_their_own_grid():
    feed = Feed(Synchronizer(streams=RIG, reference=Tick(20.0, phase_ns=7)))
    feed.run(0, 1000)
    times = [s.reference_ns for s in feed.sets]
    assert all(time_ns % (50 * MS) == 7 for time_ns in times)
    assert all(b - a == 50 * MS for a, b in pairwise(times))
    assert sum(s.status == "complete" for s in feed.sets) >= 7  # every second lies near a GPS fix


def test_a_reference_that_comes_older_than_may_be_is_carried_on_without_it_at_the_old_pace():
    aged = [structs.replace(spec, max_age_ns=300 * MS) for spec in RIG]
    feed = Feed(Synchronizer(streams=aged, reference="lidar", max_wait_ns=80 * MS))
    feed.run(0, 2000)
    feed.sets.clear()
    arrivals = [
        (k * PERIOD_MS[name] + delay_ms, name, k * PERIOD_MS[name], delay_ms)
        for name, delay_ms in {**DELAY_MS, "lidar": 450}.items()
        for k in range(round(2000 / PERIOD_MS[name]), round(6000 / PERIOD_MS[name]))
    ]
    for _, name, at_ms, delay_ms in sorted(arrivals):
        feed.push(name, at_ms, delay_ms)
    settled = [each for each in feed.sets if 2500 * MS <= each.closed_ns - T0 < 5900 * MS]
    assert len(settled) == 34
    assert {each.members["lidar"].reason for each in settled} == {"too late"}
    assert {each.members["camera"].quality for each in settled} <= {"exact", "nearest"}
    assert max(each.closed_ns - each.reference_ns for each in settled) < 150 * MS
    counts = feed.sync.states()["lidar"].counts
    assert counts.late >= 34


def test_a_stream_that_always_was_slow_is_not_too_late():
    aged = [structs.replace(spec, max_age_ns=30 * MS) for spec in RIG]
    feed = Feed(Synchronizer(streams=aged, reference="lidar"))
    feed.run(0, 2000)
    assert {each.members["gps"].quality for each in feed.sets[2:]} <= {"exact", "nearest"}


def test_a_clock_set_back_is_followed_also_where_lateness_is_bounded():
    aged = [structs.replace(spec, max_age_ns=300 * MS) for spec in RIG]
    feed = Feed(Synchronizer(streams=aged, reference="lidar"))
    feed.run(0, 2000)
    feed.sets.clear()
    feed.run(2000, 4000, by_ms={"gps": -400})
    assert {each.members["gps"].quality for each in feed.sets[-10:]} <= {"exact", "nearest"}


def test_the_default_reference_is_the_slowest_required_stream():
    assert Synchronizer(streams=RIG).reference == "lidar"
    assert Synchronizer(streams=RIG[:1]).reference == "camera"


def test_latest_before_never_takes_the_future():
    specs = [StreamSpec("camera", 30, 50 * MS, mode="latest_before"), *RIG[1:]]
    feed = Feed(Synchronizer(streams=specs, reference="lidar"))
    feed.push("camera", -25)
    feed.push("camera", 8)
    feed.push("lidar", 0)
    (complete,) = feed.push("gps", 0)
    assert complete.members["camera"].payload == "camera@-25"
    assert complete.members["camera"].quality == "held"


def test_what_is_at_hand_is_not_waited_for():
    specs = [StreamSpec("camera", 30, 50 * MS, mode="at_hand"), RIG[1]]
    feed = Feed(Synchronizer(streams=specs, reference="lidar"))
    feed.push("camera", -40)
    (complete,) = feed.push("lidar", 0)
    assert complete.members["camera"].payload == "camera@-40"
    assert complete.members["camera"].quality == "nearest"


def test_interpolate_brings_the_two_around_the_reference():
    specs = [*RIG[:2], StreamSpec("gps", 10, 55 * MS, mode="interpolate")]
    feed = Feed(Synchronizer(streams=specs, reference="lidar"))
    feed.push("gps", -40)
    feed.push("camera", 0)
    feed.push("lidar", 0)
    (complete,) = feed.push("gps", 60)
    gps = complete.members["gps"]
    assert gps.quality == "interpolated"
    assert [part.error_ns for part in gps.parts] == [-40 * MS, 60 * MS]
    assert gps.payload == "gps@-40"


def test_interpolate_holds_what_it_has_when_no_bracket_can_come():
    specs = [*RIG[:2], StreamSpec("gps", 1, 1500 * MS, mode="interpolate")]
    feed = Feed(Synchronizer(streams=specs, reference="lidar"))
    feed.push("gps", -1300)
    feed.push("gps", -300)
    feed.push("camera", 0)
    (complete,) = feed.push("lidar", 0)
    assert complete.members["gps"].quality == "held"
    assert [part.payload for part in complete.members["gps"].parts] == ["gps@-1300", "gps@-300"]


def test_window_brings_every_chunk_that_overlaps_it():
    audio = StreamSpec("audio", 50, 20 * MS, mode="window", window_ns=(50 * MS, 10 * MS))
    feed = Feed(Synchronizer(streams=[RIG[1], audio], reference="lidar"))
    for k in range(-5, 0):
        feed.push("audio", 20 * k, delay_ms=30)
    feed.push("lidar", 0)
    (complete,) = feed.push("audio", 0, delay_ms=55)
    chunks = complete.members["audio"]
    assert [part.error_ns // MS for part in chunks.parts] == [-60, -40, -20, 0]
    assert chunks.quality == "exact"


def test_a_window_with_a_hole_is_held_not_exact():
    audio = StreamSpec("audio", 50, 20 * MS, mode="window", window_ns=(50 * MS, 10 * MS))
    feed = Feed(Synchronizer(streams=[RIG[1], audio], reference="lidar"))
    for k in (-4, -3, -1):
        feed.push("audio", 20 * k, delay_ms=30)
    feed.push("lidar", 0)
    (complete,) = feed.push("audio", 0, delay_ms=55)
    assert complete.members["audio"].quality == "held"


def test_a_process_that_slept_makes_up_for_ten_seconds_at_most(feed):
    feed.run(0, 1000)
    feed.advance(3_600_000)
    assert 90 <= len(feed.sets) <= 130


def test_buffers_are_bounded_in_count_whatever_the_rate(feed):
    for k in range(5000):
        feed.push("camera", 0.1 * k, delay_ms=1)
    counts = feed.sync.states()["camera"].counts
    assert counts.buffered <= 80
    assert counts.overflow > 0
    assert counts.pushed == 5000


def test_nothing_is_due_before_the_first_message(feed):
    assert feed.sync.next_deadline_ns() is None
    assert feed.advance(1e6) == []
    feed.push("camera", 1_000_001)
    assert feed.sync.next_deadline_ns() is not None


def test_an_unknown_stream_is_refused(feed):
    with pytest.raises(UnknownStreamError, match='unknown stream "radar"; known: camera, lidar'):
        feed.sync.push("radar", 0, None, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"streams": []}, "streams: expected at least one, each name once, got"),
        ({"streams": [RIG[0], RIG[0]]}, "each name once"),
        ({"reference": "radar"}, "reference: expected a Tick or one of camera, lidar, gps"),
        ({"reference": Tick(0)}, "reference.rate_hz: expected > 0, got 0"),
        ({"max_wait_ns": -1}, "max_wait_ns: expected >= 0, got -1"),
        ({"lateness_ns": -5}, "lateness_ns: expected >= 0, got -5"),
        ({"streams": [StreamSpec("a", 0, 1)]}, "streams.a.rate_hz: expected > 0"),
        ({"streams": [StreamSpec("a", 1, -1)]}, "streams.a.tolerance_ns: expected >= 0"),
        ({"streams": [StreamSpec("a", 1, 1, mode="last")]}, "streams.a.mode: expected one of"),
        ({"streams": [StreamSpec("a", 1, 1, mode="window")]}, r"streams.a.window_ns: expected \("),
    ],
)
def test_what_cannot_run_is_refused_at_the_start(changes, message):
    with pytest.raises(SyncConfigError, match=message):
        Synchronizer(**{"streams": RIG, **changes})


def test_a_tick_that_is_replaced_makes_way_for_the_next_open_set():
    feed = Feed(Synchronizer(streams=RIG, reference="lidar"))
    feed.run(0, 1000)
    feed.run(1000, 1400, "lidar", "gps")
    feed.advance(1450)
    for at_ms in (1445, 1405, 1425):  # three sweeps where one was due, out of order
        feed.push("lidar", at_ms, delay_ms=1460 - at_ms)
    feed.push("camera", 1433, delay_ms=40)
    feed.advance(2000)
    times = [s.reference_ns for s in feed.sets]
    assert times == sorted(times)
