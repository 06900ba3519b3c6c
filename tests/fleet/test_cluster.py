import os
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname

import pytest

from fusion_rt.errors import FleetError, MissingExtraError
from fusion_rt.fleet import cluster, jobs
from fusion_rt.fleet.cluster import run_on_ray
from fusion_rt.fleet.task import Outcome, Slice, tasks_for
from fusion_rt.replay.plan import DECISIONS, ReplayOptions
from tests.fleet.jobs import open_job
from tests.fleet.test_jobs import write_log

# Ray leaves sockets and files of its own to the garbage collector.
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def _ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real one, whose workers find the tests."""
    pytest.importorskip("ray.exceptions", reason="needs the extra `cluster`")
    import ray

    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield
    ray.shutdown()


def run(folder: Path, names: list[str], logs: list[Path]) -> dict[str, Outcome]:
    tasks = tasks_for([Slice(log=f"{name}.mcap") for name in names], [str(folder)])
    tasks += tasks_for([Slice(log=str(log)) for log in logs], [DECISIONS])
    outcomes = run_on_ray(tasks, open_job, "local", fleet=os.getpid(), jobs=2)
    return {Path(outcome.task.slice.log).stem: outcome for outcome in outcomes}


@pytest.mark.usefixtures("_ray")
@pytest.mark.timeout(120)
def test_a_real_runtime_replays_retries_and_reports_what_failed(tmp_path: Path) -> None:
    log = write_log(tmp_path / "real.mcap", 2, 1)
    found = run(tmp_path, ["a", "bad", "bug", "kill", "once", "bb", "ccc"], [log])
    here = jobs.open_job(None, ReplayOptions(), DECISIONS)(Slice(log=str(log)))
    assert found.pop("real").row["digest"] == here["digest"]
    done = {name: outcome.row["sets"] for name, outcome in found.items() if not outcome.reason}
    assert done == {"a": 1, "bb": 2, "ccc": 3, "once": 4}
    assert found["bad"].verdict == "refused"
    assert found["bad"].reason == "import bad.mcap: expected a log, got something else"
    assert found["bug"].verdict == found["kill"].verdict == "failed"
    assert "division by zero" in found["bug"].reason
    notes = (tmp_path / "notes.txt").read_text().splitlines()
    loads = [line for line in notes if line.startswith("open")]
    assert len(loads) == len(set(loads))  # once per worker


@pytest.mark.usefixtures("_ray")
def test_no_cluster_is_said_so() -> None:
    with pytest.raises(FleetError, match=r"a Ray cluster at 127\.0\.0\.1:1; .*; `--cluster"):
        list(run_on_ray([], open_job, "127.0.0.1:1", fleet=1))


def test_without_the_extra_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fusion_rt\[cluster\]"'):
        list(run_on_ray([], open_job, "local", fleet=1))


def test_a_worker_keeps_its_models_for_a_fleet_and_drops_them_for_the_next(tmp_path: Path) -> None:
    """What runs on a worker of Ray, which uses a process again, needs no Ray."""
    tasks = tasks_for([Slice(log="a.mcap"), Slice(log="bad.mcap")], [str(tmp_path)])
    for fleet in (-1, -1, -2):
        done, bad = (cluster._work(fleet, task, open_job) for task in tasks)
        assert (done[0], done[1]["sets"], done[3]) == ("done", 1, f"{gethostname()}:{os.getpid()}")
        assert (bad[0], bad[2]) == (
            "refused",
            "import bad.mcap: expected a log, got something else",
        )
    notes = (tmp_path / "notes.txt").read_text().splitlines()
    assert sum(line.startswith("open") for line in notes) == 2
    assert list(cluster._workshops) == [-2]
    cluster._workshops.clear()
