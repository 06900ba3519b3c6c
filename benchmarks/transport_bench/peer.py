"""How a transport is driven: one subclass of `Peer` per transport, the same for ours and others'.

Every publisher and every reader is a process of its own with one `Peer` object. The stamp that
latency is counted from is taken by `send`, so that each adapter shows what is measured.
"""

import contextlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from transport_bench.streams import Stream

Array = npt.NDArray[Any]
OnSample = Callable[[str, int, int, Array | None], None]
"""Called with stream, seq, sent_ns and the array, if any, as soon as all of them are at hand."""
now_ns = time.monotonic_ns


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of a run must know."""

    transport: str
    node: str
    run_dir: str
    run_id: str
    """Unique on this machine, for names that are global."""
    streams: tuple[str, ...]
    """The one it publishes, or all that it reads."""
    ports: dict[str, int]
    """A free TCP port per stream."""
    is_reader: bool
    is_flat_out: bool = False
    work_ms: float = 0.0

    @property
    def path(self) -> Path:
        return Path(self.run_dir, f"{self.node}.spec.json")


class Header(msgspec.Struct, frozen=True, array_like=True):
    """In front of a peer's array; ours has `fusion_rt.transport.wire.Header` there."""

    stream: str
    seq: int
    sent_ns: int
    dtype: str
    shape: tuple[int, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def encode_header(stream: Stream, seq: int, sent_ns: int) -> bytes:
    return _encoder.encode(Header(stream.name, seq, sent_ns, stream.dtype, stream.shape))


def decode_header(data: Any) -> Header:
    return _decoder.decode(data)


def as_array(header: Header, data: Any) -> Array:
    """The payload where it lies."""
    return np.frombuffer(data, header.dtype).reshape(header.shape)


class Peer:
    """One transport in one process. Either `open_publisher` or `open_reader` is called, once."""

    name = ""
    requires = ""
    """What to pip install."""
    modules: tuple[str, ...] = ()
    settle_s = 0.3
    """From all processes being ready to the first message: connections, discovery."""
    leftovers = "*"
    leftovers: tuple[str, ...] = ()
    """Patterns of names in /dev/shm that may stay behind; `RUN` stands for the run's id."""

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.counters: dict[str, int] = {}

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here; None when it can."""
        absent = [name for name in cls.modules if importlib.util.find_spec(name) is None]
        return f"no module {', '.join(absent)}: pip install {cls.requires}" if absent else None

    @classmethod
    def hosted(cls, run_dir: Path) -> contextlib.AbstractContextManager[object]:
        """What has to run beside the nodes, in the process that starts them."""
        return contextlib.nullcontext(run_dir)

    @classmethod
    def launch(cls, specs: Iterable[NodeSpec]) -> list["subprocess.Popen[bytes]"]:
        return [start_node(spec) for spec in specs]

    def open_publisher(self, stream: Stream) -> None:
        raise NotImplementedError

    def source_arrays(self, stream: Stream, count: int) -> list[Array]:
        """The arrays that the producer writes its messages into, in turn."""
        return [np.zeros(stream.shape, stream.dtype) for _ in range(count)]

    def reclaim(self, source: Array) -> None:
        """Called before the producer overwrites an array that it sent."""

    def send(self, seq: int, source: Array) -> int:
        """Publish the array; returns when the clock was taken, right before the call."""
        raise NotImplementedError

    def open_reader(self, streams: Iterable[Stream]) -> None:
        raise NotImplementedError

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        """Deliver until `is_over`, which is asked every 50 ms or so."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what would outlive the process."""


def start_node(spec: NodeSpec) -> "subprocess.Popen[bytes]":
    """By exec: OFD locks and several peers' threads do not survive a fork."""
    with Path(spec.run_dir, f"{spec.node}.log").open("wb") as log:
        return subprocess.Popen(
            node_command(spec),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=spec.run_dir,
            start_new_session=True,
        )


def node_command(spec: NodeSpec) -> list[str]:
    program = Path(__file__).parents[1] / "transport_node.py"
    return [sys.executable, str(program), str(spec.path)]
