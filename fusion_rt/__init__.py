"""fusion_rt: real-time sensor fusion that keeps answering when a sensor drops out."""

from importlib.metadata import version

__version__ = version("fusion_rt")
