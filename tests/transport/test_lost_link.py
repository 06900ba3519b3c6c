"""A link between hosts that goes silent without being closed, as when a cable is pulled."""

import contextlib
import select
import shutil
import socket
import threading
from pathlib import Path

import msgspec
import zmq

from fusion_rt.clock import NS_PER_MS, RigClock
from fusion_rt.session import Session, TcpSource
from fusion_rt.transport.publisher import Publisher, TcpOffer
from fusion_rt.transport.security import ALLOWED, create_keys
from fusion_rt.transport.subscriber import Subscriber
from tests.transport.samples import GPS, gps_fix
from tests.transport.waiting import join, until


class Cable:
    """Carries connections to `port`; those it has when it is pulled stay open, and silent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: dict[socket.socket, socket.socket] = {}
        self._pulled: list[socket.socket] = []
        self._stop, self._stopping = socket.socketpair()
        self._thread = threading.Thread(target=self._carry)
        self.is_pulled = threading.Event()
        self._thread.start()

    def close(self) -> None:
        self._stopping.close()
        self._thread.join()
        for end in (*self._ends, *self._pulled, self._listener, self._stop):
            end.close()

    def _carry(self) -> None:
        while True:
            ready, _, _ = select.select([self._stop, self._listener, *self._ends], [], [], 0.05)
            if self._stop in ready:
                return
            if self.is_pulled.is_set():
                self._pulled += self._ends
                self._ends.clear()
                self.is_pulled.clear()
                continue
            for end in ready:
                if end is self._listener:
                    here, _ = end.accept()
                    there = socket.create_connection(("127.0.0.1", self._port))
                    self._ends |= {here: there, there: here}
                elif end in self._ends:
                    self._pass_on(end)

    def _pass_on(self, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if data := end.recv(1 << 16):
                self._ends[end].sendall(data)
                return
        other = self._ends.pop(end)
        self._ends.pop(other)
        end.close()
        other.close()


def test_a_link_that_went_silent_is_had_again(
    session: Session, clock: RigClock, tmp_path: Path
) -> None:
    public = create_keys(tmp_path / "vehicle", "vehicle")
    shutil.copy(create_keys(tmp_path / "station", "station"), tmp_path / "vehicle" / ALLOWED)
    offer = TcpOffer("tcp://127.0.0.1:*", tmp_path / "vehicle")
    with contextlib.ExitStack() as stack:
        gps = stack.enter_context(Publisher(GPS, session, clock, offer=offer))
        port = gps._audiences[1]._socket.get_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1]
        cable = stack.enter_context(contextlib.closing(Cable(int(port))))
        source = TcpSource(cable.address, str(public), str(tmp_path / "station"))
        there = msgspec.structs.replace(session, sources={GPS: source})
        subscriber = stack.enter_context(Subscriber([GPS], there, clock))
        join(gps, subscriber, gps_fix(1))
        cable.is_pulled.set()
        until(lambda: not cable.is_pulled.is_set(), "the cable to be pulled")

        def hears_again() -> bool:
            gps.publish(gps_fix(2))
            return subscriber.receive(5 * NS_PER_MS) is not None

        until(hears_again, "the link to come back")
        assert subscriber.inboxes[GPS].drops["lost"] > 0
