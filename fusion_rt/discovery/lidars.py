"""Listens for LiDARs on the UDP ports that they usually send to."""

import contextlib
import select
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.discovery.found import Found, Look
from fusion_rt.lidar import hesai, hesai_models, ouster, velodyne, velodyne_models

PORTS = (velodyne.PORT, ouster.PORT)
"""2368 is Hesai's too."""
_VELODYNE_BYTES = 1206
_LEAST_OUSTER_BYTES = 2048  # its smallest packet of points is larger, of motion smaller
_LARGEST = 65_535


class Sender(NamedTuple):
    """One sensor, as far as its packets tell."""

    maker: str
    model: str | None
    """None where the packets do not say."""
    host: str
    port: int


def look_for_lidars(seconds: float, clock: Clock, ports: Sequence[int] = PORTS) -> Look:
    """All that send to one of the ports during so many seconds."""
    problems = []
    with contextlib.ExitStack() as stack:
        sockets = []
        for port in ports:
            try:
                sockets.append(stack.enter_context(_listening(port)))
            except OSError as error:
                problems.append(f"UDP port {port} not listened on: {error.strerror}")
        heard = Counter(_senders(sockets, seconds, clock))
    found = [_found(sender, count / seconds) for sender, count in sorted(heard.items(), key=str)]
    return Look(tuple(found), "; ".join(problems))


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("", port))
        one.setblocking(False)
        yield one


def _senders(sockets: list[socket.socket], seconds: float, clock: Clock) -> Iterator[Sender]:
    """Once per packet that is a LiDAR's."""
    end_ns = clock.now_ns() + round(seconds * NS_PER_S)
    while sockets and (left_ns := end_ns - clock.now_ns()) > 0:
        for one in select.select(sockets, [], [], left_ns / NS_PER_S)[0]:
            packet, (host, _) = one.recvfrom(_LARGEST)
            sender = sender_of(packet, host, one.getsockname()[1])
            if sender is not None:
                yield sender


def sender_of(packet: bytes, host: str, port: int) -> Sender | None:
    """Whose packet this is; None where it is no LiDAR's that we read."""
    for name, model in hesai_models.MODELS.items():
        if len(packet) in model.sizes and hesai.names_model(packet, model):
            return Sender("hesai", name, host, port)
    if len(packet) == _VELODYNE_BYTES:
        named = [
            name
            for name, model in velodyne_models.MODELS.items()
            if packet[-1] in model.product_ids
        ]
        return Sender("velodyne", named[0] if named else None, host, port)
    if len(packet) >= _LEAST_OUSTER_BYTES:
        return Sender("ouster", None, host, port)
    return None


def _found(sender: Sender, packets_per_s: float) -> Found:
    options = [f"driver: {sender.maker}"]
    details = [f"{packets_per_s:.0f} packets/s"]
    if sender.maker == "ouster":
        options.append("metadata: ouster.json")
        fetch = f"curl http://{sender.host}/api/v1/sensor/metadata > ouster.json"
        details.append(f"by the size of its packets; {fetch}")
    elif sender.model is None:
        options += ["model: HDL-64E-S3", "calibration: hdl64.yaml"]
        details.append("an HDL-64E: its packets do not say which")
    else:
        options.append(f"model: {sender.model}")
        if sender.maker == "hesai" and not hesai_models.MODELS[sender.model].elevation_deg:
            options.append(f"calibration: {sender.model}.csv")
    options += [f"port: {sender.port}", f"host: {sender.host}"]
    return Found(
        kind="lidar",
        place=f"{sender.host} to port {sender.port}",
        what=f"{sender.maker} {sender.model or 'of unknown model'}",
        details=tuple(details),
        rig=f"lidar/top: {{{', '.join(options)}}}",
    )
