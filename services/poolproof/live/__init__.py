"""The live page: a run watched while it goes on, or played again, from its history file."""
