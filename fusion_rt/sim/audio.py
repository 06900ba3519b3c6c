"""The simulated microphone array: everything that sounds, when it arrives at each microphone.

A source is a waveform of its own time. A microphone hears at time t what left the source at
t - r/c, with r the distance between where the source was then and where the microphone is now:
delay, attenuation and Doppler shift follow, exact to the fraction of a sample. Buildings in between
take their share of the loudness. No echoes.
"""

import math
from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import RigidTransform
from fusion_rt.sim.models import CLASSES, models
from fusion_rt.sim.noise import WhiteNoise
from fusion_rt.sim.scenario import Siren
from fusion_rt.sim.traffic import Motion
from fusion_rt.sim.world import World

SOUND_MPS = 343.0
_FULL_SCALE_DB = 110.0  # sound pressure level of a full-scale sine
_SIREN_DB = 118.0  # at 1 m
_ENGINE_DB = {"car": 78.0, "truck": 86.0, "emergency": 82.0}
_EGO_DB = 72.0
_WIND_DB = 58.0  # at 10 m/s; grows with the square of the speed
_RAIN_DB = 62.0  # at 10 mm/h
_SILENCE_DB = 42.0
_BEHIND_HOUSES = 0.25  # 12 dB, a common value for the first row of houses
_AIR_PER_M = 0.0006  # absorption at a few kHz
_NEAREST_M = 1.0
_ENGINES = 3
_SIREN_HEIGHT_M = 2.4
_ANCHOR_S = 0.04
"""Between two times of arrival that are worked out; in between they are interpolated."""
_GUST_SAMPLES = 16
_HARMONICS = 12
_HORN_STEPS = 2048

Floats = npt.NDArray[np.float64]
Waveform = Callable[[Floats], Floats]
"""Sound pressure at 1 m, full scale 1, at times in seconds of the source's own clock."""


class Bearing(msgspec.Struct, frozen=True):
    """A siren as the array could hear it at one time."""

    object_id: int
    direction_rad: float
    """From `base`'s x axis towards y, to where the sound that arrives now left."""
    distance_m: float
    level_db: float
    """Sound pressure level at the array."""
    is_hidden: bool
    """Behind houses."""


class _Ears(msgspec.Struct, frozen=True, eq=False):
    """Where the microphones are at a few times; in between they go straight."""

    times_s: Floats
    """(times,)"""
    places_m: Floats
    """(times, channels, 3), city frame."""


