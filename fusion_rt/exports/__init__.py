"""Hands on what a log holds to other people's tools: after record and replay."""
