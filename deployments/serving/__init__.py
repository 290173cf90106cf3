"""The prediction server: one champion behind an HTTP API, with receipts, shadow and canary."""
