from pathlib import Path

import pytest

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.fleet.local import run_locally
from fusion_rt.fleet.task import Outcome, Slice, tasks_for
from tests.fleet.jobs import open_job


def run(
    folder: Path, names: list[str], jobs: int = 2, limit_ns: int | None = None, retries: int = 1
) -> dict[str, Outcome]:
    tasks = tasks_for([Slice(log=f"{name}.mcap") for name in names], [str(folder)])
    outcomes = run_locally(
        tasks, open_job, RigClock.starting_now(), jobs=jobs, retries=retries, limit_ns=limit_ns
    )
    found = {Path(outcome.task.slice.log).stem: outcome for outcome in outcomes}
    assert len(found) == len(names)
    return found


@pytest.mark.process
def test_one_bad_log_costs_only_its_own_result(tmp_path: Path) -> None:
    found = run(tmp_path, ["a", "bad", "bug", "kill", "once", "bb", "ccc"])
    done = {name: outcome.row["sets"] for name, outcome in found.items() if not outcome.reason}
    assert done == {"a": 1, "bb": 2, "ccc": 3, "once": 4}
    assert (found["bad"].verdict, found["bad"].attempts) == ("refused", 1)
    assert found["bad"].reason == "import bad.mcap: expected a log, got something else"
    assert (found["bug"].verdict, found["bug"].attempts) == ("failed", 2)
    assert found["bug"].reason == "ZeroDivisionError: division by zero"
    assert (found["kill"].verdict, found["kill"].attempts) == ("failed", 2)
    assert "killed by SIGKILL, perhaps for want of memory" in found["kill"].reason
    assert found["once"].attempts == 2


@pytest.mark.process
def test_a_model_is_loaded_once_per_worker(tmp_path: Path) -> None:
    found = run(tmp_path, [f"log{n}" for n in range(6)], jobs=2)
    opened = [line for line in (tmp_path / "notes.txt").read_text().splitlines() if "open" in line]
    assert len(opened) == len({outcome.worker for outcome in found.values()}) <= 2


@pytest.mark.process
def test_a_replay_that_hangs_is_ended_at_its_limit(tmp_path: Path) -> None:
    found = run(tmp_path, ["hang", "a"], limit_ns=3 * NS_PER_S, retries=0)
    assert found["a"].verdict == "done"
    assert found["hang"].reason == "took longer than 3 s"
