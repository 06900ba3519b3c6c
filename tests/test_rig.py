import re
from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.drivers.port import AudioOptions, CameraOptions
from fusion_rt.drivers.registry import list_drivers
from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.rig import Rig, find_rig, load_rig, shipped_rigs

CALIBRATION = """\
provenance: {method: made up}
transforms:
  base_from_camera_front: {translation_m: [1, 0, 1], quaternion_wxyz: [0.5, -0.5, 0.5, -0.5]}
  base_from_camera_rear: {translation_m: [1, 0, 1], quaternion_wxyz: [0.5, -0.5, 0.5, -0.5]}
  base_from_lidar_top: {translation_m: [1, 0, 2], yaw_deg: 0}
  base_from_audio_array: {translation_m: [1, 0, 2], yaw_deg: 0}
  base_from_gps_main: {translation_m: [0, 0, 2], yaw_deg: 0}
cameras:
  camera_front: {width: 1280, height: 720, fx_px: 700, fy_px: 700, cx_px: 640, cy_px: 360}
microphones:
  audio_array: [[0, 0, 0], [0, 0.1, 0], [0, 0.2, 0], [0, 0.3, 0]]
"""
HEAD = "rig: test\ncalibration: c.yaml\n"
SENSORS = """\
sensors:
  camera/front: {driver: synthetic}
  lidar/top: {driver: synthetic, rate_hz: 20}
  audio/array: {driver: synthetic, chunk_ms: 10}
  gps/main: {driver: synthetic}
"""
LIDAR = "sensors:\n  lidar/top: {driver: synthetic}\n"
LIDAR_DRIVERS = ", ".join(
    driver.name for driver in list_drivers() if "lidar" in driver.kinds or driver.problem
)


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str, calibration: str = CALIBRATION) -> Rig:
    Path("c.yaml").write_text(calibration)
    Path("r.yaml").write_text(text)
    return load_rig(Path("r.yaml"))


def errors_of(text: str, calibration: str = CALIBRATION) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(text, calibration)
    lines = [str(error) for error in caught.value.errors]
    assert str(caught.value).splitlines() == lines  # one line each
    return lines


def error_of(text: str, calibration: str = CALIBRATION) -> str:
    (error,) = errors_of(text, calibration)
    return error


def sensor(entry: str) -> str:
    return f"{HEAD}sensors:\n  {entry}\n"


def test_a_rig_knows_its_sensors_rates_and_frames() -> None:
    rig = load(HEAD + SENSORS)
    assert [(s.topic, s.rate_hz, s.frame) for s in rig.sensors.values()] == [
        ("camera/front", 30, "camera_front"),
        ("lidar/top", 20, "lidar_top"),
        ("audio/array", 100, "audio_array"),
        ("gps/main", 10, "gps_main"),
    ]
    assert isinstance(rig.sensors["camera/front"].options, CameraOptions)
    assert isinstance(rig.sensors["audio/array"].options, AudioOptions)


def test_a_rig_keeps_its_files_for_the_recorder() -> None:
    rig = load(HEAD + SENSORS)
    assert rig.source.read_bytes() == rig.raw
    assert rig.calibration.raw == CALIBRATION.encode()


def test_the_digest_changes_with_the_rig_and_with_its_calibration() -> None:
    first = load(HEAD + SENSORS).digest
    assert load(HEAD + SENSORS).digest == first
    assert load(HEAD + SENSORS + "# moved\n").digest != first
    assert load(HEAD + SENSORS, CALIBRATION + "# moved\n").digest != first


def test_a_sensor_may_sit_in_a_frame_of_another_name() -> None:
    rig = load(sensor("gps/other: {driver: synthetic, frame: gps_main}"))
    assert rig.sensors["gps/other"].frame == "gps_main"


def test_bandwidth_is_known_where_the_options_settle_it() -> None:
    rig = load(HEAD + SENSORS)
    assert rig.sensors["camera/front"].bytes_per_s == 1280 * 720 * 3 * 30
    assert rig.sensors["gps/main"].bytes_per_s == 0


