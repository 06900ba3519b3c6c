import numpy as np
import pytest

from fusion_rt.fleet.measures import agreement, row_of
from fusion_rt.messages import DetectionMember, Detections, Mode


def found(
    stamp_ns: int,
    places: list[tuple[float, float]],
    classes: tuple[str, ...] = ("car",),
    mode: Mode = "NORMAL",
    missing: int = 0,
) -> Detections:
    boxes = np.zeros((len(places), 9), np.float32)
    boxes[:, :2] = np.array(places, np.float32).reshape(-1, 2)
    return Detections(
        stamp_ns=stamp_ns,
        boxes=boxes,
        scores=np.full(len(places), 0.5, np.float32),
        class_ids=np.zeros(len(places), np.uint8),
        classes=classes,
        mode=mode,
        members=tuple(
            DetectionMember(f"camera/{n}", "missing" if n < missing else "nearest")
            for n in range(2)
        ),
    )


def test_a_run_is_counted_by_sets_boxes_and_modes() -> None:
    row = row_of(
        [
            found(0, [(1, 1), (2, 2)]),
            found(10**9, [], mode="DEGRADED", missing=1),
            found(2 * 10**9, [(0, 0)], mode="DEGRADED", missing=2),
            found(3 * 10**9, []),
        ]
    )
    assert (row["sets"], row["span_s"], row["detections"]) == (4, 3.0, 3)
    assert row["detections_per_set"] == 0.75
    assert (row["share_normal"], row["share_degraded"], row["share_blind"]) == (0.5, 0.5, 0)
    assert row["share_members_missing"] == 3 / 8
    assert row_of([])["sets"] == 0


def test_boxes_agree_by_class_and_place_the_nearest_first() -> None:
    a = [found(0, [(0, 0), (10, 0)]), found(1, [(5, 5)])]
    b = [found(0, [(0.5, 0), (1.0, 0), (30, 0)]), found(1, [(5, 5)]), found(2, [])]
    result = agreement(a, b)
    assert (result.sets, result.only_a_sets, result.only_b_sets) == (2, 0, 1)
    assert (result.matched, result.only_a, result.only_b) == (2, 1, 2)
    assert result.apart_m == pytest.approx(0.25)
    assert result.worst_ns == 0
    assert result.share == pytest.approx(4 / 7)


def test_classes_are_compared_by_name_and_nothing_agrees_with_nothing() -> None:
    same = agreement([found(0, [(0, 0)], ("car",))], [found(0, [(0, 0)], ("truck",))])
    assert (same.matched, same.share) == (0, 0)
    nothing = agreement([found(0, [])], [found(0, [])])
    assert (nothing.share, nothing.worst_ns, nothing.apart_m) == (1, None, None)
