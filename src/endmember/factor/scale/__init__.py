"""Who carries the scale of each component."""
