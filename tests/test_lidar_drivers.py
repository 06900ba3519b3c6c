import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.config import Problems, checked
from fusion_rt.drivers.registry import find_driver
from fusion_rt.errors import DriverError
from fusion_rt.yaml_file import read_yaml
from tests.fuzz.lidar_packets import pcap_file
from tests.lidar_bench import START_NS, LidarBench
from tests.lidar_packets import velodyne_packets
from tests.lidar_recordings import recorded
from tests.test_packets_pcap import ethernet, ipv4, udp

LOOPBACK = "127.0.0.1"
TURN_PACKETS = 75  # and a bit, of a VLP-16 at 600 rpm


def options_of(driver: str) -> dict[str, Any]:
    """What each driver needs beside a file."""
    if driver == "ouster":
        return {"metadata": str(recorded("ouster", "OS-1-128_v2.3.0_1024x10.json"))}
    if driver == "hesai":
        angles = recorded("nebula", "calibration", "PandarXT32.csv")
        return {"model": "XT32", "calibration": str(angles)}
    return {"model": "VLP-16"}


RECORDINGS = [
    ("velodyne", ("nebula", "vlp16", "1673400471837873222"), [14_837, 14_813, 14_853]),
    ("hesai", ("nebula", "xt32", "1673400677802009732"), [62_806, 63_058, 63_040]),
    ("ouster", ("ouster", "OS-1-128_v2.3.0_1024x10_lb_n3.pcap"), [107_647, 107_357, 107_532]),
]


@pytest.mark.parametrize(("driver", "parts", "counts"), RECORDINGS)
def test_a_recording_becomes_sweeps_at_its_pace(
    driver: str, parts: tuple[str, ...], counts: list[int]
) -> None:
    bench = LidarBench(driver, path=str(recorded(*parts)), **options_of(driver))
    sweeps = bench.sweeps(3)
    assert [len(sweep.points) for sweep in sweeps] == counts
    steps_ns = np.diff([sweep.stamp_ns for sweep in sweeps])
    assert steps_ns == pytest.approx([100 * NS_PER_MS] * 2, abs=2 * NS_PER_MS)
    assert abs(sweeps[0].stamp_ns - START_NS - 100 * NS_PER_MS) < 5 * NS_PER_MS
    for sweep in sweeps:
        assert -0.102 < sweep.points[:, 4].min() < -0.098
    assert bench.counters["lost_packets"] == bench.counters["corrupt_packets"] == 0
    assert bench.loans.open == 0


def capture(path: Path, packets: list[bytes]) -> Path:
    path.write_bytes(pcap_file([ethernet(ipv4(udp(packet))) for packet in packets]))
    return path


def test_lost_and_corrupt_packets_are_counted(tmp_path: Path) -> None:
    packets = velodyne_packets("VLP-16", 3 * TURN_PACKETS)
    broken = packets[5][:700] + b"\0\0" + packets[5][702:]
    path = capture(tmp_path / "a.pcap", [*packets[:5], broken, *packets[6:90], *packets[93:]])
    bench = LidarBench("velodyne", path=str(path), model="VLP-16")
    with bench.messages as messages:
        while next(messages) is not None:
            pass
    assert bench.counters["corrupt_packets"] == 1
    assert bench.counters["lost_packets"] == 4  # the corrupt one did not arrive either
    assert bench.counters["packets"] == 3 * TURN_PACKETS - 4


