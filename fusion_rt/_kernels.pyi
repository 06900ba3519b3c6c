from typing import Any

import numpy as np
import numpy.typing as npt

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]
_Integers = npt.NDArray[np.int32]

def audio_features(
    samples: _Floats,
    window: _Floats,
    twiddles: _Floats,
    bands: _Integers,
    band_weights: _Floats,
    pairs: _Integers,
    params: _Bytes,
    scratch: _Floats,
    mel: _Floats,
    gcc: _Floats,
) -> None: ...
def fingerprint(payload: npt.NDArray[Any], max_words: int) -> int: ...
def image_prepare_f32(
    image: _Bytes, taps: _Integers, params: _Bytes, scratch: npt.NDArray[np.uint16], out: _Floats
) -> None: ...
def image_prepare_u8(
    image: _Bytes, taps: _Integers, params: _Bytes, scratch: npt.NDArray[np.uint16], out: _Bytes
) -> None: ...
def pillarize(points: _Floats, params: _Bytes, cells: _Bytes, raster: _Floats) -> int: ...
def project_points(points: _Floats, params: _Bytes, pixels: _Floats) -> None: ...
