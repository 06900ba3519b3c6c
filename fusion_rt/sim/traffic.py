"""How everybody drives: a small deterministic traffic model, stepped from the start of the drive.

Vehicles follow whoever is ahead (the Intelligent Driver Model of Treiber, Hennecke and Helbing,
2000), let one another through crossings one at a time in order of arrival, halt for pedestrians in
the street, and make way for sirens. Between steps acceleration is constant, so that motion is a
smooth function of time, the same in every process that asks.
"""

import math

import msgspec
import numpy as np

from fusion_rt.sim.route import Pose, Route
from fusion_rt.sim.streets import SIDEWALK_M, STOP_LINE_M, Link, Node, node_before

STEP_S = 0.1
_ACCELERATION = 1.8
_BRAKING = 2.5
_HARDEST_BRAKING = 8.0
_HEADWAY_S = 1.3
_STANDSTILL_GAP_M = 2.0
_TURN_MPS = 5.0
_HALT_S = 1.5
_YIELD_RANGE_M = 60.0
_YIELD_SHIFT_M = 0.8
_YIELD_MPS = 1.5
_SHIFT_MPS = 0.5
_WALK_MPS = 1.4
_KERBSIDE_M = 6.5
_FREE_M = 1e6


class Vehicle:
    """One vehicle, as the model steps it."""

    def __init__(
        self, route: Route, length_m: float, speed_mps: float, rng: np.random.Generator
    ) -> None:
        self.route = route
        self.length_m = length_m
        self.speed_mps = speed_mps
        self.rng = rng
        self.along_m = 0.0
        self.v_mps = 0.0
        self.shift_m = 0.0
        self.leg = 0
        self.must_halt = False
        self.halted_s = 0.0
        self.has_right = False
        """Of way, through the crossing ahead."""
        self.held: Node | None = None
        """The crossing it is in, or about to enter."""
        self.clear_m = 0.0
        """Length at which it has left that."""
        self.request_step: int | None = None
        self.siren_step: int | None = None
        """When an emergency vehicle comes into being; None for all others."""
        self.behind_m: float | None = None
        """How far behind the ego it does; None for where its route begins."""

    @property
    def before_stop_m(self) -> float:
        return self.route.stop_m(self.leg) - self.along_m

    def link(self) -> Link:
        return self.route.plan.link(self.leg)


class Crosser:
    """A pedestrian who goes to and fro across one street."""

    def __init__(self, node: Node, heading: int, waits_s: float, rng: np.random.Generator) -> None:
        self.node = node
        self.heading = heading
        self.rng = rng
        self.y_m = SIDEWALK_M
        self.side = 1
        self.waits_s = waits_s
        self.is_walking = False


class Motion(msgspec.Struct, frozen=True):
    """Where a vehicle is at one time, and how it moves."""

    pose: Pose
    v_mps: float
    yaw_rate: float
    """rad/s"""
    is_present: bool


