"""Data behind the few products that the mathematics needs, and the way in."""
