"""Task bundles: what is asked, where it runs, what passes, and the hidden tests."""
