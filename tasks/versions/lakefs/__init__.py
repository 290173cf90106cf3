"""The adapter of a lakeFS server."""
