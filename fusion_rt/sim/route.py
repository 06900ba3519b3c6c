"""Ways through the city: straights and arcs, by length along them."""

import bisect
import math

import msgspec
import numpy as np

from fusion_rt.sim.streets import (
    HEADINGS,
    STOP_LINE_M,
    Link,
    Node,
    heading_rad,
    node_after,
    turns_at,
)

RIGHT_RADIUS_M = 5.0
LEFT_RADIUS_M = 9.0
_CENTRE_RADIUS_M = 7.0  # of who drives in the middle of the street
_STRAIGHT_WEIGHT = 2.0  # against 1 for each turn


class Pose(msgspec.Struct, frozen=True):
    """Place and direction in the city frame."""

    x_m: float
    y_m: float
    yaw_rad: float


class _Piece(msgspec.Struct, frozen=True):
    start_m: float
    x_m: float
    y_m: float
    yaw_rad: float
    curvature: float
    """1/m, positive to the left."""


class Plan:
    """The crossings on a way, drawn as far as anybody asks: who follows shares the plan."""

    def __init__(self, first: Link, nodes: int, rng: np.random.Generator) -> None:
        self._links = [first]
        self._nodes = nodes
        self._rng = rng

    def link(self, leg: int) -> Link:
        """The lane of leg `leg`."""
        while len(self._links) <= leg:
            i, j, heading = self._links[-1]
            choices = turns_at((i, j), heading, self._nodes)
            weights = np.array([_STRAIGHT_WEIGHT if turn == heading else 1.0 for turn in choices])
            onwards = int(self._rng.choice(choices, p=weights / weights.sum()))
            self._links.append((*node_after((i, j), onwards), onwards))
        return self._links[leg]


