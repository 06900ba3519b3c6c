"""Reads what a model directory says of itself, before encode and fuse: model.yaml and its ONNX.

A model serves any of the streams camera, LiDAR, sound and GPS. Each stream but GPS has an encoder;
one graph fuses what the encoders give. docs/fusion.md lists the tensors.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

import fusion_rt.model
from fusion_rt.config import Problems, checked, known_names
from fusion_rt.errors import ConfigError
from fusion_rt.messages import Mode
from fusion_rt.model.lift import LiftGrid
from fusion_rt.preprocess.audio_features import AudioRecipe
from fusion_rt.preprocess.image_prepare import ImageRecipe
from fusion_rt.preprocess.pillarize import PillarGrid
from fusion_rt.yaml_file import Place, read_yaml

BF16: Final = "bf16"
"""A precision without graphs of its own: OpenVINO computes the usual ones in it."""
MODEL_FILE = "model.yaml"
STREAM_KINDS = ("camera", "lidar", "audio", "gps")
"""In the order of the graph's `present`, `age_s` and `contributions`."""

OnnxName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\.onnx$",
        description="name of an ONNX file in the model's directory",
    ),
]
Score = Annotated[float, msgspec.Meta(ge=0, le=1)]
Side = Annotated[int, msgspec.Meta(ge=1, le=16384)]
Triple = tuple[float, float, float]


def _checked_recipe(build: Callable[[], object]) -> None:
    """A recipe's own checks, as those of a struct of the file."""
    try:
        build()
    except ConfigError as error:
        raise ValueError(f"{error.file}: {error.problem}") from error


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One graph, and the same graph in other precisions."""

    onnx: OnnxName
    precisions: dict[str, OnnxName] = {}
    """By name, `int8` for example; `onnx` itself is what runs where none is asked for."""


class Lift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The places of `fusion_rt.model.lift.LiftGrid`."""

    x_min_m: float = 0.0
    y_min_m: float = -25.6
    cell_m: float = 0.8
    columns: int = 64
    rows: int = 64
    heights_m: tuple[float, ...] = (0.4, 1.4)

    def __post_init__(self) -> None:
        _checked_recipe(lambda: self.grid)

    @property
    def grid(self) -> LiftGrid:
        return LiftGrid(**msgspec.structs.asdict(self))


