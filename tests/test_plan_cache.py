"""Plans are found by what they were built from, and never used when anything is wrong with them."""

import pytest

from fusion_rt.engine.plan_cache import PlanCache, PlanKey, default_cache_dir

KEY = PlanKey("camera.onnx", "ab" * 32, "tensorrt_rtx 1.7.1", "sm_86")
PLAN = bytes(range(256)) * 10


@pytest.fixture
def cache(tmp_path) -> PlanCache:
    return PlanCache(tmp_path / "engines")


def test_a_written_plan_is_read_back(cache):
    path = cache.write(KEY, PLAN)
    assert cache.read(KEY) == (PLAN, "cached")
    assert [p.name for p in cache.folder.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "change",
    [
        {"onnx_sha256": "cd" * 32},
        {"built_by": "tensorrt_rtx 1.7.2"},
        {"target": "sm_89"},
        {"device": "NVIDIA L4"},
    ],
)
def test_another_graph_version_target_or_device_is_another_plan(cache, change):
    cache.write(KEY, PLAN)
    other = PlanKey(**{**KEY.__dict__, **change})
    assert cache.read(other) == (None, "not built yet")


def test_the_name_of_the_file_does_not_matter():
    assert PlanKey(**{**KEY.__dict__, "model": "other.onnx"}).digest == KEY.digest


def test_a_plan_renamed_to_another_key_is_refused(cache):
    other = PlanKey(**{**KEY.__dict__, "built_by": "tensorrt_rtx 1.6"})
    cache.write(other, PLAN).rename(cache.path(KEY))
    assert cache.read(KEY)[1].endswith("was built from something else")


@pytest.mark.parametrize("keep", [0, 10, 40, 200, -1])
def test_a_cut_off_plan_is_refused(cache, keep):
    path = cache.write(KEY, PLAN)
    path.write_bytes(path.read_bytes()[:keep])
    plan, reason = cache.read(KEY)
    assert plan is None
    assert path.name in reason


def test_an_altered_plan_is_refused(cache):
    path = cache.write(KEY, PLAN)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert cache.read(KEY) == (None, f"{path.name} is cut off or altered")


def test_a_discarded_plan_is_gone(cache):
    cache.write(KEY, PLAN)
    cache.discard(KEY)
    cache.discard(KEY)
    assert cache.read(KEY)[0] is None


def test_a_failed_write_leaves_the_old_plan(cache, monkeypatch):
    cache.write(KEY, PLAN)
    monkeypatch.setattr("pathlib.Path.replace", _fail)
    with pytest.raises(OSError, match="disk full"):
        cache.write(KEY, b"new")
    assert cache.read(KEY)[0] == PLAN


def _fail(*_: object) -> None:
    raise OSError("disk full")


def test_the_users_cache_folder_is_respected(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "fusion_rt" / "engines"
