"""Encode and fuse: a model at work, plain arrays in and out.

Synchronous, with no thread, socket or clock of its own: the fusion node, evaluation, replay and
benchmarks all come through here. Each `encode_...` and `fuse` may run on a thread of its own at
the same time, each of them one call at a time.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.arrays import AnyArray, Floats, TensorSpec
from fusion_rt.engine.engine import Engine, EngineOptions
from fusion_rt.engine.open import Backend, open_engine
from fusion_rt.errors import ArrayError, ConfigError, ModelError
from fusion_rt.geometry import Pinhole, RigidTransform
from fusion_rt.messages import BOX_COLUMNS
from fusion_rt.model.ego import EGO_SIZE
from fusion_rt.model.lift import CameraLift
from fusion_rt.model_file import BF16, MODEL_FILE, STREAM_KINDS, Model, load_model
from fusion_rt.preprocess.audio_features import AudioFeatures
from fusion_rt.preprocess.image_prepare import ImagePreparer, PixelFormat, plan_image
from fusion_rt.preprocess.pillarize import Pillarizer

Features = Mapping[str, AnyArray]
"""What an encoder makes of one message, by tensor name; owned by whoever asked for it."""

_STILL = (0.0, 0.0, 0.0)
_MOST_RATIO_ERROR = 0.01
"""Frames of another resolution than the calibrated one fit if their sides' ratio does."""


class Mounts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Where the sensors of a model sit; None for a stream that the rig does not have."""

    pinhole: Pinhole | None = None
    base_from_camera: RigidTransform | None = None
    base_from_lidar: RigidTransform | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the fusion graph says, at the anchor time in `base`; arrays are the caller's."""

    boxes: Floats
    """(N, 9): the columns of messages.BOX_COLUMNS, best score first."""
    scores: Floats
    """(N,) in 0..1; all of them, thresholds are the caller's."""
    labels: npt.NDArray[np.int32]
    """(N,), an index into the model's classes."""
    contributions: Floats | None
    """(N, 4): share of camera, lidar, audio, gps in each box; None where the model does not say."""
    siren: Floats | None
    """(3,): probability, cosine and sine of the bearing; None where the model has no ear."""


