import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.fault_injector import Injector
from fusion_rt.faults import FAULT_KINDS, parse_schedule
from fusion_rt.kernels import fingerprint
from fusion_rt.messages import AudioChunk, CameraFrame, GpsFix, LidarSweep

START_NS = 1_800_000_000 * NS_PER_S
PERIOD_NS = 100 * NS_PER_MS
FORMS = {
    "drop": "drop 50%",
    "delay": "delay 80ms",
    "jitter": "jitter 40ms",
    "clock": "clock +2s",
    "drift": "drift 200ppm",
    "flap": "flap 300ms",
    "rate": "rate 50%",
    "kill": "kill 1s..2s",
}


def camera(number):
    image = np.full((4, 6, 3), number % 256, np.uint8)
    return CameraFrame(stamp_ns=at(number), encoding="bgr8", width=6, height=4, image=image)


def jpeg(number):
    image = np.array([0xFF, 0xD8, number % 256, 1, 2, 3], np.uint8)
    return CameraFrame(stamp_ns=at(number), encoding="jpeg", width=6, height=4, image=image)


def lidar(number):
    points = np.full((5, 5), number, np.float32)
    return LidarSweep(stamp_ns=at(number), points=points, ring=np.zeros(5, np.uint16))


def audio(number):
    samples = np.full((8, 2), number, np.int16)
    return AudioChunk(stamp_ns=at(number), samples=samples, rate_hz=16_000, first_sample=8 * number)


def gps(number):
    return GpsFix(stamp_ns=at(number), fix="3d", latitude_deg=number / 100, longitude_deg=11)


TOPICS = {"camera/front": camera, "lidar/top": lidar, "audio/array": audio, "gps/main": gps}


def at(number):
    return START_NS + number * PERIOD_NS


def play(text, count=40, topic="camera/front", make=None, seed=0, **options):
    """One message every 100 ms through the faults; what leaves, in order of leaving."""
    injector = Injector(parse_schedule([text], seed), topic, START_NS, **options)
    make = make or TOPICS[topic]
    out = [each for number in range(count) for each in injector.push(make(number), at(number))]
    return sorted(out, key=lambda timed: timed.due_ns)


