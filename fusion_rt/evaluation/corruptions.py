"""What can be wrong with a rig or its weather, put on purpose into the moments of an evaluation."""

from collections.abc import Callable, Sequence

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_MS
from fusion_rt.geometry import RigidTransform
from fusion_rt.model.moments import (
    Moment,
    mount_from_transform,
    packed_image,
    packed_sweep,
    transform_from_mount,
)
from fusion_rt.sim.scenario import Scenario

Generator = np.random.Generator
Image = npt.NDArray[np.uint8]
_BEAM_DEG = 0.4
"""About what lies between two beams of a 64-beam LiDAR."""


class Corruption(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    name: str
    about: str
    of_scenario: Callable[[Scenario], Scenario] | None = None
    of_moment: Callable[[Moment, Generator], Moment] | None = None
    camera_late_ns: int | None = None
    """How long after the anchor pictures are taken."""


def corrupted_moments(corruption: Corruption, moments: Sequence[Moment], seed: int) -> list[Moment]:
    """The moments, made worse; the same for the same seed."""
    if corruption.of_moment is None:
        return list(moments)
    rng = np.random.default_rng([seed, 0xBAD])
    return [corruption.of_moment(moment, rng) for moment in moments]


def with_wrong_camera_clock(moment: Moment, _: Generator) -> Moment:
    """The picture claims to be of the anchor time, and is not."""
    return msgspec.structs.replace(
        moment,
        camera_ns=moment.anchor_ns,
        ego_at_camera=moment.ego,
        labels_at_camera=moment.labels,
    )


def with_turned_camera(degrees: float) -> Callable[[Moment, Generator], Moment]:
    """The calibration says where the camera looked before someone leaned on it."""

    def turned(moment: Moment, rng: Generator) -> Moment:
        axis = rng.standard_normal(3)
        axis *= np.radians(degrees) / np.linalg.norm(axis)
        mount = transform_from_mount(moment.base_from_camera)
        rotation = cv2.Rodrigues(axis)[0] @ mount.rotation
        wrong = RigidTransform(rotation, mount.translation_m)
        return msgspec.structs.replace(moment, base_from_camera=mount_from_transform(wrong))

    return turned


def with_quarter_of_beams(moment: Moment, _: Generator) -> Moment:
    """Every fourth beam is left, by the elevation of its points."""
    sweep = moment.sweep
    reach_m = np.hypot(sweep[:, 0], sweep[:, 1])
    beam = np.floor(np.degrees(np.arctan2(sweep[:, 2], reach_m)) / _BEAM_DEG).astype(np.int64)
    return msgspec.structs.replace(moment, points=packed_sweep(sweep[beam % 4 == 0]))


def with_glare(moment: Moment, rng: Generator) -> Moment:
    """A low sun in the picture, and a veil over all of it."""
    image = moment.image.astype(np.float32)
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    row, column = rng.uniform(0.2, 0.55) * height, rng.uniform(0.2, 0.8) * width
    apart2 = ((rows - row) ** 2 + (columns - column) ** 2) / (0.16 * width) ** 2
    light = 60 + 400 * np.exp(-apart2)
    return _pictured(moment, image + light[..., None].astype(np.float32))


def with_noise(moment: Moment, rng: Generator) -> Moment:
    """Gaussian noise of 25 of 255 on every pixel and colour."""
    image = moment.image.astype(np.float32)
    return _pictured(moment, image + rng.normal(0, 25, image.shape).astype(np.float32))


def at_night(scenario: Scenario) -> Scenario:
    sky = msgspec.structs.replace(scenario.sky, sun_elevation_deg=-15.0)
    return msgspec.structs.replace(scenario, sky=sky)


def in_fog(scenario: Scenario) -> Scenario:
    """80 m of visibility."""
    weather = msgspec.structs.replace(scenario.weather, visibility_m=80.0)
    return msgspec.structs.replace(scenario, weather=weather)


def in_rain(scenario: Scenario) -> Scenario:
    """15 mm/h, on the lens too."""
    weather = msgspec.structs.replace(
        scenario.weather, rain_mm_h=15.0, visibility_m=1250.0, lens_drops=30
    )
    return msgspec.structs.replace(scenario, weather=weather)


def _pictured(moment: Moment, image: npt.NDArray[np.float32]) -> Moment:
    picture = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return msgspec.structs.replace(moment, jpeg=packed_image(picture))


def _late(milliseconds: int) -> tuple[Corruption, Corruption]:
    late_ns = milliseconds * NS_PER_MS
    return (
        Corruption(
            name=f"camera_{milliseconds}ms_late",
            about=f"pictures {milliseconds} ms after the sweep, and stamped so",
            camera_late_ns=late_ns,
        ),
        Corruption(
            name=f"camera_clock_{milliseconds}ms_off",
            about=f"pictures {milliseconds} ms after the sweep, stamped as if with it",
            camera_late_ns=late_ns,
            of_moment=with_wrong_camera_clock,
        ),
    )


CORRUPTIONS: tuple[Corruption, ...] = (
    *_late(50),
    *_late(100),
    *_late(200),
    *(
        Corruption(
            name=f"camera_turned_{degrees}deg",
            about=f"the camera {degrees} degrees off its calibration, about any axis",
            of_moment=with_turned_camera(degrees),
        )
        for degrees in (1, 2)
    ),
    Corruption(
        name="beams_quarter", about="every fourth LiDAR beam", of_moment=with_quarter_of_beams
    ),
    Corruption(name="glare", about="a low sun in the picture", of_moment=with_glare),
    Corruption(name="night", about="the same drive at night", of_scenario=at_night),
    Corruption(name="fog", about="the same drive in fog, 80 m", of_scenario=in_fog),
    Corruption(name="rain", about="the same drive in rain, 15 mm/h", of_scenario=in_rain),
    Corruption(name="image_noise", about="noise of 25 of 255 per pixel", of_moment=with_noise),
)
