"""The adapter of an MLflow registry."""
