"""The offline generator: faults in a reference, undone one per turn as the real diagnostics suggest."""
