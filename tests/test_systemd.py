import secrets
import socket

import pytest

from fusion_rt.clock import NS_PER_S
from fusion_rt.systemd import Notifier


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path):
    """A socket as systemd opens one, and its address as systemd writes it."""
    is_abstract = request.param == "abstract"
    address = f"@fusion_rt-test-{secrets.token_hex(8)}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0") if is_abstract else address)
        listening.settimeout(5)
        yield listening, address


def test_ready_alive_and_stopping_reach_systemd(systemd):
    listening, address = systemd
    notifier = Notifier(address)
    notifier.ready("running")
    notifier.alive("NORMAL")
    notifier.stopping()
    heard = [listening.recv(1000).decode() for _ in range(3)]
    assert heard == ["READY=1\nSTATUS=running", "WATCHDOG=1\nSTATUS=NORMAL", "STOPPING=1"]


def test_the_environment_says_where_and_how_often(systemd, monkeypatch):
    listening, address = systemd
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    notifier = Notifier()
    assert notifier.watchdog_ns == 5 * NS_PER_S  # half of what the unit allows
    notifier.stopping()
    assert listening.recv(1000) == b"STOPPING=1"


def test_nothing_is_sent_where_systemd_did_not_start_us(monkeypatch, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    notifier = Notifier()
    notifier.ready("running")
    assert notifier.watchdog_ns == 0
    assert not caplog.records


def test_a_systemd_that_is_gone_is_logged_and_does_not_end_the_rig(tmp_path, caplog):
    Notifier(str(tmp_path / "gone")).alive("NORMAL")
    assert "hears nothing: [Errno 2] No such file or directory" in caplog.text


def test_a_systemd_that_does_not_listen_does_not_hold_up_the_rig(systemd, caplog):
    _listening, address = systemd
    notifier = Notifier(address)
    for _ in range(10_000):  # more than net.unix.max_dgram_qlen
        notifier.alive("NORMAL")
        if caplog.records:
            break
    assert "hears nothing: [Errno 11] Resource temporarily unavailable" in caplog.text
