from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_rt.clock import NS_PER_MS, NS_PER_S
from fusion_rt.latency.critical_path import hops, quantities
from fusion_rt.latency.ledger import MOST_PENDING, PATIENCE_NS
from fusion_rt.latency.rows import OUTCOMES, AnswerRow, FrameRow, TotalsRow
from tests.latency.samples import (
    CAMERA,
    LIDAR,
    Header,
    arrive,
    ledger_with_rows,
    ms,
    of_type,
    times,
)


def outcomes(ledger, topic):
    return ledger.account(topic).outcomes


def test_a_frame_in_an_answer_is_used_and_its_row_says_which():
    ledger, rows = ledger_with_rows()
    frame = arrive(ledger, LIDAR, 7, 0)
    ledger.answered(times(0), {LIDAR: [frame]})
    (row,) = of_type(rows, FrameRow)
    assert (row.outcome, row.place, row.seq, row.answer) == ("used", "fuse", 7, 0)


def test_the_frame_behind_the_one_taken_is_superseded():
    ledger, _ = ledger_with_rows()
    arrive(ledger, CAMERA, 1, -33)
    taken = arrive(ledger, CAMERA, 2, 0)
    ahead = arrive(ledger, CAMERA, 3, 33)
    ledger.answered(times(0, closed_ms=50), {CAMERA: [taken]})
    assert outcomes(ledger, CAMERA) == {"superseded": 1, "used": 1, "in_flight": 1}
    assert ahead.outcome is None


def test_a_frame_that_comes_after_its_answer_was_closed_is_late_and_says_where_it_was():
    ledger, rows = ledger_with_rows()
    ledger.answered(times(0, closed_ms=20), {}, {CAMERA: "not arrived"})
    arrive(ledger, CAMERA, 1, 1, sent_ms=30)
    arrive(ledger, CAMERA, 2, 2, sent_ms=10, hop_ms=40)
    ledger.answered(times(100), {CAMERA: [arrive(ledger, CAMERA, 3, 100)]})
    late = [row for row in of_type(rows, FrameRow) if row.outcome == "late"]
    assert [(row.seq, row.place) for row in late] == [(1, "sensor"), (2, "transport")]


def test_a_frame_farther_off_than_the_one_taken_is_not_late():
    ledger, _ = ledger_with_rows()
    ledger.answered(times(0), {CAMERA: [arrive(ledger, CAMERA, 1, 2)]})
    arrive(ledger, CAMERA, 2, 10, sent_ms=60)
    ledger.answered(times(100), {CAMERA: [arrive(ledger, CAMERA, 3, 100)]})
    assert outcomes(ledger, CAMERA) == {"used": 2, "superseded": 1}


def test_a_frame_used_twice_is_accounted_once():
    ledger, rows = ledger_with_rows()
    frame = arrive(ledger, LIDAR, 1, 0)
    ledger.answered(times(0), {LIDAR: [frame]})
    ledger.answered(times(100), {LIDAR: [frame]})
    assert outcomes(ledger, LIDAR) == {"used": 1}
    assert [row.members[0].is_new for row in of_type(rows, AnswerRow)] == [True, False]


def test_a_failed_fusion_makes_its_frames_failed():
    ledger, rows = ledger_with_rows()
    ledger.answered(
        times(0, failure="engine fusion.onnx: out of memory"),
        {LIDAR: [arrive(ledger, LIDAR, 1, 0)]},
    )
    (row,) = of_type(rows, FrameRow)
    assert (row.outcome, row.cause) == ("failed", "engine fusion.onnx: out of memory")


def test_a_lane_says_what_it_drops_and_the_first_word_stands():
    ledger, rows = ledger_with_rows()
    frame = arrive(ledger, CAMERA, 1, 0)
    ledger.dropped(frame, "failed", "encode", at_ns=ms(9), cause="jpeg: truncated")
    ledger.dropped(frame, "superseded", "queue", at_ns=ms(10))
    assert outcomes(ledger, CAMERA) == {"failed": 1}
    assert of_type(rows, FrameRow)[0].cause == "jpeg: truncated"


def test_what_the_inbox_dropped_is_taken_over_once():
    ledger, rows = ledger_with_rows()
    drops = {"lost": 3, "superseded": 2, "stale": 1, "invalid": 5}
    ledger.count_inbox(CAMERA, drops, ms(0))
    ledger.count_inbox(CAMERA, drops, ms(1))
    account = ledger.account(CAMERA)
    assert (account.received, account.lost) == (3, 3)
    assert account.outcomes == {"lost": 3, "superseded": 2, "late": 1}
    assert [(row.cause, row.count, row.place) for row in of_type(rows, FrameRow)] == [
        ("lost", 3, "transport"),
        ("superseded", 2, "inbox"),
        ("stale", 1, "inbox"),
    ]


def test_a_frame_nobody_takes_is_given_up_in_time():
    ledger, _ = ledger_with_rows()
    arrive(ledger, CAMERA, 1, 0)
    ledger.answered(times(PATIENCE_NS / NS_PER_MS + 100), {})
    assert outcomes(ledger, CAMERA) == {"superseded": 1}


