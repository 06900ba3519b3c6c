"""Feeds damaged bytes to the decoders of GPS receivers and sound files, and demands order.

    python tests/fuzz/fuzz_sensors.py --inputs 1000000 --seed 1

Exit code 1, with the reason, when a decoder raised, kept more than a frame's worth, lost an intact
sentence behind a damaged one, or gave a fix that may not be published.
"""

import argparse
import io
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a program, it finds the tests

from fusion_rt.clock import NS_PER_S, SettableClock
from fusion_rt.drivers.gpsd import GpsdOptions, ReportReader
from fusion_rt.drivers.port import DriverPort
from fusion_rt.errors import RecordingError
from fusion_rt.gnss.decoder import GnssDecoder
from fusion_rt.gnss.framing import Splitter
from fusion_rt.gnss.live import LiveFixes
from fusion_rt.messages import GpsFix
from fusion_rt.sound.wav_file import as_type, head_from_chunks, stored_frames
from tests.gnss.receivers import gga, nmea, pvt, rmc, rtcm, sol, ubx

Random = random.Random
_START_NS = 1_700_000_000 * NS_PER_S
_MAX_KEPT = 8192 + 8 + 4096
_GROWTH_LIMIT = 32 << 20

INTACT = (
    gga(),
    rmc(),
    nmea("GNGNS,120000.00,4807.0380,N,01131.0000,E,AAN,12,0.8,100.0,47.0,,,V"),
    nmea("GNGSA,A,3,29,20,18,16,51,13,44,26,,,,,0.99,0.54,0.83,1"),
    nmea("GPVTG,221.54,T,,M,32.000,N,59.295,K,A"),
    nmea("GNGST,120000.00,22,2.5,2.4,126,0.98,1.0,3.1"),
    nmea("GNZDA,120000.00,11,07,2020,00,00"),
    nmea("GPGLL,4807.0380,N,01131.0000,E,120000.00,A,A"),
    nmea(
        "PUBX,00,120000.00,4807.0380,N,01131.0000,E,560.1,G3,2.1,2.0,0.1,77.5,0.0,,0.9,1.1,0.8,9,0"
    ),
    pvt(),
    pvt(2000, calendar=(2026, 12, 31, 23, 59, 60), nano=-400_000_000),
    sol(1000, (415_000_000, 85_000_000, 475_000_000)),
    ubx("0102", struct.pack("<IiiiiII", 1000, 115000000, 481000000, 560000, 512000, 1500, 2500)),
    ubx("0103", struct.pack("<IBBBBII", 1000, 3, 0xD, 0, 0, 1, 2)),
    ubx("0120", struct.pack("<IihbBI", 1000, -5, 2150, 18, 7, 30)),
    ubx("0161", struct.pack("<I", 1000)),
    rtcm(b"\x3e\xd0" + bytes(17)),
)
TPV = {
    "class": "TPV",
    "device": "/dev/ttyACM0",
    "mode": 3,
    "status": 2,
    "time": "2026-03-23T12:00:00.000Z",
    "lat": 48.1,
    "lon": 11.5,
    "altHAE": 560.0,
    "eph": 1.5,
    "epv": 2.5,
    "track": 90.0,
    "speed": 5.0,
    "climb": 0.1,
}
SKY = {"class": "SKY", "device": "/dev/ttyACM0", "hdop": 0.9, "uSat": 9, "satellites": []}
PPS = {"class": "PPS", "device": "/dev/ttyACM0", "clock_sec": 1_700_000_000, "clock_nsec": 12}
DEVICES = {"class": "DEVICES", "devices": [{"path": "/dev/ttyACM0"}]}
_HOSTILE = (None, True, -1, 1e308, 2**70, "x", "nan", "", [], {}, [{}], {"used": True}, 91.0, -181)
_TEXT = (b"*", b"$", b"!", b",", b",,,", b"\xb5b", b"\xd3\x00", b"\r\n", b"-", b"9" * 20, b"\xff")


def damaged(data: bytes, random: Random) -> bytes:
    """Flipped bits, cuts, repeats, and what has a meaning put where it has none."""
    at = random.randrange(len(data) + 1)
    to = random.randrange(at, len(data) + 1)
    kind = random.random()
    if kind < 0.3:
        flipped = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 8))):
            flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        return bytes(flipped)
    if kind < 0.5:
        return data[:at] + data[to:]
    if kind < 0.7:
        return data[:at] + random.choice(_TEXT) + data[random.choice((at, to)) :]
    if kind < 0.85:
        return random.randbytes(random.choice((0, 1, 5, 60, 300)))
    return data[:at] + data[at:to] * random.choice((2, 3, 40)) + data[to:]


def resealed(data: bytes, random: Random) -> bytes:
    """Other content under a right checksum: what a receiver gone mad would send."""
    if data[:1] == b"$":
        body = bytearray(data[1:].partition(b"*")[0])
        body[random.randrange(len(body))] = random.choice(b",.-0123456789ANSEW")
        return nmea(body.decode())
    if data[:2] == b"\xb5b":
        payload = bytearray(data[6:-2])
        at = random.randrange(len(payload))
        payload[at : at + 4] = random.randbytes(random.choice((0, 1, 4)))
        return ubx(data[2:4].hex(), bytes(payload))
    return data


