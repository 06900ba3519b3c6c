"""Reads the metadata file of an Ouster sensor: which packets it sends, and where its beams point.

The files have changed over the years: fields lie at the top (firmware 1 and 2), or in groups
(firmware 2.4 and later). Lengths are millimetres there and metres here.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

T = TypeVar("T")
_MM = 0.001
_GROUPS = ("lidar_data_format", "data_format", "beam_intrinsics", "lidar_intrinsics",
           "sensor_info", "config_params", "ouster-sdk")  # fmt: skip

Angles = Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=256)]
Matrix = Annotated[tuple[float, ...], msgspec.Meta(min_length=16, max_length=16)]
_GEN1_LIDAR_TO_SENSOR = (-1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0,
                         0.0, 0.0, 1.0, 36.18, 0.0, 0.0, 0.0, 1.0)  # fmt: skip


class _Metadata(msgspec.Struct, frozen=True):
    """The fields we need, from wherever the file has them."""

    beam_altitude_angles: Angles
    beam_azimuth_angles: Angles
    lidar_mode: str = ""
    columns_per_frame: Annotated[int, msgspec.Meta(ge=16, le=8192)] | None = None
    columns_per_packet: Annotated[int, msgspec.Meta(ge=1, le=64)] = 16
    column_window: tuple[int, int] | None = None
    udp_profile_lidar: str = "LEGACY"
    header_type: str = "STANDARD"
    lidar_origin_to_beam_origin_mm: float = 12.163
    """The first generation, whose files did not say, had this one."""
    beam_to_lidar_transform: Matrix | None = None
    lidar_to_sensor_transform: Matrix = _GEN1_LIDAR_TO_SENSOR
    prod_sn: str | int | None = None


class OusterUnit(msgspec.Struct, frozen=True):
    """One sensor as its metadata describes it; angles in radians, lengths in metres."""

    profile: str
    is_fusa: bool
    columns: int
    """Per turn."""
    columns_per_packet: int
    window: tuple[int, int]
    """First and last column that is sent; the first is the larger where the window spans zero."""
    altitude_rad: tuple[float, ...]
    azimuth_rad: tuple[float, ...]
    beam_m: tuple[float, float]
    """Place of the beams' origin: outwards, and up."""
    sensor_from_lidar: Matrix
    serial: int
    """0 when the file does not say."""


def read_metadata(path: Path) -> OusterUnit:
    """The unit that the file describes.

    Raises ValueError that says what is wrong with the file, OSError where there is none.
    """
    try:
        tree = json.loads(path.read_bytes())
        metadata = msgspec.convert(_flat(tree), _Metadata)
    except (ValueError, msgspec.ValidationError) as error:  # bad UTF-8, JSON or field
        raise ValueError(f"{path}: expected the metadata of an Ouster sensor; {error}") from error
    return _unit(metadata, str(path))


def _flat(tree: object) -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {}
    flat = dict(tree)
    for group in _GROUPS:
        if isinstance(tree.get(group), dict):
            flat |= {key: value for key, value in tree[group].items() if value is not None}
    return flat


def _unit(metadata: _Metadata, path: str) -> OusterUnit:
    beams = len(metadata.beam_altitude_angles)
    if len(metadata.beam_azimuth_angles) != beams:
        got = f"{beams} and {len(metadata.beam_azimuth_angles)}"
        raise ValueError(f"{path}: expected as many altitude as azimuth angles, got {got}")
    columns = metadata.columns_per_frame or _columns_of_mode(metadata.lidar_mode, path)
    if columns % metadata.columns_per_packet:
        got = f"{columns} of {metadata.columns_per_packet}"
        raise ValueError(f"{path}: expected whole packets per turn, got columns {got}")
    window = metadata.column_window or (0, columns - 1)
    if not all(0 <= column < columns for column in window):
        raise ValueError(f"{path}: expected column_window in 0..{columns - 1}, got {window}")
    transform = metadata.beam_to_lidar_transform
    beam_mm = (metadata.lidar_origin_to_beam_origin_mm, 0.0)
    if transform is not None:
        beam_mm = (transform[3], transform[11])
    return OusterUnit(
        profile=metadata.udp_profile_lidar,
        is_fusa="FUSA" in (metadata.header_type, metadata.udp_profile_lidar[:4]),
        columns=columns,
        columns_per_packet=metadata.columns_per_packet,
        window=window,
        altitude_rad=tuple(np.radians(metadata.beam_altitude_angles).tolist()),
        azimuth_rad=tuple(np.radians(metadata.beam_azimuth_angles).tolist()),
        beam_m=(beam_mm[0] * _MM, beam_mm[1] * _MM),
        sensor_from_lidar=_in_metres(metadata.lidar_to_sensor_transform),
        serial=_serial(metadata.prod_sn),
    )


def _columns_of_mode(mode: str, path: str) -> int:
    match = re.fullmatch(r"(\d{3,4})x\d+", mode)
    if match is None:
        wanted = "columns_per_frame, or lidar_mode such as 1024x10"
        raise ValueError(f'{path}: expected {wanted}, got "{mode}"')
    return int(match.group(1))


def _serial(text: str | int | None) -> int:
    return int(text) if str(text).isdecimal() and text is not None else 0


def _in_metres(matrix: Matrix) -> Matrix:
    return tuple(
        value * _MM if place in (3, 7, 11) else value for place, value in enumerate(matrix)
    )
