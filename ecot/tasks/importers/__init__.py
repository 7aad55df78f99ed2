"""Public benchmarks in their own layouts, turned into task bundles."""

from ecot.tasks.importers.bundles import FORMATS, import_tasks

__all__ = ["FORMATS", "import_tasks"]
