"""Writes what Celery's signals say into rings, in the measured processes."""
