"""The embedded store: the same semantics in a folder, for one machine."""
