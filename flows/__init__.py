"""In which order: one flow a file."""
