"""Why a message did not reach its consumer: transport's vocabulary of causes, counted per topic."""

from enum import Enum


class Drop(str, Enum):
    """Every dropped message is counted under exactly one of these."""

    # at the publisher
    RING_FULL = "ring_full"
    """Readers hold every slot: no local subscriber was sent the message."""
    READER_BEHIND = "reader_behind"
    """A reader's channel was full: it, and only it, missed the message."""

    # at the subscriber
    LOST = "lost"
    """Missing in the publisher's sequence: what it counts as ring_full or reader_behind for us, and
    what was on a lane that broke."""
    MALFORMED = "malformed"
    """Not a header of ours: truncated, wrong types, out of bounds."""
    WRONG_VERSION = "wrong_version"
    WRONG_TOPIC = "wrong_topic"
    """A header that names a topic nobody asked for here."""
    INVALID = "invalid"
    """A body that is not the topic's message, or whose values cannot be."""
    BAD_DESCRIPTOR = "bad_descriptor"
    """A payload descriptor that points outside what it may."""
    STALE = "stale"
    """From a publisher that has been replaced, or older than what was already received."""
    SUPERSEDED = "superseded"
    """A newer one of the same topic arrived before the consumer asked (policy `latest`)."""
    OVERFLOW = "overflow"
    """The consumer's queue was full (policy `queue`)."""
    OVERRUN = "overrun"
    """The publisher had reused the slot before the consumer took it."""
