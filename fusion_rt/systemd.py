"""What systemd wants to hear from a supervised service (sd_notify): ready, alive, stopping."""

import logging
import os
import socket

log = logging.getLogger(__name__)


class Notifier:
    """Sends states to systemd; does nothing where it did not start us."""

    def __init__(self, address: str | None = None, watchdog_us: str | None = None) -> None:
        """Default to what systemd put into the environment."""
        self._address = address or os.environ.get("NOTIFY_SOCKET", "")
        timeout_us = watchdog_us or os.environ.get("WATCHDOG_USEC", "0")
        self.watchdog_ns = int(timeout_us) * 1000 // 2
        """Say alive at least this often, half of what the unit allows; 0 when it does not ask."""

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self, status: str) -> None:
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the NUL of an abstract address.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.connect(address)
                notify.send(state.encode(), socket.MSG_DONTWAIT)
        except OSError as error:  # the rig matters more than who asks how it is
            log.warning("systemd at %s hears nothing: %s", self._address, error)
