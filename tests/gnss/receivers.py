"""What receivers send, made to measure: sentences, frames and epochs with right checksums."""

import struct
from functools import reduce
from operator import xor
from typing import Any

from fusion_rt.gnss.framing import crc24q, ubx_checksum

PVT = struct.Struct("<IHBBBBBBIiBBBBiiiiIIiiiiiIIHHiihH")
SOL = struct.Struct("<IihBBiiiIiiiIHBBI")
POSLLH = struct.Struct("<IiiiiII")
TIMEGPS = struct.Struct("<IihbBI")


def nmea(body: str) -> bytes:
    """A sentence as sent, from what stands between `$` and `*`."""
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n".encode()


def ubx(ids: str, payload: bytes) -> bytes:
    """A frame as sent; `ids` are class and number in hexadecimal."""
    body = bytes.fromhex(ids) + len(payload).to_bytes(2, "little") + payload
    return b"\xb5b" + body + ubx_checksum(body)


def rtcm(payload: bytes) -> bytes:
    """A frame of RTCM 3."""
    frame = b"\xd3" + len(payload).to_bytes(2, "big") + payload
    return frame + crc24q(frame).to_bytes(3, "big")


def gga(time: str = "120000.00", quality: int = 1, altitude: str = "100.0,M,47.0") -> bytes:
    return nmea(f"GPGGA,{time},4807.0380,N,01131.0000,E,{quality},08,0.9,{altitude},M,,")


def rmc(time: str = "120000.00", status: str = "A", motion: str = "10.0,90.0") -> bytes:
    return nmea(f"GPRMC,{time},{status},4807.0380,N,01131.0000,E,{motion},230326,,,A")


def pvt(itow_ms: int = 1000, **values: Any) -> bytes:
    """NAV-PVT of generation 8 and later, at 48.1, 11.5 in good order unless told otherwise."""
    told: dict[str, Any] = {
        "calendar": (2026, 3, 23, 12, 0, 0),
        "valid": 7,
        "nano": 0,
        "fix_type": 3,
        "flags": 1,
        "flags3": 0,
        "lat": 481000000,
        "lon": 115000000,
        **values,
    }
    payload = PVT.pack(
        itow_ms,
        *told["calendar"],
        told["valid"],
        30,  # time accuracy, ns
        told["nano"],
        told["fix_type"],
        told["flags"],
        0,
        9,  # satellites
        told["lon"],
        told["lat"],
        560_000,  # height above the ellipsoid, mm
        512_000,
        1500,  # horizontal accuracy, mm
        2500,
        *(3000, 4000, -500),  # velocity north, east, down, mm/s
        5000,
        5_313_010,  # heading, 1e-5 degrees
        100,
        200_000,
        120,  # PDOP, 0.01
        told["flags3"],
        *(0, 0, 0, 0),
    )
    return ubx("0107", payload[:92])


def sol(itow_ms: int, ecef_cm: tuple[int, int, int], flags: int = 0xD, week: int = 2150) -> bytes:
    """NAV-SOL, with 7 satellites."""
    accuracies = (250, 10, 20, 30, 40)  # position in cm, velocity and its accuracy in cm/s
    return ubx("0106", SOL.pack(itow_ms, 0, week, 3, flags, *ecef_cm, *accuracies, 180, 0, 7, 0))
