"""What the runtime raises: wrong program or wrong configuration, before the first message.

Bad sensor data is never an exception; it is counted by cause (`fusion_rt.transport`) and reported
in Health. Each class takes values and builds the sentence, so callers can test the fields.
"""


class FusionError(Exception):
    """Base of all errors raised on purpose: the command line prints these without a traceback."""


class ConfigError(FusionError):
    """A rig, calibration or schedule file that cannot be run as written."""

    def __init__(self, file: str, where: str, problem: str, way_out: str = "") -> None:
        self.file = file
        self.where = where
        self.problem = problem
        self.way_out = way_out
        place = f"{file}: {where}: " if where else f"{file}: "
        super().__init__(f"{place}{problem}" + (f"; {way_out}" if way_out else ""))


class TopicError(FusionError):
    """A topic name that cannot be."""

    def __init__(self, topic: str, problem: str) -> None:
        self.topic = topic
        self.problem = problem
        super().__init__(f'topic "{topic}": {problem}')


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
