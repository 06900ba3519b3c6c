"""What the runtime raises: wrong program or wrong configuration, before the first message.

Bad sensor data is never an exception; it is counted by cause (`fusion_rt.transport`) and reported
in Health. Each class takes values and builds the sentence, so callers can test the fields.
"""

from collections.abc import Sequence


class FusionError(Exception):
    """Base of all errors raised on purpose: the command line prints these without a traceback."""


class ConfigError(FusionError):
    """One thing in a rig, calibration or schedule file that cannot be run as written."""

    def __init__(
        self, file: str, where: str, problem: str, way_out: str = "", line: int | None = None
    ) -> None:
        self.file = file
        self.where = where
        self.problem = problem
        self.way_out = way_out
        self.line = line
        place = f"{file}:{line}" if line is not None else file
        sentence = ": ".join(part for part in (place, where, problem) if part)
        super().__init__(_one_line(sentence + (f"; {way_out}" if way_out else "")))


class ConfigErrors(FusionError):
    """Everything that is wrong with a rig and the files it names: one line each, in file order."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class DriverError(FusionError):
    """A driver that is not there, does not load, or does not serve this kind of topic."""

    def __init__(self, driver: str, problem: str, way_out: str = "") -> None:
        self.driver = driver
        self.problem = problem
        self.way_out = way_out
        super().__init__(f'driver "{driver}": {problem}' + (f"; {way_out}" if way_out else ""))


class MissingExtraError(FusionError, ImportError):
    """An optional dependency that is not installed or does not load."""

    def __init__(self, extra: str, cause: str) -> None:
        self.extra = extra
        self.cause = cause
        super().__init__(f'{cause}; pip install "fusion_rt[{extra}]"')


class RecordingError(FusionError, OSError):
    """A recording that cannot be played; as with a device, another may take its place."""

    def __init__(self, path: str, problem: str, way_out: str = "") -> None:
        self.path = path
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"recording {path}: {problem}" + (f"; {way_out}" if way_out else ""))


class TopicError(FusionError):
    """A topic name that cannot be."""

    def __init__(self, topic: str, problem: str) -> None:
        self.topic = topic
        self.problem = problem
        super().__init__(f'topic "{topic}": {problem}')


class RingError(FusionError):
    """A shared-memory ring that cannot be made, or is not what its publisher announced."""


class SessionError(FusionError):
    """A run directory that cannot be used, or in which no rig runs."""

    def __init__(self, run_dir: str, problem: str, way_out: str = "") -> None:
        self.run_dir = run_dir
        self.problem = problem
        self.way_out = way_out
        super().__init__(
            f"run directory {run_dir}: {problem}" + (f"; {way_out}" if way_out else "")
        )


class MessageError(FusionError):
    """A program published what its topic does not carry."""

    def __init__(self, topic: str, node: str, problem: str) -> None:
        self.topic = topic
        self.node = node
        self.problem = problem
        super().__init__(f'topic "{topic}": {problem}' + (f" from {node}" if node else ""))


class PublisherError(FusionError):
    """A topic that cannot be offered."""

    def __init__(self, topic: str, problem: str, way_out: str = "") -> None:
        self.topic = topic
        self.problem = problem
        self.way_out = way_out
        super().__init__(f'topic "{topic}": {problem}' + (f"; {way_out}" if way_out else ""))


class KeyFileError(FusionError):
    """CURVE keys that are missing, damaged or readable by others."""

    def __init__(self, path: str, problem: str, way_out: str) -> None:
        self.path = path
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"keys {path}: {problem}; {way_out}")


class DemoError(FusionError):
    """A rig started beside a command that showed nothing."""

    def __init__(self, problem: str, log: str, command: str = "demo") -> None:
        self.problem = problem
        self.log = log
        super().__init__(f"{command}: {problem}; the end of its log:\n{log}")


class CalibrationError(FusionError):
    """Measurements from which no calibration can be had that deserves trust."""

    def __init__(self, subject: str, problem: str, way_out: str = "") -> None:
        self.subject = subject
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"{subject}: {problem}" + (f"; {way_out}" if way_out else ""))


def _one_line(text: str) -> str:
    """What a file holds may be quoted, but neither breaks the line nor drives the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SyncConfigError(FusionError):
    """A synchronizer that cannot be built as asked."""

    def __init__(self, field: str, expected: str, got: object) -> None:
        self.field = field
        self.expected = expected
        self.got = got
        super().__init__(f"synchronizer: {field}: expected {expected}, got {got!r}")


class UnknownStreamError(FusionError):
    """A message for a stream the synchronizer was not told of."""

    def __init__(self, stream: str, known: list[str]) -> None:
        self.stream = stream
        self.known = known
        super().__init__(f'synchronizer: unknown stream "{stream}"; known: {", ".join(known)}')


