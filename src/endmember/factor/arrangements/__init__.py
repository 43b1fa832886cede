"""Who multiplies whom: series of spectrum images, and several data sets at once."""
