"""docs/transport.md says about drops and sizes what the code does."""

import re
from pathlib import Path

from fusion_rt.transport import audience, publisher, sources, subscriber, wire
from fusion_rt.transport.drops import Drop

PAGE = (Path(__file__).parents[2] / "docs/transport.md").read_text()
TEXT = " ".join(PAGE.split())
ROWS = dict(re.findall(r"^\| `(\w+)` \| ([a-z]+) \|", PAGE, re.MULTILINE))
AT_PUBLISHER = {Drop.RING_FULL, Drop.READER_BEHIND}
STRAYS = {Drop.MALFORMED, Drop.WRONG_VERSION, Drop.WRONG_TOPIC}


def test_every_cause_is_told_with_its_place() -> None:
    places = {
        drop.value: "publisher" if drop in AT_PUBLISHER else "strays" if drop in STRAYS else "inbox"
        for drop in Drop
    }
    assert places == ROWS


def test_the_sizes_are_those_of_the_code() -> None:
    for claim in (
        f"at most {wire.MAX_HEADER_BYTES >> 10} KiB, sent as one packet",
        f"up to {wire.INLINE_BYTES >> 10} KiB together",
        f"*ring*: {publisher._RING_SLOTS} slots",
        f"A message: {wire.MAX_PAYLOADS} arrays",
        f"one slot of at most {wire.MAX_PAYLOAD_BYTES >> 20} MiB",
        f"A publisher: {audience._MAX_LANES} lanes",
        f"A subscriber: {subscriber._MAX_LANES} lanes",
    ):
        assert claim in TEXT, claim
    assert sources.MAX_HOLD == 2
    assert "at most two slots of a ring" in TEXT
    assert audience._HIGH_WATER == 8
    assert "at most eight messages waiting" in TEXT


def test_the_files_it_points_to_are_there() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / link).exists(), link
