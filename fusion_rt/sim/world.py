"""One world: a pure function of scenario, seed and time, the same in every process that asks."""

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.clock import NS_PER_S
from fusion_rt.geometry import RigidTransform
from fusion_rt.sim.city import City, build_city
from fusion_rt.sim.models import CLASSES, MODEL_NUMBERS, models, models_of
from fusion_rt.sim.route import Plan, Pose, Route, ring_length_m, ring_pose
from fusion_rt.sim.scenario import Scenario, Siren
from fusion_rt.sim.streets import (
    CYCLE_M,
    LANE_M,
    SIDEWALK_M,
    STOP_LINE_M,
    Link,
    node_before,
    turns_at,
)
from fusion_rt.sim.traffic import STEP_S, Crosser, Motion, Traffic, Vehicle, crosser_place

Floats = npt.NDArray[np.float64]

_PAINTS = (
    (0.60, 0.60, 0.60), (0.02, 0.02, 0.025), (0.10, 0.10, 0.11), (0.32, 0.33, 0.35),
    (0.45, 0.03, 0.03), (0.03, 0.07, 0.25), (0.75, 0.75, 0.73), (0.05, 0.14, 0.08),
    (0.40, 0.26, 0.05), (0.20, 0.06, 0.04),
)  # fmt: skip
_WHITE = (0.72, 0.72, 0.70)
_PEDESTRIAN_MPS = (1.0, 1.7)
_CYCLIST_MPS = (3.5, 6.0)
_SIREN_MPS = 14.0


class Objects(msgspec.Struct, frozen=True, eq=False):
    """All other road users at one time, in the city frame, row by row."""

    ids: npt.NDArray[np.int32]
    """(N,), from 1, the same all the drive."""
    models: npt.NDArray[np.int32]
    """(N,), into `models.models()`."""
    positions_m: Floats
    """(N, 2), of the origin of the model."""
    yaws_rad: Floats
    velocities_mps: Floats
    """(N, 2), over ground."""
    yaw_rates: Floats
    """(N,), rad/s."""
    colours: npt.NDArray[np.float32]
    """(N, 3), linear RGB of paint or clothes."""

    def __len__(self) -> int:
        return len(self.ids)

    def within(self, x_m: float, y_m: float, range_m: float) -> "Objects":
        """Those no farther from a place than that."""
        dx, dy = self.positions_m[:, 0] - x_m, self.positions_m[:, 1] - y_m
        return self.where(dx * dx + dy * dy < range_m * range_m)

    def where(self, chosen: npt.NDArray[Any]) -> "Objects":
        return Objects(*(getattr(self, name)[chosen] for name in self.__struct_fields__))


class EgoState(msgspec.Struct, frozen=True):
    """Where the rig is, and how it moves. Its roll, pitch and height are 0."""

    pose: Pose
    """Of `base` in the city frame."""
    v_mps: float
    yaw_rate: float
    """rad/s"""

    def in_city(self, points_base: Floats) -> Floats:
        """(..., 3): as `city_from_base.apply`, without its checks: sensors ask all the time."""
        cos, sin = math.cos(self.pose.yaw_rad), math.sin(self.pose.yaw_rad)
        x, y, z = points_base[..., 0], points_base[..., 1], points_base[..., 2]
        east, north = self.pose.x_m + cos * x - sin * y, self.pose.y_m + sin * x + cos * y
        return np.stack([east, north, z], axis=-1)

    @property
    def city_from_base(self) -> RigidTransform:
        return RigidTransform.from_yaw(self.pose.yaw_rad, (self.pose.x_m, self.pose.y_m, 0.0))


class _Stroller(msgspec.Struct, frozen=True):
    """Somebody who goes round a block of houses, for ever."""

    x_m: float
    y_m: float
    half_m: float
    radius_m: float
    start_m: float
    v_mps: float
    """Negative: anticlockwise."""

    def pose(self, t_s: float) -> Pose:
        along_m = self.start_m + self.v_mps * t_s
        pose = ring_pose(
            along_m % ring_length_m(self.half_m, self.radius_m), self.half_m, self.radius_m
        )
        yaw = pose.yaw_rad if self.v_mps >= 0 else pose.yaw_rad + math.pi
        return Pose(self.x_m + pose.x_m, self.y_m + pose.y_m, math.remainder(yaw, math.tau))


