import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort
from fusion_rt.messages import CameraFrame
from fusion_rt.reconnect import RECONNECTS
from tests.camera.fake_camera import picture
from tests.gnss.ports import port

pytest.importorskip("av")
pytest.importorskip("simplejpeg")
from fusion_rt.camera import network
from fusion_rt.drivers.rtsp import RtspOptions, open_camera
from tests.camera.rtsp_server import RtspServer
from tests.camera.videos import write_video

RATE_HZ = 25
pytestmark = pytest.mark.timeout(40)


@pytest.fixture
def here() -> DriverPort:
    return port("camera/front", clock=RigClock.starting_now())


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4", 50, rate_hz=RATE_HZ, key_every=10)


def options(url: str, **more: object) -> RtspOptions:
    return RtspOptions(driver="rtsp", url=url, **more)


def frames(messages: Iterator[CameraFrame | None], count: int) -> list[CameraFrame]:
    found = (one for one in itertools.islice(messages, 40 + count) if one is not None)
    return list(itertools.islice(found, count))


def test_a_stream_over_a_real_socket_is_decoded_and_stamped_evenly(
    video: Path, here: DriverPort
) -> None:
    with RtspServer(video, RATE_HZ) as server:
        with open_camera(options(server.url), here) as messages:
            got = frames(messages, 40)
            age_ns = here.clock.now_ns() - got[-1].stamp_ns
        assert {"OPTIONS", "DESCRIBE", "SETUP", "PLAY"} <= set(server.asked)
    shown = [round(float(frame.image[0, 0].mean()) / 4) for frame in got]
    for frame, n in zip(got, shown, strict=True):
        assert frame.problem() is None
        assert np.abs(frame.image.astype(int) - picture(320, 240, 4 * n)).mean() < 4
    steps = np.diff([frame.stamp_ns for frame in got[20:]])
    assert np.median(steps) == pytest.approx(NS_PER_S / RATE_HZ, abs=12 * NS_PER_MS)
    assert (steps >= 0).all()
    assert 0 <= age_ns < NS_PER_S
    assert not here.counters["damaged_frames"]


def test_a_stream_over_udp_survives_the_loss_of_packets(video: Path, here: DriverPort) -> None:
    with (
        RtspServer(video, RATE_HZ) as server,
        open_camera(options(server.url, transport="udp"), here) as messages,
    ):
        assert frames(messages, 5)
        server.is_lossy.set()
        damaged = here.counters["damaged_frames"]
        for _ in range(30):
            next(messages)
            if here.counters["damaged_frames"] > damaged:
                break
        server.is_lossy.clear()
        assert len(frames(messages, 12)) == 12


def test_exposure_and_latency_move_the_stamp(video: Path, here: DriverPort) -> None:
    with (
        RtspServer(video, RATE_HZ) as server,
        open_camera(options(server.url, exposure_ms=10, latency_ms=2000), here) as messages,
    ):
        (frame,) = frames(messages, 1)
        assert here.clock.now_ns() - frame.stamp_ns > 2 * NS_PER_S
        assert frame.exposure_ns == 10 * NS_PER_MS


def test_a_camera_that_goes_away_is_a_loss_that_heals(
    video: Path, here: DriverPort, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        server = RtspServer(video, RATE_HZ)
        with open_camera(options(server.url), here) as messages:
            assert frames(messages, 5)
            server.stop()
            while next(messages) is not None:
                pass
            longest_ns = 0
            for _ in range(3):
                before_ns = here.clock.now_ns()
                next(messages)
                longest_ns = max(longest_ns, here.clock.now_ns() - before_ns)
            with RtspServer(video, RATE_HZ, server.port):
                assert frames(messages, 5)
    assert longest_ns < 2 * READ_DEADLINE_NS
    assert here.counters[RECONNECTS] == 1
    assert "secret" not in caplog.text
    assert f"camera rtsp://127.0.0.1:{server.port}/cam: " in caplog.text


def test_a_camera_that_is_not_there_yet_is_waited_for(video: Path, here: DriverPort) -> None:
    with RtspServer(video, RATE_HZ) as gone:
        pass
    with open_camera(options(gone.url), here) as messages:
        assert [next(messages) for _ in range(2)] == [None, None]
        with RtspServer(video, RATE_HZ, gone.port):
            assert frames(messages, 2)


def test_a_camera_that_falls_silent_is_connected_anew(
    video: Path, here: DriverPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_SILENCE_S", 0.6)
    with RtspServer(video, RATE_HZ) as server, open_camera(options(server.url), here) as messages:
        assert frames(messages, 3)
        server.is_silent.set()
        while here.clock and server.asked.count("PLAY") < 2:
            next(messages)
        server.is_silent.clear()
        assert frames(messages, 3)
    assert here.counters[RECONNECTS] >= 1


def test_a_process_that_was_held_up_takes_up_at_a_key_picture(here: DriverPort) -> None:
    class Packet(msgspec.Struct):
        is_keyframe: bool
        size: int = 1

    camera = network.NetworkCamera("rtsp://x", {}, here.clock, here.counters)
    for n in range(100):
        camera._take(network.Arrived(Packet(n % 30 == 0), n, is_late=False))
    arrivals = camera.arrivals(threading.current_thread())
    taken = [next(arrivals) for _ in range(64)]
    assert [one.recv_ns for one in taken] == list(range(64))
    assert [one.is_late for one in taken] == [True] * 59 + [False] * 5
    assert here.counters[network.BACKLOG] == 36
    for n in range(100, 130):
        camera._take(network.Arrived(Packet(n % 30 == 0), n, is_late=False))
    assert next(arrivals).recv_ns == 120


def test_a_receiving_thread_that_ends_is_not_taken_for_a_silent_camera(here: DriverPort) -> None:
    ended = threading.Thread()
    ended.start()
    ended.join()
    camera = network.NetworkCamera("rtsp://x", {}, here.clock, here.counters)
    with pytest.raises(RuntimeError, match="the receiving thread ended"):
        next(camera.arrivals(ended))


@pytest.mark.parametrize("url", ["http://camera/video", "camera", "rtsp://", "file:///etc/passwd"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="url"):
        msgspec.convert({"driver": "rtsp", "url": url}, RtspOptions)
