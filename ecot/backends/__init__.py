"""Real tools behind one protocol, each candidate in a sandbox."""
