"""fusion_rt: real-time sensor fusion that keeps answering when a sensor drops out."""

__version__ = "0.1.0"