def test_paths_of_sensors_are_seen_from_the_rig_file(tmp_path: Path) -> None:
    inside = tmp_path / "rigs"
    inside.mkdir()
    (inside / "c.yaml").write_text(CALIBRATION)
    (inside / "r.yaml").write_text(
        HEAD
        + """\
sensors:
  lidar/top: {driver: velodyne, model: VLP-16, path: ../drive.pcap, calibration: /etc/vlp.yaml}
  audio/array: {driver: wav, path: [a.wav, sound/b.wav]}
  gps/main: {driver: file, path: drive.nmea}
"""
    )
    sensors = load_rig(Path("rigs/r.yaml")).sensors
    lidar, audio, gps = (sensor.options for sensor in sensors.values())
    assert (lidar.path, lidar.calibration) == (f"{inside}/../drive.pcap", "/etc/vlp.yaml")
    assert audio.path == [f"{inside}/a.wav", f"{inside}/sound/b.wav"]
    assert gps.path == f"{inside}/drive.nmea"


def test_options_without_paths_stay_as_they_are() -> None:
    live = "sensors:\n  lidar/top: {driver: velodyne, model: VLP-16}\n"
    assert load(HEAD + live).sensors["lidar/top"].options.path is None


def test_the_supervisor_has_defaults_and_gives_nanoseconds() -> None:
    policy = load(
        HEAD + LIDAR + "supervisor: {heartbeat_ms: 1500, restart: {window_s: 2.5}}"
    ).supervisor
    assert policy.heartbeat_ns == 1500 * NS_PER_MS
    assert policy.restart.window_ns == 2500 * NS_PER_MS
    assert (policy.startup_ns, policy.stop_ns) == (20 * NS_PER_S, 5 * NS_PER_S)
    assert (policy.restart.backoff_ns, policy.restart.backoff_max_ns) == (
        NS_PER_S // 10,
        5 * NS_PER_S,
    )


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (
            "camera/front: {driver: synthetic, rate_ms: 33}",
            'sensors."camera/front".rate_ms: unknown field; did you mean "rate_hz"? known: driver, '
            "encoding, exposure_ms, frame, height, rate_hz, seed, width",
        ),
        (
            "lidar/top: {driver: synthetic, rate_hz: 0}",
            'sensors."lidar/top".rate_hz: expected a number > 0 and <= 1000 Hz, got 0; '
            "messages per second",
        ),
        (
            "lidar/top: {driver: synthetic, rate_hz: 30000}",
            'sensors."lidar/top".rate_hz: expected a number > 0 and <= 1000 Hz, got 30000; '
            "messages per second",
        ),
        (
            "camera/front: {driver: synthetic, width: wide}",
            'sensors."camera/front".width: expected a whole number >= 1 and <= 16384, got "wide"; '
            "pixels",
        ),
        (
            "camera/front: {driver: synthetic, encoding: jpeg}",
            'sensors."camera/front".encoding: expected one of bgr8, mono8, nv12, rgb8, yuyv, '
            'got "jpeg"',
        ),
        (
            "audio/array: {driver: synthetic, tone_hz: 9000}",
            'sensors."audio/array": expected tone_hz <= 8000 Hz, half the sample rate, got 9000',
        ),
        (
            "lidar/top: {rate_hz: 10}",
            'sensors."lidar/top".driver: expected the name of a driver, got nothing',
        ),
        ("lidar/top: synthetic", 'sensors."lidar/top": expected a mapping, got "synthetic"'),
        (
            "lidr/top: {driver: synthetic}",
            'sensors."lidr/top": expected a sensor, KIND/NAME, got the kind "lidr"; '
            'did you mean "lidar"? known: audio, camera, gps, lidar',
        ),
        (
            "lidar: {driver: synthetic}",
            "sensors.lidar: expected KIND/NAME of letters, digits, '_', '.', '-'",
        ),
        (
            "detections/all: {driver: synthetic}",
            'sensors."detections/all": expected a sensor, KIND/NAME, got the kind "detections"; '
            "known: audio, camera, gps, lidar",
        ),
        (
            "lidar/top: {driver: synthetic, frame: a b}",
            'sensors."lidar/top".frame: expected a frame name, got "a b"; '
            "letters, digits, '_', '.' and '-', without \"_from_\"",
        ),
        (
            "lidar/roof: {driver: synthetic}",
            'sensors."lidar/roof": expected a transform for its frame "lidar_roof" in c.yaml, got '
            'none; add base_from_lidar_roof; did you mean "lidar_top"? known: audio_array, base, '
            "camera_front, camera_rear, gps_main, lidar_top",
        ),
        (
            "camera/rear: {driver: synthetic}",
            'sensors."camera/rear": expected its intrinsics in c.yaml, got none; '
            "add cameras.camera_rear there",
        ),
        (
            "audio/roof: {driver: synthetic, frame: lidar_top}",
            'sensors."audio/roof": expected its microphones in c.yaml, got none; '
            "add microphones.lidar_top there",
        ),
        (
            "camera/front: {driver: synthetic, width: 1920, height: 1080}",
            'sensors."camera/front": expected 1280x720, as the intrinsics are, got 1920x1080; '
            "set width and height, or calibrate at this resolution",
        ),
        (
            "audio/array: {driver: synthetic, channels: 2}",
            'sensors."audio/array".channels: expected 4 channels, one per calibrated microphone, '
            "got 2",
        ),
    ],
)
def test_a_wrong_sensor_is_told_in_one_line(entry: str, error: str) -> None:
    assert error_of(sensor(entry)) == f"r.yaml:4: {error}"


