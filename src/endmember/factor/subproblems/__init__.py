"""What a solver is given instead of the data."""
