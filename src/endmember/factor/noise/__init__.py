"""What the noise is: measured once, in one way."""