def test_an_unknown_driver_is_told_with_the_likeliest_one() -> None:
    error = error_of(sensor("lidar/top: {driver: sintetic}"))
    expected = (
        'r.yaml:4: sensors."lidar/top".driver: driver "sintetic": expected a driver of lidar, '
        'found none of that name; did you mean "synthetic"? known: '
    )
    assert error.startswith(expected)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            HEAD.replace("test", "My Rig") + LIDAR,
            'r.yaml:1: rig: expected text that matches ^[a-z][a-z0-9_-]{0,31}$, got "My Rig"; '
            "name of the rig: lower case letters, digits, '_' and '-'",
        ),
        (
            "rig: test\n" + LIDAR,
            "r.yaml: calibration: expected text, got nothing; "
            "path of the calibration, relative to the rig file",
        ),
        (
            HEAD.replace("c.yaml", "d.yaml") + LIDAR,
            "r.yaml:2: calibration: expected a file, found none at d.yaml; "
            "the path is relative to the rig file",
        ),
        (HEAD, "r.yaml: sensors: expected a mapping, got nothing; one entry per topic, KIND/NAME"),
        (
            HEAD + "sensors: {}",
            "r.yaml:3: sensors: expected at least one sensor, here or under remote.topics",
        ),
        (
            HEAD + "sensors: [lidar]",
            "r.yaml:3: sensors: expected a mapping, got ['lidar']; one entry per topic, KIND/NAME",
        ),
        (
            HEAD + LIDAR + "sensor: {}",
            'r.yaml:5: sensor: unknown field; did you mean "sensors"? '
            "known: calibration, foxglove, fusion, latency, record, remote, rig, sensors, "
            "supervisor, watch_mountings",
        ),
        (
            HEAD + LIDAR + "supervisor: {startup_s: 5}",
            'r.yaml:5: supervisor.startup_s: unknown field; did you mean "startup_ms"? '
            "known: heartbeat_ms, restart, startup_ms, stop_ms",
        ),
        (
            HEAD + LIDAR + "supervisor: {heartbeat_ms: 200}",
            "r.yaml:5: supervisor.heartbeat_ms: expected a whole number >= 1000 and <= 600000 ms, "
            "got 200",
        ),
        (
            HEAD + LIDAR + "supervisor: {restart: {backoff_ms: 6000}}",
            "r.yaml:5: supervisor.restart: expected backoff_max_ms >= backoff_ms (6000), got 5000",
        ),
        (
            HEAD + LIDAR + "  lidar/top: {driver: synthetic}",
            'r.yaml:5: sensors."lidar/top": expected each key once, got it twice; '
            "it is already on line 4: rename or remove one",
        ),
    ],
)
def test_a_wrong_rig_is_told_in_one_line(text: str, error: str) -> None:
    assert error_of(text) == error


