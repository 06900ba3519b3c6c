"""Where recordings of others are, for tests that skip without them; none is part of the project."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared/data"


def recording(name: str) -> Path:
    """A file or folder of the recordings; skips the test where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no recording {name} beside the repository")
    return path
