import numpy as np
import numpy.typing as npt

def fingerprint(payload: npt.NDArray[np.uint8], max_words: int) -> int: ...