@pytest.mark.parametrize("name", ["a" * 5000, '"a\\0b"'])
def test_a_path_that_cannot_be_one_is_told(name: str) -> None:
    assert "calibration: expected a file, found none at " in error_of(
        HEAD.replace("c.yaml", name) + LIDAR
    )


def test_an_optical_frame_is_no_place_for_another_sensor() -> None:
    text = HEAD + SENSORS.replace("chunk_ms: 10", "frame: camera_front, channels: 4")
    errors = errors_of(text, CALIBRATION.replace("  audio_array: [[", "  camera_front: [["))
    assert errors == [
        'r.yaml:6: sensors."audio/array".frame: expected a frame of its own, got "camera_front"; '
        "camera/front has it, with the axes of a camera"
    ]


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    text = "rig: Bad\ncalibration: c.yaml\nsensors:\n  a/b: {}\n  gps/main: {driver: x}\nz: 1\n"
    errors = errors_of(text, CALIBRATION + "extra: 1\n")
    places = [re.match(r"(\w\.yaml:\d+)", error) for error in errors]
    assert [place and place[1] for place in places] == [
        "r.yaml:1",
        "r.yaml:4",
        "r.yaml:5",
        "r.yaml:6",
        "c.yaml:12",
    ]


def test_a_wrong_calibration_is_told_at_its_own_line() -> None:
    error = error_of(HEAD + LIDAR, CALIBRATION.replace("yaw_deg", "yaw_rad", 1))
    assert error.startswith("c.yaml:5: transforms.base_from_lidar_top.yaw_rad: unknown field; did")


@pytest.fixture
def keys() -> Path:
    allowed = Path("keys/allowed")
    allowed.mkdir(parents=True)
    (allowed / "other.key").touch()
    return allowed.parent


def test_remote_topics_find_their_keys(keys: Path) -> None:
    text = HEAD + LIDAR + "remote: {keys: keys, topics: {gps/main: 'tcp://other:7602'}}"
    (topic,) = load(text).remote_topics.values()
    assert topic.address == "tcp://other:7602"
    assert topic.server_key == keys / "allowed/other.key"


def test_a_rig_may_have_all_its_sensors_elsewhere(keys: Path) -> None:
    text = HEAD + "sensors: {}\nremote: {keys: keys, topics: {gps/main: 'tcp://other:7602'}}"
    assert load(text).sensors == {}
    assert keys.exists()


def test_a_rig_that_keeps_to_its_host_has_nothing_remote() -> None:
    rig = load(HEAD + LIDAR)
    assert rig.remote is None
    assert rig.remote_topics == {}


