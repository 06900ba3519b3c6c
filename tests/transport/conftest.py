"""What the tests of transport stand on: a session of their own each, and its clock."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_rt.clock import RigClock
from fusion_rt.session import Session, start_session


@pytest.fixture
def session() -> Iterator[Session]:
    # Not tmp_path: its name may be longer than a socket's path can be.
    with tempfile.TemporaryDirectory() as parent, start_session(Path(parent, "run"), "test") as own:
        yield own


@pytest.fixture
def clock(session: Session) -> RigClock:
    return session.clock()
