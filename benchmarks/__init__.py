"""Measures poolproof itself: scripts/bench."""
