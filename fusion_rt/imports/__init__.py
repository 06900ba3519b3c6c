"""Turns what others recorded into our messages, as if each had just arrived: before record."""
