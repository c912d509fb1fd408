"""What a summary looks like: pure functions, one file a format."""
