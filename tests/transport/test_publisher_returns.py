import tempfile
from pathlib import Path

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.messages import GpsFix
from fusion_rt.session import start_session
from fusion_rt.transport.publisher import Publisher
from fusion_rt.transport.subscriber import Subscriber


def publish_until_heard(session, subscriber):
    """The first message of a new publisher that arrives; None after 10 s without."""
    clock = session.clock()
    with Publisher("gps/main", session, clock) as publisher:
        due_ns = clock.now_ns() + 10 * NS_PER_S
        while clock.now_ns() < due_ns:
            publisher.publish(GpsFix(stamp_ns=clock.now_ns(), fix="3d"))
            if received := subscriber.receive(10 * NS_PER_MS):
                return received
    return None


def test_a_subscriber_hears_each_publisher_that_takes_over():
    with (
        tempfile.TemporaryDirectory() as short,  # tmp_path is too long for the names of sockets
        start_session(Path(short, "run"), "rig") as session,
        Subscriber(["gps/main", "gps/never"], session, session.clock()) as subscriber,
    ):
        heard = [publish_until_heard(session, subscriber) for _ in range(4)]
    assert None not in heard
    assert len({received.header.incarnation for received in heard}) == 4
    assert subscriber.inboxes["gps/main"].restarts == 3
