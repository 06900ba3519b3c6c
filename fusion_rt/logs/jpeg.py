"""Size of a JPEG, from its header: logs of others do not state it beside the picture."""

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81 table B.1
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def jpeg_size(data: memoryview) -> tuple[int, int]:
    """Width and height in pixels; raises ValueError where there is no frame header."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker in _START_OF_FRAME:
            return _u16(data, at + 7), _u16(data, at + 5)
        if marker == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 if marker in _ALONE else 2 + _u16(data, at + 2)
    raise ValueError("expected a JPEG with a frame header")


def _u16(data: memoryview, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
