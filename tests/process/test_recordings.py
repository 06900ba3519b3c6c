"""A rig of four drivers on real recordings, at recorded pace, each of them pulled and put back.

Camera and sound are files that end; the LiDAR's packets come over UDP; the receiver is at the end
of a pty.
"""

import contextlib
import os
import socket
import threading
import tty
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.packets.recording import read_recording
from fusion_rt.session import attach_session
from fusion_rt.transport.subscriber import Subscriber
from tests.lidar_recordings import recorded
from tests.process.rigs import CLOCK, directory, running, wait_until

pytest.importorskip("av")
pytest.importorskip("simplejpeg")
pytest.importorskip("serial")
import av

DATA = Path(__file__).parents[3] / "shared/data"
pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not DATA.exists(), reason=f"no recordings in {DATA}"),
]
RIG = """\
rig: recorded
calibration: recorded.calibration.yaml
sensors:
  camera/front: {{driver: file, path: drive.mp4, width: 640, height: 360, rate_hz: 10}}
  lidar/top: {{driver: velodyne, model: VLP-16, listen: 127.0.0.1, port: {port}}}
  audio/array: {{driver: wav, path: [mic1.wav, mic2.wav, mic3.wav, mic4.wav], channels: 4}}
  gps/main: {{driver: serial, device: {device}, baud: 9600, rate_hz: 1}}
fusion: {{}}
"""
MICROPHONES = (1, 2, 3, 4)
CALIBRATION = """\
provenance: {method: by eye, date: 2026-11-20}
transforms:
  base_from_camera_front:
    {translation_m: [1.8, 0.0, 1.3], quaternion_wxyz: [0.5, -0.5, 0.5, -0.5]}
  base_from_lidar_top: {translation_m: [1.2, 0.0, 1.8], yaw_deg: 0}
  base_from_audio_array: {translation_m: [1.2, 0.0, 1.6], yaw_deg: 0}
  base_from_gps_main: {translation_m: [0.4, 0.0, 1.6], yaw_deg: 0}
cameras:
  camera_front: {width: 640, height: 360, fx_px: 506, fy_px: 506, cx_px: 320, cy_px: 180}
microphones:
  audio_array: [[0.1, 0.1, 0], [-0.1, 0.1, 0], [-0.1, -0.1, 0], [0.1, -0.1, 0]]
"""


