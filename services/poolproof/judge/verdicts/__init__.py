"""What became of each task."""
