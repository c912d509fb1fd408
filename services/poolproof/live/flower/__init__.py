"""Flower beside the page: what it shows, and where that differs from the books."""
