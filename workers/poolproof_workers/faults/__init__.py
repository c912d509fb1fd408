"""What can be done to a worker, one module a kind."""
