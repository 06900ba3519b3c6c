"""Which reference times are fused while there is no time for all."""

from itertools import pairwise

import numpy as np

import tests.fusion_world as world
from fusion_rt.clock import NS_PER_MS
from fusion_rt.fusion.admission import CAUTION_NS, Admission
from fusion_rt.fusion.core import FusionCore

PERIOD_NS = 100 * NS_PER_MS


def served(took_ms, slots=100):
    """Slots, each begun 100 ms after the one before; one worker needs so long for each admitted."""
    admission, free_ns, fused, ages_ms = Admission(PERIOD_NS), 0, [], []
    running = []
    for slot in range(slots):
        now_ns = slot * PERIOD_NS
        running = [(begun_ns, end_ns) for begun_ns, end_ns in running if end_ns > now_ns]
        if not admission.admits(slot, now_ns, running[0][0] if running else None):
            continue
        free_ns = max(free_ns, now_ns) + took_ms(slot) * NS_PER_MS
        running.append((now_ns, free_ns))
        fused.append(slot)
        ages_ms.append((free_ns - now_ns) / NS_PER_MS)
    return fused, ages_ms


def test_every_slot_is_fused_while_there_is_time_for_it():
    fused, _ = served(lambda _: 95)
    assert fused == list(range(100))


def test_a_machine_that_is_too_slow_fuses_fewer_each_with_the_machine_to_itself():
    fused, ages_ms = served(lambda _: 250)
    assert 30 <= len(fused) <= 36
    assert max(ages_ms[2:]) == 250
    assert max(b - a for a, b in pairwise(fused[2:])) == 3


def test_one_slow_answer_costs_the_next_one_only():
    fused, ages_ms = served(lambda slot: 180 if slot == 20 else 60)
    assert set(range(100)) - set(fused) <= {22}
    assert max(ages_ms) <= 180


def test_all_frames_of_a_slot_share_its_fate():
    admission = Admission(PERIOD_NS)
    assert admission.admits(1, 0, None)
    assert not admission.admits(2, 150 * NS_PER_MS, 0)
    assert not admission.is_open
    assert not admission.admits(2, 160 * NS_PER_MS, None)
    assert admission.admits(1, 160 * NS_PER_MS, 0)
    assert admission.admits(3, 250 * NS_PER_MS, None)
    assert admission.is_open


def test_a_machine_that_is_just_too_slow_is_tried_again_ever_more_seldom():
    fused, ages_ms = served(lambda _: 150, slots=1000)
    assert 500 <= len(fused) <= 530
    assert np.percentile(ages_ms, 90) == 150
    assert max(ages_ms) <= 350


def test_caution_ends_a_while_after_the_last_overdue_work():
    admission = Admission(PERIOD_NS)
    assert not admission.admits(1, 150 * NS_PER_MS, 0)
    later_ns = 150 * NS_PER_MS + CAUTION_NS
    assert not admission.admits(2, later_ns - 1, later_ns - 50 * NS_PER_MS)
    assert admission.admits(3, later_ns, later_ns - 50 * NS_PER_MS)


def test_a_frame_belongs_to_the_reference_it_is_nearest_to_before_and_after_that_came():
    core = FusionCore(world.plan(), world.START_NS)
    slots: dict[str, list[int]] = {"camera/front": [], "lidar/top": []}
    for sent in world.world(3):
        if sent.topic in slots:
            slots[sent.topic].append(core.slot(sent.stamp_ns))
        core.arrived(sent.header, sent.topic, sent.recv_ns, None)
    first = slots["lidar/top"][5]
    assert slots["lidar/top"][5:] == list(range(first, first + 25))
    of_camera = slots["camera/front"][20:]
    assert all(of_camera.count(slot) == 3 for slot in set(of_camera[3:-3]))
