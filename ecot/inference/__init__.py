"""Text from trained models: batched generation, where turns end, an export to load."""
