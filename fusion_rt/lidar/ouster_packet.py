"""Takes Ouster's lidar packets apart, whatever their profile, for the decoder.

Layouts are those of the Ouster Sensor Documentation, "Lidar Data Packet Format": a packet header,
columns of a header and one pixel per beam, a packet footer. The LEGACY profile has no packet
header, and says in a column's footer whether the column is valid.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.lidar.ouster_metadata import OusterUnit


class Field(msgspec.Struct, frozen=True):
    """Where a value lies in a pixel: at this byte, of this type, masked, then shifted left."""

    at: int
    kind: str
    mask: int = 0
    """0: all bits."""
    shift: int = 0
    """Negative: right."""


_RANGE19 = Field(0, "<u4", 0x7FFFF)
_RANGE15 = Field(0, "<u2", 0x7FFF, 3)
_FLAGS5 = Field(2, "u1", 0xF8, -3)
_SECOND19 = {
    "RANGE2": Field(4, "<u4", 0x7FFFF),
    "FLAGS2": Field(6, "u1", 0xF8, -3),
    "REFLECTIVITY2": Field(7, "u1"),
}
_SINGLE = {
    "RANGE": _RANGE19,
    "FLAGS": _FLAGS5,
    "REFLECTIVITY": Field(4, "u1"),
    "SIGNAL": Field(6, "<u2"),
    "NEAR_IR": Field(8, "<u2"),
}
_DUAL = {
    "RANGE": _RANGE19,
    "FLAGS": _FLAGS5,
    "REFLECTIVITY": Field(3, "u1"),
    **_SECOND19,
    "SIGNAL": Field(8, "<u2"),
    "SIGNAL2": Field(10, "<u2"),
    "NEAR_IR": Field(12, "<u2"),
}
_LOW = {
    "RANGE": _RANGE15,
    "FLAGS": Field(1, "u1", 0x80, -7),
    "REFLECTIVITY": Field(2, "u1"),
    "NEAR_IR": Field(3, "u1", 0, 4),
}
_LOW_DUAL = {
    **_LOW,
    "RANGE2": Field(4, "<u2", 0x7FFF, 3),
    "FLAGS2": Field(5, "u1", 0x80, -7),
    "REFLECTIVITY2": Field(6, "u1"),
}
_LEGACY = {
    "RANGE": Field(0, "<u4", 0xFFFFF),
    "FLAGS": Field(3, "u1", 0xF0, -4),
    "REFLECTIVITY": Field(4, "u1"),
    "SIGNAL": Field(6, "<u2"),
    "NEAR_IR": Field(8, "<u2"),
}
_RGB = {
    "RANGE": _RANGE19,
    "FLAGS": _FLAGS5,
    "REFLECTIVITY": Field(3, "u1"),
    "SIGNAL": Field(4, "<u2"),
    "NEAR_IR": Field(6, "<u2"),
}

PROFILES: dict[str, tuple[int, dict[str, Field]]] = {
    "LEGACY": (12, _LEGACY),
    "RNG19_RFL8_SIG16_NIR16": (12, _SINGLE),
    "RNG19_RFL8_SIG16_NIR16_DUAL": (16, _DUAL),
    "RNG15_RFL8_NIR8": (4, _LOW),
    "RNG15_RFL8_WIN8": (4, {name: _LOW[name] for name in ("RANGE", "FLAGS", "REFLECTIVITY")}),
    "RNG15_RFL8_NIR8_DUAL": (8, _LOW_DUAL),
    "FUSA_RNG15_RFL8_NIR8_DUAL": (8, _LOW_DUAL),
    "FIVE_WORD_PIXEL": (20, _DUAL),
    "RNG15_RFL8_NIR8_ZONE16": (8, _LOW),
    "RNG19_RFL8_SIG16_NIR16_ZONE16": (12, _SINGLE),
    "RNG19_RFL8_SIG16_ZONE16_DUAL": (
        16,
        {name: field for name, field in _DUAL.items() if name != "NEAR_IR"},
    ),
    "RNG19_RFL8_SIG16_NIR16_RGB16": (16, _RGB),
    "RNG19_RFL8_SIG16_NIR16_RGB16_DUAL": (20, _DUAL),
}
"""Profile -> bytes per pixel and fields."""

_WIDER = {"<u2": np.uint32, "u1": np.uint16}


class PacketLayout:
    """The packets of one unit."""

    def __init__(self, unit: OusterUnit) -> None:
        if unit.profile not in PROFILES:
            raise ValueError(
                f'expected a profile we know ({", ".join(PROFILES)}), got "{unit.profile}"'
            )
        pixel_bytes, self.fields = PROFILES[unit.profile]
        self.is_legacy = unit.profile == "LEGACY"
        self.is_fusa = unit.is_fusa and not self.is_legacy
        self.beams = len(unit.altitude_rad)
        self.columns = unit.columns_per_packet
        self.head_bytes = 0 if self.is_legacy else 32
        pixel_at = 16 if self.is_legacy else 12
        pixels_end = pixel_at + self.beams * pixel_bytes
        self.column_bytes = pixels_end + (4 if self.is_legacy else 0)
        self.size = 2 * self.head_bytes + self.columns * self.column_bytes
        pixel = np.dtype((np.void, pixel_bytes))
        column = {
            "TIMESTAMP": ("<u8", 0),
            "MEASUREMENT_ID": ("<u2", 8),
            "STATUS": ("<u4", pixels_end) if self.is_legacy else ("<u2", 10),
            "pixels": ((pixel, (self.beams,)), pixel_at),
        }
        if self.is_legacy:
            column |= {"FRAME_ID": ("<u2", 10), "ENCODER_COUNT": ("<u4", 12)}
        self.pixel_bytes = pixel_bytes
        self.packet = self._packet(_structured(column, self.column_bytes))

    def _packet(self, column: np.dtype[Any]) -> np.dtype[Any]:
        fields: dict[str, tuple[Any, int]] = {
            "columns": ((column, (self.columns,)), self.head_bytes)
        }
        if self.is_fusa:
            fields |= {"FRAME_ID": ("<u4", 4)}
        elif not self.is_legacy:
            fields |= {"FRAME_ID": ("<u2", 2)}
        return _structured(fields, self.size)

    def field(self, data: npt.NDArray[np.void], name: str) -> npt.NDArray[Any]:
        """(packets, columns, beams) of one field of the pixels, or RAW32_WORDn, in its own unit."""
        if name.startswith("RAW32_WORD"):
            return self._raw(data, 4 * (int(name[10:]) - 1), "<u4")
        field = self.fields[name]
        values = self._raw(data, field.at, field.kind)
        if field.mask:
            values = values & values.dtype.type(field.mask)
        if field.shift < 0:
            return values >> -field.shift
        if field.shift > 0:
            return values.astype(_WIDER[field.kind]) << field.shift
        return values

    def _raw(self, data: npt.NDArray[np.void], at: int, kind: str) -> npt.NDArray[Any]:
        cell = np.dtype(
            {"names": ["value"], "formats": [kind], "offsets": [at], "itemsize": self.pixel_bytes}
        )
        values: npt.NDArray[Any] = data["columns"]["pixels"].view(cell)["value"]
        return values


def _structured(fields: dict[str, tuple[Any, int]], size: int) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [at for _, at in fields.values()],
            "itemsize": size,
        }
    )
