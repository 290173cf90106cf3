"""What must hold: values, contracts and use cases. No I/O, nothing read from the environment at import."""
