"""A lakeFS server made ready for a use case, and the hook that it calls."""
