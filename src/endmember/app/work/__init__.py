"""Long work, off the page."""
