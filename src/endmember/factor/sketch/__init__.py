"""Large data reduced to the few directions that carry the signal, and the way back."""