class Perception:
    """The opened graphs of one model, for one set of mounts. Close it, or use it in a `with`."""

    def __init__(self, model: Model, engines: Mapping[str, Engine], mounts: Mounts) -> None:
        """Takes over the engines: `fusion`, and `camera`, `lidar`, `audio` as in the model."""
        self.model = model
        self.engines = dict(engines)
        self._check()
        file = model.file
        self._sound = AudioFeatures(file.audio.sound.recipe) if file.audio else None
        self._inputs = {
            spec.name: np.zeros(spec.shape, spec.dtype) for spec in self._fusion.inputs.values()
        }
        self.mount(mounts)

    def mount(self, mounts: Mounts) -> None:
        """Work for sensors in other places from now on; between calls of the other methods only."""
        file = self.model.file
        self.mounts = mounts
        self._preparer: ImagePreparer | None = None
        self._prepares: tuple[PixelFormat, tuple[int, ...]] | None = None
        self._lift: CameraLift | None = None
        self._pillarizer: Pillarizer | None = None
        if file.camera and mounts.pinhole:
            self._prepare_for("bgr8", mounts.pinhole.width, mounts.pinhole.height)
        if file.lidar and mounts.base_from_lidar:
            grid = file.lidar.raster.grid
            self._pillarizer = Pillarizer(grid, mounts.base_from_lidar.matrix)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The streams that the model takes and that are mounted, in the order of STREAM_KINDS."""
        is_mounted = {
            "camera": self.mounts.pinhole is not None and self.mounts.base_from_camera is not None,
            "lidar": self.mounts.base_from_lidar is not None,
        }
        return tuple(kind for kind in self.model.file.kinds if is_mounted.get(kind, True))

    # --- encoders -------------------------------------------------------------------------------

    def encode_camera(
        self, image: npt.NDArray[np.uint8], encoding: PixelFormat, width: int, height: int
    ) -> Features:
        """Features of a frame, shaped as messages.CameraFrame says for its encoding; no JPEG."""
        if self._prepares != (encoding, (width, height)):
            self._prepare_for(encoding, width, height)
        assert self._preparer is not None
        prepared = self._preparer.run(image)
        return self._encoded("camera", {"image": prepared})

    def encode_lidar(
        self,
        points_lidar: Floats,
        linear_mps: Sequence[float] = _STILL,
        angular_radps: Sequence[float] = _STILL,
    ) -> Features:
        """Features of a sweep (N, 5) as messages.LidarSweep; twist of `base`, for de-skew."""
        if self._pillarizer is None:
            raise ModelError(self.model.file.name, "has no LiDAR mounted")
        raster = self._pillarizer.run(points_lidar, linear_mps, angular_radps)
        return self._encoded("lidar", {"raster": raster[None]})

    def encode_audio(self, samples: AnyArray) -> Features:
        """Features of a window of sound (samples, channels), as long as the model's recipe says."""
        if self._sound is None:
            raise ModelError(self.model.file.name, "has no ear")
        mel, gcc = self._sound.run(samples)
        return self._encoded("audio", {"mel": mel[None], "gcc": gcc[None]})

    # --- fusion ---------------------------------------------------------------------------------

    def fuse(
        self,
        features: Mapping[str, Features],
        *,
        ego: Floats | None = None,
        ages_s: Mapping[str, float] | None = None,
        shot_from_anchor: RigidTransform | None = None,
    ) -> Answer:
        """The answer from whatever is there: `features` of camera, lidar, audio, by kind.

        `ego` is `ego_vector(...)`, None without GPS. `ages_s`: how much older than the anchor each
        member is, by kind. `shot_from_anchor` as for `CameraLift.run`.
        """
        inputs = dict(self._inputs)  # what is absent keeps its zeros, which the graph masks
        present = [kind in features or (kind == "gps" and ego is not None) for kind in STREAM_KINDS]
        ages = [(ages_s or {}).get(kind, 0.0) for kind in STREAM_KINDS]
        inputs["present"] = np.array([present], np.float32)
        inputs["age_s"] = np.array([ages], np.float32)
        if ego is not None:
            inputs["ego"] = ego
        if "camera" in features and self._lift is not None:
            inputs["grid"], inputs["valid"] = self._lift.run(shot_from_anchor)
        for tensors in features.values():
            inputs |= tensors
        wanted = {name: inputs[name] for name in self._fusion.inputs}
        return _answer(self._fusion.run(wanted))

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()

    def __enter__(self) -> "Perception":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside ---------------------------------------------------------------------------------

    @property
    def _fusion(self) -> Engine:
        return self.engines["fusion"]

    def _prepare_for(self, encoding: PixelFormat, width: int, height: int) -> None:
        camera, pinhole = self.model.file.camera, self.mounts.pinhole
        base_from_camera = self.mounts.base_from_camera
        if camera is None or pinhole is None or base_from_camera is None:
            raise ModelError(self.model.file.name, "has no camera mounted")
        ratio = width * pinhole.height / (height * pinhole.width)
        if abs(ratio - 1) > _MOST_RATIO_ERROR:
            calibrated = f"the sides of the calibrated {pinhole.width}x{pinhole.height}"
            raise ArrayError("perception", "image", calibrated, f"{width}x{height}")
        plan = plan_image(encoding, width, height, camera.recipe)
        self._preparer = ImagePreparer(plan)
        if camera.lift is not None:
            self._lift = CameraLift(camera.lift.grid, pinhole, base_from_camera, plan)
        self._prepares = encoding, (width, height)

    def _encoded(self, kind: str, inputs: Mapping[str, AnyArray]) -> Features:
        engine = self.engines[kind]
        outputs = {spec.name: np.empty(spec.shape, spec.dtype) for spec in engine.outputs.values()}
        return engine.run(inputs, outputs)

    def _check(self) -> None:
        """Every tensor that the graphs exchange, before the first message."""
        name = self.model.file.name
        given = _given(self.model)
        for kind, specs in _encoder_inputs(self.model).items():
            _match(f"{name}: {kind}", self.engines[kind].inputs, specs)
            for spec in self.engines[kind].outputs.values():
                if not spec.name.startswith(f"{kind}_") or spec.dtype != np.float32:
                    wanted = f"float32 outputs called {kind}_..."
                    raise ArrayError(f"{name}: {kind}", spec.name, wanted, str(spec))
                given[spec.name] = spec
        for spec in self._fusion.inputs.values():
            if spec.name not in given:
                known = ", ".join(sorted(given))
                raise ArrayError(f"{name}: fusion", spec.name, f"an input out of {known}", "it")
        _match(f"{name}: fusion", self._fusion.inputs, given, is_partial=True)
        _check_answer(f"{name}: fusion", self._fusion.outputs)


