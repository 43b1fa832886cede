"""Data whose energy axis drifts from pixel to pixel."""
