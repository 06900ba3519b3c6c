"""`python -m fusion_rt` is the same as `fusion-rt`."""

from fusion_rt.cli import main

main()
