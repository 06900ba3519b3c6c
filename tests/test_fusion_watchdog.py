"""A network that does not come back must show: whoever waits for it would wait for ever."""

import logging
from types import SimpleNamespace

import pytest

from fusion_rt.fusion.watchdog import STUCK_NS, Watchdog


def test_it_barks_once_for_each_that_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    camera, fuse = SimpleNamespace(busy_since_ns=None), SimpleNamespace(busy_since_ns=None)
    dog = Watchdog({"camera/front": camera, "detections/fused": fuse})
    assert not dog.is_stuck(STUCK_NS * 2)
    camera.busy_since_ns = 0
    with caplog.at_level(logging.ERROR):
        assert [dog.is_stuck(ns) for ns in (STUCK_NS, STUCK_NS + 1, STUCK_NS + 2)] == [0, 1, 1]
        camera.busy_since_ns = None
        assert not dog.is_stuck(STUCK_NS * 9)
    assert caplog.messages == ["camera/front has not returned for 5 s"]
