"""Many crashes in one table: the plan, one run, and all of them side by side."""
