import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_rt.errors import FleetError
from fusion_rt.fleet import jobs
from fusion_rt.fleet.cluster import run_on_ray
from fusion_rt.fleet.task import Outcome, Slice, tasks_for
from fusion_rt.replay.plan import DECISIONS, ReplayOptions
from tests.fleet.jobs import open_job
from tests.fleet.test_jobs import write_log

pytest.importorskip("ray.exceptions", reason="needs the extra `cluster`")
import ray

# Ray leaves sockets and files of its own to the garbage collector.
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def _workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield
    ray.shutdown()


def run(folder: Path, names: list[str], logs: list[Path]) -> dict[str, Outcome]:
    tasks = tasks_for([Slice(log=f"{name}.mcap") for name in names], [str(folder)])
    tasks += tasks_for([Slice(log=str(log)) for log in logs], [DECISIONS])
    outcomes = run_on_ray(tasks, open_job, "local", fleet=os.getpid(), jobs=2)
    return {Path(outcome.task.slice.log).stem: outcome for outcome in outcomes}


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


def test_no_cluster_is_said_so() -> None:
    with pytest.raises(FleetError, match=r"a Ray cluster at 127\.0\.0\.1:1; .*; `--cluster"):
        list(run_on_ray([], open_job, "127.0.0.1:1", fleet=1))
