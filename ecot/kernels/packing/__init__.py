"""Packs: documents into bins (`bins`), bins into steps (`deal`), a pack's tables into rows for the loss (`expand`).

Imported from their modules: `bins` and `deal` need no torch.
"""
