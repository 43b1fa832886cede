"""Reading files: what they are, whether they are whole, what they hold."""
