"""Thinking in words: reading a specification, reading a diagnostic, naming a cause and its repair."""
