import re

import pytest

from fusion_rt.errors import TopicError
from fusion_rt.messages import CameraFrame, Message
from fusion_rt.topics import KINDS, topic_kind


def test_a_topic_is_governed_by_the_row_of_its_kind():
    assert topic_kind("camera/front") is KINDS["camera"]
    assert topic_kind("camera/front").message is CameraFrame


@pytest.mark.parametrize("topic", ["lidar/top", "gps/GNSS-2", "audio/0", "heartbeat/nodes.x_y"])
def test_a_name_may_hold_letters_digits_and_three_marks(topic):
    assert topic_kind(topic) is KINDS[topic.split("/")[0]]


@pytest.mark.parametrize(
    "topic",
    ["", "camera", "camera/", "/front", "Camera/front", "camera/a/b", "camera/ a", "camera/.a",
     "camera/a\n", "camera/=", "camera/" + "a" * 65, "../camera/a"],
)  # fmt: skip
def test_a_malformed_topic_is_refused(topic):
    expected = f"topic \"{topic}\": expected KIND/NAME of letters, digits, '_', '.', '-'"
    with pytest.raises(TopicError, match=f"^{re.escape(expected)}$"):
        topic_kind(topic)


def test_an_unknown_kind_is_refused_with_the_known_ones():
    expected = (
        'topic "radar/front": unknown kind; '
        "known: camera, lidar, audio, gps, detections, health, mounting, heartbeat"
    )
    with pytest.raises(TopicError, match=f"^{re.escape(expected)}$") as refused:
        topic_kind("radar/front")
    assert refused.value.topic == "radar/front"


def test_every_message_type_has_exactly_one_kind():
    assert sorted(kind.message.__name__ for kind in KINDS.values()) == sorted(
        message.__name__ for message in Message.__subclasses__()
    )


@pytest.mark.parametrize("name", KINDS)
def test_a_row_makes_sense(name):
    kind = KINDS[name]

    assert kind.depth == 1 if kind.policy == "latest" else kind.depth > 1
    assert kind.max_age_ns * kind.rate_hz > 1e9, "a message may be as old as a period"
