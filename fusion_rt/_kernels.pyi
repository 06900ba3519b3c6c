from typing import Any

import numpy.typing as npt

def fingerprint(payload: npt.NDArray[Any], max_words: int) -> int: ...
