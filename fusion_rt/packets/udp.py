"""Receives the UDP packets of a device, stamped as they come."""

import contextlib
import logging
import socket
import struct

import psutil

from fusion_rt.clock import NS_PER_MS, Clock
from fusion_rt.packets.datagram import Datagram

_LARGEST = 65_535
_RECEIVE_BUFFER_BYTES = 8 << 20  # half a second of the fastest LiDAR; the kernel grants what it may
_WAKE_US = 100_000
WAKE_NS = 100 * NS_PER_MS
"""A receiver looks up this often when nothing comes."""

log = logging.getLogger(__name__)


class UdpReceiver:
    """A socket that yields stamped packets; `host` lets only that sender's through."""

    def __init__(
        self, address: str, port: int, clock: Clock, host: str | None, group: str | None
    ) -> None:
        """Raises OSError with a sentence about what could not be listened on."""
        self.clock = clock
        self._host = host
        self._told = ""
        self._buffer = memoryview(bytearray(_LARGEST))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._listen(address, port, group)
        except OSError as error:
            self.socket.close()
            raise OSError(_refusal(address, port, group, error)) from error

    def _listen(self, address: str, port: int, group: str | None) -> None:
        options = self.socket
        options.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        # A time-out of the kernel's own costs one system call less than Python's.
        wake = struct.pack("ll", 0, _WAKE_US)
        options.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wake)
        options.bind((address, port))
        if group is not None:
            membership = socket.inet_aton(group) + socket.inet_aton(address)
            options.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

    def receive(self) -> Datagram | None:
        """The next packet, or None after `WAKE_NS` without one."""
        try:
            size, sender = self.socket.recvfrom_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:  # the network went down: it may come back
            if str(error) != self._told:
                log.warning("receiving failed: %s; trying again", error)
                self._told = str(error)
            self.clock.sleep_until_ns(self.clock.now_ns() + WAKE_NS)
            return None
        stamp_ns = self.clock.now_ns()
        if self._host is not None and sender[0] != self._host:
            return None
        return Datagram(stamp_ns, self._buffer[:size].tobytes(), sender[0])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


def _refusal(address: str, port: int, group: str | None, error: OSError) -> str:
    place = f"{address}:{port}" + (f", group {group}" if group else "")
    here = sorted(
        one.address
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family == socket.AF_INET
    )
    reason = error.strerror or str(error)
    return f"cannot listen on {place}: {reason}; addresses of this machine: {', '.join(here)}"
