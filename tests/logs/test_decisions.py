"""Digest and first difference of two runs."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from fusion_rt.errors import LogError
from fusion_rt.logs.entry import entry
from fusion_rt.logs.write import LogWriter
from fusion_rt.messages import DetectionMember, Detections
from fusion_rt.replay.decisions import (
    AnsweredSet,
    Box,
    answered,
    digest_of,
    first_difference,
    read_run,
)


def member(topic: str, stamp_ns: int | None, age_ns: int = 5) -> DetectionMember:
    quality = "missing" if stamp_ns is None else "exact"
    reason = "silent" if stamp_ns is None else ""
    return DetectionMember(topic, quality, reason, stamp_ns, age_ns)


def run(count: int = 6) -> list[AnsweredSet]:
    return [
        AnsweredSet(
            stamp_ns=number * 100,
            mode="NORMAL",
            members=(member("camera/front", number * 100), member("lidar/top", number * 100 - 3)),
            boxes=(Box(1, 0.5, (float(number),) * 9),),
        )
        for number in range(count)
    ]


def changed(number: int, **fields: object) -> list[AnsweredSet]:
    sets = run()
    sets[number] = msgspec.structs.replace(sets[number], **fields)
    return sets


def test_equal_runs_have_one_digest_and_no_difference() -> None:
    assert digest_of(run()) == digest_of(run())
    assert first_difference(run(), run(), 0) is None


def test_a_digest_tells_of_decisions_and_not_of_when_they_were_looked_at() -> None:
    late = (member("camera/front", 300, age_ns=99), member("lidar/top", 297))
    assert digest_of(changed(3, members=late)) == digest_of(run())
    assert digest_of(changed(3, boxes=())) == digest_of(run())
    assert digest_of(changed(3, mode="DEGRADED")) != digest_of(run())
    assert digest_of(changed(3, members=late[:1])) != digest_of(run())
    assert digest_of(run(5)) != digest_of(run())


@pytest.mark.parametrize(
    ("other", "what", "sentence"),
    [
        (changed(3, stamp_ns=301), "set", "reference time 300 in A, 301 in B"),
        (
            changed(3, members=(member("camera/front", None), member("lidar/top", 297))),
            "member",
            r"camera/front: exact of 300 in A, missing \(silent\) in B",
        ),
        (
            changed(3, members=(member("camera/front", 300),)),
            "member",
            "lidar/top: exact of 297 in A, not asked for in B",
        ),
        (
            changed(3, mode="BLIND", mode_reasons=("all silent",)),
            "mode",
            r"NORMAL in A, BLIND \(all silent\) in B",
        ),
        (changed(3, boxes=()), "detection", "1 detections in A, 0 in B"),
        (changed(3, failure="engine"), "detection", 'failure "" in A, "engine" in B'),
        (
            changed(3, boxes=(Box(2, 0.5, (3.0,) * 9),)),
            "detection",
            "detection 0: class 1 in A, 2 in B",
        ),
        (
            changed(3, boxes=(Box(1, 0.5, (3.0,) * 8 + (3.01,)),)),
            "detection",
            "detection 0: 0.01 apart, expected at most 0.001",
        ),
    ],
)
def test_the_first_difference_is_named(other: list[AnsweredSet], what: str, sentence: str) -> None:
    import re

    found = first_difference(run(), other, 1e-3)
    assert found is not None
    assert (found.number, found.what) == (3, what)
    assert re.match(sentence, found.sentence)
    assert [one.stamp_ns for one in found.before] == [100, 200]


def test_a_run_that_ends_sooner_differs_there() -> None:
    found = first_difference(run(), run(4), 0)
    assert found is not None
    assert (found.number, found.what) == (4, "end")
    assert found.sentence.startswith("B has no further set")


def test_what_is_within_the_tolerance_is_the_same_even_if_not_a_number() -> None:
    near = changed(3, boxes=(Box(1, 0.5, (3.0005,) * 9),))
    assert first_difference(run(), near, 1e-3) is None
    odd = changed(3, boxes=(Box(1, 0.5, (float("nan"),) * 9),))
    assert first_difference(odd, odd, 1e-3) is None
    assert first_difference(odd, run(), 1e-3) is not None


def test_a_run_is_read_from_a_log_as_from_json(tmp_path: Path) -> None:
    members = (member("camera/front", 5), member("lidar/top", None))
    with LogWriter(tmp_path / "a.mcap") as log:
        for number in range(4):
            detections = Detections(
                stamp_ns=number,
                boxes=np.full((2, 9), number, np.float32),
                scores=np.full(2, 0.25, np.float32),
                class_ids=np.zeros(2, np.uint8),
                members=members,
            )
            times = {"sent_ns": number, "recv_ns": number}
            log.write(entry("detections/fused", detections, seq=number, **times))
    sets = list(read_run(tmp_path / "a.mcap"))
    assert sets[3] == answered(detections)
    (tmp_path / "a.json").write_bytes(msgspec.json.encode({"sets": sets, "more": 1}))
    assert list(read_run(tmp_path / "a.json")) == sets


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(LogError, match="expected the JSON of a run"):
        list(read_run(tmp_path / "a.json"))
    with pytest.raises(LogError, match=r"b\.json: cannot be read"):
        list(read_run(tmp_path / "b.json"))
    with LogWriter(tmp_path / "c.mcap"):
        pass
    with pytest.raises(LogError, match="expected a log with detections/fused"):
        list(read_run(tmp_path / "c.mcap"))