def drive(path, frames):
    """A video at 10 Hz that pans over a real picture."""
    (picture,) = DATA.glob("nuscenes/*CAM_FRONT__*.jpg")
    with av.open(str(picture)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        for n in range(frames):
            part = np.ascontiguousarray(image[300:660, (left := n * 4 % 960) : left + 640])
            for packet in stream.encode(av.VideoFrame.from_ndarray(part, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def sound(path, number, seconds):
    """What one microphone of a real array heard, as often as it takes."""
    with wave.open(str(DATA / f"audio/AMI_WSJ20-Array1-{number}_T10c0201.wav")) as file:
        rate_hz, samples = file.getframerate(), file.readframes(file.getnframes())
    size = seconds * rate_hz * 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * (size // len(samples) + 1))[:size])


class Player(threading.Thread):
    """Sends at recorded pace, over and over, until stopped; silent while `is_pulled`."""

    def __init__(self, steps):
        """`steps`: pairs of seconds to wait before, and what to do then."""
        super().__init__(daemon=True)
        self.steps = steps
        self.is_pulled = threading.Event()
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.is_set():
            due_ns = CLOCK.now_ns()
            for wait_s, send in self.steps:
                due_ns += round(wait_s * NS_PER_S)
                self.stopped.wait(max(0, due_ns - CLOCK.now_ns()) / NS_PER_S)
                if self.stopped.is_set():
                    return
                if not self.is_pulled.is_set():
                    send()


@contextlib.contextmanager
def playing(steps):
    player = Player(steps)
    player.start()
    try:
        yield player
    finally:
        player.stopped.set()
        player.join()


@contextlib.contextmanager
def lidar():
    """A VLP-16 that sends what a real one has sent; gives its player and the port."""
    packets = list(read_recording(recorded("nebula/vlp16/1673400471837873222"), None, Counter()))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        stamps = [packets[0].stamp_ns, *(packet.stamp_ns for packet in packets)]
        steps = [
            (max(0, after - before) / NS_PER_S, lambda one=one: sender.sendto(one, target))
            for before, after, one in zip(
                stamps, stamps[1:], (packet.payload for packet in packets), strict=False
            )
        ]
        target = ("127.0.0.1", port)
        with playing(steps) as player:
            yield player, port


class Receiver:
    """The far end of a serial line whose name stays the same when it is plugged in again."""

    def __init__(self):
        self.ends = self._raw(os.openpty())
        self.device = os.ttyname(self.ends[1])

    @staticmethod
    def _raw(ends):
        tty.setraw(ends[1])
        os.set_blocking(ends[0], False)  # nobody may be reading
        return ends

    def epochs(self):
        """A real receiver's sentences, a second at a time."""
        log = (DATA / "gps/neo-m8n.log").read_bytes()
        seconds = log[log.index(b"$GNRMC") :].split(b"$GNRMC")[1:]
        return [(1.0, lambda one=one: self.say(b"$GNRMC" + one)) for one in seconds]

    def say(self, sentences):
        with contextlib.suppress(OSError):
            os.write(self.ends[0], sentences)

    def pull_out(self):
        master, line = self.ends
        self.ends = (-1, -1)
        os.close(master)
        os.close(line)

    def plug_in(self):
        """Until the kernel gives the same number."""
        others = []
        while os.ttyname((ends := os.openpty())[1]) != self.device:
            others.append(ends)
            assert len(others) < 100, f"{self.device} does not come back"
        self.ends = self._raw(ends)
        for fd in (fd for pair in others for fd in pair):
            os.close(fd)


def states(health):
    return {stream.topic: stream.state for stream in health.streams}


def is_lost(topic, *others):
    """Whether it is, while the others go on."""
    return lambda health: states(health)[topic] == "silent" and are_alive(*others)(health)


def are_alive(*topics):
    return lambda health: all(states(health)[topic] in ("alive", "recovered") for topic in topics)


@contextlib.contextmanager
def answers(rig):
    """Waits for an answer of the fusion that is as wanted."""
    rig.health_when(lambda _: True, "there is Health")
    session = attach_session(rig.run_dir)
    with Subscriber([FUSION_TOPIC], session, session.clock()) as subscriber:

        def answer(holds, what):
            def wanted():
                received = subscriber.receive(NS_PER_S)
                return received is not None and holds(received.message)

            wait_until(wanted, what)

        yield answer


def without(*topics):
    """Whether just these are missing."""
    return lambda detections: (
        {member.topic for member in detections.members if member.quality == "missing"}
        == set(topics)
    )


def test_each_real_recording_is_a_sensor_whose_loss_heals():
    with contextlib.ExitStack() as stack:
        at = stack.enter_context(directory())
        packets, port = stack.enter_context(lidar())
        receiver = Receiver()
        stack.enter_context(playing(receiver.epochs()))
        drive(at / "drive.mp4", 80)
        for number in MICROPHONES:
            sound(at / f"mic{number}.wav", number, 14)
        (at / "recorded.calibration.yaml").write_text(CALIBRATION)
        (at / "recorded.yaml").write_text(RIG.format(port=port, device=receiver.device))
        rig = stack.enter_context(running(at, at / "recorded.yaml"))
        answer = stack.enter_context(answers(rig))

        every = ("camera/front", "lidar/top", "audio/array", "gps/main")
        rig.health_when(
            lambda health: all(stream.received > 2 for stream in health.streams), "all have come"
        )
        answer(without(), "every recording is in an answer")
        rig.health_when(is_lost("camera/front", "lidar/top", "gps/main"), "the video has ended")
        answer(without("camera/front"), "answers go on without a picture")
        rig.health_when(is_lost("audio/array", "lidar/top", "gps/main"), "the sound has ended")
        drive(at / "new.mp4", 900)
        for number in MICROPHONES:
            sound(at / f"new{number}.wav", number, 120)
            os.replace(at / f"new{number}.wav", at / f"mic{number}.wav")
        os.replace(at / "new.mp4", at / "drive.mp4")
        rig.health_when(are_alive(*every), "files were replaced")
        answer(without(), "every recording is in an answer again")

        packets.is_pulled.set()
        rig.health_when(is_lost("lidar/top", "camera/front", "audio/array"), "no packet comes")
        rig.health_when(lambda health: health.mode == "MINIMAL", "the mode says so")
        answer(without("lidar/top"), "answers go on without a sweep")
        packets.is_pulled.clear()
        rig.health_when(are_alive(*every), "packets come again")

        receiver.pull_out()
        rig.health_when(is_lost("gps/main", "camera/front", "audio/array"), "the line is closed")
        answer(without("gps/main"), "answers go on without a fix")
        receiver.plug_in()
        healed = rig.health_when(are_alive(*every), "the line is open again")
        answer(without(), "nothing is missing at the end")

        rates = {stream.topic: stream.rate_hz for stream in healed.streams}
        assert rates["camera/front"] == pytest.approx(10, rel=0.25)
        assert rates["audio/array"] == pytest.approx(50, rel=0.25)
        assert [process.restarts for process in healed.processes] == [0] * 5
        assert rig.stop() == 0
        assert "Traceback" not in rig.log_path.read_text()


FILES = """\
rig: files
calibration: recorded.calibration.yaml
sensors:
  camera/front: {driver: images, path: pictures, rate_hz: 5, repeat: true}
  lidar/top:
    driver: ouster
    metadata: packets/OS-1-128_v2.3.0_1024x10.json
    path: packets/OS-1-128_v2.3.0_1024x10_lb_n3.pcap
  audio/array: {driver: wav, path: [mic1.wav, mic2.wav, mic3.wav, mic4.wav], repeat: true}
  gps/main: {driver: file, path: gps/neo-m8n.log, rate_hz: 1}
"""


def test_recordings_beside_the_rig_file_are_played_wherever_it_is_started_from():
    recorded("ouster")
    with directory() as at:
        (at / "pictures").mkdir()
        for n, path in enumerate(sorted(DATA.glob("nuscenes/*__CAM_*.jpg"))):
            (at / f"pictures/{n}.jpg").symlink_to(path.resolve())
        (at / "packets").symlink_to((DATA / "lidar_packets/ouster").resolve())
        (at / "gps").symlink_to((DATA / "gps").resolve())
        for number in MICROPHONES:
            sound(at / f"mic{number}.wav", number, 5)
        calibration = CALIBRATION.replace("640, height: 360", "1600, height: 900")
        (at / "recorded.calibration.yaml").write_text(calibration)
        (at / "files.yaml").write_text(FILES)
        with running(at, at / "files.yaml") as rig:
            rig.health_when(
                lambda health: all(stream.received > 1 for stream in health.streams), "all come"
            )
            lost = is_lost("lidar/top", "camera/front", "audio/array", "gps/main")
            rig.health_when(lost, "the packets have ended")
            (at / "packets").unlink()
            (at / "new").mkdir()
            for path in (DATA / "lidar_packets/ouster").glob("OS-1-128*"):
                (at / "new" / path.name).write_bytes(path.read_bytes())
            (at / "new").rename(at / "packets")
            rig.health_when(
                lambda health: health.streams[1].received > 5, "the packets are played again"
            )
            assert rig.stop() == 0
