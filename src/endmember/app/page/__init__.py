"""What is seen: the page and its panels."""