class SimulatedArray:
    """The microphones of the rig, listening to a world."""

    def __init__(
        self,
        world: World,
        base_from_array: RigidTransform,
        microphones_m: Floats,
        rate_hz: int,
    ) -> None:
        self._world = world
        self._microphones_m: Floats = base_from_array.apply(microphones_m)
        self._rate_hz = rate_hz
        seed, channels = world.seed, len(microphones_m)
        self._white = WhiteNoise((seed, 0xA0D, 1), channels)
        self._wind = WhiteNoise((seed, 0xA0D, 2), channels)
        self._engine = _engine_table()

    def samples(self, start_ns: int, first: int, count: int) -> Floats:
        """(count, channels), full scale 1: from `start_ns` on, where sample `first` is taken."""
        ears = self._ears(start_ns, count)
        heard = self._noises(start_ns, first, count)
        for number, siren, _ in self._world.sirens(start_ns):
            wave = _siren_wave(siren, self._rate_hz)
            heard += self._arrived(self._siren_place(number), wave, ears, count)
        for number, motion in self._engines(start_ns):
            wave = self._engine_wave(number, motion)
            heard += self._arrived(self._engine_place(number), wave, ears, count)
        return heard

    def chunk(self, start_ns: int, first: int, count: int) -> npt.NDArray[np.int16]:
        """`samples` as the converter delivers them."""
        clipped = np.clip(self.samples(start_ns, first, count), -1, 1)
        return np.asarray(np.round(clipped * 32_767), np.int16)

    def bearings(self, t_ns: int) -> list[Bearing]:
        """Where each siren would be heard from at `t_ns`."""
        found = []
        ego, array_m = self._world.ego(t_ns), self._array_m(t_ns)
        for number, siren, _ in self._world.sirens(t_ns):
            left_s = self._left_s(self._siren_place(number), t_ns / NS_PER_S, array_m)
            if left_s < siren.start_s:
                continue
            place = self._siren_place(number)(left_s)
            way = ego.city_from_base.inverse().rotation @ (place - array_m)
            distance_m, is_hidden = float(np.linalg.norm(way)), self._is_hidden(place, array_m)
            gain = self._gain(distance_m) * (_BEHIND_HOUSES if is_hidden else 1.0)
            level_db = _SIREN_DB + 20 * math.log10(gain)
            direction = math.atan2(way[1], way[0])
            found.append(Bearing(number, direction, distance_m, level_db, is_hidden))
        return found

    def _ears(self, start_ns: int, count: int) -> _Ears:
        """Where the microphones are from now on, both ends included."""
        start_s, lasts_s = start_ns / NS_PER_S, count / self._rate_hz
        anchors = max(2, math.ceil(lasts_s / _ANCHOR_S) + 1)
        times_s = start_s + np.linspace(0, lasts_s, anchors)
        egos = [self._world.ego(round(t_s * NS_PER_S)) for t_s in times_s.tolist()]
        places = [ego.in_city(self._microphones_m) for ego in egos]
        return _Ears(times_s, np.stack(places))

    def _array_m(self, t_ns: int) -> Floats:
        middle = self._microphones_m.mean(axis=0)
        return self._world.ego(t_ns).in_city(middle)

    def _engines(self, t_ns: int) -> list[tuple[int, Motion]]:
        """The ego's engine, and the nearest others."""
        motions = self._world.motions(t_ns)
        here = motions[0].pose
        near = sorted(
            (math.hypot(m.pose.x_m - here.x_m, m.pose.y_m - here.y_m), number)
            for number, m in motions.items()
        )
        return [(number, motions[number]) for _, number in near[: _ENGINES + 1]]

    def _siren_place(self, number: int) -> Callable[[float], Floats]:
        def place(t_s: float) -> Floats:
            pose = self._world.motion(number, t_s).pose
            return np.array([pose.x_m, pose.y_m, _SIREN_HEIGHT_M])

        return place

    def _engine_place(self, number: int) -> Callable[[float], Floats]:
        ahead_m = 1.5 if number else 3.0  # the ego's place is its rear axle

        def place(t_s: float) -> Floats:
            pose = self._world.motion(number, t_s).pose
            x_m = pose.x_m + ahead_m * math.cos(pose.yaw_rad)
            return np.array([x_m, pose.y_m + ahead_m * math.sin(pose.yaw_rad), 0.5])

        return place

    def _engine_wave(self, number: int, motion: Motion) -> Waveform:
        """Firing of the cylinders over the rumble of tyres, the louder the faster."""
        kind = "car" if number == 0 else CLASSES[models()[self._world.model_of(number)].class_id]
        level = _amplitude(_EGO_DB if number == 0 else _ENGINE_DB[kind])
        level *= 0.35 + motion.v_mps / 12
        offset = number * 7919

        def wave(t_s: Floats) -> Floats:
            index = t_s * self._rate_hz + offset
            whole = np.floor(index)
            low = whole.astype(np.int64) & (len(self._engine) - 2)
            here = self._engine[low]
            onwards: Floats = self._engine[low + 1]
            return np.asarray(level * (here + (index - whole) * (onwards - here)))

        return wave

    def _arrived(
        self, place: Callable[[float], Floats], wave: Waveform, ears: _Ears, count: int
    ) -> Floats:
        """(count, channels): a source as each microphone hears it."""
        middles, times_s = ears.places_m.mean(axis=1), ears.times_s.tolist()
        pairs = zip(times_s, middles, strict=True)
        sources = np.stack([place(self._left_s(place, t_s, middle)) for t_s, middle in pairs])
        gaps_m = np.sqrt(((ears.places_m - sources[:, None]) ** 2).sum(axis=-1))
        left_s = ears.times_s[:, None] - gaps_m / SOUND_MPS
        gains = np.array([self._gain(gap_m) for gap_m in gaps_m.mean(axis=1).tolist()])
        gains[self._world.city.is_hidden(sources, middles)] *= _BEHIND_HOUSES
        at = np.linspace(ears.times_s[0], ears.times_s[-1], count, endpoint=False)
        gain: Floats = np.interp(at, ears.times_s, gains)[:, None]
        channels = [wave(np.interp(at, ears.times_s, left)) for left in left_s.T]
        return np.asarray(np.stack(channels, axis=1) * gain, np.float64)

    def _left_s(self, place: Callable[[float], Floats], t_s: float, at_m: Floats) -> float:
        """When the sound that is here at `t_s` left its source."""
        left_s = t_s
        for _ in range(2):  # each leaves (speed / c) of the error before: 7 mm at 100 m
            left_s = t_s - math.dist(place(left_s), at_m) / SOUND_MPS
        return left_s

    def _is_hidden(self, source_m: Floats, at_m: Floats) -> bool:
        return bool(self._world.city.is_hidden(source_m[None], at_m[None])[0])

    def _gain(self, distance_m: float) -> float:
        return math.exp(-_AIR_PER_M * distance_m) / max(distance_m, _NEAREST_M)

    def _noises(self, start_ns: int, first: int, count: int) -> Floats:
        """Wind, rain and the microphones' own noise: each hears its own."""
        white = self._white.at(first, count)
        rain_mm_h = self._world.scenario.weather.rain_mm_h
        own = _amplitude(_SILENCE_DB) + _amplitude(_RAIN_DB) * math.sqrt(rain_mm_h / 10)
        speed_mps = self._world.ego(start_ns).v_mps
        wind = _amplitude(_WIND_DB) * (speed_mps / 10) ** 2
        return own * white + wind * self._gusts(first, count)

    def _gusts(self, first: int, count: int) -> Floats:
        """(count, channels): noise below some 500 Hz, drawn at a lower rate and interpolated."""
        low, high = first // _GUST_SAMPLES, (first + count) // _GUST_SAMPLES + 2
        drawn, at = self._wind.at(low, high - low), np.arange(low, high) * _GUST_SAMPLES
        samples = np.arange(first, first + count)
        return np.stack([np.interp(samples, at, channel) for channel in drawn.T], axis=1)