class Route:
    """A plan driven at one offset from the middle of the street; leg k ends at its stop line."""

    def __init__(self, plan: Plan, block_m: float, offset_m: float, before_m: float) -> None:
        """Starts on the first leg, `before_m` before its stop line."""
        self.plan = plan
        self.stops_m: list[float] = []
        """Length at the stop line of each leg."""
        self.exits_m: list[float] = []
        """Length at which the crossing after each leg is clear again."""
        self.is_turn: list[bool] = []
        self._block_m = block_m
        self._offset_m = offset_m
        i, j, heading = plan.link(0)
        x_m, y_m = self._from_node((i, j), heading, -STOP_LINE_M - before_m, offset_m)
        self._pieces = [_Piece(0.0, x_m, y_m, heading_rad(heading), 0.0)]
        self._starts_m = [0.0]
        self._along_m = -STOP_LINE_M - before_m  # of the last piece's start, from the node ahead

    def reach(self, length_m: float) -> None:
        """Draw the way as far as one whole leg beyond `length_m`."""
        while len(self.stops_m) < 2 or self.stops_m[-2] < length_m:
            self._add_crossing()

    def stop_m(self, leg: int) -> float:
        while len(self.stops_m) <= leg:
            self._add_crossing()
        return self.stops_m[leg]

    def pose(self, length_m: float) -> Pose:
        """Where one is after `length_m`, and which way one looks."""
        return self.pose_and_curvature(length_m)[0]

    def pose_and_curvature(self, length_m: float) -> tuple[Pose, float]:
        """Also how the way bends there: 1/m, positive to the left."""
        self.reach(length_m)
        piece = self._pieces[bisect.bisect_right(self._starts_m, length_m) - 1]
        return _on_piece(piece, length_m - piece.start_m), piece.curvature

    def turn_ahead_m(self, leg: int, length_m: float) -> float | None:
        """From here to where leg `leg` begins to turn; 0 within the turn, None if it does not."""
        self.stop_m(leg)
        return max(0.0, self.stops_m[leg] - length_m) if self.is_turn[leg] else None

    def _from_node(
        self, node: Node, heading: int, ahead_m: float, right_m: float
    ) -> tuple[float, float]:
        hx, hy = HEADINGS[heading]
        x_m = node[0] * self._block_m + ahead_m * hx + right_m * hy
        return x_m, node[1] * self._block_m + ahead_m * hy - right_m * hx

    def _add_crossing(self) -> None:
        leg = len(self.stops_m)
        (i, j, heading), (_, _, onwards) = self.plan.link(leg), self.plan.link(leg + 1)
        start_m = self._starts_m[-1]
        self.stops_m.append(start_m - STOP_LINE_M - self._along_m)
        turn = (onwards - heading) % 4
        self.is_turn.append(turn != 0)
        if turn == 0:
            length_m, self._along_m = -self._along_m, 0.0
            self._append(start_m + length_m, (i, j), onwards, 0.0)
        else:
            self._add_turn((i, j), heading, onwards, is_left=turn == 1)
        self.exits_m.append(self._starts_m[-1] + STOP_LINE_M - self._along_m)
        self._along_m -= self._block_m

    def _add_turn(self, node: Node, heading: int, onwards: int, *, is_left: bool) -> None:
        radius_m = LEFT_RADIUS_M if is_left else RIGHT_RADIUS_M
        if self._offset_m == 0:
            radius_m = _CENTRE_RADIUS_M
        side = 1 if is_left else -1
        corner_m = side * self._offset_m  # where the old line meets the new one, along the old
        begin_m = corner_m - radius_m
        start_m = self._starts_m[-1] + begin_m - self._along_m
        x_m, y_m = self._from_node(node, heading, begin_m, self._offset_m)
        self._push(_Piece(start_m, x_m, y_m, heading_rad(heading), side / radius_m))
        self._along_m = radius_m - side * self._offset_m
        self._append(start_m + radius_m * math.pi / 2, node, onwards, self._along_m)

    def _append(self, start_m: float, node: Node, heading: int, ahead_m: float) -> None:
        x_m, y_m = self._from_node(node, heading, ahead_m, self._offset_m)
        self._push(_Piece(start_m, x_m, y_m, heading_rad(heading), 0.0))

    def _push(self, piece: _Piece) -> None:
        self._pieces.append(piece)
        self._starts_m.append(piece.start_m)


def _on_piece(piece: _Piece, along_m: float) -> Pose:
    yaw = piece.yaw_rad
    if piece.curvature == 0:
        x_m = piece.x_m + along_m * math.cos(yaw)
        return Pose(x_m, piece.y_m + along_m * math.sin(yaw), yaw)
    end = yaw + along_m * piece.curvature
    x_m = piece.x_m + (math.sin(end) - math.sin(yaw)) / piece.curvature
    return Pose(x_m, piece.y_m - (math.cos(end) - math.cos(yaw)) / piece.curvature, end)


def ring_pose(along_m: float, half_m: float, radius_m: float) -> Pose:
    """On a square of half side `half_m` with rounded corners about the origin, clockwise.

    It begins in the middle of the north side, eastwards.
    """
    side_m, corner_m = 2 * (half_m - radius_m), radius_m * math.pi / 2
    quarter, rest_m = divmod(along_m + side_m / 2, side_m + corner_m)
    yaw = -quarter * math.pi / 2
    if rest_m <= side_m:
        x_m, y_m, turned = rest_m - side_m / 2, half_m, 0.0
    else:
        turned = (rest_m - side_m) / radius_m
        x_m = side_m / 2 + radius_m * math.sin(turned)
        y_m = side_m / 2 + radius_m * math.cos(turned)
    cos, sin = math.cos(yaw), math.sin(yaw)
    heading = math.remainder(yaw - turned, math.tau)
    return Pose(cos * x_m - sin * y_m, sin * x_m + cos * y_m, heading)


def ring_length_m(half_m: float, radius_m: float) -> float:
    """Once round `ring_pose`."""
    return 8 * (half_m - radius_m) + math.tau * radius_m
