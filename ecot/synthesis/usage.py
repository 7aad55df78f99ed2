"""What a model's server has done for a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """Counts over completions; sums are made with `+`."""

    completions: int = 0
    prompt_tokens: int = 0
    """As the server reports them; so are `completion_tokens`."""
    completion_tokens: int = 0
    retries: int = 0
    """Requests that had to be sent again."""
    truncated_turns: int = 0
    """Completions cut by length."""
    empty_turns: int = 0
    """Completions that said nothing at all, neither thought nor answer; their trajectories end before them."""
    out_of_context: int = 0
    """Trajectories that ended since the conversation did not fit the model's context any more."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.completions + other.completions,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.retries + other.retries,
            self.truncated_turns + other.truncated_turns,
            self.empty_turns + other.empty_turns,
            self.out_of_context + other.out_of_context,
        )
