"""What Foxglove and Rerun need to show a log, made of what the log holds; our reader skips it.

Sensors' places and camera models stand once at the head of a file; boxes in 3-D beside each set of
detections.
"""

import math
from collections.abc import Mapping

from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.Color_pb2 import Color
from foxglove_schemas_protobuf.CubePrimitive_pb2 import CubePrimitive
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.KeyValuePair_pb2 import KeyValuePair
from foxglove_schemas_protobuf.Pose_pb2 import Pose
from foxglove_schemas_protobuf.Quaternion_pb2 import Quaternion
from foxglove_schemas_protobuf.SceneEntity_pb2 import SceneEntity
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from foxglove_schemas_protobuf.TextPrimitive_pb2 import TextPrimitive
from foxglove_schemas_protobuf.Vector3_pb2 import Vector3
from google.protobuf.duration_pb2 import Duration

from fusion_rt.calibration_file import BASE
from fusion_rt.geometry import CameraModel, Pinhole, RigidTransform
from fusion_rt.logs.foxglove import timestamp
from fusion_rt.messages import Detections

_PALETTE = (
    (0.90, 0.60, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
)
"""Okabe and Ito's colours, told apart by colour-blind people too."""
_LIFETIME_S = 1
_TEXT_PX = 12


def transforms(base_from: Mapping[str, RigidTransform], stamp_ns: int) -> FrameTransforms:
    """Where every frame sits in `base`."""
    return FrameTransforms(
        transforms=[
            FrameTransform(
                timestamp=timestamp(stamp_ns),
                parent_frame_id=BASE,
                child_frame_id=frame,
                translation=_vector(*place.translation_m),
                rotation=_quaternion(place),
            )
            for frame, place in base_from.items()
            if frame != BASE
        ]
    )


def camera_calibration(camera: CameraModel, frame: str, stamp_ns: int) -> CameraCalibration:
    fx, fy, cx, cy = camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px
    return CameraCalibration(
        timestamp=timestamp(stamp_ns),
        frame_id=frame,
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob" if isinstance(camera, Pinhole) else "kannala_brandt",
        D=camera.distortion,
        K=[fx, 0, cx, 0, fy, cy, 0, 0, 1],
        P=[fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0],
    )


def scene(detections: Detections) -> SceneUpdate:
    """One entity that the next one replaces: boxes, with class and score above each."""
    entity = SceneEntity(
        timestamp=timestamp(detections.stamp_ns),
        frame_id=BASE,
        id="detections",
        lifetime=Duration(seconds=_LIFETIME_S),
        metadata=[KeyValuePair(key="mode", value=detections.mode)],
    )
    rows = zip(detections.boxes, detections.scores, detections.class_ids, strict=True)
    for (x, y, z, length, width, height, yaw, *_), score, class_id in rows:
        turned = Quaternion(w=math.cos(yaw / 2), z=math.sin(yaw / 2))
        colour = _PALETTE[int(class_id) % len(_PALETTE)]
        entity.cubes.append(
            CubePrimitive(
                pose=Pose(position=_vector(x, y, z), orientation=turned),
                size=_vector(length, width, height),
                color=_colour(colour, 0.5),
            )
        )
        known = class_id < len(detections.classes)
        name = detections.classes[class_id] if known else f"class {class_id}"
        entity.texts.append(
            TextPrimitive(
                pose=Pose(position=_vector(x, y, z + height / 2), orientation=Quaternion(w=1)),
                billboard=True,
                font_size=_TEXT_PX,
                scale_invariant=True,
                color=_colour(colour, 1),
                text=f"{name} {score:.2f}",
            )
        )
    return SceneUpdate(entities=[entity])


def _vector(x: float, y: float, z: float) -> Vector3:
    return Vector3(x=x, y=y, z=z)


def _quaternion(place: RigidTransform) -> Quaternion:
    w, x, y, z = place.quaternion_wxyz
    return Quaternion(w=w, x=x, y=y, z=z)


def _colour(rgb: tuple[float, float, float], alpha: float) -> Color:
    red, green, blue = rgb
    return Color(r=red, g=green, b=blue, a=alpha)
