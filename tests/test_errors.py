"""Errors: the sentence says where, what and the way out, and the values stay readable."""

import pytest

from fusion_rt.errors import (
    ConfigError,
    FusionError,
    KeyFileError,
    MessageError,
    PublisherError,
    RecordingError,
    SessionError,
    TopicError,
)

CASES = [
    (ConfigError("rig.yaml", "sensors.gps", "no baud"), "rig.yaml: sensors.gps: no baud"),
    (ConfigError("rig.yaml", "", "empty", "add sensors"), "rig.yaml: empty; add sensors"),
    (TopicError("a", "too short"), 'topic "a": too short'),
    (SessionError("/run/x", "is gone"), "run directory /run/x: is gone"),
    (SessionError("/run/x", "is gone", "start it"), "run directory /run/x: is gone; start it"),
    (MessageError("a/b", "", "is dark"), 'topic "a/b": is dark'),
    (MessageError("a/b", "nodes.c", "is dark"), 'topic "a/b": is dark from nodes.c'),
    (PublisherError("a/b", "is taken"), 'topic "a/b": is taken'),
    (PublisherError("a/b", "is taken", "wait"), 'topic "a/b": is taken; wait'),
    (RecordingError("a.wav", "is mute"), "recording a.wav: is mute"),
    (RecordingError("a.wav", "is mute", "sing"), "recording a.wav: is mute; sing"),
    (KeyFileError("/k", "is missing", "make one"), "keys /k: is missing; make one"),
]


@pytest.mark.parametrize(("error", "sentence"), CASES)
def test_the_sentence_is_built_from_the_values(error: FusionError, sentence: str) -> None:
    assert isinstance(error, FusionError)
    assert str(error) == sentence
    assert error.problem in sentence
