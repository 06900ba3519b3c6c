import itertools
import math

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from fusion_rt.calibration_file import Calibration
from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.sim.audio import SOUND_MPS, SimulatedArray
from fusion_rt.sim.scenario import Layout, Siren, Traffic, load_scenario
from fusion_rt.sim.world import World

RATE_HZ = 16_000
Floats = npt.NDArray[np.float64]


def free_field(pattern: str = "wail", seed: int = 3, **traffic: int) -> World:
    """No houses; an ambulance, and nobody else unless told."""
    siren = Siren(start_s=1, route="behind", pattern=pattern, distance_m=80)  # type: ignore
    nobody = {"cars": 0, "trucks": 0, "pedestrians": 0, "crossers": 0, "cyclists": 0}
    scenario = msgspec.structs.replace(
        load_scenario("siren_behind"),
        layout=Layout(gaps=1.0),
        traffic=Traffic(**{**nobody, **traffic}, sirens=(siren,)),
    )
    return World(scenario, seed)


def array_of(world: World, calibration: Calibration) -> SimulatedArray:
    place, places = calibration.base_from["audio_array"], calibration.microphones_m["audio_array"]
    return SimulatedArray(world, place, places, RATE_HZ)


def gcc_phat_bearing(samples: Floats, microphones_m: Floats) -> float:
    """The direction in the plane whose delays suit all pairs best. Plain GCC-PHAT."""
    size, finer = 2 * len(samples), 16
    spectra = np.fft.rfft(samples - samples.mean(axis=0), size, axis=0)
    bearings = np.radians(np.arange(-180, 180))
    ways = np.stack([np.cos(bearings), np.sin(bearings)])
    score = np.zeros(len(bearings))
    for i, j in itertools.combinations(range(samples.shape[1]), 2):
        cross = spectra[:, i] * np.conj(spectra[:, j])
        correlation = np.fft.irfft(cross / (np.abs(cross) + 1e-12), size * finer)
        later_s = (microphones_m[j] - microphones_m[i])[:2] @ ways / SOUND_MPS
        score += correlation[np.round(later_s * RATE_HZ * finer).astype(int)]
    return float(bearings[np.argmax(score)])


@pytest.mark.parametrize("pattern", ["wail", "yelp", "hilo"])
def test_a_siren_is_found_where_it_is(pattern: str, calibration: Calibration) -> None:
    world = free_field(pattern, cars=6)
    array, errors = array_of(world, calibration), []
    count = 8192
    for t_s in np.arange(3.0, 33.0, 1.5):
        t_ns = round(t_s * NS_PER_S)
        sound = array.chunk(t_ns - round(count / RATE_HZ * NS_PER_S / 2), 0, count).astype(float)
        (truth,) = array.bearings(t_ns)
        found = gcc_phat_bearing(sound, calibration.microphones_m["audio_array"])
        errors.append(abs(math.remainder(found - truth.direction_rad, math.tau)))
    assert math.degrees(float(np.median(errors))) < 5


def test_sound_arrives_as_late_as_it_has_to_travel(calibration: Calibration) -> None:
    """The siren's first sound, at every microphone."""
    world = free_field()
    array = array_of(world, calibration)
    start_s = world.scenario.traffic.sirens[0].start_s
    sound = array.samples(round(start_s * NS_PER_S), 0, RATE_HZ)
    ((number, _, motion),) = world.sirens(round(start_s * NS_PER_S))
    assert number
    source = np.array([motion.pose.x_m, motion.pose.y_m, 2.4])
    for channel, place in enumerate(calibration.microphones_m["audio_array"]):
        loud = np.abs(sound[:, channel]) > 0.3 * np.abs(sound[:, channel]).max()
        heard_s = int(np.argmax(loud)) / RATE_HZ
        at = world.ego(round((start_s + heard_s) * NS_PER_S)).city_from_base
        microphone = at.apply(calibration.base_from["audio_array"].apply(place))
        expected_s = float(np.linalg.norm(source - microphone)) / SOUND_MPS
        assert heard_s == pytest.approx(expected_s, abs=0.002)  # the horn takes a moment


