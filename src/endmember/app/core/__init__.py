"""What a session of the workbench does, without a page."""
