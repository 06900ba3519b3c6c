"""The sweeps of one LiDAR: packets in from the network or a recording, messages out.

Live packets are received, checked and cut into turns by a thread of their own, so that neither
decoding nor publishing delays a stamp or overflows the socket; whole turns are decoded here.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.device_clock import DeviceClock
from fusion_rt.drivers.port import READ_DEADLINE_NS, DriverPort
from fusion_rt.errors import DriverError
from fusion_rt.lidar.cloud import Cloud, Decoder, lost_packets
from fusion_rt.lidar.options import LidarOptions
from fusion_rt.lidar.turns import Turn, TurnCutter
from fusion_rt.messages import LidarSweep
from fusion_rt.packets.datagram import Datagram
from fusion_rt.packets.recording import Player, check_recording
from fusion_rt.packets.udp import UdpReceiver

PACKETS = "packets"
LOST_PACKETS = "lost_packets"
"""Counter of packets that the sensor sent and we did not get, by its own count or time."""
CORRUPT_PACKETS = "corrupt_packets"
"""Counter of packets of the right kind whose checksum, angles or time cannot be."""
HELD_UP_TURNS = "turns_superseded"
"""Counter of turns that were complete before an earlier one was decoded: this process is slow."""
UNUSABLE_TURNS = "unusable_turns"

_WAITING_TURNS = 2
log = logging.getLogger(__name__)


class Intake:
    """Checks packets, counts what is wrong with them, and hands out turns."""

    def __init__(self, decoder: Decoder, cut_deg: float, counters: Counter[str]) -> None:
        self._decoder = decoder
        self._cutter = TurnCutter(decoder, cut_deg)
        self._counters = counters

    def push(self, packet: Datagram) -> Turn | None:
        problem = self._decoder.problem(packet.payload)
        if problem is not None:
            if not self._counters[problem]:
                size, host = len(packet.payload), packet.host or "a recording"
                log.warning("%s: the first has %d bytes, from %s", problem, size, host)
            self._counters[problem] += 1
            return None
        self._counters[PACKETS] += 1
        return self._cutter.push(packet.payload, packet.stamp_ns)

    def flush(self) -> Turn | None:
        """The turn that silence ended."""
        return self._cutter.flush()


@contextmanager
def open_lidar(
    options: LidarOptions, port: DriverPort, make_decoder: Callable[[], Decoder], usual_port: int
) -> Iterator[Iterator[LidarSweep | None]]:
    """The sweeps of the sensor that the options describe.

    Raises DriverError where the decoder's files, the recording or the address cannot be used. A
    sensor that sends nothing yet is no error: packets may come at any time.
    """
    try:
        decoder = make_decoder()
        opened = _open_turns(options, port, decoder, usual_port)
    except (ValueError, OSError) as error:
        raise DriverError(options.driver, str(error)) from error
    with opened as turns:
        sweeps = sweeps_of(turns, decoder, options, port)
        try:
            yield sweeps
        finally:
            sweeps.close()


def _open_turns(
    options: LidarOptions, port: DriverPort, decoder: Decoder, usual_port: int
) -> AbstractContextManager[Iterator[Turn | None]]:
    if options.path is not None:
        check_recording(Path(options.path), options.topic)
        return nullcontext(_recorded_turns(options, port, decoder))
    place = (options.listen, options.port or usual_port)
    receiver = UdpReceiver(*place, port.clock, options.host, options.group)
    return _live_turns(receiver, decoder, options.cut_deg, port)


def _recorded_turns(
    options: LidarOptions, port: DriverPort, decoder: Decoder
) -> Iterator[Turn | None]:
    player = Player(
        Path(options.path or ""),
        options.topic,
        port.clock,
        port.counters,
        speed=options.speed,
        repeat=options.repeat,
    )
    intake = Intake(decoder, options.cut_deg, port.counters)
    last_ns = port.clock.now_ns()
    for packet in player:
        turn = intake.flush() if packet is None else None
        if packet is not None and _is_wanted(packet, options):
            turn = intake.push(packet)
        now_ns = port.clock.now_ns()
        if turn is not None or packet is None or now_ns - last_ns > READ_DEADLINE_NS:
            last_ns = now_ns
            yield turn


def _is_wanted(packet: Datagram, options: LidarOptions) -> bool:
    """Bags keep neither port nor sender."""
    is_port = options.port is None or packet.port in (0, options.port)
    return is_port and (options.host is None or packet.host in ("", options.host))


class _Turns:
    """Turns on their way from the receiving thread to the decoding one: the newest few."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._waiting: deque[Turn] = deque()
        self._changed = threading.Condition()

    def put(self, turn: Turn) -> None:
        with self._changed:
            if len(self._waiting) >= _WAITING_TURNS:
                self._waiting.popleft()
                self._counters[HELD_UP_TURNS] += 1
            self._waiting.append(turn)
            self._changed.notify()

    def taken(self, receiver: threading.Thread) -> Iterator[Turn | None]:
        """Turns as they come, None at each read deadline, for as long as the receiver lives."""
        while receiver.is_alive():
            with self._changed:
                self._changed.wait_for(lambda: self._waiting, READ_DEADLINE_NS / NS_PER_S)
                turn = self._waiting.popleft() if self._waiting else None
            yield turn
        raise RuntimeError("the receiving thread ended; its traceback stands above")


