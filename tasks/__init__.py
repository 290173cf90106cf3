"""How: pure functions and adapters."""
