"""What runs in a Celery worker, and the supervisor beside it."""

__version__ = "0.1.0"
