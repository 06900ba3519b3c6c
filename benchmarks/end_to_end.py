"""What the runtime adds to the networks: python -m benchmarks.end_to_end [--rounds 3] [--json F].

Three arrangements of one model over the same messages, in turns, so that what else the machine does
falls on all alike:

- bare: the encoder of the sensor that arrives last, and the fusion; in a loop, nothing else.
- ours: the rig as it runs, `fusion-rt run`; from the receipt of the last member to the answer.
- naive: one process that waits until every sensor has a message near the LiDAR's, then runs all
  encoders and the fusion in series.

Sensors are rendered first and played from memory at real pace by their own nodes, so that ours and
naive pay for transport and for the machine's other processes alike.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.rounds import machine
from fusion_rt.bench.prerender import played_tree, prerender, write_rig
from fusion_rt.bench.rig_run import running
from fusion_rt.clock import NS_PER_MS, NS_PER_S, RigClock
from fusion_rt.engine.engine import EngineOptions
from fusion_rt.fusion.options import FUSION_TOPIC
from fusion_rt.latency.critical_path import last_arrived, quantities
from fusion_rt.latency.summary import read_run
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep
from fusion_rt.model.ego import EGO_SIZE
from fusion_rt.model_file import find_model
from fusion_rt.perception import Mounts, open_model
from fusion_rt.played import PlayedFile
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.transport.subscriber import Subscriber

LOOP_S, WARM_UP_S, START_S = 4.0, 3.0, 6.0
CLOCK = RigClock.starting_now()
NO_MOTION = np.zeros((1, EGO_SIZE), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rig", default="sim")
    parser.add_argument("--model", default=None, help="instead of the rig's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of each arrangement, each round")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="e2e-") as short:
        found = Arrangements(arguments, Path(short)).compare()
    print_table(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


class Arrangements:
    """The three, each giving milliseconds per answer."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.folder = arguments, folder
        self.rig = load_rig(find_rig(arguments.rig))
        self.files = prerender(self.rig, folder, LOOP_S, lambda topic: print(f"rendering {topic}"))
        self.tree = played_tree(self.rig, self.files)
        fusion = dict(self.tree.get("fusion") or {})
        if arguments.model:
            fusion["model"] = str(find_model(arguments.model, Path.cwd()))
        self.tree["fusion"] = fusion
        self.model = find_model(fusion.get("model", "reference"), self.rig.source.parent)
        self.topics = {topic.partition("/")[0]: topic for topic in self.rig.sensors}

    def compare(self) -> dict:
        rounds = [self.round(number) for number in range(self.arguments.rounds)]
        found = {"machine": machine(), "model": str(self.model), "rounds": rounds}
        for name in rounds[0]["ratios"]:
            found[name] = float(np.median([one["ratios"][name] for one in rounds]))
        return found

    def round(self, number: int) -> dict:
        ours = self.ours(number)
        last = Counter(ours["last"]).most_common(1)[0][0]
        bare = self.bare(last)
        naive = self.naive(number)
        p50, p99 = (np.percentile(ours["reaction"], q) for q in (50, 99))
        limit = np.median(bare) * 1.15 + 1
        return {
            "last arriving": last,
            "n": [len(bare), len(ours["reaction"]), len(naive["reaction"])],
            "bare p50 ms": round(float(np.median(bare)), 2),
            "ours p50, p99 ms": [round(float(p50), 2), round(float(p99), 2)],
            "naive p50, p99 ms": [
                round(float(np.percentile(naive["reaction"], q)), 2) for q in (50, 99)
            ],
            "ages p50 ms": [round(float(np.median(x["age"])), 2) for x in (ours, naive)],
            "ratios": {
                "ours p50 / (bare x 1.15 + 1 ms)": float(p50 / limit),
                "ours p50 / bare p50": float(p50 / np.median(bare)),
                "ours p99 / ours p50": float(p99 / p50),
                "naive p50 / ours p50": float(np.median(naive["reaction"]) / p50),
                "naive age p50 / ours age p50": float(
                    np.median(naive["age"]) / np.median(ours["age"])
                ),
            },
        }

    def ours(self, number: int) -> dict:
        folder = self.folder / f"ours{number}"
        folder.mkdir()
        with running(write_rig(self.tree, folder / "rig.yaml"), folder) as rig_run:
            rig_run.wait_for_answer(FUSION_TOPIC)
            rig_run.wait(WARM_UP_S + self.arguments.seconds)
        answers = [a for a in read_run(folder / "rows", WARM_UP_S).measured if not a.missing]
        times = [quantities(answer) for answer in answers]
        return {
            "last": [member.topic for a in answers if (member := last_arrived(a))],
            "reaction": [one["reaction"] / NS_PER_MS for one in times],
            "age": [one["answer_age"] / NS_PER_MS for one in times],
        }

    def bare(self, last: str) -> list[float]:
        """The encoder of `last` and the fusion, over the recorded messages."""
        file = PlayedFile(self.files[last])
        messages = [file.message(entry) for entry in file.index.entries]
        with self.perception() as perception:
            others = self.features(perception)
            kind, spent = last.partition("/")[0], []
            for number in range(60):
                message = messages[number % len(messages)]
                begin_ns = CLOCK.now_ns()
                own = {kind: encode(perception, kind, message)} if kind != "gps" else {}
                perception.fuse({**others, **own}, ego=NO_MOTION)
                spent.append((CLOCK.now_ns() - begin_ns) / NS_PER_MS)
        return spent[10:]

    def features(self, perception) -> dict:
        found = {}
        for topic, path in self.files.items():
            kind, file = topic.partition("/")[0], PlayedFile(path)
            message = file.message(file.index.entries[0])
            if kind == "audio":
                message = sound(perception, [file.message(e) for e in file.index.entries])
            if kind != "gps":
                found[kind] = encode(perception, kind, message)
        return found

    def naive(self, number: int) -> dict:
        tree = {key: value for key, value in self.tree.items() if key != "fusion"}
        folder = self.folder / f"naive{number}"
        folder.mkdir()
        rig = write_rig(tree, folder / "rig.yaml")
        with self.perception() as perception, running(rig, folder) as rig_run:
            return self.serve(perception, rig_run)

    def serve(self, perception, rig_run) -> dict:
        found: dict = {"reaction": [], "age": []}
        clock, waiting = rig_run.clock, WaitForAll(self.rig, self.topics)
        end_ns = clock.now_ns() + round((START_S + WARM_UP_S + self.arguments.seconds) * NS_PER_S)
        begin_ns = end_ns - round(self.arguments.seconds * NS_PER_S)
        with Subscriber(list(self.topics.values()), rig_run.session, clock, 64) as subscriber:
            while clock.now_ns() < end_ns:
                received = subscriber.receive(50 * NS_PER_MS)
                if received is None or (chosen := waiting.add(received)) is None:
                    continue
                features = {
                    kind: encode(perception, kind, chosen[kind].message)
                    for kind in ("camera", "lidar")
                }
                features["audio"] = encode(perception, "audio", sound(perception, waiting.sound))
                perception.fuse(features, ego=NO_MOTION)
                now_ns = clock.now_ns()
                if now_ns > begin_ns:
                    last_ns = max(one.recv_ns for one in chosen.values())
                    found["reaction"].append((now_ns - last_ns) / NS_PER_MS)
                    found["age"].append((now_ns - chosen["lidar"].header.stamp_ns) / NS_PER_MS)
        return found

    def perception(self):
        calibration = self.rig.calibration
        mounts = Mounts(
            pinhole=calibration.cameras[self.rig.sensors[self.topics["camera"]].frame],
            base_from_camera=calibration.base_from[self.rig.sensors[self.topics["camera"]].frame],
            base_from_lidar=calibration.base_from[self.rig.sensors[self.topics["lidar"]].frame],
        )
        return open_model(self.model, mounts, "onnxruntime", EngineOptions())


