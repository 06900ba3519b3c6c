"""Benchmarks of a whole rig, behind `fusion-rt bench`: at any step of the flow, from outside."""
