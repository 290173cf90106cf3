"""The whole local system on loopback: its parts, the process manager that keeps them, and the order in which they start."""
