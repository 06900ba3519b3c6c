"""Recordings in files, one row per kind of sensor, as if the device were there."""

from fusion_rt.camera.recording import CameraRecording
from fusion_rt.camera.recording import open_camera as open_video
from fusion_rt.drivers.port import Driver
from fusion_rt.gnss.recording import GpsRecording, open_gps

DRIVERS = {"camera": Driver(CameraRecording, open_video), "gps": Driver(GpsRecording, open_gps)}
