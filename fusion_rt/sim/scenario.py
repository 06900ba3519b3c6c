"""What a simulated drive is like: scenario files, and random scenarios for training.

A scenario and a seed make a world; everything else follows from them.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from fusion_rt.config import Problems, checked, known_names
from fusion_rt.errors import ConfigError
from fusion_rt.yaml_file import read_yaml

Share = Annotated[float, msgspec.Meta(ge=0, le=1, description="a share, 0 to 1")]
Count = Annotated[int, msgspec.Meta(ge=0, le=200)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Milliseconds = Annotated[float, msgspec.Meta(ge=-10_000, le=10_000)]
Delay = Annotated[float, msgspec.Meta(ge=0, le=10_000)]
SensorKind = Literal["camera", "lidar", "audio", "gps"]
FaultKind = Literal["silent", "frozen", "late", "dark"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any mapping of a scenario file."""


class Sky(_Part, frozen=True, kw_only=True):
    """What shines."""

    sun_elevation_deg: Annotated[float, msgspec.Meta(ge=-90, le=90)] = 40.0
    """Below 0 it is night, and lamps are lit."""
    sun_azimuth_deg: Annotated[float, msgspec.Meta(ge=-360, le=360)] = 150.0
    """Clockwise from north."""
    cloud: Share = 0.2
    """1: no sun to be seen, no shadows."""


class Weather(_Part, frozen=True, kw_only=True):
    """What falls and floats."""

    rain_mm_h: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    visibility_m: Annotated[float, msgspec.Meta(ge=20, le=100_000)] = 20_000.0
    """Meteorological: where contrast has fallen to 5 %."""
    lens_drops: Annotated[int, msgspec.Meta(ge=0, le=200)] = 0


class Layout(_Part, frozen=True, kw_only=True):
    """The city: a grid of streets."""

    nodes: Annotated[int, msgspec.Meta(ge=2, le=8, description="crossings per side")] = 4
    block_m: Annotated[float, msgspec.Meta(ge=80, le=300)] = 100.0
    """From crossing to crossing."""
    building_height_m: Annotated[
        tuple[float, float], msgspec.Meta(description="lowest and highest")
    ] = (6.0, 22.0)
    gaps: Share = 0.15
    """Share of the street front without a building."""
    trees: Share = 0.4
    """Share of the places between lamps that hold one."""
    parked: Share = 0.5
    """Share of the parking places that are taken."""
    tunnels: Annotated[int, msgspec.Meta(ge=0, le=3, description="on the way")] = 0

    def __post_init__(self) -> None:
        low, high = self.building_height_m
        if not 3 <= low <= high <= 120:
            raise ValueError(
                f"expected building_height_m within 3..120, low first, got {low:g}, {high:g}"
            )


class Siren(_Part, frozen=True, kw_only=True):
    """An emergency vehicle on call."""

    start_s: Seconds = 5.0
    """When it comes into being with its siren on."""
    route: Literal["behind", "roaming"] = "roaming"
    """behind: on the same way as we, and faster."""
    pattern: Literal["wail", "yelp", "hilo"] = "wail"
    distance_m: Annotated[float, msgspec.Meta(ge=30, le=300)] = 120.0
    """Along our way, when it starts behind us."""


class Traffic(_Part, frozen=True, kw_only=True):
    """Who else is about."""

    cars: Count = 20
    trucks: Count = 3
    pedestrians: Count = 30
    crossers: Count = 6
    """Pedestrians who cross the street between two crossings."""
    cyclists: Count = 8
    sirens: tuple[Siren, ...] = ()


class Ego(_Part, frozen=True, kw_only=True):
    """How we drive."""

    speed_mps: Annotated[float, msgspec.Meta(gt=0, le=25)] = 11.0
    stops: Share = 0.35
    """Share of the crossings at which vehicles must halt first."""


class Gps(_Part, frozen=True, kw_only=True):
    """The receiver's errors under open sky; multipath and tunnels come from the city."""

    latitude_deg: Annotated[float, msgspec.Meta(ge=-80, le=80)] = 48.1374
    longitude_deg: Annotated[float, msgspec.Meta(ge=-179, le=179)] = 11.5755
    altitude_m: Annotated[float, msgspec.Meta(ge=-400, le=5000)] = 560.0
    drift_m: Annotated[float, msgspec.Meta(ge=0, le=50)] = 1.2
    """Slowly wandering error per horizontal axis, one standard deviation."""
    drift_time_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 60.0
    """In which it forgets itself to 1/e."""
    noise_m: Annotated[float, msgspec.Meta(ge=0, le=50)] = 0.25
    """Fresh at each fix, per horizontal axis."""
    multipath_m: Annotated[float, msgspec.Meta(ge=0, le=100)] = 6.0
    """Wandering error per axis that comes on top where the whole sky is hidden."""
    reacquire_s: Annotated[float, msgspec.Meta(ge=0, le=120)] = 1.5
    """From the tunnel's end to the first fix."""


class Timing(_Part, frozen=True, kw_only=True):
    """When a sensor measures, when its message leaves, and what its clock makes of it."""

    phase_ms: Delay = 0.0
    jitter_ms: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.2
    """Of the moment of measurement, one standard deviation; bounded to 3."""
    latency_ms: Delay = 5.0
    """From the end of the measurement to the message, at least."""
    latency_jitter_ms: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 1.0
    """Mean of what comes on top, exponential."""
    clock_offset_ms: Milliseconds = 0.0
    """Stamp minus truth at the start."""
    clock_drift_ppm: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] = 0.0


