"""What a user sees before anything heavy happens: help, versions, and mistakes answered with a remedy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ecot.cli.run_config import load_run_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))  # those in folders are parts for others to include
VERBS = [
    ["doctor"],
    ["tasks", "list"],
    ["tasks", "verify"],
    ["execute"],
    ["backends", "check"],
    ["synth"],
    ["trajectories", "stats"],
    ["trajectories", "show"],
    ["trajectories", "export"],
    ["preview"],
    ["plan"],
    ["train"],
    ["export"],
    ["eval"],
    ["report"],
    *(["icwm", verb] for verb in ("pairs", "train", "evaluate", "closed-loop", "audit")),
]


def ecot(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "ecot", *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_configuration_is_valid(path):
    assert load_run_config(path, []).name == path.stem


def test_the_demo_has_the_budgets_of_the_paper_at_a_thousandth():
    budgets = load_run_config(ROOT / "configs" / "demo.yaml", []).data.budgets
    assert [(budget.name, budget.tokens) for budget in budgets] == [
        ("180K", 180_000),
        ("360K", 360_000),
        ("540K", 540_000),
    ]


def test_help_lists_every_verb_and_each_explains_itself():
    top = ecot("--help").stdout
    listed = {line.split()[1] for line in top.splitlines() if line.startswith("│") and len(line.split()) > 2}
    assert {verb[0] for verb in VERBS} <= listed
    for verb in (["train"], ["export"], ["trajectories", "show"]):
        text = ecot(*verb, "--help").stdout
        assert "Usage" in text and len(text) > 300


def test_reading_a_configuration_imports_nothing_heavy():
    code = (
        "import sys\nimport ecot.cli.main\n"
        "from pathlib import Path\nfrom ecot.cli.run_config import load_run_config\n"
        "load_run_config(Path('configs/demo.yaml'), [])\n"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'datasets', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_what_is_imported_to_stay_is_left_alone_until_the_end():
    code = (
        "import atexit, gc\nfrom ecot.cli.imports import imported_to_stay\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"
        "with imported_to_stay():\n    import pydantic\n    print(gc.isenabled())\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True", "True", "0"]


def test_what_starts_ranks_does_not_import_what_they_train_with():
    """Seconds per launch: torch takes 3 to import, the models of transformers 8."""
    code = (
        "import sys\nimport ecot.cli.main, ecot.data_mix.prepare, ecot.data_mix.loss_weights\n"
        "import ecot.train.launch, ecot.train.milestones, ecot.train.preconditions, ecot.train.rank_environment\n"
        "print([m for m in ('torch', 'transformers.modeling_utils', 'deepspeed', 'trl') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "none.yaml"], ["none.yaml", "no such configuration file"]),
        (["plan", "configs/demo.yaml", "data.budgetz=1"], ["unknown key 'data.budgetz'", "did you mean 'budgets'"]),
        (["train", "configs/demo.yaml", "train.learning_rate=-1"], ["train.learning_rate", "greater than 0"]),
        (["train", "configs/demo.yaml", "model.path=x"], ["exactly one of model.path", "model.shape"]),
        (["plan", "configs/demo.yaml", "run_dir=runs/no-such-run"], ["train.parquet", "ecot synth CONFIG"]),
        (["export", "runs/none"], ["no milestone yet", "ecot train CONFIG"]),
        (["execute", "builtin:chip_design", "no_task", "README.md"], ["no task 'no_task'", "alu"]),
        (["execute", "builtin:chip_design", "alu", "none.sv"], ["none.sv: no such file"]),
        (["trajectories", "stats", "README.md"], ["unknown suffix '.md'", ".jsonl, .parquet"]),
        (["tasks", "verify", "builtin:poetry"], ["poetry", "chip_design"]),
    ],
)
def test_a_mistake_is_one_message_with_place_and_remedy(arguments, words):
    result = ecot(*arguments, cwd=ROOT)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


def test_doctor_names_what_is_missing_and_how_to_get_it(tmp_path):
    """With an empty PATH no tool is found, and each has a remedy."""
    result = ecot("doctor", "--json", env={"PATH": str(tmp_path), "HOME": str(tmp_path)})
    report = json.loads(result.stdout)
    assert result.returncode == 1 and not report["ready"]
    findings = {finding["name"]: finding for finding in report["findings"]}
    assert not findings["iverilog"]["works"] and "apt-get install iverilog" in findings["iverilog"]["remedy"]
    assert findings["torch"]["works"] and findings["torch"]["version"].startswith("2.")


def test_execute_prints_the_outcome_as_a_compiler_would(tmp_path):
    reference = ROOT / "ecot/tasks/bundles/chip_design/alu/reference.sv"
    good = ecot("execute", "builtin:chip_design", "alu", reference)
    assert good.returncode == 0 and "PASS" in good.stdout
    broken = tmp_path / "broken.sv"
    broken.write_text(reference.read_text().replace("endmodule", "", 1))
    bad = ecot("execute", "builtin:chip_design", "alu", broken, "--json")
    outcome = json.loads(bad.stdout)
    assert bad.returncode == 1
    assert (outcome["label"], outcome["subcode"], outcome["stage"]) == ("COMPILATION_ERROR", "syntax", "compile")
