"""Histories of every kind, with what poolproof says of them: neither may change unnoticed."""
