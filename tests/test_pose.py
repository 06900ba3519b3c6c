"""Poses between, beside and far from GPS fixes."""

import pytest

from fusion_rt.sync.pose import Pose, extrapolate_pose, interpolate_pose, pose_at

S = 1_000_000_000


def test_halfway_along_a_straight_line():
    pose = interpolate_pose((0, Pose(48, 11, 500)), (S, Pose(48.0002, 11.0004, 502)), S // 2)
    assert pose.latitude_deg == pytest.approx(48.0001)
    assert pose.longitude_deg == pytest.approx(11.0002)
    assert pose.altitude_m == pytest.approx(501)


def test_a_degree_is_as_long_as_the_ellipsoid_says():
    """Geodesic tables: at 45 degrees one degree is 111 132 m north and 78 847 m east."""
    north = extrapolate_pose(Pose(45, 7, 0, (0.0, 111_132.0, 0.0)), S)
    east = extrapolate_pose(Pose(45, 7, 0, (78_847.0, 0.0, 0.0)), S)
    assert north.latitude_deg == pytest.approx(46, abs=1e-4)
    assert east.longitude_deg == pytest.approx(8, abs=1e-4)


@pytest.mark.parametrize(
    ("first", "last", "middle"), [(350, 10, 0), (10, 350, 0), (90, 180, 135), (179, 181, 180)]
)
def test_heading_turns_the_short_way(first, last, middle):
    pose = interpolate_pose((0, Pose(0, 0, 0, None, first)), (10, Pose(0, 0, 0, None, last)), 5)
    assert pose.heading_deg == pytest.approx(middle)


def test_longitude_crosses_the_date_line():
    pose = interpolate_pose((0, Pose(0, 179.9, 0)), (4, Pose(0, -179.9, 0)), 3)
    assert pose.longitude_deg == pytest.approx(-179.95)


def test_velocities_bend_the_path():
    """Braking evenly from 10 m/s to 0 in 2 s covers 10 m, 7.5 m of it in the first second."""
    along = 10 / 111_319.49  # degrees of longitude on the equator
    start, stop = Pose(0, 0, 0, (10.0, 0.0, 0.0)), Pose(0, along, 0, (0.0, 0.0, 0.0))
    pose = interpolate_pose((0, start), (2 * S, stop), S)
    assert pose.longitude_deg == pytest.approx(0.75 * along, rel=1e-4)
    assert pose.velocity_enu_mps == pytest.approx((5, 0, 0))


FIXES = [(0, Pose(0, 0, 0, (1.0, 0.0, 0.0), 90)), (S, Pose(0, 1e-5, 0)), (4 * S, Pose(0, 1e-4, 0))]


@pytest.mark.parametrize(
    ("at_ns", "kind", "by_ns"),
    [
        (S, "exact", 0),
        (S // 4, "interpolated", S // 4),
        (-S // 2, "extrapolated", S // 2),
        (3 * S // 2, "held", S // 2),
        (9 * S // 2, "held", S // 2),
    ],
)
def test_how_the_pose_was_come_by_is_told(at_ns, kind, by_ns):
    found = pose_at(FIXES, at_ns, widest_gap_ns=3 * S // 2, limit_ns=S)
    assert (found.kind, found.by_ns) == (kind, by_ns)


def test_too_far_from_any_fix_there_is_none():
    assert pose_at(FIXES, 5 * S // 2, widest_gap_ns=3 * S // 2, limit_ns=S) is None
    assert pose_at([], 0, S, S) is None
