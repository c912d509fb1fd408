"""Everything around the workers, in the order a task meets it."""
