"""The judge of long runs finds what is wrong, and nothing where nothing is."""

import msgspec
import pytest

from fusion_rt.faults import parse_schedule
from fusion_rt.latency.rows import AnswerRow, FrameRow
from tests.latency.runs import RATES_HZ, make_run
from tests.latency.samples import LIDAR
from tests.soak.judge import (
    Sample,
    answers_are_whole,
    every_frame_has_a_row,
    hops_sum_up,
    memory_is_flat,
)
from tests.soak.schedule import random_faults

MOST_STEP_NS = 150_000_000


@pytest.fixture(scope="module")
def run():
    return make_run(seconds=12)


@pytest.fixture
def rows(run):
    return [*run.answers, *run.frames, *run.totals]


@pytest.fixture
def heard(run):
    return [(row.number, row.reference_ns, row.published_ns) for row in run.answers]


def changed(rows, index, **fields):
    return [*rows[:index], msgspec.structs.replace(rows[index], **fields), *rows[index + 1 :]]


def test_a_good_run_passes_everything(rows, heard):
    assert answers_are_whole(rows, heard, LIDAR, MOST_STEP_NS).holds
    assert every_frame_has_a_row(rows).holds
    assert hops_sum_up(rows, heard).holds


def test_an_answer_that_is_missing_is_found(rows, heard):
    assert not answers_are_whole(rows[:7] + rows[8:], heard, LIDAR, MOST_STEP_NS).holds
    assert not answers_are_whole(rows, heard[:7] + heard[8:], LIDAR, MOST_STEP_NS).holds
    twice = [*heard[:8], heard[7], *heard[8:]]
    assert not answers_are_whole(rows, twice, LIDAR, MOST_STEP_NS).holds


def test_a_reference_that_was_not_answered_is_found(rows, heard):
    index = next(
        n for n, row in enumerate(rows) if isinstance(row, FrameRow) and row.topic == LIDAR
    )
    other = changed(rows, index, outcome="superseded", stamp_ns=rows[0].reference_ns - 60_000_000)
    assert not answers_are_whole(other, heard, LIDAR, MOST_STEP_NS).holds
    late = changed(rows, index, outcome="late", stamp_ns=rows[0].reference_ns - 60_000_000)
    assert answers_are_whole(late, heard, LIDAR, MOST_STEP_NS).holds


@pytest.mark.parametrize(("off_s", "is_answered"), [(2, True), (0.9, False), (0.2, False)])
def test_the_first_message_of_a_clock_that_stepped_is_answered_when_it_was_measured(
    rows, heard, off_s, is_answered
):
    index = next(
        n for n, row in enumerate(rows) if isinstance(row, FrameRow) and row.topic == LIDAR
    )
    stamp_ns = rows[index].stamp_ns - round(off_s * 1e9)
    first = changed(rows, index, outcome="superseded", stamp_ns=stamp_ns)
    assert answers_are_whole(first, heard, LIDAR, MOST_STEP_NS).holds == is_answered


def test_a_frame_without_a_row_or_with_two_is_found(rows):
    frames = [index for index, row in enumerate(rows) if isinstance(row, FrameRow) and row.seq > 5]
    without = [row for index, row in enumerate(rows) if index != frames[3]]
    assert not every_frame_has_a_row(without).holds
    assert not every_frame_has_a_row([*rows, rows[frames[3]]]).holds


def test_a_run_without_totals_has_not_been_checked(rows):
    assert not every_frame_has_a_row([row for row in rows if isinstance(row, AnswerRow)]).holds


def test_a_sum_that_is_off_by_more_than_a_tenth_of_a_millisecond_is_found(rows, heard):
    answer = rows[3]
    assert hops_sum_up(changed(rows, 3, published_ns=answer.published_ns + 90_000), heard).holds
    off = changed(rows, 3, published_ns=answer.published_ns + 110_000)
    assert not hops_sum_up(off, heard).holds
    assert not hops_sum_up([], heard).holds


def memory(growth):
    return [Sample(at, 1, "fuse", round(1e8 * (1 + growth * at / 100))) for at in range(100)]


def test_memory_that_grows_is_found():
    assert memory_is_flat(memory(0.005), 100).holds
    assert not memory_is_flat(memory(0.05), 100).holds
    assert not memory_is_flat([], 100).holds


def test_random_faults_can_be_read_and_are_the_same_for_the_same_seed():
    forms = random_faults(list(RATES_HZ), 1800, seed=1)
    assert len(parse_schedule(forms).faults) == len(forms) > 400
    assert (
        forms
        == random_faults(list(RATES_HZ), 1800, seed=1)
        != random_faults(list(RATES_HZ), 1800, 2)
    )
