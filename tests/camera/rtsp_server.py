"""A small RTSP server on loopback: H.264, interleaved in TCP or over UDP, at its own pace."""

import base64
import re
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

_CLOCK_HZ = 90_000
_LARGEST = 1200


def nal_units(video: Path) -> list[list[bytes]]:
    """The NAL units of each picture of an H.264 file, parameter sets in front of key pictures."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        to_bytes = BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [out for packet in container.demux(stream) for out in to_bytes.filter(packet)]
    return [[unit for unit in re.split(b"\0\0\0?\1", bytes(one)) if unit] for one in packets]


class RtspServer:
    """Serves one video over and over to one client at a time, until stopped."""

    def __init__(self, video: Path, rate_hz: float, port: int = 0) -> None:
        self._pictures = nal_units(video)
        self._step_s = 1 / rate_hz
        self._stop = threading.Event()
        self.is_silent = threading.Event()
        self.is_lossy = threading.Event()
        """Over UDP: one packet in four gets lost."""
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"rtsp://user:secret@127.0.0.1:{self.port}/cam"
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        self._udp.close()

    def __enter__(self) -> "RtspServer":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._stop.is_set():
            self.stop()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    self._answer(client)
                except OSError:
                    continue

    def _answer(self, client: socket.socket) -> None:
        udp: tuple[str, int] | None = None
        for request, sequence in self._requests(client):
            method = request.split()[0]
            self.asked.append(method)
            head, body = f"CSeq: {sequence}\r\nSession: 12345678\r\n", ""
            if method == "OPTIONS":
                head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = self._description()
                head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                ports = re.search(r"client_port=(\d+)-(\d+)", request)
                way = "RTP/AVP/TCP;unicast;interleaved=0-1"
                if ports:
                    udp = (client.getpeername()[0], int(ports[1]))
                    server = self._udp.getsockname()[1]
                    way = f"RTP/AVP;unicast;{ports[0]};server_port={server}-{server + 1}"
                head += f"Transport: {way}\r\n"
            client.sendall(f"RTSP/1.0 200 OK\r\n{head}\r\n{body}".encode())
            if method == "PLAY":
                self._play(client, udp)
                return

    def _requests(self, client: socket.socket) -> Iterator[tuple[str, str]]:
        pending = b""
        while not self._stop.is_set():
            while b"\r\n\r\n" not in pending:
                data = client.recv(4096)
                if not data:
                    return
                pending += data
            head, pending = pending.split(b"\r\n\r\n", 1)
            text = head.decode()
            sequence = re.search(r"CSeq: *(\d+)", text, re.IGNORECASE)
            yield text, sequence[1] if sequence else "0"

    def _description(self) -> str:
        sets = [unit for unit in self._pictures[0] if unit[0] & 31 in (7, 8)]
        encoded = ",".join(base64.b64encode(one).decode() for one in sets)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={encoded}\r\n"
            "a=control:trackID=0\r\n"
        )

    def _play(self, client: socket.socket, udp: tuple[str, int] | None) -> None:
        number, count = 1000, 0
        while not self._stop.wait(self._step_s):
            if _has_ended(client):
                return
            if self.is_silent.is_set():
                continue
            time = round(count * self._step_s * _CLOCK_HZ) + 12345
            for payload, is_last in _payloads(self._pictures[count % len(self._pictures)]):
                head = struct.pack(">BBHII", 0x80, is_last << 7 | 96, number, time, 99)
                packet = head + payload
                if udp is None:
                    client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                elif number % 4 or not self.is_lossy.is_set():
                    self._udp.sendto(packet, udp)
                number = (number + 1) & 0xFFFF
            count += 1


def _has_ended(client: socket.socket) -> bool:
    """Whether it is gone, or says goodbye; its reports on the reception are passed over."""
    if not select.select([client], [], [], 0)[0]:
        return False
    data = client.recv(4096)
    return not data or b"TEARDOWN" in data


def _payloads(units: list[bytes]) -> Iterator[tuple[bytes, bool]]:
    """RFC 6184: small units alone, large ones in fragments; the picture's last is marked."""
    for n, unit in enumerate(units):
        is_last_unit = n == len(units) - 1
        if len(unit) <= _LARGEST:
            yield unit, is_last_unit
            continue
        head, kind = unit[0], unit[0] & 31
        parts = [unit[at : at + _LARGEST] for at in range(1, len(unit), _LARGEST)]
        for part, piece in enumerate(parts):
            ends = (part == 0) << 7 | (part == len(parts) - 1) << 6
            yield (
                bytes((head & 0xE0 | 28, ends | kind)) + piece,
                (is_last_unit and part == len(parts) - 1),
            )
