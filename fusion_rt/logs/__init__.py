"""Logs, the last step of the flow: record what passed, and read it back as it arrived."""
