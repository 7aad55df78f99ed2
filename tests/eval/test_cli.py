"""`ecot eval` and `ecot report` as a user calls them."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from ecot.cli.main import app
from ecot.errors import ConfigError
from ecot.eval.results import read_results

pytestmark = pytest.mark.xdist_group("eval")  # one worker makes the run that these tests share

RUNNER = CliRunner()


def write_bundles(tasks, root):
    """The tasks as a folder of bundles."""
    for task in tasks.values():
        folder = root / task.id
        folder.mkdir(parents=True)
        (folder / "reference.sv").write_text(task.reference)
        (folder / "testbench.sv").write_text(task.hidden["testbench.sv"])
        manifest = {"title": task.title, "domain": "chip_design", "language": "systemverilog", "entry": task.entry}
        manifest |= {"difficulty": "easy", "spec": task.spec, "reference": "reference.sv", "hidden": ["testbench.sv"]}
        (folder / "task.yaml").write_text(yaml.safe_dump(manifest))


@pytest.fixture
def config(run, exports, tasks, tmp_path):
    """A configuration whose run has data and exports, and no evaluation."""
    for name in ("store", "export", "plan", "tokenizer"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).symlink_to(run.paths.root / name)
    write_bundles(tasks, tmp_path / "tasks")
    values = {
        "name": "gates",
        "run_dir": str(tmp_path / "run"),
        "data": run.data.model_dump(mode="json"),
        "eval": {"tasks": str(tmp_path / "tasks"), "backend": "icarus", "max_new_tokens": 160},
    }
    path = tmp_path / "gates.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def call(*arguments):
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_eval_then_report(config, finished, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    output = call("eval", config, "eval.num_tasks=2")
    assert "fresh: 2 FORMAT_ERROR" in output
    assert "trained: 1 PASS, 1 COMPILATION_ERROR" in output
    run_dir = config.parent / "run"
    assert (run_dir / "eval" / "trained.json").is_file()

    row = json.loads(call("report", run_dir, "--json"))
    assert [result["milestone"] for result in row["results"]] == ["fresh", "trained"]
    command = f"ecot eval {config} eval.num_tasks=2"
    assert row["results"][0]["command"] == command
    assert [entry["what"] for entry in row["missing"]] == ["synthesis", "metrics", "milestones"]
    page = (run_dir / "report.html").read_text()
    assert row["report"] == str(run_dir / "report.html") and command in page


def test_the_terminal_shows_the_figures_and_where_everything_lies(finished, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    output = call("report", finished.root)
    for result in read_results(finished):
        means = result.heldout.means
        losses = [f"{means[f'loss/{kind}']:.3f}" for kind in ("thinking", "answer", "observation")]
        assert all(loss in output for loss in losses)
    assert "1/3  6.1% to 79.2%" in output
    assert "trained, attempt 2: 1 PASS, 1 FUNCTIONAL_MISMATCH" in output
    assert "attempt 1       1 PASS, 11 COMPILATION_ERROR, 5 FUNCTIONAL_MISMATCH" in output
    for path in (finished.report, finished.export, finished.metrics, finished.eval):
        assert str(path) in output.replace("\n", "")


def test_mistakes_name_the_remedy(config, tmp_path):
    with pytest.raises(ConfigError, match=r"max_new_tokenz.*did you mean 'max_new_tokens'"):
        call("eval", config, "eval.max_new_tokenz=3")
    with pytest.raises(ConfigError, match="set temperature"):
        call("eval", config, "eval.samples=4")
    with pytest.raises(ConfigError, match="pass_at must list values from 1 to samples"):
        call("eval", config, "eval.pass_at=[1,5]", "eval.samples=2", "eval.temperature=1")
    with pytest.raises(ConfigError, match="needs a section 'synthesis"):
        call("eval", config, "eval.tasks=null")
    with pytest.raises(ConfigError, match="no folder"):
        call("report", tmp_path / "nothing")