def numbers(out):
    return [(timed.message.stamp_ns - START_NS) // PERIOD_NS for timed in out]


def test_a_sensor_that_is_not_meant_is_left_alone():
    out = play("lidar drop; camera/rear drop")
    assert numbers(out) == list(range(40))
    assert [timed.due_ns for timed in out] == [at(number) for number in range(40)]


def test_drop_leaves_nothing_in_its_window():
    assert numbers(play("camera drop 1s..2s")) == [*range(10), *range(20, 40)]


def test_drop_by_chance_keeps_about_the_share_and_the_same_with_the_same_seed():
    kept = numbers(play("camera drop 30%", 1000))
    assert 650 < len(kept) < 750
    assert kept == numbers(play("camera drop 30%", 1000))
    assert kept != numbers(play("camera drop 30%", 1000, seed=1))


def test_delay_keeps_the_stamp_and_the_content():
    out = play("camera delay 80ms 1s..2s")
    assert numbers(out) == list(range(40))
    late = [n for n, timed in enumerate(out) if timed.due_ns == at(n) + 80 * NS_PER_MS]
    assert late == list(range(10, 20))


def test_a_delayed_message_no_longer_needs_the_loaned_array():
    injector = Injector(parse_schedule(["camera delay 80ms"]), "camera/front", START_NS)
    frame = camera(7)
    (timed,) = injector.push(frame, at(7))
    frame.image[:] = 0
    assert (timed.message.image == 7).all()


def test_jitter_stays_within_its_bound_and_varies():
    delays = [timed.due_ns - timed.message.stamp_ns for timed in play("camera jitter 40ms", 100)]
    assert min(delays) >= 0
    assert max(delays) <= 40 * NS_PER_MS
    assert len(set(delays)) > 90


@pytest.mark.parametrize("topic", ["camera/front", "lidar/top", "audio/array"])
def test_freeze_repeats_the_content_under_new_stamps(topic):
    out = play(f"{topic} freeze 1s..2s", topic=topic)
    assert numbers(out) == list(range(40))
    field = {"camera/front": "image", "lidar/top": "points", "audio/array": "samples"}[topic]
    seen = [fingerprint(np.ascontiguousarray(getattr(t.message, field))) for t in out]
    assert len(set(seen[10:20])) == 1
    assert len(set(seen)) == 31


def test_a_frozen_array_of_microphones_goes_on_counting_its_samples():
    out = play("audio freeze", topic="audio/array")
    assert [timed.message.first_sample for timed in out] == [8 * n for n in range(40)]


def test_a_frozen_receiver_repeats_its_fix_stamp_and_all():
    out = play("gps freeze 1s..2s", topic="gps/main")
    assert numbers(out) == [*range(10), *[10] * 10, *range(20, 40)]


@pytest.mark.parametrize("topic", TOPICS)
def test_corrupt_messages_are_refused_by_every_receiver_and_keep_their_stamp(topic):
    out = play(f"{topic} corrupt 1s..2s", topic=topic)
    assert numbers(out) == list(range(40))
    bad = [n for n, timed in enumerate(out) if timed.message.problem() is not None]
    assert bad == list(range(10, 20))


@pytest.mark.parametrize(("topic", "make"), [*TOPICS.items(), ("camera/front", jpeg)])
def test_garbage_passes_for_a_message(topic, make):
    out = play(f"{topic} garbage", topic=topic, make=make)
    assert all(timed.message.problem() is None for timed in out)
    assert out[3].message.stamp_ns == at(3)


def test_garbage_of_a_lidar_has_points_that_are_no_numbers():
    (first, *_) = play("lidar garbage", topic="lidar/top")
    assert np.isnan(first.message.points).any()


def test_a_clock_step_moves_the_stamps_and_nothing_else():
    out = play("gps clock -300ms at 2s", topic="gps/main")
    assert numbers(out) == [*range(20), *range(17, 37)]
    assert [timed.due_ns for timed in out] == [at(n) for n in range(40)]


def test_drift_grows_with_time():
    out = play("gps drift 1000ppm 1s..", 32, topic="gps/main")
    off = [timed.message.stamp_ns - at(n) for n, timed in enumerate(out)]
    assert off[10] == 0
    assert off[31] == round(0.001 * 2.1 * NS_PER_S)


def test_duplicate_sends_everything_twice():
    assert numbers(play("camera duplicate", 3)) == [0, 0, 1, 1, 2, 2]


def test_reorder_swaps_pairs_and_lets_go_of_the_last_one_at_the_end():
    out = play("camera reorder 1s..1500ms", 18)
    assert numbers(out) == [*range(10), 11, 10, 13, 12, 15, 14, 16, 17]


def test_flap_goes_away_and_comes_back():
    assert numbers(play("camera flap 300ms 1s..2s", 22)) == [*range(10), 13, 14, 15, 19, 20, 21]


def test_rate_thins_out_evenly():
    assert numbers(play("camera rate 25%", 12)) == [3, 7, 11]


def test_faults_act_one_after_another():
    out = play("camera rate 50%; camera delay 50ms", 4)
    assert [
        (n, timed.due_ns - timed.message.stamp_ns)
        for n, timed in zip(numbers(out), out, strict=True)
    ] == [
        (1, 50 * NS_PER_MS),
        (3, 50 * NS_PER_MS),
    ]


def test_a_kill_hits_the_process_that_lived_before_it_and_not_the_next():
    schedule = parse_schedule(["camera kill at 5s"])
    first = Injector(schedule, "camera/front", START_NS)
    assert [first.is_killed(at(n)) for n in (49, 50, 51)] == [False, True, True]
    assert not Injector(schedule, "camera/front", START_NS, born_ns=at(52)).is_killed(at(99))
    assert not Injector(schedule, "lidar/top", START_NS).is_killed(at(99))


def test_a_kill_with_a_window_hits_whoever_lives_in_it():
    injector = Injector(
        parse_schedule(["camera kill 5s..6s"]), "camera/front", START_NS, born_ns=at(55)
    )
    assert [injector.is_killed(at(n)) for n in (49, 56, 61)] == [False, True, False]


@given(
    st.lists(st.sampled_from([FORMS.get(kind, kind) for kind in FAULT_KINDS]), max_size=4),
    st.sampled_from(sorted(TOPICS)),
    st.integers(0, 3),
)
def test_faults_are_repeatable_and_nothing_leaves_before_its_time(forms, topic, seed):
    text = ";".join(f"{topic} {form}" for form in forms)
    out = play(text, 20, topic=topic, seed=seed)
    assert all(timed.due_ns >= START_NS for timed in out)
    again = play(text, 20, topic=topic, seed=seed)
    assert [(t.due_ns, t.message.stamp_ns) for t in out] == [
        (t.due_ns, t.message.stamp_ns) for t in again
    ]
    assert len(out) <= 20 * 2 ** len(forms)
