from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.gnss.framing import NMEA_CHECKSUM, NOISE, RTCM, UBX_CHECKSUM, Frame, Splitter
from tests.gnss.receivers import gga, nmea, pvt, rmc, rtcm, ubx

STREAM = (gga(), pvt(), rmc(), ubx("0A04", b"\xff" * 40), nmea("GPTXT,01,01,02,u-blox!"))


def cut(*pieces: bytes) -> list[Frame]:
    splitter = Splitter(Counter())
    frames = [frame for at, piece in enumerate(pieces) for frame in splitter.feed(piece, at)]
    return frames + splitter.flush()


def test_sentences_and_frames_come_out_in_order_whatever_the_pieces() -> None:
    whole = cut(b"".join(STREAM))
    assert [frame.protocol for frame in whole] == ["nmea", "ubx", "nmea", "ubx", "nmea"]
    byte_by_byte = cut(*(bytes([byte]) for byte in b"".join(STREAM)))
    assert [frame.body for frame in byte_by_byte] == [frame.body for frame in whole]


@given(st.lists(st.binary(max_size=60), min_size=6, max_size=6))
def test_garbage_between_sentences_costs_none_of_them(garbage: list[bytes]) -> None:
    noisy = b"".join(noise + frame for noise, frame in zip(garbage, (*STREAM, b""), strict=True))
    bodies = [frame.body for frame in cut(noisy)]
    assert [frame.body for frame in cut(b"".join(STREAM))] == [
        body for body in bodies if body in b"".join(STREAM)
    ]


@pytest.mark.parametrize(
    "garbage",
    [
        b"$",
        b"$GP",
        b"$GPGGA,120000.00,48",
        b"$GPGGA,1*5",
        b"!A",
        b"\xb5",
        b"\xb5b",
        b"\xb5b\x01\x07\x5c\x00",
        b"\xb5b\x01\x07\xff\xff",
        b"\xd3",
        b"\xd3\x03\xff",
        b"\xd3\x00\x13" * 30,
        b"\xa0\xa2\x00\x10",
        pvt()[:-1],
        rtcm(b"abc")[:-1],
    ],
)
@pytest.mark.parametrize("whole", [gga(), pvt(), rtcm(b"\x3e\xd0abc") + gga()])
def test_the_beginning_of_something_else_costs_nothing_behind_it(
    garbage: bytes, whole: bytes
) -> None:
    assert [frame.body for frame in cut(garbage + whole)] == [frame.body for frame in cut(whole)]


def test_a_hit_inside_a_sentence_costs_only_that_sentence() -> None:
    for at in range(len(gga().rstrip())):
        hit = bytearray(gga())
        hit[at] ^= 0x80
        assert [frame.body for frame in cut(rmc(), bytes(hit), pvt())] == [
            frame.body for frame in cut(rmc(), pvt())
        ]


def test_damage_is_counted_by_cause() -> None:
    counters: Counter[str] = Counter()
    splitter = Splitter(counters)
    broken = ubx("0107", b"\x00" * 92)[:-1] + b"\x55"
    splitter.feed(b"text" + gga().replace(b"N", b"S") + broken + rtcm(b"abc"), 0)
    assert (counters[NMEA_CHECKSUM], counters[UBX_CHECKSUM], counters[RTCM]) == (1, 1, 1)
    assert counters[NOISE] == 4 + len(gga()) + len(broken)


def test_sentences_without_checksum_are_taken_until_one_has_it() -> None:
    bare = b"$GPGLL,4807.0380,N,01131.0000,E,120000.00,A\r\n"
    assert len(cut(bare, bare)) == 2
    assert len(cut(bare, gga(), bare)) == 2


def test_a_frame_arrived_when_its_first_byte_did() -> None:
    sentence = gga()
    frames = cut(sentence[:20], sentence[20:] + rmc()[:5], rmc()[5:])
    assert [frame.arrival_ns for frame in frames] == [0, 1]


def test_what_is_held_back_stays_small() -> None:
    splitter = Splitter(Counter())
    for piece in (b"$GPGGA,", b"9" * 400, b"\xb5b\x01\x07\xff\x1f", b"\x00" * 9000, b"\xd3\x03"):
        splitter.feed(piece * 50, 0)
        assert len(splitter._buffer) < 8300
    assert len(splitter._arrivals) < 60
