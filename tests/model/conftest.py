"""What several tests of the model share: moments are rendered once."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def moments_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("embreex", reason="moments are rendered with the extra sim")
    from tests.model.small import write_small_moments

    return write_small_moments(tmp_path_factory.mktemp("moments"))
