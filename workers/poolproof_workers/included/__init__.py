"""Modules that a benchmark or a claim has a worker load."""