def test_the_end_of_a_recording_is_silence_and_a_new_one_is_played(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", velodyne_packets("VLP-16", TURN_PACKETS))
    bench = LidarBench("velodyne", path=str(path), model="VLP-16")
    with bench.messages as messages:
        assert len(next(messages).points) > 1000
        while next(messages) is not None:
            pass
        assert [next(messages) for _ in range(3)] == [None] * 3
        capture(path, velodyne_packets("VLP-16", TURN_PACKETS + 2))
        found = next(message for message in messages if message is not None)
        assert len(found.points) > 1000
    assert bench.counters["reconnects"] >= 1


def test_other_ports_and_senders_are_passed_over(tmp_path: Path) -> None:
    packets = velodyne_packets("VLP-16", TURN_PACKETS)
    path = capture(tmp_path / "a.pcap", packets)
    for options in ({"port": 2369}, {"host": "192.168.1.202"}):
        bench = LidarBench("velodyne", path=str(path), model="VLP-16", **options)
        assert bench.take(3) == [None] * 3
        assert bench.counters["packets"] == 0
    bench = LidarBench("velodyne", path=str(path), model="VLP-16", port=2368, host="192.168.1.201")
    assert len(bench.sweeps(1)[0].points) > 1000


def test_the_cut_can_be_moved(tmp_path: Path) -> None:
    path = capture(tmp_path / "a.pcap", velodyne_packets("VLP-16", 3 * TURN_PACKETS))
    bench = LidarBench("velodyne", path=str(path), model="VLP-16", cut_deg=180)
    _, sweep = bench.sweeps(2)
    azimuth_deg = np.degrees(np.arctan2(-sweep.points[:, 1], sweep.points[:, 0]))
    assert azimuth_deg[:16] == pytest.approx([-180] * 16, abs=0.5)
    assert abs(azimuth_deg[-16:]) == pytest.approx([180] * 16, abs=0.5)


class Player(threading.Thread):
    """Sends packets to a port of this machine at the pace of their sensor."""

    def __init__(self, port: int, packets: list[bytes], seconds: float) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._packets = packets
        self._clock = RigClock.starting_now()
        self._step_ns = round(seconds / len(packets) * NS_PER_S)

    def run(self) -> None:
        start_ns = self._clock.now_ns()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for n, packet in enumerate(self._packets):
                self._clock.sleep_until_ns(start_ns + n * self._step_ns)
                sender.sendto(packet, (LOOPBACK, self._port))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def live(**options: Any) -> Iterator[tuple[LidarBench, Iterator[Any], int]]:
    port = free_port()
    clock = RigClock.starting_now()
    bench = LidarBench("velodyne", clock, model="VLP-16", listen=LOOPBACK, port=port, **options)
    with bench.messages as messages:
        yield bench, messages, port


def test_a_live_sensor_is_stamped_by_receipt_and_comes_back_after_silence() -> None:
    packets = velodyne_packets("VLP-16", 3 * TURN_PACKETS)
    with live() as (bench, messages, port):
        for n in range(2):  # unplugged in between
            started_ns = bench.clock.now_ns()
            player = Player(port, packets, seconds=0.3)
            player.start()
            sweeps = [sweep for sweep in (next(messages) for _ in range(4)) if sweep is not None]
            player.join()
            assert len(sweeps) == 3
            ends_s = [(sweep.stamp_ns - started_ns) / NS_PER_S for sweep in sweeps]
            assert ends_s[0] < ends_s[1] < ends_s[2] < 1.0
            assert bench.counters["packets"] == len(packets) * (n + 1)
            while next(messages) is not None:
                pass
    assert bench.counters["turns_superseded"] == 0


def test_packets_of_another_host_are_not_for_us() -> None:
    with live(host="127.0.0.9") as (bench, messages, port):
        player = Player(port, velodyne_packets("VLP-16", 20), seconds=0.02)
        player.start()
        assert next(messages) is None
        player.join()
    assert bench.counters["packets"] == 0


def test_an_address_that_is_not_ours_is_one_clear_error() -> None:
    bench = LidarBench("velodyne", model="VLP-16", listen="192.0.2.9")
    sentence = r'driver "velodyne": cannot listen on 192.0.2.9:2368: .*this machine: .*127.0.0.1'
    with pytest.raises(DriverError, match=sentence), bench.messages:
        pass


def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOOPBACK, 0))
        port = taken.getsockname()[1]
        bench = LidarBench("hesai", model="XT32", listen=LOOPBACK, port=port)
        with pytest.raises(DriverError, match=rf"cannot listen on 127.0.0.1:{port}: Address al"):
            bench.messages.__enter__()


@pytest.mark.parametrize(
    ("driver", "options", "sentence"),
    [
        ("velodyne", {"model": "VLP-16", "path": "gone.pcap"}, r"expected a recording"),
        ("velodyne", {"model": "VLP-16", "calibration": "gone.yaml"}, r"gone.yaml"),
        ("hesai", {"model": "QT64", "calibration": "gone.csv"}, r"gone.csv"),
        ("ouster", {"metadata": "gone.json"}, r"gone.json"),
    ],
)
def test_a_missing_file_is_one_clear_error(
    driver: str, options: dict[str, Any], sentence: str
) -> None:
    bench = LidarBench(driver, **options)
    with pytest.raises(DriverError, match=f'driver "{driver}": .*{sentence}'):
        bench.messages.__enter__()


@pytest.mark.parametrize(
    ("driver", "options", "sentence"),
    [
        ("velodyne", {"model": "VLP-17"}, "expected one of HDL-32E, .*VLS-128, got"),
        ("velodyne", {"model": "HDL-64E-S3"}, "expected calibration, a YAML file"),
        ("hesai", {"model": "Pandar64"}, "expected calibration, a CSV file"),
        ("ouster", {}, "expected text, got nothing"),
        ("velodyne", {"model": "VLP-16", "listen": "top"}, "expected listen as an IPv4 address"),
        ("velodyne", {"model": "VLP-16", "group": "10.0.0.1"}, r"expected group in 224\.0\.0\.0"),
        ("velodyne", {"model": "VLP-16", "repeat": True}, "expected path beside topic, repeat"),
        (
            "velodyne",
            {"model": "VLP-16", "path": "a.pcap", "group": "224.0.0.5"},
            "expected path, or listen and group, got both",
        ),
        (
            "velodyne",
            {"model": "VLP-16", "path": "a.pcap", "clock": "utc"},
            "expected clock receipt beside path",
        ),
        ("velodyne", {"model": "VLP-16", "cut_deg": 360}, "expected a number >= 0 and < 360 deg"),
    ],
)
def test_wrong_options_are_found_when_the_rig_is_loaded(
    tmp_path: Path, driver: str, options: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "rig.yaml"
    path.write_bytes(msgspec.yaml.encode({"driver": driver, **options}))
    problems = Problems(read_yaml(path))
    tree = msgspec.yaml.decode(path.read_bytes())
    assert checked(tree, find_driver(driver, "lidar").options, (), problems) is None
    with pytest.raises(Exception, match=sentence):
        raise problems.as_error()


def test_a_receiver_that_breaks_down_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("fusion_rt.lidar.stream.Intake.push", broken)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    with live() as (_, messages, port):
        Player(port, velodyne_packets("VLP-16", 1), seconds=0.01).start()
        with pytest.raises(RuntimeError, match="the receiving thread ended"):
            list(messages)
