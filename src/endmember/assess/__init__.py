"""After the fit: how many, how sure, which model."""
