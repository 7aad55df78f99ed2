"""CadQuery: scripts that build solids, run in fork servers and compared with a reference solid."""
