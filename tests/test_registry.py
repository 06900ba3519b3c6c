import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_rt import drivers
from fusion_rt.drivers.port import from_extra
from fusion_rt.drivers.registry import ENTRY_POINTS, driver_modules, find_driver, list_drivers
from fusion_rt.errors import DriverError, MissingExtraError

DRIVER = """
from contextlib import nullcontext
from fusion_rt.drivers.port import Driver, SensorOptions

DRIVERS = {"gps": Driver(SensorOptions, lambda options, port: nullcontext(iter([None])))}
"""


Install = Callable[[str, str], str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution that declares one driver on the path, as pip would; gives its module."""

    def install_driver(name: str, source: str) -> str:
        module = f"driver_{uuid.uuid4().hex}"  # a name used before would still be imported
        about = tmp_path / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{name} = {module}\n")
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        return module

    return install_driver


def test_a_module_of_the_package_is_found_by_name() -> None:
    assert driver_modules()["synthetic"] == "fusion_rt.drivers.synthetic"
    assert find_driver("synthetic", "camera").options.__name__ == "CameraPattern"


def test_the_package_lists_no_module_that_is_no_driver() -> None:
    assert not {"port", "registry"} & driver_modules().keys()


def test_a_driver_of_another_distribution_is_found(install: Install) -> None:
    install("compass", DRIVER)
    assert find_driver("compass", "gps").options.__name__ == "SensorOptions"
    assert ("compass", ("gps",)) in [(one.name, one.kinds) for one in list_drivers()]


def test_another_distribution_cannot_replace_a_driver_of_ours(install: Install) -> None:
    install("synthetic", DRIVER)
    assert driver_modules()["synthetic"] == "fusion_rt.drivers.synthetic"


def test_a_driver_that_misses_a_dependency_is_listed_with_the_way_out(install: Install) -> None:
    source = "from fusion_rt.drivers.port import from_extra\n"
    source += "with from_extra('sensors'):\n    import no_such_module_at_all\n"
    install("alsa9", source)
    (listing,) = [one for one in list_drivers() if one.name == "alsa9"]
    assert listing.problem == (
        "does not load: No module named 'no_such_module_at_all'; pip install \"fusion_rt[sensors]\""
    )
    with pytest.raises(DriverError, match=r'driver "alsa9": does not load: .*fusion_rt\[sensors\]'):
        find_driver("alsa9", "audio")


def test_an_unknown_driver_is_told_with_those_that_serve_the_kind() -> None:
    expected = (
        'driver "sinthetic": expected a driver of lidar, found none of that name; '
        'did you mean "synthetic"\\? known: .*synthetic'
    )
    with pytest.raises(DriverError, match=expected):
        find_driver("sinthetic", "lidar")


def test_a_driver_of_another_kind_is_told_what_it_serves(install: Install) -> None:
    install("compass", DRIVER)
    with pytest.raises(
        DriverError, match=r"expected a driver of lidar, it serves gps; known: .*synth"
    ):
        find_driver("compass", "lidar")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("", "expected DRIVERS in driver_.*, one Driver per kind of topic"),
        (
            "DRIVERS = {'radio': 1}",
            'expected DRIVERS by kind of sensor, got "radio"; did you mean "audio"',
        ),
        ("DRIVERS = {'health': 1}", 'expected DRIVERS by kind of sensor, got "health"; known: au'),
        (
            "DRIVERS = {'gps': 1}",
            "expected a Driver for gps whose options extend SensorOptions, got",
        ),
        (
            DRIVER.replace('"gps"', '"camera"'),
            "expected a Driver for camera whose options extend CameraOptions, got Driver",
        ),
    ],
)
def test_a_module_that_declares_no_drivers_is_refused(
    install: Install, source: str, problem: str
) -> None:
    install("odd", source)
    with pytest.raises(DriverError, match=problem):
        find_driver("odd", "gps")


def test_a_missing_c_library_counts_as_a_missing_extra() -> None:
    expected = r'PortAudio library not found; pip install "fusion_rt\[sensors\]"'
    with pytest.raises(MissingExtraError, match=expected), from_extra("sensors"):
        raise OSError("PortAudio library not found")


def test_every_driver_of_ours_loads_or_names_the_extra_it_misses() -> None:
    ours = [one for one in list_drivers() if one.module.startswith(drivers.__name__)]
    assert ours
    assert all(one.kinds or "pip install" in one.problem for one in ours)
