"""What holds for every stream of messages, however broken."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.sync_scenarios import MS, START_NS, Event, S
from benchmarks.sync_score import drive
from fusion_rt.sync import Synchronizer
from fusion_rt.sync.frame_set import FrameSet, StreamSpec, Tick

MAX_WAIT_NS = 150 * MS
REPLAY_NS = 3600 * S  # a timer that never strikes: recorded messages pushed again, nothing else
SPECS = [
    StreamSpec("camera", 30, 20 * MS),
    StreamSpec("lidar", 10, 55 * MS, required=True),
    StreamSpec("audio", 50, 13 * MS, mode="window", window_ns=(50 * MS, 0)),
    StreamSpec("gps", 10, 55 * MS, mode="interpolate"),
]
PERIOD_NS = {spec.name: round(S / spec.rate_hz) for spec in SPECS}

# A run is a walk: each step one stream measures, with a delay, sometimes loss, repetition, an
# outage, a step of its clock or plain nonsense.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["camera", "lidar", "lidar", "audio", "gps"]),
        st.sampled_from(["ok"] * 12 + ["lost", "twice", "outage", "step", "zero", "future"]),
        st.integers(0, 250),
        st.integers(-5, 5),
    ),
    min_size=1,
    max_size=150,
)


def walk(steps: list[tuple[str, str, int, int]]) -> list[Event]:
    events: list[Event] = []
    times = dict.fromkeys(PERIOD_NS, START_NS)
    offsets = dict.fromkeys(PERIOD_NS, 0)
    for ident, (name, what, delay_ms, noise_ms) in enumerate(steps):
        times[name] += PERIOD_NS[name] * (20 if what == "outage" else 1)
        offsets[name] += noise_ms * S if what == "step" else 0
        stamp_ns = times[name] + offsets[name] + noise_ms * MS
        stamp_ns = {"zero": 0, "future": stamp_ns + delay_ms * S}.get(what, stamp_ns)
        arrival_ns = times[name] + delay_ms * MS
        event = Event(name, times[name], stamp_ns, arrival_ns, ident)
        events += [] if what == "lost" else [event] * (2 if what == "twice" else 1)
    return sorted(events)


def synchronizer(reference: str | Tick = "lidar") -> Synchronizer:
    return Synchronizer(streams=SPECS, reference=reference, max_wait_ns=MAX_WAIT_NS)


def contents(frame_set: FrameSet) -> tuple[object, ...]:
    members = tuple(
        (name, m.stamp_ns, m.error_ns, m.age_ns, m.quality, m.reason, len(m.parts))
        for name, m in frame_set.members.items()
    )
    return (frame_set.reference_ns, frame_set.opened_ns, frame_set.closed_ns, members)


@given(STEPS)
def test_every_message_is_accounted_for_exactly_once(steps):
    sync = synchronizer()
    events = walk(steps)
    drive(sync, events)
    for name, state in sync.states().items():
        c = state.counts
        ends = (c.used, c.unused, c.duplicate, c.late, c.quarantined, c.overflow, c.buffered)
        assert min(ends) >= 0
        assert c.pushed == sum(ends) == sum(event.stream == name for event in events)


@given(STEPS)
def test_no_set_waits_beyond_its_budget_and_none_closes_before_it_opens(steps):
    for at_ns, frame_set in drive(synchronizer(), walk(steps)):
        assert frame_set.opened_ns <= frame_set.closed_ns <= at_ns
        assert frame_set.closed_ns - frame_set.opened_ns <= MAX_WAIT_NS


@given(STEPS)
def test_no_reference_is_delivered_twice(steps):
    emitted = drive(synchronizer(), walk(steps))
    delivered = [s.members["lidar"].payload for _, s in emitted if not s.is_tick]
    assert len({id(payload) for payload in delivered}) == len(delivered)


OVERTAKEN_AFTER_A_HOLE = [
    ("lidar", "ok", 0, 0),
    ("lidar", "zero", 0, 0),
    ("lidar", "ok", 101, 0),
    ("lidar", "ok", 0, 0),
    ("gps", "ok", 0, 0),
    ("gps", "ok", 0, 0),
]


@given(STEPS)
@example(OVERTAKEN_AFTER_A_HOLE)
def test_sets_leave_in_order_of_corrected_reference_time(steps):
    emitted = drive(synchronizer(), walk(steps))
    # closed - age of any present member gives its corrected time; minus its error, the reference's
    times = [
        next((s.closed_ns - m.age_ns - m.error_ns for m in s.members.values() if m.payload), None)
        for _, s in emitted
    ]
    known = [time_ns for time_ns in times if time_ns is not None]
    assert known == sorted(known)
    assert [s.closed_ns for _, s in emitted] == sorted(s.closed_ns for _, s in emitted)


@given(STEPS, st.sampled_from(["lidar", "camera", Tick(10.0), Tick(7.5, phase_ns=3)]))
@settings(max_examples=50)
def test_contents_do_not_depend_on_the_timer_nor_on_being_replayed(steps, reference):
    events = walk(steps)
    runs = [
        [contents(s) for _, s in drive(synchronizer(reference), events, timer_ns)]
        for timer_ns in (0, 1 * MS, 5 * MS, 50 * MS, 500 * MS, REPLAY_NS)
    ]
    assert all(run == runs[0] for run in runs)


@given(STEPS)
def test_members_lie_inside_their_tolerance(steps):
    for _, frame_set in drive(synchronizer(), walk(steps)):
        camera = frame_set.members["camera"]
        assert camera.is_missing or abs(camera.error_ns) <= 20 * MS
        assert camera.is_missing == (camera.payload is None) == bool(camera.reason)


@given(STEPS)
def test_what_is_held_is_bounded(steps):
    sync = synchronizer()
    for event in walk(steps):
        sync.push(event.stream, event.stamp_ns, event, event.arrival_ns)
        held = sum(state.counts.buffered for state in sync.states().values())
        assert held <= 150