class World:
    """What there is and where it is, at any time from the start of the drive."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self._block_m = scenario.layout.block_m
        plan = self._ego_plan()
        self.city: City = build_city(scenario.layout, self._tunnel_links(plan), seed)
        self._siren_numbers: dict[int, Siren] = {}
        self._vehicle_models: list[int] = []
        vehicles = self._vehicles(plan)
        crossers = self._crossers()
        self._traffic = Traffic(vehicles, crossers, self._block_m, scenario.ego.stops)
        self._strollers = [*self._ring("pedestrians"), *self._ring("cyclists")]
        self._models, self._colours = self._looks(len(vehicles), len(crossers))
        self._parked = self._parked_rows()
        self.first_parked = len(self._models) + 1
        """Ids from here on never move."""
        self._last = 0, self._objects(0.0)

    def _rng(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 0x30D, *what])

    def ego(self, t_ns: int) -> EgoState:
        motion = self._traffic.motion(0, t_ns / NS_PER_S)
        return EgoState(motion.pose, motion.v_mps, motion.yaw_rate)

    def objects(self, t_ns: int) -> Objects:
        """Everybody but the ego, wherever they are."""
        if self._last[0] != t_ns:  # several sensors of one process ask for the same time
            self._last = t_ns, self._objects(t_ns / NS_PER_S)
        return self._last[1]

    def _objects(self, t_s: float) -> Objects:
        motions = [self._traffic.motion(n, t_s) for n in range(1, len(self._vehicle_models))]
        rows = [_row(motion) for motion in motions]
        rows += [self._crosser_row(n, t_s) for n in range(len(self._traffic.crossers))]
        rows += [self._stroller_row(stroller, t_s) for stroller in self._strollers]
        values = np.array(rows, np.float64).reshape(-1, 6)
        is_present = np.ones(len(rows), bool)
        is_present[: len(motions)] = [motion.is_present for motion in motions]
        moving = Objects(
            ids=np.arange(1, len(rows) + 1, dtype=np.int32),
            models=self._models,
            positions_m=values[:, 0:2],
            yaws_rad=values[:, 2],
            velocities_mps=values[:, 3:5],
            yaw_rates=values[:, 5],
            colours=self._colours,
        ).where(is_present)
        pairs = zip(moving.__struct_fields__, self._parked.__struct_fields__, strict=True)
        return Objects(
            *(np.concatenate([getattr(moving, a), getattr(self._parked, b)]) for a, b in pairs)
        )

    def sirens(self, t_ns: int) -> list[tuple[int, Siren, Motion]]:
        """Those that sound at this time: id, what the scenario says, where they are."""
        t_s = t_ns / NS_PER_S
        found = []
        for number, siren in self._siren_numbers.items():
            motion = self._traffic.motion(number, t_s)
            if motion.is_present:
                found.append((number, siren, motion))
        return found

    def motion(self, number: int, t_s: float) -> Motion:
        """Of one vehicle, by its id; 0 is the ego."""
        return self._traffic.motion(number, t_s)

    def motions(self, t_ns: int) -> dict[int, Motion]:
        """Of all vehicles on the road, by id; 0 is the ego."""
        t_s = t_ns / NS_PER_S
        found = {n: self._traffic.motion(n, t_s) for n in range(len(self._vehicle_models))}
        return {number: motion for number, motion in found.items() if motion.is_present}

    def model_of(self, number: int) -> int:
        """The shape of a vehicle, by its id."""
        return self._vehicle_models[number]

    def _ego_plan(self) -> Plan:
        rng, nodes = self._rng(1), self.scenario.layout.nodes
        i, j = (int(rng.integers(nodes)) for _ in range(2))
        headings = [h for h in range(4) if _is_inside(node_before((i, j), h), nodes)]
        first: Link = (i, j, int(rng.choice(headings)))
        return Plan(first, nodes, rng)

    def _tunnel_links(self, plan: Plan) -> list[Link]:
        """The legs from the third on, each street once."""
        links: list[Link] = []
        leg = 2
        while len(links) < self.scenario.layout.tunnels:
            i, j, heading = plan.link(leg)
            opposite = (*node_before((i, j), heading), (heading + 2) % 4)
            if (i, j, heading) not in links and opposite not in links:
                links.append((i, j, heading))
            leg += 1
        return links

    def _vehicles(self, plan: Plan) -> list[Vehicle]:
        scenario, rng = self.scenario, self._rng(2)
        before_m = self._block_m - 2 * STOP_LINE_M
        route = Route(plan, self._block_m, LANE_M, before_m)
        ego = Vehicle(route, 4.6, scenario.ego.speed_mps, self._rng(3, 0))
        route.stop_m(0)
        ego.along_m, ego.leg = route.exits_m[0] + 6.0, 1
        vehicles, self._vehicle_models = [ego], [MODEL_NUMBERS["saloon"]]
        kinds = ["truck"] * scenario.traffic.trucks + ["car"] * scenario.traffic.cars
        places = self._places(rng, {plan.link(0), plan.link(1)})
        for kind, (link, rest_m) in zip(kinds, places, strict=False):
            model, own = int(rng.choice(models_of(kind))), self._rng(3, len(vehicles))
            route = Route(Plan(link, scenario.layout.nodes, own), self._block_m, LANE_M, rest_m)
            speed_mps = scenario.ego.speed_mps * float(rng.uniform(0.75, 1.15))
            vehicles.append(Vehicle(route, models()[model].size_m[0], speed_mps, own))
            self._vehicle_models.append(model)
        for siren in scenario.traffic.sirens:
            self._siren_numbers[len(vehicles)] = siren
            vehicles.append(self._on_call(siren, plan, before_m, self._rng(3, len(vehicles))))
            self._vehicle_models.append(MODEL_NUMBERS["ambulance"])
        return vehicles

    def _on_call(
        self, siren: Siren, plan: Plan, before_m: float, rng: np.random.Generator
    ) -> Vehicle:
        is_behind = siren.route == "behind"
        if not is_behind:
            links = self._links()
            plan = Plan(links[int(rng.integers(len(links)))], self.scenario.layout.nodes, rng)
        route = Route(plan, self._block_m, 0.0, before_m)
        vehicle = Vehicle(route, models()[MODEL_NUMBERS["ambulance"]].size_m[0], _SIREN_MPS, rng)
        vehicle.siren_step = max(1, round(siren.start_s / STEP_S))
        vehicle.behind_m = siren.distance_m if is_behind else None
        return vehicle

    def _links(self) -> list[Link]:
        nodes = self.scenario.layout.nodes
        return [
            (i, j, heading)
            for i in range(nodes)
            for j in range(nodes)
            for heading in range(4)
            if _is_inside(node_before((i, j), heading), nodes) and turns_at((i, j), heading, nodes)
        ]

    def _places(self, rng: np.random.Generator, taken: set[Link]) -> list[tuple[Link, float]]:
        """Lanes and distances from the stop line where vehicles may start, in random order."""
        slots_m = np.arange(8.0, self._block_m - 2 * STOP_LINE_M - 12, 18.0).tolist()
        free = [(link, slot_m) for link in self._links() if link not in taken for slot_m in slots_m]
        return [free[i] for i in rng.permutation(len(free))]

    def _crossers(self) -> list[Crosser]:
        rng, links = self._rng(4), [link for link in self._links() if link[2] < 2]
        crossers: list[Crosser] = []
        for _ in range(self.scenario.traffic.crossers):
            i, j, heading = links[int(rng.integers(len(links)))]
            crosser = Crosser(
                (i, j), heading, float(rng.uniform(0, 15)), self._rng(5, len(crossers))
            )
            if rng.random() < 0.5:
                crosser.side, crosser.y_m = -1, -crosser.y_m
            crossers.append(crosser)
        return crossers

    def _ring(self, who: str) -> list[_Stroller]:
        is_cyclist = who == "cyclists"
        rng, nodes = self._rng(6, int(is_cyclist)), self.scenario.layout.nodes
        strollers = []
        for _ in range(getattr(self.scenario.traffic, who)):
            i, j = (int(rng.integers(-1, nodes)) for _ in range(2))
            aside_m = float(rng.uniform(-0.15, 0.15) if is_cyclist else rng.uniform(-0.5, 0.9))
            half_m = self._block_m / 2 - (CYCLE_M if is_cyclist else SIDEWALK_M) - aside_m
            start_m = float(rng.uniform(0, 8 * half_m))
            v_mps = float(rng.uniform(*(_CYCLIST_MPS if is_cyclist else _PEDESTRIAN_MPS)))
            if not is_cyclist and rng.random() < 0.5:
                v_mps = -v_mps
            x_m, y_m = (i + 0.5) * self._block_m, (j + 0.5) * self._block_m
            strollers.append(
                _Stroller(x_m, y_m, half_m, 4.0 if is_cyclist else 1.0, start_m, v_mps)
            )
        return strollers

    def _looks(
        self, vehicles: int, crossers: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Model and colour of everything that moves, in the order of their ids."""
        rng = self._rng(7)
        walkers = crossers + self.scenario.traffic.pedestrians
        numbers = self._vehicle_models[1:vehicles]
        numbers = numbers + [int(rng.choice(models_of("pedestrian"))) for _ in range(walkers)]
        numbers = numbers + [MODEL_NUMBERS["rider"]] * self.scenario.traffic.cyclists
        return np.array(numbers, np.int32), _colours(numbers, rng)

    def _parked_rows(self) -> Objects:
        parked, rng = self.city.parked, self._rng(8)
        count = len(parked)
        first = len(self._models) + 1
        return Objects(
            ids=np.arange(first, first + count, dtype=np.int32),
            models=np.array([car.model for car in parked], np.int32),
            positions_m=np.array([(car.pose.x_m, car.pose.y_m) for car in parked]).reshape(-1, 2),
            yaws_rad=np.array([car.pose.yaw_rad for car in parked], np.float64),
            velocities_mps=np.zeros((count, 2)),
            yaw_rates=np.zeros(count),
            colours=_colours([car.model for car in parked], rng),
        )

    def _crosser_row(self, number: int, t_s: float) -> tuple[float, ...]:
        crosser = self._traffic.crossers[number]
        y_m, v_mps = self._traffic.crossing(number, t_s)
        x_mid, y_mid = crosser_place(crosser, self._block_m)
        if crosser.heading == 0:  # the street runs along x
            yaw = math.copysign(math.pi / 2, v_mps or -y_m)
            return x_mid, y_mid + y_m, yaw, 0.0, v_mps, 0.0
        yaw = 0.0 if (v_mps or -y_m) > 0 else math.pi
        return x_mid + y_m, y_mid, yaw, v_mps, 0.0, 0.0

    def _stroller_row(self, stroller: _Stroller, t_s: float) -> tuple[float, ...]:
        pose, speed = stroller.pose(t_s), abs(stroller.v_mps)
        after = stroller.pose(t_s + 0.01)
        turned = math.remainder(after.yaw_rad - pose.yaw_rad, math.tau) / 0.01
        vx, vy = speed * math.cos(pose.yaw_rad), speed * math.sin(pose.yaw_rad)
        return pose.x_m, pose.y_m, pose.yaw_rad, vx, vy, turned


def _row(motion: Motion) -> tuple[float, ...]:
    pose, v = motion.pose, motion.v_mps
    vx, vy = v * math.cos(pose.yaw_rad), v * math.sin(pose.yaw_rad)
    return pose.x_m, pose.y_m, pose.yaw_rad, vx, vy, motion.yaw_rate


def _is_inside(node: tuple[int, int], nodes: int) -> bool:
    return 0 <= node[0] < nodes and 0 <= node[1] < nodes


def _colours(numbers: list[int], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(N, 3): paint for vehicles, clothes of any colour for people, ambulances white."""
    rows: list[tuple[float, ...]] = []
    for number in numbers:
        kind = CLASSES[models()[number].class_id]
        if kind == "emergency":
            rows.append(_WHITE)
        elif kind in ("car", "truck"):
            rows.append(_PAINTS[int(rng.integers(len(_PAINTS)))])
        else:
            rows.append(tuple(rng.uniform(0.02, 0.5, 3).tolist()))
    return np.array(rows, np.float32).reshape(-1, 3)
