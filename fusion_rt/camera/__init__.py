"""From what cameras and recordings of them deliver to stamped frames."""
