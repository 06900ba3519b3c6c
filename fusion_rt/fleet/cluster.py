"""Does the tasks of a fleet on Ray: a cluster's, or one that is started for it on this machine.

Logs and models must lie where all workers reach them under the same path.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fusion_rt.drivers.port import from_extra
from fusion_rt.errors import FleetError
from fusion_rt.fleet.task import OpenJob, Outcome, Row, Task, Verdict, Workshop

LOCAL = "local"
_AHEAD = 2
"""Tasks handed to Ray per CPU, so that none idles and a million logs need no memory."""
_CONNECT_S = 5.0
_workshops: dict[int, Workshop] = {}
"""Of this worker process, which Ray uses again: one per fleet."""


def run_on_ray(
    tasks: Sequence[Task],
    open_job: OpenJob,
    address: str,
    *,
    fleet: int,
    jobs: int | None = None,
    retries: int = 1,
) -> Iterator[Outcome]:
    """The outcomes as they come, one for each task.

    `fleet` is any number that other fleets on the cluster do not use; `jobs` bounds how many run at
    once. Raises FleetError where there is no cluster.
    """
    with from_extra("cluster"):
        import ray.exceptions  # a folder that happens to be called ray has none
    with _connected(ray, address, jobs):
        yield from _outcomes(ray, tasks, open_job, fleet, jobs, retries)


@contextmanager
def _connected(ray: Any, address: str, jobs: int | None) -> Iterator[None]:
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        _check_reachable(address)
        if address == LOCAL:
            cpus = jobs or os.cpu_count() or 1
            ray.init(address=LOCAL, num_cpus=cpus, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        problem = f"expected a Ray cluster at {address}; {str(error).splitlines()[0]}"
        raise FleetError("cluster", problem, "`--cluster local` starts one here") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError at once where nobody listens: Ray tries for more than a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _CONNECT_S).close()


def _outcomes(
    ray: Any,
    tasks: Sequence[Task],
    open_job: OpenJob,
    fleet: int,
    jobs: int | None,
    retries: int,
) -> Iterator[Outcome]:
    remote = ray.remote(num_cpus=1, max_retries=retries, retry_exceptions=True)(_work)
    shared = ray.put(open_job)
    at_once = jobs or int(ray.cluster_resources().get("CPU", 1)) * _AHEAD
    left = list(reversed(tasks))
    running: dict[Any, Task] = {}
    while left or running:
        while left and len(running) < at_once:
            task = left.pop()
            running[remote.remote(fleet, task, shared)] = task
        ready, _ = ray.wait(list(running), num_returns=1)
        for answer in ready:
            yield _outcome(ray, running.pop(answer), answer, retries)


def _outcome(ray: Any, task: Task, answer: Any, retries: int) -> Outcome:
    try:
        verdict, row, reason, worker = ray.get(answer)
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        return Outcome(task=task, verdict="failed", reason=last, attempts=retries + 1)
    return Outcome(task=task, verdict=verdict, row=row, reason=reason, worker=worker)


def _work(fleet: int, task: Task, open_job: OpenJob) -> tuple[Verdict, Row, str, str]:
    if fleet not in _workshops:
        _workshops.clear()  # an older fleet's models need their memory no more
        _workshops[fleet] = Workshop(open_job)
    return (*_workshops[fleet].do(task), f"{socket.gethostname()}:{os.getpid()}")