@contextmanager
def _live_turns(
    receiver: UdpReceiver, decoder: Decoder, cut_deg: float, port: DriverPort
) -> Iterator[Iterator[Turn | None]]:
    turns = _Turns(port.counters)
    stop = threading.Event()
    intake = Intake(decoder, cut_deg, port.counters)
    arguments = (receiver, intake, turns, stop, port.clock)
    thread = threading.Thread(target=_receive, args=arguments, name="udp", daemon=True)
    thread.start()
    try:
        yield turns.taken(thread)
    finally:
        stop.set()
        thread.join()
        receiver.close()


def _receive(
    receiver: UdpReceiver, intake: Intake, turns: _Turns, stop: threading.Event, clock: Clock
) -> None:
    last_ns = clock.now_ns()
    while not stop.is_set():
        packet = receiver.receive()
        if packet is not None:
            last_ns = packet.stamp_ns
            turn = intake.push(packet)
        else:
            is_silent = clock.now_ns() - last_ns > READ_DEADLINE_NS // 2
            turn = intake.flush() if is_silent else None
        if turn is not None:
            turns.put(turn)


def sweeps_of(
    turns: Iterable[Turn | None], decoder: Decoder, options: LidarOptions, port: DriverPort
) -> Generator[LidarSweep | None, None, None]:
    """Decode turns into loans and stamp them; a sweep lives until the next one is asked for."""
    clock = DeviceClock(decoder.wrap_ns, options.clock, port.counters)
    before: list[bytes] = []
    for turn in turns:
        if turn is None:
            yield None
            continue
        numbers = decoder.numbers(before + turn.packets)
        port.counters[LOST_PACKETS] += lost_packets(numbers, decoder.number_modulus)
        before = turn.packets[-1:]
        cloud = decoder.decode(turn)
        if cloud is None:
            port.counters[UNUSABLE_TURNS] += 1
            continue
        port.counters[CORRUPT_PACKETS] += cloud.corrupt
        clock.observe(decoder.device_times(turn.packets), np.array(turn.recv_ns))
        stamp_ns = clock.rig_ns(cloud.end_ns, turn.recv_ns[-1])
        yield from _published(cloud, stamp_ns, port)


def _published(cloud: Cloud, stamp_ns: int, port: DriverPort) -> Generator[LidarSweep, None, None]:
    if not len(cloud.ring):
        points = np.empty((0, 5), np.float32)
        yield LidarSweep(stamp_ns=stamp_ns, points=points, ring=cloud.ring)
        return
    with port.loan((len(cloud.ring), 5), np.float32) as points:
        points[:, 0] = cloud.x_m
        points[:, 1] = cloud.y_m
        points[:, 2] = cloud.z_m
        points[:, 3] = cloud.intensity
        points[:, 4] = cloud.dt_s
        yield LidarSweep(stamp_ns=stamp_ns, points=points, ring=cloud.ring)
