"""What is said of processes, threads and Celery's pools, tried on the real thing."""
