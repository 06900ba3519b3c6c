"""Makes sound of the byte blocks that audio_common records; they do not say what they hold."""

from typing import Any

import msgspec
import numpy as np

from fusion_rt.clock import NS_PER_S
from fusion_rt.messages import AudioChunk


class SoundFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the blocks of one topic hold."""

    channels: int
    rate_hz: int


def format_from_info(info: Any) -> SoundFormat:
    """From audio_common_msgs/AudioInfo; raises ValueError for sound that is compressed or odd."""
    coding, sample = str(info.coding_format).lower(), str(info.sample_format).upper()
    if coding not in ("wave", "raw", "pcm"):
        raise ValueError(f'coding "{info.coding_format}"')
    if sample not in ("S16LE", "S16"):
        raise ValueError(f'samples "{info.sample_format}"')
    sound = SoundFormat(channels=int(info.channels), rate_hz=int(info.sample_rate))
    if not (1 <= sound.channels <= 64 and 1000 <= sound.rate_hz <= 384_000):
        raise ValueError(f"{sound.channels} channels at {sound.rate_hz} Hz")
    return sound


def chunk_from_bytes(
    data: Any, stamp_ns: int | None, recv_ns: int, first_sample: int, sound: SoundFormat
) -> AudioChunk:
    """Consecutive 16-bit samples; without a stamp the last of them was taken when they came."""
    raw = np.frombuffer(data, np.uint8)
    if raw.size == 0 or raw.size % (2 * sound.channels):
        raise ValueError(f"{raw.size} bytes of {sound.channels} channels of 16 bits")
    samples = raw.view("<i2").reshape(-1, sound.channels).astype(np.int16)
    if stamp_ns is None:
        stamp_ns = recv_ns - len(samples) * NS_PER_S // sound.rate_hz
    return AudioChunk(
        stamp_ns=stamp_ns, samples=samples, rate_hz=sound.rate_hz, first_sample=first_sample
    )
