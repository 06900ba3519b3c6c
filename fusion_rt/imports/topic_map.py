"""Which of our topics each foreign topic becomes."""

import re
from collections.abc import Iterable, Mapping, Sequence

from fusion_rt.errors import ForeignLogError, TopicError
from fusion_rt.topics import TOPIC_NAME, topic_kind

_SAYS_NOTHING = {
    *("image", "image_raw", "image_rect", "image_color", "image_rect_color", "compressed"),
    *("cloud", "pointcloud", "point_cloud", "points", "points_raw", "points2"),
    *("fix", "navsat", "navsatfix", "audio", "data", "raw", "stamped", "sensor", "sensors"),
}
"""Parts of usual topic names that tell no two sensors apart."""
_WHOLE_NAME = re.compile(TOPIC_NAME)
_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")


def parsed_map(entries: Sequence[str]) -> dict[str, str]:
    """`FOREIGN=OURS` each, as on the command line; empty when there are none."""
    wanted: dict[str, str] = {}
    for entry in entries:
        foreign, sign, ours = entry.rpartition("=")
        if not (sign and foreign):
            raise ForeignLogError("--map", f'expected FOREIGN=OURS, got "{entry}"')
        topic_kind(ours)  # raises TopicError
        if ours in wanted.values():
            raise TopicError(ours, "expected each topic once in the map, got it twice")
        wanted[foreign] = ours
    return wanted


def check_names(path: str, wanted: Iterable[str], there: Iterable[str]) -> None:
    """Raise ForeignLogError for names in a map that the recording does not have."""
    known = sorted(there)
    if missing := [name for name in wanted if name not in known]:
        raise ForeignLogError(
            path, f"expected the topic {missing[0]}, it holds: {', '.join(known) or 'nothing'}"
        )


def topic_for(foreign: str, kind: str, taken: Mapping[str, str] | set[str]) -> str:
    """A topic of this kind named after the foreign one: `/camera/left/image_raw` is `camera/left`.

    A number is added where the name is taken.
    """
    parts = [part for part in foreign.split("/") if part]
    telling = [part for part in parts if part.lower() not in _SAYS_NOTHING | {kind}]
    name = _OTHER.sub("_", "_".join(telling)).strip("_.-")[:56] or "main"
    if not _WHOLE_NAME.fullmatch(name):
        name = "main"
    topic, number = f"{kind}/{name}", 2
    while topic in taken:
        topic, number = f"{kind}/{name}_{number}", number + 1
    return topic