class WaitForAll:
    """Sets as one without a synchronizer would make them: all that lie within half a period."""

    def __init__(self, rig, topics) -> None:
        self.sound: list[AudioChunk] = []
        self._half_ns = {
            kind: round(NS_PER_S / rig.sensors[topic].rate_hz / 2) for kind, topic in topics.items()
        }
        self._newest: dict = {}
        self._sweep = None

    def add(self, received):
        """The set that this message completes."""
        kind = received.header.topic.partition("/")[0]
        if kind == "lidar":
            self._sweep, self._newest = received, dict(self._newest)
        elif kind == "audio":
            self.sound = [*self.sound[-99:], received.message]
        reference_ns = None if self._sweep is None else self._sweep.header.stamp_ns
        before = self._newest.get(kind)
        if (
            before is None
            or reference_ns is None
            or self._is_nearer(received, before, reference_ns)
        ):
            self._newest[kind] = received
        if reference_ns is None or len(self._newest) < len(self._half_ns):
            return None
        for each, half_ns in self._half_ns.items():
            if abs(self._newest[each].header.stamp_ns - reference_ns) > half_ns:
                return None
        chosen, self._sweep = dict(self._newest), None
        return chosen

    def _is_nearer(self, one, other, reference_ns) -> bool:
        if other.header.stamp_ns < reference_ns - NS_PER_S // 20:
            return True
        off_ns = abs(one.header.stamp_ns - reference_ns)
        return off_ns <= abs(other.header.stamp_ns - reference_ns)


def encode(perception, kind, message):
    """Features of a message, or of a window of sound."""
    if isinstance(message, CameraFrame):
        return perception.encode_camera(
            message.image, message.encoding, message.width, message.height
        )
    if isinstance(message, LidarSweep):
        return perception.encode_lidar(message.points)
    assert kind == "audio" and not isinstance(message, GpsFix)  # noqa: PT018
    return perception.encode_audio(message)


def sound(perception, chunks):
    """The newest samples, as many as the model takes; silence where there are too few."""
    recipe = perception.model.file.audio.sound.recipe
    samples = np.concatenate([chunk.samples for chunk in chunks])[-recipe.samples :]
    missing = recipe.samples - len(samples)
    return np.pad(samples, ((missing, 0), (0, 0)))


def print_table(found: dict) -> None:
    print(f"\n{found['machine']}\nmodel {found['model']}\n")
    for number, one in enumerate(found["rounds"]):
        print(f"round {number}: ", {k: v for k, v in one.items() if k != "ratios"})
    print("\n| ratio | median of the rounds |\n|---|---|")
    for name in found["rounds"][0]["ratios"]:
        print(f"| {name} | {found[name]:.2f} |")


if __name__ == "__main__":
    main()