class ArrayError(FusionError):
    """An array that does not fit what the receiver was built for."""

    def __init__(self, where: str, name: str, expected: str, got: str) -> None:
        self.where = where
        self.name = name
        self.expected = expected
        self.got = got
        super().__init__(f'{where}: "{name}" expects {expected}, got {got}')


class EngineLoadError(FusionError):
    """A model that a backend cannot load: missing, damaged, or with operators it does not have."""

    def __init__(self, model: str, backend: str, problem: str, way_out: str = "") -> None:
        self.model = model
        self.backend = backend
        self.problem = problem
        self.way_out = way_out
        tail = f"; {way_out}" if way_out else ""
        super().__init__(f"engine {model} ({backend}): {problem}{tail}")


class EngineRunError(FusionError):
    """An engine that was loaded and cannot run: out of memory, a failed device, a closed engine."""

    def __init__(self, model: str, backend: str, problem: str) -> None:
        self.model = model
        self.backend = backend
        self.problem = problem
        super().__init__(f"engine {model} ({backend}): {problem}")


class BackendMissingError(FusionError):
    """A backend that is not installed here, or whose driver or device is missing."""

    def __init__(self, backend: str, missing: str, way_out: str) -> None:
        self.backend = backend
        self.missing = missing
        self.way_out = way_out
        super().__init__(f"{backend}: {missing}; {way_out}")


class EngineBuildError(FusionError):
    """A model that cannot be turned into an engine: refused nodes, no calibration, no builder."""

    def __init__(self, model: str, problem: str, way_out: str) -> None:
        self.model = model
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"build {model}: {problem}; {way_out}")


class ModelError(FusionError):
    """A model asked for what it cannot do."""

    def __init__(self, model: str, problem: str, way_out: str = "") -> None:
        self.model = model
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"model {model}: {problem}" + (f"; {way_out}" if way_out else ""))


class DeviceMemoryError(FusionError):
    """A GPU without room for a buffer."""

    def __init__(self, device: str, wanted_bytes: int, free_bytes: int) -> None:
        self.device = device
        self.wanted_bytes = wanted_bytes
        self.free_bytes = free_bytes
        wanted, free = wanted_bytes / 2**20, free_bytes / 2**20
        super().__init__(
            f"gpu {device}: cannot allocate {wanted:.1f} MiB, {free:.1f} MiB are free; "
            "close other programs or use a smaller model"
        )


class SimulationError(FusionError):
    """A simulated drive that cannot be made, kept or read as asked."""

    def __init__(self, where: str, problem: str, way_out: str = "") -> None:
        self.where = where
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"{where}: {problem}" + (f"; {way_out}" if way_out else ""))


class FaultError(FusionError):
    """A fault that cannot be done to anything."""

    def __init__(self, fault: str, problem: str, way_out: str = "") -> None:
        self.fault = fault
        self.problem = problem
        self.way_out = way_out
        super().__init__(f'fault "{fault}": {problem}' + (f"; {way_out}" if way_out else ""))


class LogError(FusionError):
    """A log that cannot be written, read or replayed as asked."""

    def __init__(self, path: str, problem: str, way_out: str = "") -> None:
        self.path = path
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"log {path}: {problem}" + (f"; {way_out}" if way_out else ""))


class DatasetError(FusionError):
    """A public data set that is not laid out as it should be."""

    def __init__(self, path: str, problem: str, way_out: str = "") -> None:
        self.path = path
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"{path}: {problem}" + (f"; {way_out}" if way_out else ""))


class ForeignLogError(FusionError):
    """Somebody else's recording that cannot be imported as asked."""

    def __init__(self, path: str, problem: str, way_out: str = "") -> None:
        self.path = path
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"import {path}: {problem}" + (f"; {way_out}" if way_out else ""))


class BenchError(FusionError):
    """A benchmark that measured nothing."""

    def __init__(self, problem: str, log: str = "") -> None:
        self.problem = problem
        self.log = log
        super().__init__(f"bench: {problem}" + (f"; the end of its log:\n{log}" if log else ""))


class FleetError(FusionError):
    """Many replays that cannot be started, or whose results cannot be kept, as asked."""

    def __init__(self, where: str, problem: str, way_out: str = "") -> None:
        self.where = where
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"{where}: {problem}" + (f"; {way_out}" if way_out else ""))


class ExportError(FusionError):
    """What a log holds cannot be handed on as asked."""

    def __init__(self, path: str, problem: str, way_out: str = "") -> None:
        self.path = path
        self.problem = problem
        self.way_out = way_out
        super().__init__(f"export {path}: {problem}" + (f"; {way_out}" if way_out else ""))


class FoxgloveError(FusionError):
    """A server for the Foxglove app that cannot be started."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host = host
        self.port = port
        self.problem = problem
        super().__init__(
            f"foxglove: cannot serve at {host}:{port}: {problem}; "
            "another port is given by --port, or in the rig by foxglove.port"
        )
