"""Use cases of workshop."""
