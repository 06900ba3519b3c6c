"""What this machine has that could be a sensor of a rig."""
