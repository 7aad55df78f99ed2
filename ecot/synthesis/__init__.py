"""The ECoT data engine: attempt, execute, think, revise."""
