"""Looks for sound inputs that PortAudio has."""

from typing import Any

from fusion_rt.discovery.found import Found, Look


def look_for_microphones() -> Look:
    """All inputs, with their channels and usual sample rate."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        way_out = 'pip install "fusion_rt[sensors]", apt install libportaudio2'
        return Look(problem=f"sound inputs not looked for: {error}; {way_out}")
    devices = [device for device in sounddevice.query_devices() if device["max_input_channels"]]
    return Look(tuple(_found(device) for device in devices))


def _found(device: dict[str, Any]) -> Found:
    channels, rate_hz = device["max_input_channels"], round(device["default_samplerate"])
    name = device["name"].replace('"', "")
    options = f"channels: {channels}, sample_rate_hz: {rate_hz}"
    return Found(
        kind="audio",
        place=f"input {device['index']}",
        what=name,
        details=(f"{channels} channels at {rate_hz} Hz",),
        rig=f'audio/array: {{driver: alsa, device: "{name}", {options}}}',
    )
