"""What processes and threads cost in plain Python: one file a measurement, standard library only.

Each is run in a Python of its own (`python -m poolproof.claims.textbook NAME`), so that
nothing of poolproof is forked or measured with it.
"""
