"""The files through which the backend and its processes in the fork servers speak. Standard library alone."""

SCRIPT = "candidate.py"
REPORT = "report.json"
"""What the script's own process says of how it went; believed only where it says that something failed."""
SOLID = "solid.brep"
CANDIDATE = "candidate.brep"
REFERENCE = "reference.brep"
FACTS = "facts.json"
"""Measures of solids."""
COMPARISON = "comparison.json"

TOLD_PIECES = 3
"""Of the material that is missing or too much, how many of the largest pieces are told and so need a box."""

STEP, STL, PICTURE = "solid.step", "solid.stl", "solid.png"

DISK_FULL = 71
"""Exit code of a script's process that finds no room for its report."""
