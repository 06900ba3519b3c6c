"""Latency, at every step of the flow: where each input frame and each answer spent its time.

`ledger` is the door for the loop that fuses; `row_file` keeps what it says on disk; `budgets` and
`alarms` judge it while it runs; `report`, `perfetto` and `metrics` show it.
"""