TIMINGS: dict[str, Timing] = {
    "camera": Timing(phase_ms=7, jitter_ms=0.05, latency_ms=12, latency_jitter_ms=1.5),
    "lidar": Timing(phase_ms=31, jitter_ms=0.3, latency_ms=4, latency_jitter_ms=0.8),
    "audio": Timing(phase_ms=3, jitter_ms=0, latency_ms=6, latency_jitter_ms=1.0),
    "gps": Timing(phase_ms=17, jitter_ms=0, latency_ms=60, latency_jitter_ms=15.0),
}
"""Where a scenario says nothing."""


class Fault(_Part, frozen=True, kw_only=True):
    """A sensor that fails for a while."""

    sensor: SensorKind
    kind: FaultKind
    """silent: no messages. frozen: the last content again and again. late: `late_ms` more
    latency. dark: black image, no points, silence, no fix."""
    from_s: Seconds
    to_s: Seconds
    late_ms: Delay = 300.0

    def __post_init__(self) -> None:
        if self.to_s <= self.from_s:
            raise ValueError(f"expected to_s > from_s ({self.from_s:g}), got {self.to_s:g}")


class Scenario(_Part, frozen=True, kw_only=True):
    """All that a world is made from, but for the seed."""

    about: str
    """One sentence."""
    sky: Sky = Sky()
    weather: Weather = Weather()
    layout: Layout = Layout()
    traffic: Traffic = Traffic()
    ego: Ego = Ego()
    gps: Gps = Gps()
    timing: dict[SensorKind, Timing] = {}
    faults: tuple[Fault, ...] = ()
    loop_s: Annotated[float, msgspec.Meta(ge=10, le=3600)] = 600.0
    """Live, the drive begins again after so long."""

    @property
    def is_night(self) -> bool:
        return self.sky.sun_elevation_deg < 0

    def timing_of(self, kind: str) -> Timing:
        """A sensor's timing: what the scenario says, else the usual."""
        own = {str(name): timing for name, timing in self.timing.items()}
        return own.get(kind, TIMINGS[kind])


def load_scenario(name: str) -> Scenario:
    """A scenario file, or a shipped one by name; raises ConfigErrors with all that is wrong."""
    file = read_yaml(_find(name))
    problems = Problems(file)
    scenario = checked(file.tree, Scenario, (), problems)
    if scenario is None or problems.errors:
        raise problems.as_error()
    return scenario


def _find(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_scenarios()
    if name in shipped:
        return shipped[name]
    expected = "expected a scenario file or the name of a scenario, found none"
    raise ConfigError(name, "", expected, known_names(name, [*shipped, RANDOM]))


def shipped_scenarios() -> dict[str, Path]:
    """The scenarios that come with the package, by name."""
    with resources.as_file(resources.files("fusion_rt.sim") / "scenarios") as folder:
        return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


RANDOM = "random"
"""Name of the scenario that is drawn from the ranges of `random_scenario`."""


def scenario_named(name: str, seed: int) -> Scenario:
    """As `load_scenario`; `random` draws one with the seed."""
    return random_scenario(seed) if name == RANDOM else load_scenario(name)


def random_scenario(seed: int) -> Scenario:
    """One of very many, for training. The ranges are those written here."""
    rng = np.random.default_rng([seed, 0x5CE])

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    is_night, is_wet, is_foggy = (bool(rng.random() < share) for share in (0.25, 0.25, 0.1))
    rain_mm_h = between(1, 25) if is_wet else 0.0
    height_m = between(4, 12)
    pattern: Any = ("wail", "yelp", "hilo")[int(rng.integers(3))]
    route: Any = ("behind", "roaming")[int(rng.integers(2))]
    siren = Siren(start_s=between(0, 4), route=route, pattern=pattern, distance_m=between(40, 120))
    return Scenario(
        about=f"random scenario of seed {seed}",
        sky=Sky(
            sun_elevation_deg=-15.0 if is_night else between(6, 65),
            sun_azimuth_deg=between(0, 360),
            cloud=max(between(0, 1), 0.8 if is_wet else 0.0),
        ),
        weather=Weather(
            rain_mm_h=rain_mm_h,
            visibility_m=between(60, 300) if is_foggy else 20_000 / (1 + rain_mm_h),
            lens_drops=int(rain_mm_h * 2),
        ),
        layout=Layout(
            nodes=3,
            block_m=between(80, 130),
            building_height_m=(height_m, height_m + between(2, 25)),
            gaps=between(0, 0.6),
            trees=between(0, 0.8),
            parked=between(0.1, 0.9),
        ),
        traffic=Traffic(
            cars=int(rng.integers(6, 20)),
            trucks=int(rng.integers(1, 6)),
            pedestrians=int(rng.integers(8, 40)),
            crossers=int(rng.integers(2, 10)),
            cyclists=int(rng.integers(4, 14)),
            sirens=(siren,) if rng.random() < 0.5 else (),
        ),
        ego=Ego(speed_mps=between(6, 14), stops=between(0, 0.6)),
    )
