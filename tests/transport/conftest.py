"""What the tests of transport stand on: a session of their own each, its clock, and both ends."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_rt.clock import RigClock
from fusion_rt.session import Session, start_session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import CAMERA
from tests.transport.waiting import MANY


@pytest.fixture
def session() -> Iterator[Session]:
    # Not tmp_path: its name may be longer than a socket's path can be.
    with tempfile.TemporaryDirectory() as parent, start_session(Path(parent, "run"), "test") as own:
        yield own


@pytest.fixture
def clock(session: Session) -> RigClock:
    return session.clock()


@pytest.fixture
def camera(session: Session, clock: RigClock) -> Iterator[Publisher]:
    with Publisher(CAMERA, session, clock, "nodes.camera") as own:
        yield own


@pytest.fixture
def queue(session: Session, clock: RigClock) -> Iterator[Subscriber]:
    """A subscriber that keeps all, so that tests see each message."""
    with Subscriber([CAMERA], session, clock, queue_depth=MANY) as own:
        yield own


@pytest.fixture
def latest(session: Session, clock: RigClock) -> Iterator[Subscriber]:
    with Subscriber([CAMERA], session, clock) as own:
        yield own
