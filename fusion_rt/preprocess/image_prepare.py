"""Camera frame -> network input: crop, resize, letterbox, colour order, normalization (CPU)."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from fusion_rt import _kernels
from fusion_rt.arrays import AnyArray, TensorSpec
from fusion_rt.errors import ConfigError

PixelFormat = Literal["bgr8", "rgb8", "mono8", "yuyv", "nv12"]
PIXEL_FORMATS: tuple[PixelFormat, ...] = ("bgr8", "rgb8", "mono8", "yuyv", "nv12")
_BYTES_PER_PIXEL = {"bgr8": 3, "rgb8": 3, "mono8": 1, "yuyv": 2, "nv12": 1}

# Layout shared with ImageParams in kernels/image_prepare.cuh.
IMAGE_PARAMS = np.dtype(
    [
        ("format", np.int32),
        ("size", np.int32, 2),
        ("out_size", np.int32, 2),
        ("place", np.int32, 4),
        ("planar", np.int32),
        ("bgr", np.int32),
        ("pad", np.int32),
        ("scale", np.float32, 3),
        ("shift", np.float32, 3),
    ]
)


@dataclass(frozen=True)
class Crop:
    """Part of the source that is used, pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class ImageRecipe:
    """What the network wants. `letterbox` keeps the aspect ratio and pads; otherwise it stretches.

    With `mean` and `std` (of 0..255 values, in the output's channel order) the output is float32,
    (value - mean) / std; without them uint8. `planar` is (1, 3, H, W), otherwise (1, H, W, 3).
    """

    out_width: int
    out_height: int
    letterbox: bool = True
    planar: bool = False
    order: Literal["rgb", "bgr"] = "rgb"
    pad: int = 114
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        claims = {
            "out_width and out_height from 1 to 16384": min(self.out_width, self.out_height) >= 1
            and max(self.out_width, self.out_height) <= 16384,
            "order rgb or bgr": self.order in ("rgb", "bgr"),
            "pad from 0 to 255": 0 <= self.pad <= 255,
            "std without zeros": all(self.std),
        }
        _refuse_broken("image recipe", claims, self)

    @property
    def out_spec(self) -> TensorSpec:
        h, w = self.out_height, self.out_width
        shape = (1, 3, h, w) if self.planar else (1, h, w, 3)
        return TensorSpec("image", shape, np.dtype(np.uint8 if self.mean is None else np.float32))


@dataclass(frozen=True)
class ImagePlan:
    """A recipe worked out for one source: parameters and taps for the CPU and the GPU kernel."""

    source: TensorSpec
    out: TensorSpec
    params: AnyArray  # () IMAGE_PARAMS
    taps: npt.NDArray[np.int32]  # columns' then rows' first, second, weight
    place: Crop = field(compare=False)  # of the picture in the output

    @property
    def scratch_size(self) -> int:
        """16-bit words the CPU kernel needs: blended pixels and chroma, or a row of colours."""
        columns = int(self.params["size"][0])
        blended = columns * _BYTES_PER_PIXEL[PIXEL_FORMATS[int(self.params["format"])]]
        return 2 * max(blended, self.place.width)


def plan_image(
    pixel_format: PixelFormat,
    width: int,
    height: int,
    recipe: ImageRecipe,
    crop: Crop | None = None,
) -> ImagePlan:
    """Work out a recipe for sources of one format and size (pixels)."""
    crop = crop or Crop(0, 0, width, height)
    _check_source(pixel_format, width, height, crop)
    place = _letterboxed(crop, recipe)
    params = np.zeros((), IMAGE_PARAMS)
    params["format"] = PIXEL_FORMATS.index(pixel_format)
    params["size"] = width, height
    params["out_size"] = recipe.out_width, recipe.out_height
    params["place"] = place.left, place.top, place.width, place.height
    params["planar"], params["bgr"] = recipe.planar, recipe.order == "bgr"
    params["pad"] = recipe.pad
    std = np.asarray(recipe.std, np.float64)
    params["scale"] = 1 / std
    params["shift"] = -np.asarray(recipe.mean or (0, 0, 0)) / std
    columns = _taps(crop.left, crop.width, place.width)
    rows = _taps(crop.top, crop.height, place.height)
    source = TensorSpec("image", _source_shape(pixel_format, width, height), np.dtype(np.uint8))
    return ImagePlan(source, recipe.out_spec, params, np.concatenate([columns, rows]), place)


