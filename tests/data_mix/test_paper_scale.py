"""The shipped data section at the paper's scale, and the demo's, which is a thousandth of it."""

from pathlib import Path

import pytest

from ecot.cli.run_config import load_run_config
from ecot.errors import ConfigError
from ecot.outcomes import Domain

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"include: [{CONFIGS}/data/paper_scale.yaml]\nname: run\ndata: {{tokenizer: {{path: tok}}}}\n")
    return load_run_config(path, []).data


def test_the_three_budgets_are_the_papers_and_the_demos_a_thousandth(paper):
    assert [(budget.name, budget.tokens) for budget in paper.budgets] == [
        ("180M", 180_000_000),
        ("360M", 360_000_000),
        ("540M", 540_000_000),
    ]
    demo = load_run_config(CONFIGS / "demo.yaml", []).data
    assert [1000 * budget.tokens for budget in demo.budgets] == [budget.tokens for budget in paper.budgets]
    same = ("count", "template", "observation_role", "past_thinking", "over_long", "form")
    assert [getattr(demo, name) for name in same] == [getattr(paper, name) for name in same]


def test_replay_and_distillation_stand_beside_all_domains(paper):
    assert (
        {source.label for source in paper.sources} == {"ecot", "distillation", "replay"} == set(paper.mixture.sources)
    )
    assert sum(share.weight for share in paper.mixture.sources.values()) == pytest.approx(1)
    assert set(paper.mixture.weights) == set(Domain)
    assert [source.domain for source in paper.sources if source.label != "ecot"] == [Domain.GENERAL] * 2


def test_a_step_divides_among_the_usual_clusters(paper):
    assert all(paper.packing.packs_per_step % ranks == 0 for ranks in (8, 16, 32, 64))


def test_a_run_must_bring_its_tokenizer(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"include: [{CONFIGS}/data/paper_scale.yaml]\nname: run\n")
    with pytest.raises(ConfigError, match=r"data\.tokenizer"):
        load_run_config(path, [])
