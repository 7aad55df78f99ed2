"""Python functions against a reference."""
