"""Trajectories to batches: rendering, segments, budgets, packing."""
