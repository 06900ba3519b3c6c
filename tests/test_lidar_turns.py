import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_rt.clock import NS_PER_MS
from fusion_rt.lidar.turns import LONGEST_TURN_NS, MOST_PACKETS, Turn, TurnCutter

COLUMNS = 4


class Angles:
    """Packets that are nothing but the azimuths of their columns."""

    def angles(self, packet: bytes) -> list[int]:
        return list(struct.unpack(f"<{len(packet) // 2}H", packet))

    def last_angle(self, packet: bytes) -> int:
        return self.angles(packet)[-1]


def spin(start: int, step: int, count: int) -> list[bytes]:
    """Packets of a rotor that moves by `step` hundredths of a degree per column."""
    angles = [(start + n * step) % 36_000 for n in range(count * COLUMNS)]
    return [
        struct.pack(f"<{COLUMNS}H", *angles[n : n + COLUMNS])
        for n in range(0, len(angles), COLUMNS)
    ]


def cut(packets: list[bytes], cut_deg: float = 0, step_ns: int = NS_PER_MS) -> list[Turn]:
    cutter = TurnCutter(Angles(), cut_deg)
    found = [cutter.push(packet, n * step_ns) for n, packet in enumerate(packets)]
    return [turn for turn in (*found, cutter.flush()) if turn is not None]


def columns(turn: Turn) -> list[int]:
    """Azimuths of the columns that belong to a turn."""
    flat = [angle for packet in turn.packets for angle in Angles().angles(packet)]
    end = len(flat) - COLUMNS + turn.end_column if turn.end_column is not None else len(flat)
    return flat[turn.first_column : end]


@pytest.mark.parametrize("cut_deg", [0, 0.01, 90, 180, 359.99])
@pytest.mark.parametrize("step", [20, 33, -20, 300])
def test_each_turn_runs_from_cut_to_cut(cut_deg: float, step: int) -> None:
    turns = cut(spin(100, step, 36_000 * 4 // abs(step) // COLUMNS), cut_deg)
    whole = turns[1:-1]
    assert len(whole) >= 2
    for turn in whole:
        relative = [(angle - round(cut_deg * 100)) % 36_000 for angle in columns(turn)]
        assert relative == sorted(relative, reverse=step < 0)
        assert len(relative) in (36_000 // abs(step), 36_000 // abs(step) + 1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 35_999),
    st.integers(10, 400),
    st.floats(0, 359.99),
    st.integers(1, 400),
)
def test_no_column_is_lost_or_used_twice(start: int, step: int, cut_deg: float, count: int) -> None:
    packets = spin(start, step, count)
    flat = [angle for packet in packets for angle in Angles().angles(packet)]
    assert [angle for turn in cut(packets, cut_deg) for angle in columns(turn)] == flat


def test_a_limited_field_of_view_is_cut_where_it_starts_again() -> None:
    view = [packet for packet in spin(0, 25, 36_000 * 3 // 25 // COLUMNS)
            if all(9000 <= angle < 14_500 for angle in Angles().angles(packet))]  # fmt: skip
    turns = cut(view)
    assert len(turns) == 3
    assert all(columns(turn) == sorted(columns(turn)) for turn in turns)


def test_a_rotor_that_trembles_on_the_cut_makes_no_turns() -> None:
    trembling = [struct.pack("<4H", *([0, 35_999] * 2)) for _ in range(400)]
    assert [turn.ending for turn in cut(trembling)] == ["end"]


def test_a_rotor_that_stands_still_piles_nothing_up() -> None:
    turns = cut([struct.pack("<4H", 5, 5, 5, 5)] * 1200)
    assert {turn.ending for turn in turns[:-1]} == {"overlong"}
    assert max(len(turn.packets) for turn in turns) <= LONGEST_TURN_NS // NS_PER_MS + 2


def test_a_flood_piles_nothing_up() -> None:
    turns = cut([struct.pack("<4H", 5, 5, 5, 5)] * (MOST_PACKETS + 50), step_ns=1)
    assert len(turns[0].packets) <= MOST_PACKETS + 1


def test_silence_ends_a_turn() -> None:
    cutter = TurnCutter(Angles())
    before, after = spin(1000, 20, 2)
    assert cutter.push(before, 0) is None
    turn = cutter.push(after, 300 * NS_PER_MS)
    assert turn is not None
    assert (turn.ending, turn.packets) == ("gap", [before])
    rest = cutter.flush()
    assert rest is not None
    assert (rest.ending, rest.packets) == ("end", [after])
    assert cutter.flush() is None
