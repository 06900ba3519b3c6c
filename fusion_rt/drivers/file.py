"""Recordings in files, one row per kind of sensor, as if the device were there."""

from fusion_rt.drivers.port import Driver
from fusion_rt.gnss.recording import GpsRecording, open_gps

DRIVERS = {"gps": Driver(GpsRecording, open_gps)}
