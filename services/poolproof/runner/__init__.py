"""A run that is being played: its session, its environment, its progress."""