def open_model(
    folder: Path,
    mounts: Mounts,
    backend: Backend = "auto",
    options: EngineOptions | None = None,
    precision: str | None = None,
) -> Perception:
    """Load a model directory, open its graphs and check that they fit each other.

    `precision`: of the graphs that have it, or `bf16`, which OpenVINO computes all graphs in.
    """
    model = load_model(folder)
    refusal = model.refusal(precision, backend)
    if refusal is not None:
        raise ConfigError(str(folder / MODEL_FILE), "precision", *refusal)
    options = options or EngineOptions()
    if precision == BF16:
        options = replace(options, openvino_precision=BF16)
    with contextlib.ExitStack() as opened:
        engines = {
            name: opened.enter_context(open_engine(model.path(name, precision), backend, options))
            for name, _ in model.file.networks()
        }
        perception = Perception(model, engines, mounts)
        opened.pop_all()
    return perception


def _encoder_inputs(model: Model) -> dict[str, dict[str, TensorSpec]]:
    """What each encoder of the model must take."""
    file = model.file
    wanted: dict[str, list[TensorSpec]] = {}
    if file.camera:
        wanted["camera"] = [file.camera.recipe.out_spec]
    if file.lidar:
        raster = file.lidar.raster.grid.raster_spec
        wanted["lidar"] = [_floats("raster", 1, *raster.shape)]
    if file.audio:
        recipe = file.audio.sound.recipe
        mel = _floats("mel", 1, recipe.channels, recipe.bands, recipe.frames)
        wanted["audio"] = [mel, _floats("gcc", 1, len(recipe.pairs), recipe.frames, recipe.lags)]
    return {kind: {spec.name: spec for spec in specs} for kind, specs in wanted.items()}


def _given(model: Model) -> dict[str, TensorSpec]:
    """What the fusion graph may take besides features."""
    count = len(STREAM_KINDS)
    specs = [_floats("present", 1, count), _floats("age_s", 1, count), _floats("ego", 1, EGO_SIZE)]
    if model.file.camera and model.file.camera.lift:
        size = model.file.camera.lift.grid.size
        specs += [_floats("grid", 1, size, 3), _floats("valid", 1, size)]
    return {spec.name: spec for spec in specs}


def _floats(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, shape, np.dtype(np.float32))


def _match(
    where: str,
    got: Mapping[str, TensorSpec],
    wanted: Mapping[str, TensorSpec],
    *,
    is_partial: bool = False,
) -> None:
    if not is_partial and got.keys() != wanted.keys():
        raise ArrayError(where, "inputs", ", ".join(wanted), ", ".join(got) or "none")
    for name, spec in got.items():
        if (spec.shape, spec.dtype) != (wanted[name].shape, wanted[name].dtype):
            raise ArrayError(where, name, str(wanted[name]), str(spec))


def _check_answer(where: str, outputs: Mapping[str, TensorSpec]) -> None:
    missing = {"boxes", "scores", "labels"} - outputs.keys()
    if missing:
        wanted = "boxes, scores, labels"
        raise ArrayError(where, "outputs", wanted, ", ".join(outputs) or "none")
    count = outputs["scores"].shape[-1]
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "boxes": ((1, count, len(BOX_COLUMNS)), np.float32),
        "scores": ((1, count), np.float32),
        "labels": ((1, count), np.int32),
        "contributions": ((1, count, len(STREAM_KINDS)), np.float32),
        "siren": ((1, 3), np.float32),
    }
    for name, spec in outputs.items():
        if name not in shapes:
            raise ArrayError(where, name, f"an output out of {', '.join(shapes)}", "it")
        shape, dtype = shapes[name]
        wanted_spec = TensorSpec(name, shape, np.dtype(dtype))
        if (spec.shape, spec.dtype) != (wanted_spec.shape, wanted_spec.dtype):
            raise ArrayError(where, name, str(wanted_spec), str(spec))


def _answer(outputs: Mapping[str, AnyArray]) -> Answer:
    """Copies, as the engine overwrites its own."""
    contributions, siren = outputs.get("contributions"), outputs.get("siren")
    return Answer(
        boxes=outputs["boxes"][0].copy(),
        scores=outputs["scores"][0].copy(),
        labels=outputs["labels"][0].copy(),
        contributions=None if contributions is None else contributions[0].copy(),
        siren=None if siren is None else siren[0].copy(),
    )
