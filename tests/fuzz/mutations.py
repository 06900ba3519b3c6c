"""Damage to msgpack: what bits, cables, other versions and liars do to a frame."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

Random = random.Random
_INTEGERS = (
    0,
    1,
    -1,
    2,
    255,
    2**28,
    2**28 + 1,
    2**31,
    2**48,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -(2**63),
)
_DECLARED = (
    b"\xdd\xff\xff\xff\xff",  # array of 2^32 - 1
    b"\xdf\xff\xff\xff\xff",  # map
    b"\xc6\xff\xff\xff\xff",  # bytes
    b"\xdb\xff\xff\xff\xff",  # text
    b"\xc9\xff\xff\xff\xff\x01",  # extension
    b"\xdc\xff\xff",
    b"\xc1",  # never used
    b"\xa2\xff\xfe",  # text that is not UTF-8
    b"\xd9\x03\xed\xa0\x80",  # a surrogate
    b"\xca\x7f\xc0\x00\x00",  # not a number
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",  # infinite
    b"\xd6\xff\x00\x00\x00\x00",  # a timestamp
    b"\x91" * 3000,  # deep
    b"\x81\xa0" * 3000,
)


def hostile(random: Random) -> Any:
    """A value of some type, seldom the one expected."""
    choices: tuple[Callable[[], Any], ...] = (
        lambda: random.choice(_INTEGERS),
        lambda: random.choice((None, True, False, float("nan"), float("inf"), -0.0, 1e308)),
        lambda: random.choice(("", "x", "x" * 129, "camera/front", "|u1", "<f8", "|O", "\0")),
        lambda: random.randbytes(random.choice((0, 1, 16, 300))),
        lambda: [random.choice(_INTEGERS)] * random.choice((0, 1, 2, 4, 9, 100)),
        lambda: {"inline": b"", "slot": [0, 0, 0, 0], "shape": [], "": {}},
        lambda: _nested(random.choice((3, 40, 900))),
    )
    return random.choice(choices)()


def damaged_bytes(data: bytes, other: bytes, random: Random) -> bytes:
    """Flipped bits, cuts, splices with another frame, lengths that lie."""
    at = random.randrange(len(data) + 1)
    to = random.randrange(at, len(data) + 1)
    choices: tuple[Callable[[], bytes], ...] = (
        lambda: _flipped(data, random),
        lambda: _flipped(data, random),
        lambda: data[:at],
        lambda: data[:at] + data[to:],
        lambda: data[:at] + random.choice(_DECLARED) + data[at:],
        lambda: data[:at] + random.choice(_DECLARED) + data[to:],
        lambda: data[:at] + random.randbytes(random.randrange(1, 9)) + data[at:],
        lambda: data[:at] + other[random.randrange(len(other) + 1) :],
        lambda: data + data[at:],
        lambda: random.randbytes(random.choice((0, 1, 2, 40, 400))),
    )
    return random.choice(choices)()


def damaged_fields(data: bytes, random: Random) -> bytes:
    """Another value or type somewhere in the tree; a field removed, or one nobody knows."""
    tree = msgspec.msgpack.decode(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        tree = _changed(tree, random)
    return msgspec.msgpack.encode(tree)


def lying_fields(data: bytes, random: Random) -> bytes:
    """A well-formed header that claims another place, size, type, order or index than is true."""
    tree = msgspec.msgpack.decode(data)
    lies: list[Callable[[], Any]] = [
        lambda: tree.update(body=_other_numbers(tree["body"], random)),
        lambda: tree.update(seq=random.choice((0, 3, 2**47))),
        lambda: tree.update(incarnation=random.choice((0, 7, 2**63))),
        lambda: tree.update(stamp_ns=random.choice((0, 9, 2**63 - 1))),
        lambda: tree.update(payloads=tree.get("payloads", [])[::-1]),
        lambda: tree.update(payloads=tree.get("payloads", []) * 2),
    ]
    for payload in tree.get("payloads", ()):
        lies.append(lambda payload=payload: _lie_about(payload, random))
        lies.append(lambda payload=payload: _lie_about(payload, random))
    random.choice(lies)()
    return msgspec.msgpack.encode(tree)


def _lie_about(payload: dict[str, Any], random: Random) -> None:
    kind = random.random()
    if kind < 0.2:
        payload["dtype"] = random.choice(("|u1", "|i1", "<u2", "<f2", "<f4", "<i8", "<f8"))
    elif kind < 0.5:
        sizes = (0, 1, 2, 5, 4096, 2**28)
        payload["shape"] = [random.choice(sizes) for _ in range(random.choice((0, 1, 2, 3, 6)))]
    elif kind < 0.7 or "slot" not in payload:
        payload.pop(random.choice(("inline", "slot")), None)
    else:
        at = random.randrange(4)
        near = payload["slot"][at] + random.choice((-64, -2, -1, 1, 2, 64, 4096, 2**27))
        payload["slot"][at] = max(near, 0)


def _other_numbers(tree: Any, random: Random) -> Any:
    if isinstance(tree, dict):
        return {name: _other_numbers(value, random) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_other_numbers(value, random) for value in tree]
    if type(tree) in (int, float) and random.random() < 0.4:
        return type(tree)(random.choice((0, 1, 2, 100, 2**31, 2**62)))
    return tree


def _changed(tree: Any, random: Random) -> Any:
    if isinstance(tree, dict) and tree and random.random() < 0.85:
        key = random.choice(list(tree))
        kind = random.random()
        if kind < 0.1:
            return {name: value for name, value in tree.items() if name != key}
        if kind < 0.2:
            return {**tree, "colour_of_a_later_version": hostile(random)}
        return {**tree, key: _changed(tree[key], random)}
    if isinstance(tree, list) and tree and random.random() < 0.85:
        at = random.randrange(len(tree))
        return [*tree[:at], _changed(tree[at], random), *tree[at + 1 :]]
    if type(tree) is int and random.random() < 0.3:
        return min(max(tree + random.choice((-1, 1, 64)), -(2**63)), 2**64 - 1)
    return hostile(random)


def _flipped(data: bytes, random: Random) -> bytes:
    flipped = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if data else 0):
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    return bytes(flipped)


def _nested(depth: int) -> Any:
    tree: Any = 0
    for _ in range(depth):
        tree = [tree]
    return tree
