"""Where a run keeps its files. Every verb reads and writes here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """The layout of one run's folder (`run_dir` of the configuration)."""

    root: Path

    @property
    def trajectories(self) -> Path:
        """Synthesis: `train.parquet`, `heldout.parquet`, `summary.json` and the shards of an unfinished run."""
        return self.root / "trajectories"

    @property
    def pairs(self) -> Path:
        """A world model's run has pairs in place of trajectories, under the same names, and says so here."""
        return self.trajectories / "pairs.json"

    @property
    def tokenizer(self) -> Path:
        """A tokenizer trained by this run, in Hugging Face format with its chat template."""
        return self.root / "tokenizer"

    @property
    def store(self) -> Path:
        """Tokenised documents with their segment runs, and `summary.json` (kept, cut and refused)."""
        return self.root / "store"

    @property
    def plan(self) -> Path:
        """The pack plan: `plan.parquet` and `plan.json`."""
        return self.root / "plan"

    @property
    def checkpoints(self) -> Path:
        """Training checkpoints, `checkpoint-<step>`, rotated."""
        return self.root / "checkpoints"

    @property
    def milestones(self) -> Path:
        """Milestone checkpoints, `<name>` with `milestone.json`, never rotated."""
        return self.root / "milestones"

    @property
    def metrics(self) -> Path:
        """Training metrics, one JSON object per logged step."""
        return self.root / "metrics.jsonl"

    @property
    def export(self) -> Path:
        """Hugging Face weights, a folder per milestone."""
        return self.root / "export"

    @property
    def eval(self) -> Path:
        """Evaluation results, `<milestone>.json`."""
        return self.root / "eval"

    @property
    def report(self) -> Path:
        """The self-contained report."""
        return self.root / "report.html"
