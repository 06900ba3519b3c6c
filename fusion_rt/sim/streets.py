"""The plan of the city: a grid of streets, and where things stand across one.

City frame: x east, y north, z up, metres; the crossing of the first two streets is the origin.
Crossing (i, j) lies at (i * block, j * block). Headings are 0 east, 1 north, 2 west, 3 south.
Offsets are measured from the middle of a street; traffic keeps to the right.
`native/ground.h` paints the same plan on the ground.
"""

import math

LANE_M = 1.9
PARKED_M = 4.9
CYCLE_M = 6.75
TREE_M = 7.75
SIDEWALK_M = 8.8
FRONT_M = 10.2
"""Where buildings begin."""
STOP_LINE_M = 13.0
"""From the middle of a crossing."""
LAMP_SPACING_M = 30.0
"""About: a whole number of lamps stands along a block."""
LAMP_HEIGHT_M = 6.5
TUNNEL_MOUTH_M = 22.0
"""From the middle of a crossing."""
TUNNEL_HEIGHT_M = 5.2

HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))
Node = tuple[int, int]
Link = tuple[int, int, int]
"""A lane: the crossing it leads to, and its heading."""


def node_after(node: Node, heading: int) -> Node:
    """The next crossing that way."""
    step = HEADINGS[heading]
    return node[0] + step[0], node[1] + step[1]


def node_before(node: Node, heading: int) -> Node:
    """The crossing from which one comes to `node` with this heading."""
    return node_after(node, (heading + 2) % 4)


def lamps_per_block(block_m: float) -> int:
    """Along each side of a street between two crossings."""
    return max(1, round(block_m / LAMP_SPACING_M))


def heading_rad(heading: int) -> float:
    """From east, anticlockwise."""
    return heading * math.pi / 2


def turns_at(node: Node, heading: int, nodes: int) -> list[int]:
    """The headings one can leave `node` with: not back, not off the grid."""
    found = []
    for turn in (0, 1, 3):
        onwards = (heading + turn) % 4
        i, j = node_after(node, onwards)
        if 0 <= i < nodes and 0 <= j < nodes:
            found.append(onwards)
    return found
