"""Turns a rig of simulated sensors into one that plays them from memory, ahead of any timing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.messages import Message
from fusion_rt.played import write_played
from fusion_rt.rig import Rig
from fusion_rt.yaml_file import read_yaml

SIMULATED = "sim"
PLAYED_FILE = "{topic}.played"
Tree = dict[str, Any]


def prerender(
    rig: Rig, folder: Path, seconds: float, progress: Callable[[str], None]
) -> dict[str, Path]:
    """Render the rig's simulated sensors into files under `folder`; by topic."""
    files = {}
    for topic, sensor in rig.sensors.items():
        if sensor.options.driver == SIMULATED:
            progress(topic)
            files[topic] = folder / PLAYED_FILE.format(topic=topic.replace("/", "="))
            _render(rig, topic, files[topic], round(seconds * NS_PER_S))
    return files


def played_tree(rig: Rig, files: dict[str, Path], speed: float = 1.0) -> Tree:
    """The rig file with players in place of the simulated sensors; its paths made absolute."""
    tree: Tree = dict(read_yaml(rig.source).tree)
    home = rig.source.parent.resolve()
    tree["calibration"] = str(home / tree["calibration"])
    fusion = tree.get("fusion")
    if isinstance(fusion, dict) and (home / str(fusion.get("model"))).exists():
        tree["fusion"] = {**fusion, "model": str(home / fusion["model"])}
    if rig.fusion is not None and speed < 1:  # frames lie farther apart, and so they match
        wider = {
            one.kind: round(one.tolerance_ns / NS_PER_MS / speed) for one in rig.fusion.streams
        }
        tree["fusion"] = {**tree["fusion"], "tolerance_ms": wider}
    tree["sensors"] = dict(tree["sensors"])
    for topic, file in files.items():
        sensor = rig.sensors[topic]
        entry = {"driver": "player", "file": str(file), "speed": speed, "frame": sensor.frame}
        if topic.startswith("camera/"):
            pinhole = rig.calibration.cameras[sensor.frame]
            entry |= {"width": pinhole.width, "height": pinhole.height}
        tree["sensors"][topic] = {**entry, "rate_hz": sensor.rate_hz * speed}
    return tree


def write_rig(tree: Tree, path: Path) -> Path:
    """A rig file with this content."""
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def _render(rig: Rig, topic: str, path: Path, loop_ns: int) -> None:
    from fusion_rt.sim.scenario import scenario_named
    from fusion_rt.sim.streams import open_stream
    from fusion_rt.sim.world import World

    sensor = rig.sensors[topic]
    options: Any = sensor.options
    world = World(scenario_named(options.scenario, options.seed), options.seed)
    stream = open_stream(topic, options, world, rig.calibration)

    def messages() -> Iterator[tuple[int, Message]]:
        for shot in stream.schedule.between(0, loop_ns):
            with stream.message(shot, 0, _allocated) as message:
                yield shot.sent_ns, message

    write_played(path, topic, sensor.rate_hz, loop_ns, messages())


@contextmanager
def _allocated(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
    yield np.empty(shape, dtype)
