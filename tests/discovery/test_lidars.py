import socket
import struct
import threading

import msgspec
import pytest

from fusion_rt.clock import RigClock
from fusion_rt.discovery.lidars import Sender, look_for_lidars, sender_of
from fusion_rt.drivers.registry import find_driver
from fusion_rt.lidar.hesai_models import MODELS as HESAI
from fusion_rt.lidar.velodyne_models import MODELS as VELODYNE
from tests.lidar_packets import hesai_packets, ouster_packets, ouster_unit, velodyne_packets


@pytest.mark.parametrize("model", HESAI)
def test_every_hesai_says_what_it_is(model: str) -> None:
    packet = hesai_packets(model, 2)[0]
    assert sender_of(packet, "h", 1) == Sender("hesai", model, "h", 1)


@pytest.mark.parametrize("model", VELODYNE)
def test_every_velodyne_says_what_it_is(model: str) -> None:
    packet = velodyne_packets(model, 2)[0]
    named = None if model.startswith("HDL-64E") else model
    assert sender_of(packet, "h", 1) == Sender("velodyne", named, "h", 1)


def test_an_ouster_is_known_by_its_size_and_anything_else_is_nobody() -> None:
    unit = ouster_unit("RNG19_RFL8_SIG16_NIR16", beams=32, columns=1024)
    assert sender_of(ouster_packets(unit, 1)[0], "h", 1) == Sender("ouster", None, "h", 1)
    for other in (b"", b"\xee\xff", bytes(1000), bytes(512)):
        assert sender_of(other, "h", 1) is None


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def test_what_is_heard_is_told_with_the_line_that_uses_it() -> None:
    port, stop = free_port(), threading.Event()
    packets = [velodyne_packets("VLP-16", 2)[0], hesai_packets("Pandar64", 2)[0], b"noise"]

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not stop.wait(0.01):
                for packet in packets:
                    sender.sendto(packet, ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    look = look_for_lidars(0.5, RigClock.starting_now(), [port])
    stop.set()
    thread.join()
    hesai, velodyne = look.found
    place = f"port: {port}, host: 127.0.0.1}}"
    assert velodyne.rig == f"lidar/top: {{driver: velodyne, model: VLP-16, {place}"
    assert hesai.rig == (
        f"lidar/top: {{driver: hesai, model: Pandar64, calibration: Pandar64.csv, {place}"
    )
    assert all("packets/s" in found.details[0] for found in look.found)
    for found in look.found:
        (entry,) = msgspec.yaml.decode(found.rig.encode()).values()
        msgspec.convert(entry, find_driver(entry["driver"], "lidar").options)


def test_a_port_in_use_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rig:
        rig.bind(("", 0))
        port = rig.getsockname()[1]
        look = look_for_lidars(0.01, RigClock.starting_now(), [port])
    assert look.problem == f"UDP port {port} not listened on: Address already in use"
    assert not look.found


def test_a_short_packet_of_the_right_size_does_not_fool_us() -> None:
    assert sender_of(struct.pack("<H", 0xFFEE) + bytes(1260), "h", 1) is None
