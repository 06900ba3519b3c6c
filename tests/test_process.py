import sys

import pytest

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.messages import Heartbeat
from fusion_rt.process import Process, Watch
from fusion_rt.rig import RestartPolicy, SupervisorPolicy

POLICY = SupervisorPolicy(
    startup_ms=5000,
    heartbeat_ms=2000,
    restart=RestartPolicy(backoff_ms=100, backoff_max_ms=400, limit=5, window_s=60),
)
T0 = 1_000 * NS_PER_S
READY_NS = T0 + NS_PER_S


def heartbeat(stamp_ns, state="ready", pid=1):
    return Heartbeat(stamp_ns=stamp_ns, node="camera/front", pid=pid, state=state)


def started_watch():
    watch = Watch(POLICY, T0)
    watch.started(T0)
    return watch


def ready_watch():
    watch = started_watch()
    watch.heard(heartbeat(READY_NS), READY_NS)
    return watch


def waits_ms(watch, exits, every_ns):
    """How long each exit keeps the process down; None where it stays down."""
    waits = []
    for number in range(exits):
        now_ns = T0 + number * every_ns
        watch.exited("exited with code 1", now_ns)
        due_ns = watch._start_due_ns
        waits.append(None if due_ns is None else (due_ns - now_ns) // NS_PER_MS)
        if due_ns is not None:
            watch.started(due_ns)
    return waits


def test_a_new_process_is_to_be_started_at_once_and_once():
    watch = Watch(POLICY, T0)
    assert watch.state == "starting"
    assert watch.should_start(T0)
    watch.started(T0)
    assert not watch.should_start(T0 + NS_PER_S)
    assert watch.restarts == 0


def test_ready_comes_with_the_first_heartbeat_that_says_so():
    watch = started_watch()
    watch.heard(heartbeat(T0 + 1, state="starting"), T0 + 1)
    assert watch.state == "starting"
    watch.heard(heartbeat(READY_NS), READY_NS)
    assert (watch.state, watch.since_ns) == ("ready", READY_NS)


def test_a_process_that_never_gets_ready_is_overdue_after_its_startup_time():
    watch = started_watch()
    assert watch.is_overdue(T0 + POLICY.startup_ns) is None
    assert watch.is_overdue(T0 + POLICY.startup_ns + 1) == "not ready 5.0 s after its start"


def test_a_loop_that_stands_still_is_overdue_although_heartbeats_come():
    watch = ready_watch()
    late_ns = READY_NS + POLICY.heartbeat_ns + 1
    watch.heard(heartbeat(READY_NS), late_ns)  # the stamp is the loop's last round
    assert watch.is_overdue(late_ns - 1) is None
    assert watch.is_overdue(late_ns) == "its loop has not come round for 2.0 s"


def test_a_hung_process_is_not_called_overdue_again_until_it_has_exited():
    watch = ready_watch()
    watch.hung("its loop has not come round for 2.0 s", READY_NS)
    assert watch.state == "hung"
    assert watch.is_overdue(READY_NS + 60 * NS_PER_S) is None


def test_the_reason_of_a_restart_stays_until_the_process_is_ready_again():
    watch = ready_watch()
    watch.hung("its loop has not come round for 2.0 s", READY_NS)
    watch.exited("killed by SIGKILL", READY_NS)
    reason = "its loop has not come round for 2.0 s, killed by SIGKILL"
    assert (watch.state, watch.reason) == ("backing_off", reason)
    watch.started(READY_NS)
    assert (watch.state, watch.reason) == ("starting", reason)
    watch.heard(heartbeat(READY_NS + 1), READY_NS + 1)
    assert (watch.state, watch.reason) == ("ready", "")


def test_the_first_restart_is_at_once_and_the_next_ones_wait_twice_as_long_each_up_to_a_limit():
    assert waits_ms(started_watch(), 5, NS_PER_S) == [0, 100, 200, 400, 400]


def test_exits_that_lie_apart_are_no_series():
    assert waits_ms(started_watch(), 20, 61 * NS_PER_S) == [0] * 20


def test_a_crash_loop_is_given_up_with_the_count_and_where_to_look():
    watch = started_watch()
    assert waits_ms(watch, 6, NS_PER_S)[-1] is None
    assert watch.state == "failed"
    assert watch.reason == "exited with code 1: crash loop, 6 exits in 60 s; see its log"
    assert not watch.should_start(T0 + 3600 * NS_PER_S)


def test_a_limit_of_none_gives_up_at_the_first_exit():
    watch = Watch(SupervisorPolicy(restart=RestartPolicy(limit=0)), T0)
    watch.exited("exited with code 1", T0)
    assert watch.state == "failed"


def test_nobody_is_late_because_the_watcher_was_away():
    watch, back_ns = ready_watch(), READY_NS + 60 * NS_PER_S
    watch.excuse(back_ns)
    assert watch.is_overdue(back_ns + POLICY.heartbeat_ns) is None
    assert watch.is_overdue(back_ns + POLICY.heartbeat_ns + 1) is not None
    assert watch.since_ns == READY_NS


def test_a_starting_process_is_excused_too():
    watch, back_ns = started_watch(), T0 + 60 * NS_PER_S
    watch.excuse(back_ns)
    assert watch.is_overdue(back_ns + POLICY.startup_ns) is None
    assert watch.is_overdue(back_ns + POLICY.startup_ns + 1) == "not ready 65.0 s after its start"


def test_a_stopped_process_is_not_started_again():
    watch = ready_watch()
    watch.exited("exited with code 0", READY_NS)
    watch.stopped(READY_NS)
    assert watch.state == "stopped"
    assert not watch.should_start(READY_NS + 60 * NS_PER_S)


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("import sys; sys.exit(3)", "exited with code 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 1)", "killed by signal 35"),
    ],
)
def test_health_says_how_a_process_ended(program, how):
    process = Process("gps/main", [sys.executable, "-S", "-c", program], POLICY, T0)
    process.step(T0)
    process._popen.wait()
    process.step(T0 + 1)
    health = process.health()
    assert (health.restarts, health.reason) == (1, how)
    process.stop(T0 + 2)


def test_a_program_that_cannot_be_started_is_a_reason_not_an_exception():
    process = Process("gps/main", ["/nowhere/python"], POLICY, T0)
    process.step(T0)
    assert process.health().state == "backing_off"
    assert process.health().reason.startswith("could not be started ([Errno 2] No such file")
    assert process.pid is None


def test_heartbeats_of_the_process_before_are_not_taken_for_the_new_one():
    process = Process("gps/main", ["sleep", "60"], POLICY, T0)
    process.step(T0)
    process.heard(heartbeat(T0, pid=process.pid + 1), T0)
    assert process.watch.state == "starting"
    process.heard(heartbeat(T0, pid=process.pid), T0)
    assert process.watch.state == "ready"
    process.stop(T0)
    assert process.pid is None
