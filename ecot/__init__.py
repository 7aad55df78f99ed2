"""Turn real tool feedback into a reasoning model for industrial code."""

__version__ = "0.1.0"
