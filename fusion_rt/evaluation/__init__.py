"""Measures a model after the fact: what it found, missed and made up, from each set of sensors."""
