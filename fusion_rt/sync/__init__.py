"""Sync step of the flow: the few names that a user of the synchronizer needs."""

from fusion_rt.sync.frame_set import FrameSet, Member, StreamSpec, Tick
from fusion_rt.sync.synchronizer import Synchronizer

__all__ = ["FrameSet", "Member", "StreamSpec", "Synchronizer", "Tick"]
