"""Draws docs/fusion/*.jpg: a simulated drive through the whole fusion in simulated time.

    python docs/draw_fusion.py [MODEL_DIRECTORY]

The camera is lost from 5 to 8 s, the LiDAR from 11 to 14 s. Needs no real time: on a slow machine
it takes longer and draws the same.
"""

import heapq
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import cv2
import msgspec

from fusion_rt.clock import NS_PER_S
from fusion_rt.config import Problems
from fusion_rt.demo_report import SceneDrawer
from fusion_rt.engine.engine import EngineOptions
from fusion_rt.fusion.inline import InlineFusion
from fusion_rt.fusion.options import FusionOptions, plan_fusion
from fusion_rt.fusion.runner import antenna_m, mounts_of
from fusion_rt.kernels import fingerprint
from fusion_rt.messages import CameraFrame, Detections, LidarSweep
from fusion_rt.perception import open_model
from fusion_rt.rig import load_rig, shipped_rigs
from fusion_rt.sim.drive import Drive, Made
from fusion_rt.sim.scenario import scenario_named
from fusion_rt.transport.wire import WIRE_VERSION, Header
from fusion_rt.yaml_file import read_yaml

LOSSES = {"camera/front": (5, 8), "lidar/top": (11, 14)}
SCENES = {
    "all": 4.5,
    "camera_lost": 7.5,
    "camera_back": 10.0,
    "lidar_lost": 13.5,
    "lidar_back": 16.5,
}
SECONDS = 17.0


def main() -> None:
    source = shipped_rigs()["sim"]
    rig = load_rig(source)
    options = FusionOptions(model=sys.argv[1] if len(sys.argv) > 1 else "reference")
    problems = Problems(read_yaml(source))
    plan = plan_fusion(options, Path(), rig.sensors, None, rig.calibration, problems)
    if plan is None:
        raise problems.as_error()
    drive = Drive(rig, scenario_named("urban_day", 1), 1)
    mounts = mounts_of(plan, rig.calibration)
    with open_model(Path(plan.model), mounts, "onnxruntime", EngineOptions(threads=2)) as model:
        fusion = InlineFusion(plan, model, NS_PER_S, antenna_m(plan, rig.calibration))
        Pictures(SceneDrawer(plan, rig.calibration)).draw(fusion, drive)


class Pictures:
    """Takes each scene's picture when its time has come."""

    def __init__(self, drawer: SceneDrawer) -> None:
        self._drawer = drawer
        self._due = dict(SCENES)
        self._newest: dict[str, object] = {}
        self._folder = Path(__file__).with_name("fusion")
        self._folder.mkdir(exist_ok=True)

    def draw(self, fusion: InlineFusion, drive: Drive) -> None:
        seqs = dict.fromkeys(drive.streams, 0)
        for each in _as_sent(drive.messages(SECONDS)):
            begin_s, end_s = LOSSES.get(each.topic, (0, 0))
            if begin_s <= each.shot.true_ns / NS_PER_S < end_s:
                self._newest.pop(each.topic, None)
                continue
            stamp_ns = each.message.stamp_ns + NS_PER_S
            message = msgspec.structs.replace(each.message, stamp_ns=stamp_ns)
            self._newest[each.topic] = message
            array = getattr(message, "image", getattr(message, "points", None))
            header = Header(
                version=WIRE_VERSION,
                topic=each.topic,
                node=each.topic,
                incarnation=1,
                seq=seqs[each.topic],
                stamp_ns=stamp_ns,
                sent_ns=each.shot.sent_ns + NS_PER_S,
                body=msgspec.Raw(b""),
                fingerprint=0 if array is None else fingerprint(array),
            )
            seqs[each.topic] += 1
            for answer in fusion.arrived(header, header.sent_ns, partial(_same, message)):
                self._take(answer)

    def _take(self, answer: Detections) -> None:
        at_s = answer.stamp_ns / NS_PER_S - 1
        for name, due_s in list(self._due.items()):
            if at_s < due_s:
                continue
            del self._due[name]
            frame, sweep = self._newest.get("camera/front"), self._newest.get("lidar/top")
            picture = self._drawer.draw(
                answer,
                frame if isinstance(frame, CameraFrame) else None,
                sweep if isinstance(sweep, LidarSweep) else None,
            )
            cv2.imwrite(str(self._folder / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _as_sent(measured: Iterable[Made]) -> Iterator[Made]:
    """In the order of sending, of messages in the order of measuring: none is sent before it is."""
    waiting: list[tuple[int, str, int, Made]] = []
    for each in measured:
        heapq.heappush(waiting, (each.shot.sent_ns, each.topic, each.shot.number, each))
        while waiting[0][0] <= each.shot.true_ns:
            yield heapq.heappop(waiting)[-1]
    while waiting:
        yield heapq.heappop(waiting)[-1]


def _same(message: object) -> object:
    return message


if __name__ == "__main__":
    main()
