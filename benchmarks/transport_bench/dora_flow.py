"""dora: a dataflow that `dora run` starts, Arrow arrays in its shared memory."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transport_bench.peer import Array, NodeSpec, OnSample, Peer, node_command, now_ns
from transport_bench.streams import STREAMS, Stream

_POOL_BYTES = 112 << 20  # of each node; the default of 8 MB holds one camera frame


class Dora(Peer):
    """Its own command starts the nodes; the header travels as metadata of the event."""

    name = "dora"
    requires = "dora-rs dora-rs-cli pyarrow"
    modules = ("dora", "pyarrow")
    settle_s = 2.0
    leftovers = ("*.zenoh", "*zenoh*")

    @classmethod
    def missing(cls) -> str | None:
        return super().missing() or (
            None if _program() else "no program `dora`: pip install dora-rs-cli"
        )

    @classmethod
    def launch(cls, specs: Iterable[NodeSpec]) -> list["subprocess.Popen[bytes]"]:
        specs = list(specs)
        run_dir = Path(specs[0].run_dir)
        flow = {"nodes": [_node_entry(spec, specs) for spec in specs]}
        (run_dir / "dataflow.yml").write_text(json.dumps(flow))  # JSON is YAML
        with (run_dir / "dora.log").open("wb") as log:
            process = subprocess.Popen(
                [_program() or "dora", "run", "dataflow.yml"],
                cwd=run_dir,
                env={**os.environ, "DORA_NODE_SHM_POOL_SIZE": str(_POOL_BYTES)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return [process]

    def open_publisher(self, stream: Stream) -> None:
        import pyarrow

        self._stream = stream
        self._arrow_from = pyarrow.array
        self._open()

    def send(self, seq: int, source: Array) -> int:
        sent_ns = now_ns()
        header = {"seq": seq, "sent_ns": sent_ns, "shape": json.dumps(self._stream.shape)}
        self._node.send_output(self._stream.name, self._arrow_from(source.reshape(-1)), header)
        return sent_ns

    def open_reader(self, streams: Iterable[Stream]) -> None:  # noqa: ARG002 - in the dataflow
        self._open()

    def read(self, on_sample: OnSample, is_over: Callable[[], bool]) -> None:
        while not is_over():
            event = self._node.next(timeout=0.05)
            if event is None or event["type"] != "INPUT":
                continue
            header = event["metadata"]
            array = event["value"].to_numpy(zero_copy_only=True)
            array = array.reshape(json.loads(header["shape"]))
            on_sample(event["id"], header["seq"], header["sent_ns"], array)

    def _open(self) -> None:
        from dora import Node

        self._node = Node()


def _program() -> str | None:
    beside = Path(sys.executable).with_name("dora")
    return str(beside) if beside.exists() else shutil.which("dora")


def _node_entry(spec: NodeSpec, specs: list[NodeSpec]) -> dict[str, Any]:
    program, *arguments = node_command(spec)
    entry = {"id": spec.node, "path": program, "args": " ".join(arguments)}
    if not spec.is_reader:
        return {**entry, "outputs": list(spec.streams)}
    publishers = {other.streams[0]: other.node for other in specs if not other.is_reader}
    return {**entry, "inputs": {name: _input(publishers[name], name) for name in spec.streams}}


def _input(publisher: str, stream: str) -> dict[str, Any]:
    return {"source": f"{publisher}/{stream}", "queue_size": STREAMS[stream].depth}