def fuzz_receiver(inputs: int, random: Random) -> Counter[str]:
    """NMEA, UBX and RTCM as one stream, cut anywhere; an intact sentence behind each input."""
    port = _port()
    decoder, live = GnssDecoder(port.counters), _live(port)
    splitter, found = Splitter(Counter()), 0
    for number in range(inputs):
        make = resealed if random.random() < 0.5 else damaged
        stream = make(random.choice(INTACT), random) + nmea(f"GPTXT,{number}")
        at = random.randrange(len(stream) + 1)
        frames = splitter.feed(stream[:at], number) + splitter.feed(stream[at:], number)
        solutions = decoder.feed(stream[:at], _START_NS + number * NS_PER_S)
        solutions += decoder.feed(stream[at:], _START_NS + number * NS_PER_S)
        if number % 2:
            frames += splitter.flush()
            solutions += decoder.flush()
        if not number % 20:
            live = _live(port)
        _check_publishable(live.fixes(solutions), port)
        found += sum(frame.body.startswith(b"GPTXT,") for frame in frames)
        _check_small(len(splitter._buffer))
    found += sum(frame.body.startswith(b"GPTXT,") for frame in splitter.flush())
    # UBX has 16 bits of checksum: one torn frame in 65536 is whole with what happens to follow.
    if found < inputs - inputs // 50_000:
        raise AssertionError(f"lost intact sentences: {found} of {inputs} found")
    return port.counters


def fuzz_gpsd(inputs: int, random: Random) -> Counter[str]:
    """Lines of gpsd, damaged as bytes or with other values in the right places."""
    port = _port()
    live = _live(port)
    reports = ReportReader(GpsdOptions(driver="gpsd"), port, live)
    for number in range(inputs):
        report = dict(random.choice((TPV, TPV, TPV, SKY, PPS, DEVICES)))
        if random.random() < 0.6:
            report[random.choice(list(report))] = random.choice(_HOSTILE)
            line = msgspec.json.encode(report)
        else:
            line = damaged(msgspec.json.encode(report), random)
        solution = reports.solution(line, _START_NS + number * NS_PER_S)
        _check_publishable(live.fixes([solution] if solution else []), port)
    return port.counters


def fuzz_wav(inputs: int, random: Random) -> Counter[str]:
    """Heads and samples of WAV files."""
    counters: Counter[str] = Counter()
    whole = [wav(code, size) for code, size in ((1, 1), (1, 2), (1, 3), (1, 4), (3, 4), (3, 8))]
    for _ in range(inputs):
        data = damaged(random.choice(whole), random)
        file = io.BytesIO(data)
        try:
            head = head_from_chunks(file, len(data), "fuzzed.wav")
        except RecordingError:
            counters["refused"] += 1
            continue
        _check_small(head.frames * head.frame_bytes)
        sound = as_type(stored_frames(file, head, 0, 1000), np.float32)
        if not np.all(np.abs(sound) <= 1):
            raise AssertionError(f"sample beyond full scale: {sound}")
        counters["played"] += 1
    return counters


def wav(code: int, sample_bytes: int, channels: int = 2, rate_hz: int = 16_000) -> bytes:
    """A WAV file of noise, with a chunk in front that is to be passed over."""
    frame = sample_bytes * channels
    shape = struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame, frame, frame * 4)
    sound = Random(1).randbytes(frame * 20)
    chunks = b"LIST\x03\0\0\0abc\0" + b"fmt " + struct.pack("<I", 16) + shape
    chunks += b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def _port() -> DriverPort:
    return DriverPort("gps/a", SettableClock(_START_NS), nullcontext, Counter())


def _live(port: DriverPort) -> LiveFixes:
    return LiveFixes(GpsdOptions(driver="gpsd"), port)


def _check_publishable(fixes: Iterable[GpsFix], port: DriverPort) -> None:
    for fix in fixes:
        port.counters["fixes"] += 1
        problem = fix.problem()
        msgspec.convert(msgspec.to_builtins(fix), GpsFix)  # as a subscriber checks it
        if problem is not None:
            raise AssertionError(f"{problem}: {fix}")


def _check_small(size: int) -> None:
    if size > _MAX_KEPT:
        raise AssertionError(f"{size} bytes kept or asked for")


TARGETS: dict[str, Callable[[int, Random], Counter[str]]] = {
    "receiver": fuzz_receiver,
    "gpsd": fuzz_gpsd,
    "wav": fuzz_wav,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=30_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for name, fuzz in TARGETS.items():
        before, started_s = psutil.Process().memory_info().rss, time.monotonic()
        counters = fuzz(options.inputs, Random(options.seed))
        rate = options.inputs / (time.monotonic() - started_s)
        grown = psutil.Process().memory_info().rss - before
        print(f"{name}: {rate:,.0f} inputs/s, memory {grown >> 10:+,} KiB, {dict(counters)}")
        if grown > _GROWTH_LIMIT:
            raise SystemExit(f"{name}: memory grew by {grown >> 20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
