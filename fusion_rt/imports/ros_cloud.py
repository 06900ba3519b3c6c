"""Makes LiDAR sweeps of ROS point clouds, whatever their fields are called."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import LidarSweep

Floats = npt.NDArray[np.float64]

_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""Of sensor_msgs/PointField."""
_INTENSITY = ("intensity", "intensities", "i", "reflectivity", "signal")
_RING = ("ring", "channel", "line", "laser_id")
_TIME = ("t", "time", "timestamp", "time_stamp", "offset_time", "point_time_offset")
_LONGEST_TURN_S = 1.0
"""Times of points that differ by more are not times within a turn."""
_FULL_SCALE = {"i1": 127.0, "u1": 255.0, "i2": 32767.0, "u2": 65535.0}


def sweep_from_cloud(cloud: Any, stamp_ns: int, intensity_max: float) -> tuple[LidarSweep, str]:
    """From sensor_msgs/PointCloud2, and what had to be left out of it, empty when nothing was.

    Points without a return (not finite, or at the origin) are dropped. Where the points have times,
    the stamp moves to the last of them. Raises ValueError for a cloud that cannot be.
    """
    table = _table(cloud)
    xyz = np.stack([table[axis].astype(np.float32) for axis in "xyz"], axis=-1)
    is_return = np.isfinite(xyz).all(axis=-1) & xyz.any(axis=-1)
    table, xyz = table[is_return], xyz[is_return]
    points = np.zeros((len(xyz), 5), np.float32)
    points[:, :3] = xyz
    if (name := _first(table, _INTENSITY)) is not None:
        points[:, 3] = np.clip(np.nan_to_num(table[name].astype(np.float32) / intensity_max), 0, 1)
    dt_s, complaint = _times(table, stamp_ns)
    if dt_s is not None and len(dt_s):
        last_s = float(dt_s.max())
        points[:, 4] = dt_s - last_s
        stamp_ns += round(last_s * NS_PER_S)
    return LidarSweep(stamp_ns=stamp_ns, points=points, ring=_ring(table)), complaint


def intensity_scale(cloud: Any) -> float:
    """What a cloud's intensities seem to be counted in: 1, 255 or 65535."""
    table = _table(cloud)
    name = _first(table, _INTENSITY)
    if name is None:
        return 1.0
    if (full := _FULL_SCALE.get(table.dtype[name].str[1:])) is not None:
        return full
    most = float(np.nanmax(table[name], initial=0))
    return next((scale for scale in (1.0, 255.0, 65535.0) if most <= scale), most)


def _table(cloud: Any) -> npt.NDArray[Any]:
    """(N,) with a column per field of the cloud, of which x, y and z are there."""
    order, step = ">" if cloud.is_bigendian else "<", int(cloud.point_step)
    fields = {field.name: field for field in cloud.fields}
    if missing := [axis for axis in "xyz" if axis not in fields]:
        raise ValueError(f"no field {missing[0]}")
    height, width, row = int(cloud.height), int(cloud.width), int(cloud.row_step)
    data = np.frombuffer(cloud.data, np.uint8)
    if not step or (height > 1 and row < width * step):
        raise ValueError(f"{width} points of {step} bytes in rows of {row}")
    if height > 1 and row > width * step:  # rows are padded
        data = data[: height * row].reshape(height, row)[:, : width * step].reshape(-1)
    if data.size < height * width * step:
        raise ValueError(f"{data.size} bytes for {height * width} points of {step}")
    dtype = np.dtype(
        {
            "names": list(fields),
            "formats": [order + _DTYPES[field.datatype] for field in fields.values()],
            "offsets": [int(field.offset) for field in fields.values()],
            "itemsize": step,
        }
    )
    table: npt.NDArray[Any] = np.frombuffer(data[: height * width * step].tobytes(), dtype)
    return table


def _first(table: npt.NDArray[Any], names: tuple[str, ...]) -> str | None:
    there = table.dtype.names or ()
    return next((name for name in names if name in there), None)


def _ring(table: npt.NDArray[Any]) -> npt.NDArray[np.uint16] | None:
    name = _first(table, _RING)
    return None if name is None else table[name].astype(np.uint16)


def _times(table: npt.NDArray[Any], stamp_ns: int) -> tuple[Floats | None, str]:
    """(N,) seconds after `stamp_ns`; None where points have no times, or none to believe.

    Drivers write them as float seconds or integer nanoseconds, after the stamp or since 1970.
    """
    name = _first(table, _TIME)
    if name is None or not len(table):
        return None, ""
    values = table[name]
    is_float = values.dtype.kind == "f"
    if is_float:
        seconds = values.astype(np.float64)
        if abs(float(seconds[0])) > 1e17:  # nanoseconds all the same
            seconds = (seconds - stamp_ns) / NS_PER_S
        elif abs(float(seconds[0])) > 1e8:
            seconds = seconds - stamp_ns / NS_PER_S
    else:
        since_ns = stamp_ns if int(values[0]) > 10**17 else 0
        seconds = (values.astype(np.int64) - since_ns) / NS_PER_S
    if not np.ptp(seconds) <= _LONGEST_TURN_S or abs(float(seconds[0])) > _LONGEST_TURN_S:
        return None, f'times of points not believed (field "{name}")'
    return seconds, ""