class CameraInput(Network, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The camera's encoder, what it is given, and where its features are looked up."""

    width: Side = 448
    height: Side = 256
    letterbox: bool = True
    planar: bool = False
    order: Literal["rgb", "bgr"] = "rgb"
    pad: Annotated[int, msgspec.Meta(ge=0, le=255)] = 114
    mean: Triple | None = None
    std: Triple = (1.0, 1.0, 1.0)
    lift: Lift | None = None
    """None where the fusion graph does not look into the picture from above."""

    def __post_init__(self) -> None:
        _checked_recipe(lambda: self.recipe)

    @property
    def recipe(self) -> ImageRecipe:
        return ImageRecipe(
            out_width=self.width,
            out_height=self.height,
            letterbox=self.letterbox,
            planar=self.planar,
            order=self.order,
            pad=self.pad,
            mean=self.mean,
            std=self.std,
        )


class Raster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The raster of `fusion_rt.preprocess.pillarize.PillarGrid`; intensities here are 0..1."""

    x_min_m: float = 0.0
    y_min_m: float = -25.6
    z_min_m: float = -1.0
    z_max_m: float = 4.0
    cell_m: float = 0.4
    columns: int = 128
    rows: int = 128
    intensity_max: float = 1.0
    min_range_m: float = 0.5
    max_range_m: float = 200.0

    def __post_init__(self) -> None:
        _checked_recipe(lambda: self.grid)

    @property
    def grid(self) -> PillarGrid:
        return PillarGrid(**msgspec.structs.asdict(self))


class LidarInput(Network, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The LiDAR's encoder and its raster."""

    raster: Raster = Raster()


class Sound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The features of `fusion_rt.preprocess.audio_features.AudioRecipe`."""

    rate_hz: float = 16000.0
    channels: int = 4
    frames: int = 64
    fft_size: int = 512
    hop: int = 128
    bands: int = 64
    lags: int = 64
    min_hz: float = 60.0
    max_hz: float = 7600.0

    def __post_init__(self) -> None:
        _checked_recipe(lambda: self.recipe)

    @property
    def recipe(self) -> AudioRecipe:
        return AudioRecipe(**msgspec.structs.asdict(self))


class AudioInput(Network, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The microphone array's encoder and its features."""

    sound: Sound = Sound()


class GpsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """GPS has no encoder: `fusion_rt.model.ego.ego_vector` goes straight into the fusion graph."""


class Thresholds(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="upper"
):
    """Least score of a detection worth publishing, by the mode of the rig."""

    normal: Score
    degraded: Score
    minimal: Score
    blind: Score

    def of(self, mode: Mode) -> float:
        return {
            "NORMAL": self.normal,
            "DEGRADED": self.degraded,
            "MINIMAL": self.minimal,
            "BLIND": self.blind,
        }[mode]


class BoxRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model was trained to find things, metres in `base`."""

    x_min_m: float
    y_min_m: float
    x_max_m: float
    y_max_m: float

    def __post_init__(self) -> None:
        if not (self.x_min_m < self.x_max_m and self.y_min_m < self.y_max_m):
            sides = (self.x_min_m, self.x_max_m, self.y_min_m, self.y_max_m)
            got = ", ".join(f"{side:g}" for side in sides)
            raise ValueError(f"expected x_min_m < x_max_m and y_min_m < y_max_m, got {got}")


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the weights come from, for whoever doubts them later."""

    date: str = ""
    config_digest: str = ""
    seed: int | None = None
    note: str = ""


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What model.yaml may say."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_-]{0,31}$")]
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=256)]
    thresholds: Thresholds
    siren_threshold: Score = 0.5
    box_range: BoxRange | None = None
    camera: CameraInput | None = None
    lidar: LidarInput | None = None
    audio: AudioInput | None = None
    gps: GpsInput | None = None
    fusion: Network
    provenance: Provenance = Provenance()

    def __post_init__(self) -> None:
        if self.camera is None and self.lidar is None and self.audio is None:
            raise ValueError("expected at least one of camera, lidar, audio, got none of them")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of streams that the model takes, in the order of STREAM_KINDS."""
        return tuple(kind for kind in STREAM_KINDS if getattr(self, kind) is not None)

    def networks(self) -> Iterator[tuple[str, Network]]:
        """The encoders there are, and the graph that fuses."""
        for name in ("camera", "lidar", "audio", "fusion"):
            network = getattr(self, name)
            if network is not None:
                yield name, network


class Model(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A model directory whose files are there; `fusion_rt.perception` opens its graphs."""

    folder: Path
    file: ModelFile
    raw: bytes
    """model.yaml as read, for the recorder to attach."""

    def path(self, network: str, precision: str | None = None) -> Path:
        """The ONNX of `camera`, `lidar`, `audio` or `fusion`; the usual one where `precision` is
        not to be had for it."""
        wanted: Network = getattr(self.file, network)
        return self.folder / wanted.precisions.get(precision or "", wanted.onnx)

    def refusal(self, precision: str | None, backend: str) -> tuple[str, str] | None:
        """Problem and way out where the model does not run in that precision, by that backend."""
        known = {BF16} | {
            kind for _, network in self.file.networks() for kind in network.precisions
        }
        if precision is None or (precision == BF16 and backend == "openvino"):
            return None
        if precision == BF16:
            problem = f'expected backend "openvino" with precision "{BF16}", got "{backend}"'
            return problem, "pip install fusion_rt[openvino], and name it as the backend"
        if precision not in known:
            problem = f'expected a precision of {self.file.name}, got "{precision}"'
            return problem, known_names(precision, known)
        return None

    @property
    def digest(self) -> str:
        """SHA-256 over model.yaml and every ONNX it names: equal for equal answers."""
        digest = hashlib.sha256(self.raw)
        for _, network in self.file.networks():
            for name in (network.onnx, *network.precisions.values()):
                digest.update(hashlib.sha256((self.folder / name).read_bytes()).digest())
        return digest.hexdigest()


def load_model(folder: Path) -> Model:
    """Read and check a model directory; raises ConfigErrors with all that is wrong."""
    file = read_yaml(folder / MODEL_FILE)
    problems = Problems(file)
    written = checked(file.tree, ModelFile, (), problems)
    for name, network in written.networks() if written else ():
        _check_files(folder, name, network, problems)
    if written is None or problems.errors:
        raise problems.as_error()
    return Model(folder=folder, file=written, raw=file.raw)


def find_model(name: str, beside: Path | None = None) -> Path:
    """The directory meant: a path, relative to `beside`, or the name of a shipped model."""
    folder = (beside or Path()) / name
    if (folder / MODEL_FILE).is_file():
        return folder
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    problem = f"expected a directory with {MODEL_FILE} or the name of a model, found neither"
    way_out = f"models that come with the package: {', '.join(shipped) or 'none'}"
    raise ConfigError(name, "", problem, way_out)


def shipped_models() -> dict[str, Path]:
    """The models that come with the package, by name."""
    # Real folders: wheels are unpacked. An editable install may list more than one.
    found = [
        path for each in fusion_rt.model.__path__ for path in Path(each).glob(f"*/{MODEL_FILE}")
    ]
    return {path.parent.name: path.parent for path in sorted(found)}


def _check_files(folder: Path, name: str, network: Network, problems: Problems) -> None:
    places: dict[Place, str] = {(name, "onnx"): network.onnx}
    places |= {(name, "precisions", kind): file for kind, file in network.precisions.items()}
    for place, file in places.items():
        if not (folder / file).is_file():
            there = known_names(file, (path.name for path in folder.glob("*.onnx")))
            problems.add(place, f"expected a file in {folder}, got none called {file}", there)
