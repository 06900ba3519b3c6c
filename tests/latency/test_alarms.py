from fusion_rt.clock import NS_PER_MS
from fusion_rt.latency.budgets import Budget, LatencyOptions
from fusion_rt.latency.rows import AlarmRow
from tests.latency.samples import CAMERA, LIDAR, arrive, ledger_with_rows, ms, of_type, times


def play(ledger, count, *, encode_ms=10.0, first=0):
    """So many answers at 10 Hz of a camera and a LiDAR; returns the alarms of all."""
    alarms = []
    for number in range(first, first + count):
        camera = arrive(ledger, CAMERA, number, number * 100, encode_ms=5)
        lidar = arrive(ledger, LIDAR, number, number * 100, encode_ms=encode_ms)
        answer = times(number * 100, closed_ms=8, ready_ns=lidar.ready_ns)
        alarms += ledger.answered(answer, {CAMERA: [camera], LIDAR: [lidar]})
    return alarms


def ledger_with(budgets, **options):
    ledger, rows = ledger_with_rows(LatencyOptions(budgets=budgets, **options))
    return ledger, rows


def test_a_budget_that_is_kept_raises_nothing():
    ledger, _ = ledger_with({"end_to_end": Budget(p50_ms=40, p99_ms=60)})
    assert play(ledger, 300) == []
    assert ledger.alarms["end_to_end"].missed == 0


def test_a_percentile_above_its_limit_is_raised_once_with_the_blame_and_ends():
    ledger, rows = ledger_with({"end_to_end": Budget(p99_ms=60)}, window_s=20, misses=1000)
    play(ledger, 150)
    raised = play(ledger, 10, encode_ms=80, first=150)
    ended = play(ledger, 250, first=160)
    assert [(alarm.kind, alarm.is_raised) for alarm in raised + ended] == [
        ("percentile", True),
        ("percentile", False),
    ]
    assert raised[0].text == (
        "end_to_end p99: 93.0 ms, budget 60 ms: "
        "lidar/top was last; encode took 80.0 ms, usually 10.0 ms"
    )
    assert ended[0].text == "end_to_end p99: 23.0 ms, within 60 ms again"
    assert of_type(rows, AlarmRow) == raised + ended


def test_one_hiccup_among_a_hundred_is_no_alarm():
    ledger, _ = ledger_with({"end_to_end": Budget(p99_ms=60)}, window_s=20)
    assert play(ledger, 150) + play(ledger, 1, encode_ms=80, first=150) == []


def test_misses_in_a_row_are_raised_before_a_percentile_could_tell():
    ledger, _ = ledger_with({"reaction": Budget(p99_ms=40)}, misses=3)
    assert play(ledger, 2, encode_ms=80) == []
    (alarm,) = play(ledger, 1, encode_ms=80, first=2)
    assert (alarm.kind, alarm.is_raised, alarm.answer) == ("misses", True, 2)
    assert alarm.text.startswith("reaction 3 in a row: 87.0 ms, budget 40 ms: lidar/top was last")
    (end,) = play(ledger, 5, first=3)
    assert (end.is_raised, end.answer) == (False, 5)


def test_a_budget_of_one_stage_of_one_sensor_looks_at_nothing_else():
    ledger, _ = ledger_with({f"encode {CAMERA}": Budget(p99_ms=8)}, misses=2)
    assert play(ledger, 20, encode_ms=100) == []


def test_a_budget_of_a_stage_holds_for_the_slowest_sensor():
    ledger, _ = ledger_with({"encode": Budget(p99_ms=50)}, misses=2)
    (alarm,) = play(ledger, 2, encode_ms=100)
    assert alarm.value_ns == 100 * NS_PER_MS


def test_waiting_for_a_stream_that_never_came_is_blamed_on_that_stream():
    ledger, _ = ledger_with({"end_to_end": Budget(p99_ms=60)}, misses=1)
    lidar = arrive(ledger, LIDAR, 0, 0)
    answer = times(0, closed_ms=150, closed_by="deadline")
    (alarm,) = ledger.answered(answer, {LIDAR: [lidar]}, {CAMERA: "not arrived"})
    assert alarm.text.endswith("waited 133.0 ms after lidar/top for camera/front (deadline)")


def test_an_answer_without_the_stream_does_not_count_for_its_budget():
    ledger, _ = ledger_with({f"encode {LIDAR}": Budget(p99_ms=1)}, misses=1)
    assert ledger.answered(times(0), {CAMERA: [arrive(ledger, CAMERA, 0, 0)]}) == []
    assert ms(0) > 0
