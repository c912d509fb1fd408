"""Makes the tasks of a run: plan, messages, producer."""
