from pathlib import Path

import msgspec
import pytest

from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.sim.scenario import (
    Fault,
    Layout,
    Scenario,
    load_scenario,
    random_scenario,
    scenario_named,
    shipped_scenarios,
)


def written(folder: Path, text: str) -> str:
    file = folder / "mine.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_loads(name: str) -> None:
    assert load_scenario(name).about.endswith(".")


def test_the_scenarios_of_the_design_are_shipped() -> None:
    expected = {"urban_day", "night_rain", "tunnel", "siren_behind", "sensor_storm"}
    assert expected <= shipped_scenarios().keys()


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(
        ConfigError, match=r'urban_dya: expected a scenario .* did you mean "urban_day"'
    ):
        load_scenario("urban_dya")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about: x\nweather: {rain_mmh: 3}\n", r"mine\.yaml:2: weather\.rain_mmh: unknown field"),
        (
            "about: x\nsky: {cloud: 2}\n",
            r"mine\.yaml:2: sky\.cloud: expected a number >= 0 and <= 1",
        ),
        ("sky: {cloud: 1}\n", r"mine\.yaml: about: expected text, got nothing"),
        (
            "about: x\nfaults: [{sensor: radar, kind: silent, from_s: 1, to_s: 2}]\n",
            r"mine\.yaml:2: faults: expected a list",
        ),
    ],
)
def test_each_mistake_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigErrors, match=message) as caught:
        load_scenario(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1


def test_a_fault_ends_after_it_begins() -> None:
    with pytest.raises(ValueError, match=r"expected to_s > from_s \(5\), got 4"):
        Fault(sensor="gps", kind="silent", from_s=5, to_s=4)


def test_building_heights_are_in_order() -> None:
    with pytest.raises(ValueError, match=r"expected building_height_m within 3\.\.120"):
        Layout(building_height_m=(20, 10))


def test_random_scenarios_follow_from_their_seed() -> None:
    assert random_scenario(7) == random_scenario(7)
    assert random_scenario(7) != random_scenario(8)
    assert scenario_named("random", 7) == random_scenario(7)


def test_random_scenarios_are_such_as_a_file_could_say() -> None:
    for seed in range(50):
        drawn = random_scenario(seed)
        assert msgspec.convert(msgspec.to_builtins(drawn), Scenario) == drawn


def test_random_scenarios_cover_night_rain_fog_and_sirens() -> None:
    drawn = [random_scenario(seed) for seed in range(60)]
    assert any(s.is_night for s in drawn)
    assert not all(s.is_night for s in drawn)
    assert any(s.weather.rain_mm_h > 5 for s in drawn)
    assert any(s.weather.visibility_m < 300 for s in drawn)
    assert any(s.traffic.sirens for s in drawn)
