"""What a saved history proves: pure functions, without Redis or workers."""