@pytest.mark.parametrize(
    ("remote", "error"),
    [
        (
            "{listen: {lidar/top: 'tcp://0.0.0.0:7601'}}",
            "remote.keys: expected text, got nothing; directory of CURVE keys, relative to the rig "
            "file: tcp is always encrypted",
        ),
        (
            "{keys: nowhere, listen: {lidar/top: 'tcp://0.0.0.0:7601'}}",
            "remote.keys: expected a directory of CURVE keys, found none at nowhere; "
            "make one with `fusion-rt keys nowhere`",
        ),
        (
            "{keys: keys, listen: {lidar/top: '0.0.0.0:7601'}}",
            'remote.listen."lidar/top": expected tcp://HOST:PORT, got "0.0.0.0:7601"; '
            "for example tcp://10.0.0.2:7601",
        ),
        (
            "{keys: keys, listen: {lidar/top: 'tcp://*:70000'}}",
            'remote.listen."lidar/top": expected tcp://HOST:PORT, got "tcp://*:70000"; '
            "for example tcp://10.0.0.2:7601",
        ),
        (
            "{keys: keys, topics: {gps/main: 'tcp://*:7601'}}",
            'remote.topics."gps/main": expected tcp://HOST:PORT, got "tcp://*:7601"; '
            "for example tcp://10.0.0.2:7601",
        ),
        (
            "{keys: keys, listen: {lidar/to: 'tcp://*:7601'}}",
            'remote.listen."lidar/to": expected a topic of this rig; did you mean "lidar/top"? '
            "known: lidar/top",
        ),
        (
            "{keys: keys, listen: {lidar/top: 'tcp://*:7601', health/rig: 'tcp://*:7601'}}",
            'remote.listen."health/rig": expected an address of its own, got that of lidar/top; '
            "choose another port",
        ),
        (
            "{keys: keys, topics: {lidar/top: 'tcp://other:7601'}}",
            'remote.topics."lidar/top": expected a sensor of another host, got one of this rig',
        ),
        (
            "{keys: keys, topics: {gps/main: 'tcp://third:7601'}}",
            'remote.topics."gps/main": expected the other host\'s public key, found none at '
            "keys/allowed/third.key; copy its .key file there",
        ),
        (
            "{keys: keys, topics: {gps: 'tcp://other:7601'}}",
            "remote.topics.gps: expected KIND/NAME of letters, digits, '_', '.', '-'",
        ),
        (
            "{keys: keys, topics: {gps/roof: 'tcp://other:7601'}}",
            'remote.topics."gps/roof": expected a transform for its frame "gps_roof" in c.yaml, '
            "got none; add base_from_gps_roof; known: audio_array, base, camera_front, "
            "camera_rear, gps_main, lidar_top",
        ),
    ],
)
def test_a_wrong_remote_is_told_in_one_line(keys: Path, remote: str, error: str) -> None:
    assert keys.exists()
    assert error_of(f"{HEAD}{LIDAR}remote: {remote}\n") == f"r.yaml:5: {error}"


@pytest.mark.parametrize("name", shipped_rigs())
def test_every_rig_that_comes_with_the_package_can_be_run(name: str) -> None:
    assert load_rig(find_rig(name)).name == name


def test_the_demo_rig_has_one_sensor_of_each_kind() -> None:
    kinds = [sensor.kind for sensor in load_rig(find_rig("demo")).sensors.values()]
    assert kinds == ["camera", "lidar", "audio", "gps"]


def test_a_path_is_found_before_a_name() -> None:
    Path("demo").touch()
    assert find_rig("demo") == Path("demo")


def test_a_rig_that_is_not_there_is_told_with_those_that_are() -> None:
    expected = r"demoo: expected a rig file or the name of a rig, found none; .* package: demo"
    with pytest.raises(ConfigError, match=expected):
        find_rig("demoo")


def test_a_watched_mounting_is_a_camera_and_a_lidar_of_the_rig() -> None:
    rig = load(HEAD + SENSORS + "watch_mountings: {camera/front: lidar/top}\n")
    assert rig.watch_mountings == {"camera/front": "lidar/top"}
    errors = errors_of(HEAD + SENSORS + "watch_mountings: {camera/back: gps/main}\n")
    place = 'r.yaml:8: watch_mountings."camera/back": '
    assert errors == [
        f'{place}expected a camera of this rig, got "camera/back"; '
        'did you mean "camera/front"? known: camera/front',
        f'{place}expected a lidar of this rig, got "gps/main"; known: lidar/top',
    ]


def test_watching_a_mounting_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_rt.mounting.find_spec", lambda _: None)
    error = error_of(HEAD + SENSORS + "watch_mountings: {camera/front: lidar/top}\n")
    assert "expected the library cv2, found none; pip install 'fusion_rt[calibrate]'" in error
