"""What `fusion-rt doctor` knows: each check is a function that returns a finding and a way out."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec
import psutil
import zmq

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.errors import FusionError, RingError
from fusion_rt.messages import Health, ProcessHealth, StreamHealth
from fusion_rt.rig import find_rig, load_rig
from fusion_rt.session import attach_session, is_running
from fusion_rt.supervisor import HEALTH_TOPIC
from fusion_rt.transport.drops import Drop
from fusion_rt.transport.lane import Lane, LaneListener
from fusion_rt.transport.ring import RingReader, RingWriter
from fusion_rt.transport.subscriber import Subscriber

_MIN_SEND_BUFFER = 1 << 19
_DRIFT_LIMIT_NS = 50 * NS_PER_MS
_DROP_SHARE = 0.01
_RUNTIMES = ("tensorrt", "tensorrt_rtx", "onnxruntime", "openvino")
_BF16_FLAG = "amx_bf16"
"""Of /proc/cpuinfo: of processors that multiply such matrices."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    subject: str
    verdict: Literal["ok", "warning", "failure"]
    found: str
    way_out: str = ""


def examine_machine() -> list[Finding]:
    """Whether this machine can run any rig."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _kernel,
        _shared_memory,
        _lanes,
        _send_buffer,
        _curve,
        _temporary_directory,
        _networks,
        _load,
    ]
    return [check() for check in checks]


def examine_rig(rig: str) -> tuple[list[Finding], str | None]:
    """Whether the rig can be run as written, and its name if so."""
    try:
        loaded = load_rig(find_rig(rig))
    except FusionError as error:
        lines = str(error).splitlines()
        return [Finding(f"rig {rig}", "failure", line) for line in lines], None
    found = f"{len(loaded.sensors)} sensors, nothing wrong"
    return [Finding(f"rig {rig}", "ok", found)], loaded.name


def examine_run(run_dir: Path) -> list[Finding]:
    """What a running rig says of itself, and what follows."""
    if not is_running(run_dir):
        way_out = "start it with `fusion-rt run`, or name its directory with --run-dir"
        return [Finding("supervisor", "warning", f"no rig runs in {run_dir}", way_out)]
    session = attach_session(run_dir)
    with Subscriber([HEALTH_TOPIC], session, session.clock()) as subscriber:
        received = subscriber.receive(3 * NS_PER_S)
    if received is None or not isinstance(received.message, Health):
        way_out = f"see its log; pid {session.supervisor_pid} holds {run_dir}"
        return [Finding("supervisor", "failure", "it runs, but publishes no Health", way_out)]
    health = received.message
    findings = [_mode(health), _drift(health)]
    findings += [_stream(stream) for stream in health.streams]
    findings += [_process(process) for process in health.processes]
    findings += [Finding("mounting", "warning", warning) for warning in health.warnings]
    return findings


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.machine()}"
    if sys.platform != "linux":
        return Finding("python", "failure", f"{found}, {sys.platform}", "fusion_rt needs Linux")
    return Finding("python", "ok", found)


def _kernel() -> Finding:
    release = platform.release()
    major, minor = (int("".join(filter(str.isdigit, n)) or 0) for n in release.split(".")[:2])
    if (major, minor) < (5, 1):
        return Finding(
            "kernel", "failure", release, "sealed shared memory needs Linux 5.1 or newer"
        )
    return Finding("kernel", "ok", release)


def _shared_memory() -> Finding:
    """Make a ring, take a slot from it: memfd, seals, OFD locks and /proc all have to work."""
    try:
        writer = RingWriter(slots=2, slot_bytes=1)
        reader = RingReader(writer.fd, writer.geometry)
        slot = writer.claim()
        is_taken = slot is not None and not isinstance(
            reader.take(slot, writer.release(slot)), Drop
        )
        writer.close()
    except (OSError, RingError) as error:
        way_out = "is /proc mounted, and memfd_create allowed (container seccomp profile)?"
        return Finding("shared memory", "failure", str(error), way_out)
    verdict: Literal["ok", "failure"] = "ok" if is_taken else "failure"
    return Finding("shared memory", verdict, "rings can be made, sealed and locked")


def _lanes() -> Finding:
    listener = LaneListener()
    try:
        Lane(listener.token).close()
    except OSError as error:
        way_out = "abstract sockets are refused: a container profile? see docs/transport.md"
        return Finding("local lanes", "failure", str(error), way_out)
    finally:
        listener.close()
    return Finding("local lanes", "ok", "abstract packet sockets connect")


def _send_buffer() -> Finding:
    limit = int(Path("/proc/sys/net/core/wmem_max").read_text())
    found = f"net.core.wmem_max is {limit}"
    if limit < _MIN_SEND_BUFFER:
        way_out = f"a reader paused for seconds misses headers; sysctl net.core.wmem_max={1 << 20}"
        return Finding("send buffer", "warning", found, way_out)
    return Finding("send buffer", "ok", found)


def _curve() -> Finding:
    if zmq.has("curve"):
        return Finding("encryption", "ok", f"ZeroMQ {zmq.zmq_version()} has CURVE")
    way_out = "needed only across hosts; install pyzmq from a wheel"
    return Finding("encryption", "warning", "ZeroMQ without CURVE", way_out)


def _temporary_directory() -> Finding:
    directory = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    if os.access(directory, os.W_OK):
        return Finding("run directory", "ok", f"can be made in {directory}")
    way_out = "set XDG_RUNTIME_DIR to a directory of yours, or use --run-dir"
    return Finding("run directory", "failure", f"{directory} is not writable", way_out)


def _networks() -> Finding:
    """What there is to run them, and the faster way where it has to be asked for."""
    there = [name for name in _RUNTIMES if find_spec(name) is not None]
    found = f"{', '.join(there)} can run them"
    if not there:
        return Finding("networks", "failure", "nothing to run them", "pip install onnxruntime")
    if _BF16_FLAG not in Path("/proc/cpuinfo").read_text().split():
        return Finding("networks", "ok", found)
    first = "" if "openvino" in there else "pip install 'fusion_rt[openvino]'; "
    faster = "fusion: {backend: openvino, precision: bf16} is the fastest on this processor"
    return Finding("networks", "ok", found, f"{first}{faster}")


def _load() -> Finding:
    cores = psutil.cpu_count() or 1
    busy, memory_gib = psutil.getloadavg()[0] / cores, psutil.virtual_memory().available / 2**30
    found = f"load {busy:.0%} of {cores} cores, {memory_gib:.1f} GiB of memory free"
    if busy > 0.8 or memory_gib < 0.5:
        return Finding("load", "warning", found, "latencies will suffer; see what else runs")
    return Finding("load", "ok", found)


def _mode(health: Health) -> Finding:
    verdict: Literal["ok", "warning"] = "ok" if health.mode == "NORMAL" else "warning"
    return Finding("mode", verdict, "; ".join((health.mode, *health.mode_reasons)))


def _drift(health: Health) -> Finding:
    found = f"UTC has moved {health.utc_drift_ns / NS_PER_MS:+.1f} ms against rig time"
    if abs(health.utc_drift_ns) > _DRIFT_LIMIT_NS:
        way_out = "stamps are still consistent; restart the rig to return to UTC, and check NTP"
        return Finding("clock", "warning", found, way_out)
    return Finding("clock", "ok", found)


def _stream(stream: StreamHealth) -> Finding:
    found = f"{stream.state}, {stream.rate_hz:.1f} Hz, {stream.received} received"
    lost = stream.drops.get(Drop.LOST.value, 0)
    if stream.state not in ("alive", "recovered"):
        return Finding(stream.topic, "failure", found, stream.reason)
    if lost > _DROP_SHARE * max(stream.received, 1):
        way_out = "a reader or the machine is too slow: `fusion-rt top` shows where drops come up"
        return Finding(stream.topic, "warning", f"{found}, {lost} lost", way_out)
    return Finding(stream.topic, "ok", found)


def _process(process: ProcessHealth) -> Finding:
    found = f"{process.state}, {process.restarts} restarts"
    if process.state != "ready":
        return Finding(f"node {process.node}", "failure", found, process.reason)
    if process.restarts:
        return Finding(f"node {process.node}", "warning", found, "see its log for why it died")
    return Finding(f"node {process.node}", "ok", found)
