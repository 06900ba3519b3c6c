"""Replays many logs at once, on this machine or on a cluster, and sets two models side by side."""
