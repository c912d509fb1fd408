"""Keeps the history of a run and the live ledger."""