def test_frames_that_pile_up_without_an_answer_are_given_up_oldest_first():
    ledger, rows = ledger_with_rows()
    for seq in range(MOST_PENDING + 3):
        ledger.arrived(Header(CAMERA, seq, ms(seq), ms(seq)), ms(seq))
    assert outcomes(ledger, CAMERA) == {"superseded": 3, "in_flight": MOST_PENDING}
    assert [row.seq for row in of_type(rows, FrameRow)] == [0, 1, 2]
    assert {row.place for row in of_type(rows, FrameRow)} == {"queue"}


def test_closing_writes_the_open_frames_and_the_totals():
    ledger, rows = ledger_with_rows()
    arrive(ledger, CAMERA, 1, 0)
    ledger.count_inbox(CAMERA, {"lost": 2}, ms(1))
    ledger.close(ms(50))
    totals = {row.topic: row for row in of_type(rows, TotalsRow)}
    assert totals[CAMERA].outcomes == {"lost": 2, "in_flight": 1}
    assert (totals[CAMERA].received, totals[CAMERA].lost) == (1, 2)
    assert totals[LIDAR].outcomes == {}


def test_hops_follow_one_another_and_sum_to_the_end_to_end_time():
    ledger, rows = ledger_with_rows()
    camera = arrive(ledger, CAMERA, 1, 3, encode_ms=4.25)
    lidar = arrive(ledger, LIDAR, 1, 0, encode_ms=20)
    ledger.answered(
        times(0, closed_ms=12, ready_ns=lidar.ready_ns), {CAMERA: [camera], LIDAR: [lidar]}
    )
    (answer,) = of_type(rows, AnswerRow)
    for member in answer.members:
        found = hops(member, answer)
        assert sum(hop.took_ns for hop in found) == answer.published_ns - member.stamp_ns
        assert all(a.end_ns == b.start_ns for a, b in pairwise(found))
        assert all(hop.took_ns >= 0 for hop in found)
    whole = quantities(answer)
    assert whole["end_to_end"] == answer.published_ns - lidar.stamp_ns
    assert whole["end_to_end_newest"] == answer.published_ns - camera.stamp_ns


def test_a_member_made_of_several_frames_is_timed_by_the_one_that_was_ready_last():
    ledger, rows = ledger_with_rows()
    chunks = [arrive(ledger, CAMERA, seq, 20 * seq) for seq in range(3)]
    ledger.answered(times(40, closed_ms=30), {CAMERA: chunks})
    (answer,) = of_type(rows, AnswerRow)
    assert answer.members[0].seq == 2
    assert outcomes(ledger, CAMERA) == {"used": 3}


def test_an_answer_without_members_still_has_an_age():
    ledger, _ = ledger_with_rows()
    ledger.answered(times(0), {}, {CAMERA: "silent", LIDAR: "silent"})
    assert ledger.whole.keys() == {"answer_age"}


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["frame", "answer", "drop", "inbox", "late"]),
        st.sampled_from([CAMERA, LIDAR]),
        st.integers(0, 400),
    ),
    max_size=120,
)


@given(EVENTS)
def test_whatever_happens_every_frame_has_one_row_and_the_sums_agree(events):
    ledger, rows = ledger_with_rows()
    received = {CAMERA: 0, LIDAR: 0}
    drops = {CAMERA: {"lost": 0, "superseded": 0}, LIDAR: {"lost": 0, "superseded": 0}}
    frames, now_ms = [], 0
    for what, topic, number in events:
        now_ms += number / 10
        if what in ("frame", "late"):
            frames.append(
                arrive(ledger, topic, len(frames), now_ms - (number if what == "late" else 0))
            )
            received[topic] += 1
        elif what == "drop" and frames:
            ledger.dropped(frames[number % len(frames)], "failed", "encode", at_ns=ms(now_ms))
        elif what == "inbox":
            cause = "lost" if number % 2 else "superseded"
            drops[topic][cause] += number % 5
            ledger.count_inbox(topic, drops[topic], ms(now_ms))
        elif what == "answer":
            taken = {f.topic: [f] for f in frames[-number % 7 :] if f.outcome in (None, "used")}
            ledger.answered(times(now_ms), taken)
    before = {topic: ledger.account(topic) for topic in received}
    ledger.close(ms(now_ms) + NS_PER_S)
    for topic, count in received.items():
        account = ledger.account(topic)
        lost, unseen = drops[topic]["lost"], drops[topic]["superseded"]
        assert sum(before[topic].outcomes.values()) == count + lost + unseen
        assert (account.received, account.lost) == (count + unseen, lost)
        of_topic = [row for row in of_type(rows, FrameRow) if row.topic == topic]
        assert sum(row.count for row in of_topic) == count + lost + unseen
        assert {row.outcome for row in of_topic} <= set(OUTCOMES)
        seen = [row.seq for row in of_topic if row.seq >= 0]
        assert len(seen) == len(set(seen)) == count


def test_a_topic_the_ledger_was_not_told_of_is_refused():
    ledger, _ = ledger_with_rows()
    with pytest.raises(KeyError):
        ledger.arrived(Header("gps/main", 0, ms(0), ms(0)), ms(1))
