"""Finds out what a foreign recording is and opens it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from fusion_rt.errors import ForeignLogError
from fusion_rt.imports.kitti import is_kitti, open_kitti
from fusion_rt.imports.nuscenes import is_nuscenes, open_nuscenes
from fusion_rt.imports.ros import open_ros
from fusion_rt.imports.source import ImportOptions, Source
from fusion_rt.ros.bag import is_bag

FORMATS = (
    "a ROS 1 bag (.bag), a ROS 2 bag (.mcap, .db3 or its folder), a drive of KITTI raw, training "
    "or testing of KITTI object, nuScenes (the folder with v1.0-*, or MMDetection3D's .json)"
)


@contextmanager
def open_source(path: Path, options: ImportOptions) -> Iterator[Source]:
    """Raises ForeignLogError, also from within, where there is nothing that can be imported."""
    kind = _kind(path)
    if kind == "nuscenes":
        yield _checked(path, open_nuscenes(path, options.topics, options.scene))
    elif kind == "kitti":
        yield _checked(path, open_kitti(path, options.topics))
    else:
        with open_ros(path, options) as source:
            yield _checked(path, source)


def _kind(path: Path) -> Literal["nuscenes", "kitti", "bag"]:
    try:
        if is_nuscenes(path):
            return "nuscenes"
        if path.is_dir() and is_kitti(path):
            return "kitti"
        if is_bag(path):
            return "bag"
        raise ForeignLogError(str(path), f"expected {FORMATS}, got {_shown(path)}")
    except OSError as error:
        raise ForeignLogError(str(path), f"expected {FORMATS}; {error.strerror}") from error


def _checked(path: Path, source: Source) -> Source:
    if not any(topic.ours for topic in source.topics):
        there = "; ".join(f"{t.name} ({t.type}): {t.reason}" for t in source.topics) or "nothing"
        raise ForeignLogError(str(path), f"expected a topic that can be imported, it holds {there}")
    return source


def _shown(path: Path) -> str:
    if path.is_dir():
        names = sorted(file.name for file in path.iterdir())
        return f"a folder with {', '.join(names[:5]) or 'nothing'}"
    with path.open("rb") as file:
        start = file.read(4)
    return f"a file that starts {start.hex(' ')}" if start else "an empty file"
