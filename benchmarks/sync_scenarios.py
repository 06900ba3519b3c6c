"""Seeded sensor streams for the synchronizer, with the truth beside every message.

A `Scenario` starts from a clean rig (free-running sensors, each with its own phase, rate error and
transport delay) and a list of faults changes its messages one after the other. The tests score the
synchronizer on them, the benchmark scores its peers on the same.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

MS = 1_000_000
S = 1_000_000_000
START_NS = 1_700_000_000 * S
REFERENCE = "lidar"
RIG = {
    # name: rate Hz, tolerance ms, least and most transport delay ms, delay jitter ms
    "camera": (30.0, 20.0, 20.0, 45.0, 2.0),
    "lidar": (10.0, 55.0, 35.0, 70.0, 2.0),
    "audio": (50.0, 13.0, 12.0, 35.0, 1.5),
    "gps": (10.0, 55.0, 50.0, 100.0, 4.0),
}


@dataclass
class Event:
    """One message: what the sensor did (`true_ns`) and what the receiver sees of it."""

    stream: str
    true_ns: int
    stamp_ns: int
    arrival_ns: int
    ident: int
    bad_stamp: bool = False
    lost: bool = False

    def __lt__(self, other: "Event") -> bool:
        return self.arrival_ns < other.arrival_ns


@dataclass
class Scenario:
    """A run: every message that was measured, lost ones included, and the rig behind it."""

    kind: str
    seed: int
    rates_hz: dict[str, float]
    tolerances_ns: dict[str, int]
    delays_ns: dict[str, int]
    """Least transport delays, where somebody has measured and declared them."""
    reference: str = REFERENCE
    seconds: float = 24.0
    events: list[Event] = field(default_factory=list)
    marks_ns: list[int] = field(default_factory=list)
    """When a fault ended or a clock stepped: recovery is counted from here."""

    def arrivals(self) -> list[Event]:
        """What reaches the receiver, in order of arrival."""
        return sorted((e for e in self.events if not e.lost), key=lambda e: (e.arrival_ns, e.ident))


Fault = Callable[[Scenario, random.Random], None]


def clean_rig(
    kind: str,
    seed: int,
    rng: random.Random,
    reference: str = REFERENCE,
    declares_delays: bool = False,
    **rates: float,
) -> Scenario:
    """Free-running sensors; `rates` changes those of `RIG`."""
    rates_hz = {name: rates.get(name, RIG[name][0]) for name in RIG}
    tolerances = {name: round(RIG[name][1] * MS) for name in RIG}
    scenario = Scenario(kind, seed, rates_hz, tolerances, {}, reference)
    for name in RIG:
        delay_ns = round(rng.uniform(RIG[name][2], RIG[name][3]) * MS)
        scenario.events += _sensor(name, rates_hz[name], delay_ns, scenario.seconds, rng)
        if declares_delays:
            scenario.delays_ns[name] = delay_ns
    for ident, event in enumerate(scenario.events):
        event.ident = ident
    return scenario


def _sensor(
    name: str, rate_hz: float, delay_ns: int, seconds: float, rng: random.Random
) -> list[Event]:
    jitter_ms = RIG[name][4]
    period_ns = S / rate_hz * (1 + rng.uniform(-1e-4, 1e-4))
    phase_ns = rng.uniform(0, period_ns)
    events: list[Event] = []
    previous_ns = 0
    for k in range(int(seconds * rate_hz)):
        true_ns = START_NS + round(phase_ns + k * period_ns + rng.gauss(0, 0.2 * MS))
        arrival_ns = true_ns + delay_ns + round(rng.expovariate(1 / (jitter_ms * MS)))
        previous_ns = max(previous_ns + 1, arrival_ns)  # one connection delivers in order
        events.append(Event(name, true_ns, true_ns, previous_ns, 0))
    return events


# --- faults -------------------------------------------------------------------------------------


def only(scenario: Scenario, streams: tuple[str, ...]) -> list[Event]:
    return [e for e in scenario.events if e.stream in (streams or scenario.rates_hz)]


def at_s(seconds: float) -> int:
    return START_NS + round(seconds * S)


def jitter(sigma_ms: float, *streams: str, keeps_order: bool = True) -> Fault:
    """Extra transport delay, half normal."""

    def apply(scenario: Scenario, rng: random.Random) -> None:
        last_ns: dict[str, int] = {}
        for event in only(scenario, streams):
            event.arrival_ns += round(abs(rng.gauss(0, sigma_ms * MS)))
            if keeps_order:
                event.arrival_ns = max(event.arrival_ns, last_ns.get(event.stream, 0) + 1)
                last_ns[event.stream] = event.arrival_ns

    return apply


def stamp_noise(sigma_ms: float, *streams: str) -> Fault:
    """Software stamps: the clock is right, the instant is not."""

    def apply(scenario: Scenario, rng: random.Random) -> None:
        for event in only(scenario, streams):
            event.stamp_ns += round(rng.gauss(0, sigma_ms * MS))

    return apply


def drop(share: float, *streams: str) -> Fault:
    def apply(scenario: Scenario, rng: random.Random) -> None:
        for event in only(scenario, streams):
            event.lost = event.lost or rng.random() < share

    return apply


def drop_bursts(every_s: float, length_s: float, *streams: str) -> Fault:
    def apply(scenario: Scenario, rng: random.Random) -> None:
        for name in streams or tuple(scenario.rates_hz):
            begin_s = rng.uniform(0.5, 1.5) * every_s
            while begin_s < scenario.seconds:
                dead(name, begin_s, begin_s + length_s)(scenario, rng)
                begin_s += rng.uniform(0.5, 1.5) * every_s

    return apply


def dead(stream: str, begin_s: float, end_s: float) -> Fault:
    def apply(scenario: Scenario, _: random.Random) -> None:
        for event in only(scenario, (stream,)):
            event.lost = event.lost or at_s(begin_s) <= event.true_ns < at_s(end_s)
        if begin_s > 0 and end_s < scenario.seconds and end_s - begin_s > 1:
            scenario.marks_ns.append(at_s(end_s))

    return apply


def never(stream: str) -> Fault:
    return dead(stream, -1, 1e6)


def stall(every_s: float, length_s: float, *streams: str) -> Fault:
    """Nothing is delivered for a while, then everything at once: a blocked link or receiver."""

    def apply(scenario: Scenario, rng: random.Random) -> None:
        begin_s = rng.uniform(0.5, 1.5) * every_s
        while begin_s < scenario.seconds:
            begin_ns, end_ns = at_s(begin_s), at_s(begin_s + length_s)
            for event in only(scenario, streams):
                if begin_ns <= event.arrival_ns < end_ns:
                    event.arrival_ns = end_ns + (event.arrival_ns - begin_ns) // 1000
            begin_s += rng.uniform(0.5, 1.5) * every_s

    return apply


def straggle(share: float, least_ms: float, most_ms: float, *streams: str) -> Fault:
    """Some messages come late and out of order."""

    def apply(scenario: Scenario, rng: random.Random) -> None:
        for event in only(scenario, streams):
            if rng.random() < share:
                event.arrival_ns += round(rng.uniform(least_ms, most_ms) * MS)

    return apply


def duplicate(share: float, *streams: str) -> Fault:
    def apply(scenario: Scenario, rng: random.Random) -> None:
        for event in only(scenario, streams):
            if rng.random() < share and not event.lost:
                later_ns = event.arrival_ns + round(rng.uniform(0, 60) * MS)
                scenario.events.append(replace(event, arrival_ns=later_ns))

    return apply


def drift(ms_per_s: float, *streams: str) -> Fault:
    def apply(scenario: Scenario, _: random.Random) -> None:
        for event in only(scenario, streams):
            event.stamp_ns += round((event.true_ns - START_NS) * ms_per_s / 1000)

    return apply


def step(by_s: float, at: float, *streams: str) -> Fault:
    """The clock behind the stamps steps and stays."""

    def apply(scenario: Scenario, _: random.Random) -> None:
        for event in only(scenario, streams):
            if event.true_ns >= at_s(at):
                event.stamp_ns += round(by_s * S)
        scenario.marks_ns.append(at_s(at))

    return apply


def late_sync(by_s: float, until_s: float, *streams: str) -> Fault:
    """The clock is wrong from the start and put right later."""

    def apply(scenario: Scenario, _: random.Random) -> None:
        for event in only(scenario, streams):
            if event.true_ns < at_s(until_s):
                event.stamp_ns += round(by_s * S)
        scenario.marks_ns.append(at_s(until_s))

    return apply


def bad_stamps(share: float, stamp: Callable[[Event, random.Random], int], *streams: str) -> Fault:
    def apply(scenario: Scenario, rng: random.Random) -> None:
        for event in only(scenario, streams):
            if rng.random() < share:
                event.stamp_ns, event.bad_stamp = stamp(event, rng), True

    return apply


def bad_first(stamp_ns: int | None, by_s: float, count: int, *streams: str) -> Fault:
    """The first messages of each stream carry nonsense."""

    def apply(scenario: Scenario, _: random.Random) -> None:
        for name in streams or tuple(scenario.rates_hz):
            for event in sorted(only(scenario, (name,)))[:count]:
                wrong_ns = event.stamp_ns + round(by_s * S)
                event.stamp_ns = wrong_ns if stamp_ns is None else stamp_ns
                event.bad_stamp = True

    return apply


def slower(stream: str, begin_s: float, end_s: float, keep_one_in: int) -> Fault:
    """A camera in the dark: every n-th frame only."""

    def apply(scenario: Scenario, _: random.Random) -> None:
        inside = [e for e in only(scenario, (stream,)) if at_s(begin_s) <= e.true_ns < at_s(end_s)]
        for k, event in enumerate(inside):
            event.lost = event.lost or k % keep_one_in != 0

    return apply


def more_delay(by_ms: float, begin_s: float, *streams: str) -> Fault:
    """The link gets slower and stays so."""

    def apply(scenario: Scenario, _: random.Random) -> None:
        for event in only(scenario, streams):
            if event.true_ns >= at_s(begin_s):
                event.arrival_ns += round(by_ms * MS)

    return apply


def rephase(stream: str, at: float) -> Fault:
    """The device restarts: one second of nothing, then the same rate at another phase."""

    def apply(scenario: Scenario, rng: random.Random) -> None:
        dead(stream, at, at + 1.5)(scenario, rng)
        by_ns = round(rng.uniform(0.1, 0.9) * S / scenario.rates_hz[stream])
        for event in only(scenario, (stream,)):
            if event.true_ns >= at_s(at):
                event.true_ns += by_ns
                event.stamp_ns += by_ns
                event.arrival_ns += by_ns

    return apply


def future(event: Event, rng: random.Random) -> int:
    return event.true_ns + rng.choice((1, 10, 3600, 400_000)) * S + rng.randrange(S)


def zero(event: Event, rng: random.Random) -> int:  # noqa: ARG001
    return 0


def past(event: Event, rng: random.Random) -> int:
    return event.true_ns - rng.randrange(1 * S, 3600 * S)


KINDS: dict[str, tuple[dict[str, object], list[Fault]]] = {
    "clean": ({}, []),
    "jitter": ({}, [jitter(8)]),
    "heavy_jitter": ({}, [jitter(25)]),
    "unordered_jitter": ({}, [jitter(20, keeps_order=False)]),
    "stamp_noise": ({}, [stamp_noise(0.8, "camera", "gps", "lidar")]),
    "drops": ({}, [drop(0.05)]),
    "drops_20": ({}, [drop(0.20)]),
    "drop_bursts": ({}, [drop_bursts(5, 0.5)]),
    "stragglers": ({}, [straggle(0.03, 30, 120)]),
    "out_of_order": ({}, [straggle(0.10, 20, 60)]),
    "duplicates": ({}, [duplicate(0.10)]),
    "stall_burst": ({}, [stall(6, 0.4)]),
    "stall_long": ({}, [stall(10, 1.2)]),
    "camera_stall": ({}, [stall(4, 0.5, "camera")]),
    "gps_1hz": ({"gps": 1.0}, []),
    "camera_reference": ({"reference": "camera"}, []),
    "audio_1khz": ({"audio": 1000.0}, []),
    "lidar_20hz": ({"lidar": 20.0}, []),
    "camera_dead": ({}, [dead("camera", 8, 16)]),
    "lidar_dead": ({}, [dead("lidar", 8, 16)]),
    "audio_dead": ({}, [dead("audio", 8, 16)]),
    "gps_dead": ({}, [dead("gps", 8, 16)]),
    "camera_lidar_dead": ({}, [dead("camera", 8, 16), dead("lidar", 10, 14)]),
    "only_gps_left": ({}, [dead(name, 8, 16) for name in ("camera", "lidar", "audio")]),
    "all_dead": ({}, [dead(name, 8, 12) for name in RIG]),
    "flapping_camera": ({}, [drop_bursts(2, 1.0, "camera")]),
    "never_camera": ({}, [never("camera")]),
    "never_gps": ({}, [never("gps")]),
    "late_camera": ({}, [dead("camera", -1, 6)]),
    "late_lidar": ({}, [dead("lidar", -1, 3)]),
    "lidar_restarts": ({}, [rephase("lidar", 9)]),
    "camera_restarts": ({}, [rephase("camera", 9)]),
    "dark_camera": ({}, [slower("camera", 6, 18, 2)]),
    "drift_camera": ({}, [drift(0.3, "camera")]),
    "drift_back_lidar": ({}, [drift(-0.3, "lidar")]),
    "drift_all": ({}, [drift(0.4)]),
    "slow_link_camera": ({}, [more_delay(30, 10, "camera")]),
    "step_back_60": ({}, [step(-60, 10)]),
    "step_back_3": ({}, [step(-3, 10)]),
    "step_forward_5": ({}, [step(5, 10)]),
    "step_back_lidar": ({}, [step(-60, 10, "lidar")]),
    "step_forward_lidar": ({}, [step(2.5, 10, "lidar")]),
    "step_forward_camera": ({}, [step(5, 10, "camera")]),
    "step_back_camera": ({}, [step(-1, 10, "camera")]),
    "step_small_camera": ({}, [step(0.25, 10, "camera")]),
    "step_small_back_camera": ({}, [step(-0.25, 10, "camera")]),
    "step_gps_leap": ({}, [step(18, 10, "gps")]),
    "steps_audio_there_and_back": ({}, [step(7, 8, "audio"), step(-7, 16, "audio")]),
    "late_clock_sync": ({}, [late_sync(-1_000_000, 8)]),
    "late_clock_sync_camera": ({}, [late_sync(-900, 8, "camera")]),
    "late_clock_sync_camera_declared": (
        {"declares_delays": True},
        [late_sync(-900, 8, "camera")],
    ),
    "future_stamps": ({}, [bad_stamps(0.02, future)]),
    "zero_stamps": ({}, [bad_stamps(0.02, zero)]),
    "past_stamps": ({}, [bad_stamps(0.02, past)]),
    "bad_first_zero": ({}, [bad_first(0, 0, 1)]),
    "bad_first_future": ({}, [bad_first(None, 3600, 3)]),
    "kitchen_sink": (
        {},
        [
            jitter(6),
            drop(0.03),
            straggle(0.02, 20, 80),
            duplicate(0.03),
            bad_stamps(0.005, future),
            dead("camera", 5, 8),
            dead("lidar", 12, 15),
            step(-60, 18),
            drift(0.1, "gps"),
        ],
    ),
}


def make(kind: str, seed: int) -> Scenario:
    """The scenario of that name: the same seed gives the same messages on every machine."""
    options, faults = KINDS[kind]
    rng = random.Random(f"{kind}/{seed}")
    scenario = clean_rig(kind, seed, rng, **options)  # type: ignore[arg-type]
    for fault in faults:
        fault(scenario, rng)
    return scenario
