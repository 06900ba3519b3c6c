"""Replay: a log through fuse again, at any pace, to the same decisions; and what differs if not."""
