"""The tasks that can be measured, and what their results must be."""
