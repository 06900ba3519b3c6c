"""Does the tasks of a fleet in worker processes of this machine.

A worker that dies (killed, out of memory, a crash in an engine) costs its own task one attempt and
nothing else: the task goes to a new worker, the others carry on. A concurrent.futures pool would
break as a whole and not say over which task.
"""

import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

import msgspec

from fusion_rt.clock import NS_PER_S, Clock
from fusion_rt.fleet.task import OpenJob, Outcome, Row, Task, Verdict, Workshop

_STOP_S = 5.0
_LOOK_S = 0.5
"""How often time limits are looked at."""
_STARTUP_NS = 60 * NS_PER_S
"""What a process may take beyond the limit until it is up: imports from a slow disk."""
_UP = None
"""First thing that a worker says."""

log = logging.getLogger(__name__)


def run_locally(
    tasks: Sequence[Task],
    open_job: OpenJob,
    clock: Clock,
    *,
    jobs: int,
    retries: int = 1,
    limit_ns: int | None = None,
) -> Iterator[Outcome]:
    """The outcomes as they come, one for each task; `limit_ns` bounds one attempt."""
    pool = _Pool(tasks, open_job, clock, retries, limit_ns)
    try:
        yield from pool.outcomes(jobs)
    finally:
        pool.stop()


class _Attempt(msgspec.Struct, frozen=True):
    task: Task
    number: int
    since_ns: int = 0


class _Answer(msgspec.Struct, frozen=True):
    """What a worker sends back."""

    verdict: Verdict
    row: Row
    reason: str
    worker: str


class _Worker:
    """One process and what it is at."""

    def __init__(self, open_job: OpenJob) -> None:
        # Not forked: engines have threads, and a fork copies the locks they hold.
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, open_job), daemon=True)
        self.process.start()
        theirs.close()
        self.attempt: _Attempt | None = None
        self.is_up = False

    def give(self, attempt: _Attempt) -> None:
        self.attempt = attempt
        with contextlib.suppress(OSError):  # it is dead already: reading from it will tell
            self.pipe.send(attempt.task)

    def stop(self) -> None:
        """A worker that waits ends when its pipe closes; one at work is killed."""
        self.pipe.close()
        if self.attempt is not None:
            self.process.kill()
        self.process.join(_STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class _Pool:
    def __init__(
        self,
        tasks: Sequence[Task],
        open_job: OpenJob,
        clock: Clock,
        retries: int,
        limit_ns: int | None,
    ) -> None:
        self._waiting = deque(_Attempt(task, 1) for task in tasks)
        self._open_job = open_job
        self._clock = clock
        self._retries = retries
        self._limit_ns = limit_ns
        self._workers: list[_Worker] = []

    def outcomes(self, jobs: int) -> Iterator[Outcome]:
        while self._waiting or any(worker.attempt for worker in self._workers):
            self._hand_out(jobs)
            wait([worker.pipe for worker in self._workers], _LOOK_S)
            for worker in list(self._workers):
                if (answer := self._answer(worker)) is None:
                    continue
                attempt, worker.attempt = worker.attempt, None
                if attempt is not None and not self._is_tried_again(attempt, answer):
                    yield _outcome(attempt, answer)

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def _hand_out(self, jobs: int) -> None:
        idle = [worker for worker in self._workers if worker.attempt is None]
        while self._waiting:
            if not idle:
                if len(self._workers) >= jobs:
                    return
                idle.append(_Worker(self._open_job))
                self._workers.append(idle[0])
            attempt = self._waiting.popleft()
            idle.pop().give(msgspec.structs.replace(attempt, since_ns=self._clock.now_ns()))

    def _answer(self, worker: _Worker) -> _Answer | None:
        """None while there is none; a worker that will never answer is let go."""
        try:
            if worker.pipe.poll():
                said = worker.pipe.recv()
                if said is not _UP:
                    return msgspec.convert(said, _Answer)
                self._note_up(worker)
        except (EOFError, OSError):
            return self._let_go(worker, None)
        if worker.attempt is None or self._limit_ns is None:
            return None
        limit_ns = self._limit_ns if worker.is_up else self._limit_ns + _STARTUP_NS
        if self._clock.now_ns() - worker.attempt.since_ns <= limit_ns:
            return None
        return self._let_go(worker, f"took longer than {self._limit_ns / NS_PER_S:g} s")

    def _note_up(self, worker: _Worker) -> None:
        """Its first attempt begins only now."""
        worker.is_up = True
        if worker.attempt is not None:
            now_ns = self._clock.now_ns()
            worker.attempt = msgspec.structs.replace(worker.attempt, since_ns=now_ns)

    def _let_go(self, worker: _Worker, reason: str | None) -> _Answer:
        self._workers.remove(worker)
        if reason is None:
            worker.process.join(_STOP_S)
            reason = _death(worker.process.exitcode)
        worker.stop()
        return _Answer("failed", {}, reason, "")

    def _is_tried_again(self, attempt: _Attempt, answer: _Answer) -> bool:
        if answer.verdict != "failed" or attempt.number > self._retries:
            return False
        log.warning("%s: %s; trying again", attempt.task.slice, answer.reason)
        self._waiting.append(_Attempt(attempt.task, attempt.number + 1))
        return True


def _outcome(attempt: _Attempt, answer: _Answer) -> Outcome:
    return Outcome(
        task=attempt.task,
        verdict=answer.verdict,
        row=answer.row,
        reason=answer.reason,
        attempts=attempt.number,
        worker=answer.worker,
    )


def _death(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"the worker ended with {exit_code}"
    hint = ", perhaps for want of memory" if exit_code == -signal.SIGKILL else ""
    return f"the worker was killed by {signal.Signals(-exit_code).name}{hint}"


def _work(pipe: Connection, open_job: OpenJob) -> None:
    """A worker's life: tasks in, answers out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    workshop, name = Workshop(open_job), f"{socket.gethostname()}:{os.getpid()}"
    with contextlib.suppress(EOFError, OSError):  # the parent is done, or gone
        pipe.send(_UP)
        while True:
            verdict, row, reason = _done(workshop, pipe.recv())
            pipe.send({"verdict": verdict, "row": row, "reason": reason, "worker": name})


def _done(workshop: Workshop, task: Task) -> tuple[Verdict, Row, str]:
    try:
        return workshop.do(task)
    except Exception as error:  # the edge of the process
        log.exception("%s", task.slice)
        return "failed", {}, f"{type(error).__name__}: {error}"
