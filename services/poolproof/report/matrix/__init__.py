"""A matrix in the terminal, Markdown and CSV."""
