"""From trajectories to a plan: the whole path, twice."""

from ecot.data_mix.prepare import prepare


def test_prepare_makes_store_and_plan_and_reuses_them(run_paths, data_config):
    first = prepare(data_config(), run_paths, seed=3)
    files = {path: path.stat().st_mtime_ns for path in run_paths.root.rglob("*") if path.is_file()}
    second = prepare(data_config(), run_paths, seed=3)
    assert second.plan.hash == first.plan.hash
    assert second.summary == first.summary
    rewritten = {path.name for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert rewritten == {"summary.json"}