class ImagePreparer:
    """Prepares frames of one camera. One thread at a time; nothing is allocated per call."""

    def __init__(self, plan: ImagePlan) -> None:
        self.plan = plan
        self._params = plan.params.reshape(1).view(np.uint8)
        self._scratch = np.zeros(plan.scratch_size, np.uint16)
        self._out: AnyArray = np.empty(plan.out.shape, plan.out.dtype)
        is_float = plan.out.dtype == np.float32
        self._run = _kernels.image_prepare_f32 if is_float else _kernels.image_prepare_u8

    def run(self, image: npt.NDArray[np.uint8], out: AnyArray | None = None) -> AnyArray:
        """The network's input from a frame shaped as the plan's `source`.

        Bilinear, pixel centres aligned as OpenCV's INTER_LINEAR; colours by BT.601 limited range.
        Without `out` the result is this object's own and is overwritten by the next call.
        """
        self.plan.source.check(image, "image_prepare")
        if out is not None:
            self.plan.out.check(out, "image_prepare")
        result = self._out if out is None else out
        flat = image.reshape(-1)
        self._run(flat, self.plan.taps, self._params, self._scratch, result.reshape(-1))
        return result


def _refuse_broken(what: str, claims: dict[str, bool], got: object) -> None:
    for claim, holds in claims.items():
        if not holds:
            raise ConfigError(what, "", f"expected {claim}, got {got}")


def _check_source(pixel_format: str, width: int, height: int, crop: Crop) -> None:
    subsampled = {"yuyv": width % 2 == 0, "nv12": width % 2 == 0 and height % 2 == 0}
    claims = {
        f"one of {', '.join(PIXEL_FORMATS)}": pixel_format in PIXEL_FORMATS,
        "sides from 1 to 16384": min(width, height) >= 1 and max(width, height) <= 16384,
        "even sides for chroma at half resolution": subsampled.get(pixel_format, True),
        "a crop of at least one pixel": crop.width >= 1 and crop.height >= 1,
        "a crop inside the image": 0 <= crop.left <= width - crop.width
        and 0 <= crop.top <= height - crop.height,
    }
    _refuse_broken("image source", claims, f"{pixel_format} {width}x{height} {crop}")


def _source_shape(pixel_format: str, width: int, height: int) -> tuple[int, ...]:
    if pixel_format == "nv12":
        return (height * 3 // 2, width)
    channels = _BYTES_PER_PIXEL[pixel_format]
    return (height, width) if channels == 1 else (height, width, channels)


def _letterboxed(crop: Crop, recipe: ImageRecipe) -> Crop:
    if not recipe.letterbox:
        return Crop(0, 0, recipe.out_width, recipe.out_height)
    scale = min(recipe.out_width / crop.width, recipe.out_height / crop.height)
    width = min(recipe.out_width, max(1, round(crop.width * scale)))
    height = min(recipe.out_height, max(1, round(crop.height * scale)))
    return Crop((recipe.out_width - width) // 2, (recipe.out_height - height) // 2, width, height)


def _taps(start: int, size: int, resized: int) -> npt.NDArray[np.int32]:
    centre = (np.arange(resized) + 0.5) * (size / resized) - 0.5
    centre = np.clip(centre, 0, size - 1)
    first = centre.astype(np.int32)
    weight = np.rint((centre - first) * 256).astype(np.int32)
    second = np.minimum(first + 1, size - 1).astype(np.int32)
    return np.concatenate([start + first, start + second, weight])
