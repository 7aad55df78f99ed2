"""The SFT run: model, trainer, milestones, resume, export."""