def test_the_level_falls_with_distance(calibration: Calibration) -> None:
    world = free_field()
    array, levels = array_of(world, calibration), []
    for t_s in range(3, 30, 2):
        (truth,) = array.bearings(t_s * NS_PER_S)
        sound = array.samples(t_s * NS_PER_S - 250 * NS_PER_MS, 0, 8000)[:, 0]
        levels.append((20 * math.log10(truth.distance_m), 20 * math.log10(sound.std())))
    distance_db, level_db = np.array(levels).T
    slope = np.polyfit(distance_db, level_db, 1)[0]
    assert slope == pytest.approx(-1, abs=0.25)


def test_a_siren_that_comes_sounds_higher_than_one_that_goes(calibration: Calibration) -> None:
    """Doppler: the tone of a hi-lo horn, whose pitch is known, against its closing speed."""
    world = free_field("hilo")
    array, checked = array_of(world, calibration), 0
    for t_s in np.arange(3.0, 33.0, 0.5):
        before, after = (array.bearings(round(t * NS_PER_S))[0] for t in (t_s - 0.1, t_s + 0.1))
        closing_mps = (before.distance_m - after.distance_m) / 0.2
        if abs(closing_mps) < 4:
            continue
        sound = array.samples(round((t_s - 0.1) * NS_PER_S), 0, 3200)[:, 0]
        power = np.abs(np.fft.rfft(sound * np.hanning(3200), 1 << 17))
        band = slice(int(400 / RATE_HZ * (1 << 17)), int(640 / RATE_HZ * (1 << 17)))
        tone_hz = (np.argmax(power[band]) + band.start) * RATE_HZ / (1 << 17)
        ratio = min((tone_hz / horn for horn in (440, 585)), key=lambda r: abs(r - 1))
        if abs(ratio - 1) < 0.05:  # windows with both tones may show neither
            assert ratio == pytest.approx(1 / (1 - closing_mps / SOUND_MPS), abs=0.012)
            checked += 1
    assert checked >= 5


def test_houses_muffle(calibration: Calibration) -> None:
    """In the city the same siren is heard 12 dB less whenever a house is in between."""
    array = array_of(World(load_scenario("siren_behind"), 3), calibration)
    heard = [array.bearings(t_s * NS_PER_S)[0] for t_s in range(5, 30)]
    assert {bearing.is_hidden for bearing in heard} == {True, False}
    for bearing in heard:
        free_db = 118 - 20 * math.log10(bearing.distance_m) - 8.7 * 0.0006 * bearing.distance_m
        assert bearing.level_db == pytest.approx(free_db - 12 * bearing.is_hidden, abs=0.1)


def test_chunks_join_without_a_seam(calibration: Calibration) -> None:
    world = free_field(cars=4)
    array, t_ns = array_of(world, calibration), 4 * NS_PER_S
    parts = [array.samples(t_ns + i * 20 * NS_PER_MS, 64_000 + i * 320, 320) for i in range(20)]
    steps = np.abs(np.diff(np.concatenate(parts), axis=0))
    at_seams = steps[319::320]
    assert at_seams.max() <= 1.2 * np.percentile(steps, 99.9)


def test_one_seed_gives_the_same_sound_to_two_arrays(calibration: Calibration) -> None:
    world = free_field(cars=4)
    first, second = (array_of(world, calibration).chunk(9 * NS_PER_S, 4321, 320) for _ in range(2))
    assert first.dtype == np.int16
    assert first.tobytes() == second.tobytes()


def test_without_a_siren_there_is_no_bearing(urban: World, calibration: Calibration) -> None:
    assert array_of(urban, calibration).bearings(NS_PER_S) == []


def test_rain_is_heard(calibration: Calibration) -> None:
    levels = {}
    for name in ("urban_day", "night_rain"):
        array = array_of(World(load_scenario(name), 1), calibration)
        sound = array.samples(NS_PER_S // 2, 0, 4000)
        high = np.diff(sound, n=2, axis=0)  # rain hisses, engines hum
        levels[name] = high.std()
    assert levels["night_rain"] > 2 * levels["urban_day"]
