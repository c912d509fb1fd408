"""The Redis, the workers and the machine that a run uses."""
