"""The rig a log was recorded on: its files as attachments, and what a viewer needs of them."""

from collections.abc import Mapping

import msgspec

from fusion_rt.geometry import CameraModel, RigidTransform
from fusion_rt.rig import Rig
from fusion_rt.sensors import default_frame

RIG_FILE = "rig.yaml"
CALIBRATION_FILE = "calibration.yaml"


class LoggedRig(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a log keeps of a rig."""

    name: str
    digest: str
    """Of rig and calibration (`Rig.digest`)."""
    files: Mapping[str, bytes]
    """RIG_FILE and CALIBRATION_FILE, as they were read."""
    frames: Mapping[str, str]
    """Frame of reference by topic, where it is not KIND_NAME."""
    base_from: Mapping[str, RigidTransform]
    cameras: Mapping[str, CameraModel]

    def frame_of(self, topic: str) -> str:
        return self.frames.get(topic) or default_frame(topic)


NO_RIG = LoggedRig(name="", digest="", files={}, frames={}, base_from={}, cameras={})
"""Of logs that come from elsewhere."""


def logged_rig(rig: Rig) -> LoggedRig:
    return LoggedRig(
        name=rig.name,
        digest=rig.digest,
        files={RIG_FILE: rig.raw, CALIBRATION_FILE: rig.calibration.raw},
        frames={topic: sensor.frame for topic, sensor in rig.sensors.items()},
        base_from=rig.calibration.base_from,
        cameras=rig.calibration.cameras,
    )