class Traffic:
    """All vehicles and crossing pedestrians; vehicle 0 is the ego."""

    def __init__(
        self, vehicles: list[Vehicle], crossers: list[Crosser], block_m: float, halts: float
    ) -> None:
        self.vehicles = vehicles
        self.crossers = crossers
        self._block_m = block_m
        self._halts = halts
        self._owners: dict[Node, int] = {}
        self._step = 0
        self._history: list[list[tuple[float, float, float]]] = []
        self._walks: list[list[float]] = []
        for vehicle in vehicles:
            vehicle.must_halt = bool(vehicle.rng.random() < halts)
        self._remember()

    def motion(self, number: int, t_s: float) -> Motion:
        """Of one vehicle; times before it comes into being count as that moment."""
        vehicle = self.vehicles[number]
        begins_s = (vehicle.siren_step or 0) * STEP_S
        step, share = self._reached(max(t_s, begins_s))
        (s0, v0, y0), (_, v1, y1) = self._history[step][number], self._history[step + 1][number]
        into_s = share * STEP_S
        along_m = s0 + v0 * into_s + (v1 - v0) / STEP_S * into_s**2 / 2
        v_mps = v0 + (v1 - v0) * share
        shift_m = y0 + (y1 - y0) * share
        pose, curvature = vehicle.route.pose_and_curvature(along_m)
        x_m = pose.x_m + shift_m * math.sin(pose.yaw_rad)
        y_m = pose.y_m - shift_m * math.cos(pose.yaw_rad)
        is_present = vehicle.siren_step is None or t_s >= begins_s
        return Motion(Pose(x_m, y_m, pose.yaw_rad), v_mps, v_mps * curvature, is_present)

    def crossing(self, number: int, t_s: float) -> tuple[float, float]:
        """A crosser's offset from the middle of its street, and its speed that way."""
        step, share = self._reached(t_s)
        before, after = self._walks[step][number], self._walks[step + 1][number]
        return before + (after - before) * share, (after - before) / STEP_S

    def _reached(self, t_s: float) -> tuple[int, float]:
        step, share = divmod(max(0.0, t_s) / STEP_S, 1.0)
        while self._step <= step:
            self._advance()
        return int(step), share

    def _remember(self) -> None:
        self._history.append([(v.along_m, v.v_mps, v.shift_m) for v in self.vehicles])
        self._walks.append([crosser.y_m for crosser in self.crossers])

    def _advance(self) -> None:
        self._step += 1
        for number, vehicle in enumerate(self.vehicles):
            if vehicle.siren_step == self._step:
                self._appear(number, vehicle)
        present = [n for n, v in enumerate(self.vehicles) if (v.siren_step or 0) <= self._step]
        ordinary = [n for n in present if self.vehicles[n].siren_step is None]
        sirens = [self._place(n) for n in present if self.vehicles[n].siren_step is not None]
        lanes = self._lanes(ordinary)
        self._grant(ordinary, lanes, sirens)
        accelerations = {n: self._acceleration(n, lanes, sirens) for n in ordinary}
        accelerations |= {
            n: self._rush(self.vehicles[n]) for n in present if n not in accelerations
        }
        for number, acceleration in accelerations.items():
            self._move(number, acceleration, sirens)
        self._walk(lanes, sirens)
        self._remember()

    def _appear(self, number: int, vehicle: Vehicle) -> None:
        vehicle.v_mps = vehicle.speed_mps
        if vehicle.behind_m is None:
            return
        ego = self.vehicles[0]
        along_m = vehicle.route.stop_m(ego.leg) - ego.before_stop_m - vehicle.behind_m
        vehicle.along_m = max(0.0, along_m)
        vehicle.leg = next(
            leg for leg in range(ego.leg + 1) if vehicle.route.stop_m(leg) > vehicle.along_m
        )
        self._history[-1][number] = (vehicle.along_m, vehicle.v_mps, 0.0)

    def _place(self, number: int) -> tuple[float, float]:
        pose = self.vehicles[number].route.pose(self.vehicles[number].along_m)
        return pose.x_m, pose.y_m

    def _is_near(
        self, place: tuple[float, float], sirens: list[tuple[float, float]], range_m: float
    ) -> bool:
        return any(math.dist(place, siren) < range_m for siren in sirens)

    def _lanes(self, numbers: list[int]) -> dict[Link, list[tuple[float, int]]]:
        """Who is in each lane, nearest to its stop line first."""
        lanes: dict[Link, list[tuple[float, int]]] = {}
        for number in numbers:
            vehicle = self.vehicles[number]
            lanes.setdefault(vehicle.link(), []).append((vehicle.before_stop_m, number))
        for lane in lanes.values():
            lane.sort()
        return lanes

    def _grant(
        self,
        numbers: list[int],
        lanes: dict[Link, list[tuple[float, int]]],
        sirens: list[tuple[float, float]],
    ) -> None:
        """Let the first who asked into each free crossing, if there is room behind it."""
        asking = [n for n in numbers if self._asks(self.vehicles[n])]
        for number in asking:
            vehicle = self.vehicles[number]
            if vehicle.request_step is None:
                vehicle.request_step = self._step
        for number in sorted(asking, key=lambda n: (self.vehicles[n].request_step, n)):
            vehicle = self.vehicles[number]
            node = vehicle.link()[:2]
            middle = (node[0] * self._block_m, node[1] * self._block_m)
            onwards = lanes.get(vehicle.route.plan.link(vehicle.leg + 1), [])
            has_room = not onwards or onwards[-1][0] < self._block_m - 2 * STOP_LINE_M - 14
            if node not in self._owners and has_room and not self._is_near(middle, sirens, 80):
                self._owners[node] = number
                vehicle.has_right, vehicle.request_step = True, None

    def _asks(self, vehicle: Vehicle) -> bool:
        if vehicle.has_right or vehicle.held is not None:
            return False
        if vehicle.must_halt:
            return vehicle.halted_s >= _HALT_S
        braking_m = vehicle.v_mps**2 / (2 * _BRAKING)
        return vehicle.before_stop_m < braking_m + vehicle.length_m / 2 + 8

    def _acceleration(
        self,
        number: int,
        lanes: dict[Link, list[tuple[float, int]]],
        sirens: list[tuple[float, float]],
    ) -> float:
        vehicle = self.vehicles[number]
        wanted_mps = min(vehicle.speed_mps, self._turn_limit(vehicle))
        if self._is_near(self._place(number), sirens, _YIELD_RANGE_M) and vehicle.held is None:
            wanted_mps = min(wanted_mps, _YIELD_MPS)
        gaps = [self._leader(vehicle, number, lanes), self._zebra(vehicle)]
        if not vehicle.has_right:
            gaps.append((vehicle.before_stop_m - vehicle.length_m / 2, 0.0))
        return min(_follow(vehicle.v_mps, wanted_mps, gap_m, lead) for gap_m, lead in gaps)

    def _turn_limit(self, vehicle: Vehicle) -> float:
        """Speed from which one can still slow down for the turn."""
        limits = [_FREE_M]
        for leg in (vehicle.leg - 1, vehicle.leg):
            is_past = leg < 0 or vehicle.along_m > vehicle.route.exits_m[leg]
            ahead_m = None if is_past else vehicle.route.turn_ahead_m(leg, vehicle.along_m)
            if ahead_m is not None:
                limits.append(math.sqrt(_TURN_MPS**2 + 2 * 0.8 * _BRAKING * ahead_m))
        return min(limits)

    def _leader(
        self, vehicle: Vehicle, number: int, lanes: dict[Link, list[tuple[float, int]]]
    ) -> tuple[float, float]:
        """Gap to who is ahead, in this lane or the next, and their speed."""
        own_m = vehicle.before_stop_m
        ahead = [
            (rest_m, n) for rest_m, n in lanes[vehicle.link()] if (rest_m, n) < (own_m, number)
        ]
        if ahead:
            rest_m, leader = ahead[-1]
            distance_m = own_m - rest_m
        else:
            onwards = lanes.get(vehicle.route.plan.link(vehicle.leg + 1), [])
            if not onwards:
                return _FREE_M, 0.0
            rest_m, leader = onwards[-1]
            leg_m = vehicle.route.stop_m(vehicle.leg + 1) - vehicle.route.stop_m(vehicle.leg)
            distance_m = own_m + leg_m - rest_m
        other = self.vehicles[leader]
        return distance_m - (vehicle.length_m + other.length_m) / 2, other.v_mps

    def _zebra(self, vehicle: Vehicle) -> tuple[float, float]:
        """Gap to the pedestrians' crossing ahead while somebody is on it."""
        gap_m = self._before_zebra_m(vehicle) - vehicle.length_m / 2 - 2
        i, j, heading = vehicle.link()
        if gap_m < -2:
            return _FREE_M, 0.0
        for crosser in self.crossers:
            is_on_it = crosser.is_walking and abs(crosser.y_m) < _KERBSIDE_M
            if is_on_it and (i, j, heading) in _both_lanes(crosser):
                return gap_m, 0.0
        return _FREE_M, 0.0

    def _before_zebra_m(self, vehicle: Vehicle) -> float:
        return vehicle.before_stop_m - (self._block_m / 2 - STOP_LINE_M)

    def _rush(self, vehicle: Vehicle) -> float:
        """An emergency vehicle passes all others, in the middle of the street."""
        wanted_mps = min(vehicle.speed_mps, self._turn_limit(vehicle))
        return max(-_BRAKING, min(_ACCELERATION, (wanted_mps - vehicle.v_mps) / 0.5))

    def _move(self, number: int, acceleration: float, sirens: list[tuple[float, float]]) -> None:
        vehicle = self.vehicles[number]
        before_mps = vehicle.v_mps
        vehicle.v_mps = max(0.0, before_mps + acceleration * STEP_S)
        vehicle.along_m += (before_mps + vehicle.v_mps) / 2 * STEP_S
        is_yielding = vehicle.siren_step is None and self._is_near(
            self._place(number), sirens, _YIELD_RANGE_M
        )
        wanted_m = _YIELD_SHIFT_M if is_yielding else 0.0
        most_m = _SHIFT_MPS * STEP_S if vehicle.v_mps > 0.3 else 0.0
        vehicle.shift_m += max(-most_m, min(most_m, wanted_m - vehicle.shift_m))
        if vehicle.v_mps < 0.1 and vehicle.before_stop_m < vehicle.length_m + 8:
            vehicle.halted_s += STEP_S
        self._pass_lines(vehicle, number)

    def _pass_lines(self, vehicle: Vehicle, number: int) -> None:
        if vehicle.before_stop_m <= vehicle.length_m / 2 and vehicle.has_right:
            vehicle.held = vehicle.link()[:2]
            vehicle.clear_m = vehicle.route.exits_m[vehicle.leg] + vehicle.length_m / 2
        if vehicle.before_stop_m <= 0:
            vehicle.leg += 1
            vehicle.has_right, vehicle.halted_s = False, 0.0
            vehicle.must_halt = bool(vehicle.rng.random() < self._halts)
        if vehicle.held is not None and vehicle.along_m > vehicle.clear_m:
            if self._owners.get(vehicle.held) == number:
                del self._owners[vehicle.held]
            vehicle.held = None

    def _walk(
        self, lanes: dict[Link, list[tuple[float, int]]], sirens: list[tuple[float, float]]
    ) -> None:
        for crosser in self.crossers:
            if not crosser.is_walking:
                crosser.waits_s -= STEP_S
                crosser.is_walking = crosser.waits_s <= 0 and self._is_clear(crosser, lanes, sirens)
                continue
            crosser.y_m -= crosser.side * _WALK_MPS * STEP_S
            if crosser.y_m * crosser.side < -SIDEWALK_M:
                crosser.is_walking, crosser.side = False, -crosser.side
                crosser.waits_s = float(crosser.rng.uniform(4, 20))

    def _is_clear(
        self,
        crosser: Crosser,
        lanes: dict[Link, list[tuple[float, int]]],
        sirens: list[tuple[float, float]],
    ) -> bool:
        """Nobody is so near that they would have to brake hard, or stands on the zebra."""
        for lane in _both_lanes(crosser):
            for _, number in lanes.get(lane, []):
                vehicle = self.vehicles[number]
                front_m = self._before_zebra_m(vehicle) - vehicle.length_m / 2
                needs_m = vehicle.v_mps**2 / (2 * 0.7 * _BRAKING) + 6
                is_past = front_m < -vehicle.length_m - 2
                if not is_past and front_m < needs_m and not (front_m > 2 and vehicle.v_mps < 0.1):
                    return False
        return not self._is_near(crosser_place(crosser, self._block_m), sirens, 100)


def _both_lanes(crosser: Crosser) -> tuple[Link, Link]:
    heading = crosser.heading
    back = node_before(crosser.node, heading)
    return (*crosser.node, heading), (*back, (heading + 2) % 4)


def crosser_place(crosser: Crosser, block_m: float) -> tuple[float, float]:
    """Where its crossing lies: the middle of the street before its node."""
    back = node_before(crosser.node, crosser.heading)
    i, j = ((a + b) / 2 for a, b in zip(crosser.node, back, strict=True))
    return i * block_m, j * block_m


def _follow(v_mps: float, wanted_mps: float, gap_m: float, lead_mps: float) -> float:
    """Acceleration of the Intelligent Driver Model."""
    free = 1 - (v_mps / max(wanted_mps, 0.1)) ** 4
    closing = v_mps * (v_mps - lead_mps) / (2 * math.sqrt(_ACCELERATION * _BRAKING))
    gap_wanted_m = _STANDSTILL_GAP_M + max(0.0, v_mps * _HEADWAY_S + closing)
    pull = _ACCELERATION * (free - (gap_wanted_m / max(gap_m, 0.1)) ** 2)
    return max(-_HARDEST_BRAKING, min(_ACCELERATION, pull))
