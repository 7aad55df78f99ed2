"""Held-out loss per segment kind, real execution of completions, the report."""
