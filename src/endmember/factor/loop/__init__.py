"""The loop over the factors: starts, sweeps, stopping, and what it may say at its end."""