def _amplitude(level_db: float) -> float:
    """Root mean square, full scale 1."""
    return float(10 ** ((level_db - _FULL_SCALE_DB) / 20) / math.sqrt(2))


def _siren_wave(siren: Siren, rate_hz: int) -> Waveform:
    """A horn driven by a sweeping tone: every harmonic of it up to 0.45 of the sampling rate."""
    level, horn = _amplitude(_SIREN_DB), _horn_table()

    def wave(t_s: Floats) -> Floats:
        since = t_s - siren.start_s
        turns, tone_hz = _siren_turns(siren.pattern, np.maximum(since, 0.0))
        clean = np.minimum(0.45 * rate_hz / tone_hz, _HARMONICS).astype(np.int64)
        place = (turns - np.floor(turns)) * _HORN_STEPS
        step = place.astype(np.int64)
        here, onwards = horn[clean, step], horn[clean, step + 1]
        sound = here + (place - step) * (onwards - here)
        return level * np.where(since >= 0, sound, 0.0)

    return wave


def _siren_turns(pattern: str, t_s: Floats) -> tuple[Floats, Floats]:
    """Phase in turns, and the tone in Hz, of each pattern."""
    if pattern == "hilo":
        half_s, low_hz, high_hz = 0.55, 440.0, 585.0
        periods, rest_s = np.divmod(t_s, 2 * half_s)
        is_high = rest_s >= half_s
        turns = periods * half_s * (low_hz + high_hz) + low_hz * np.minimum(rest_s, half_s)
        turns = turns + high_hz * np.maximum(rest_s - half_s, 0)
        return turns, np.where(is_high, high_hz, low_hz)
    sweep_hz = 0.25 if pattern == "wail" else 3.3
    middle_hz, swing_hz = 1000.0, 400.0
    phase = math.tau * sweep_hz * t_s
    turns = middle_hz * t_s + swing_hz / (math.tau * sweep_hz) * (1 - np.cos(phase))
    return turns, middle_hz + swing_hz * np.sin(phase)


@cache
def _horn_table() -> Floats:
    """(harmonics + 1, steps + 1): one turn of a horn, by how many harmonics may sound."""
    turns = np.linspace(0, 1, _HORN_STEPS + 1)
    parts = [np.sin(math.tau * n * turns) / n for n in range(1, _HARMONICS + 1)]
    return np.cumsum([np.zeros_like(turns), *parts], axis=0)


@cache
def _engine_table() -> Floats:
    """Noise that falls with frequency, and firing at 60 Hz; its last value is its first again."""
    rng, count = np.random.default_rng(0xE61E), 1 << 17
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum /= np.sqrt(1 + (np.arange(len(spectrum)) / (len(spectrum) * 0.06)) ** 2)
    rumble = np.fft.irfft(spectrum)
    turns = np.arange(count) * (round(60 * count / 16_000) / count)  # a whole number in all
    firing = np.sin(math.tau * turns) + 0.5 * np.sin(math.tau * 2 * turns + 1)
    table = 0.8 * rumble / rumble.std() + 0.5 * firing
    return np.append(table, table[0])
