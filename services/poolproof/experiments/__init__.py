"""Whole runs: each reads like its own table of contents."""
