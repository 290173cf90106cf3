"""One command a module, each light to import."""
