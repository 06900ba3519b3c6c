"""Random faults for a long run: any kind, any sensor, often two at once, never the same twice."""

import random

from fusion_rt.clock import NS_PER_S
from fusion_rt.faults import FAULT_KINDS
from fusion_rt.topics import topic_kind

CLOCK_STEP_NS = 2 * NS_PER_S
"""Far more than any fault delays a message."""
FIRST_S = 12.0
"""The rig starts in peace."""
_AMOUNTS = {
    "drop": ("", "30%"),
    "delay": ("60ms", "250ms", "700ms"),
    "jitter": ("30ms", "120ms"),
    "clock": ("+2s", "-2s", "+40ms"),
    "drift": ("300ppm",),
    "flap": ("300ms", "700ms"),
    "rate": ("50%", "80%"),
}


def random_faults(topics: list[str], seconds: float, seed: int) -> list[str]:
    """Short forms, one fault every few seconds until shortly before the end."""
    rng = random.Random(seed)
    at_s, forms = FIRST_S, []
    while at_s < seconds - 15:
        topic, kind = rng.choice(topics), rng.choice(FAULT_KINDS)
        amount = rng.choice(_AMOUNTS.get(kind, ("",)))
        lasts_s = rng.uniform(0.5, 6)
        begin, end = round(at_s * 1000), round((at_s + lasts_s) * 1000)
        when = f"at {begin}ms" if kind == "kill" else f"{begin}ms..{end}ms"
        forms.append(" ".join(part for part in (topic, kind, amount, when) if part))
        at_s += rng.uniform(1.0, 6.0)
    assert all(topic_kind(topic).is_sensor for topic in topics)
    return forms
