"""A run's log, and what is read from it."""
