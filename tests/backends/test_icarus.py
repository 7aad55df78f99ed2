"""The Icarus backend against the tasks shipped with it."""

from ecot.outcomes import Label, Stage


def test_a_reference_passes_with_its_count(execute, tasks):
    execution = execute(tasks["alu"], tasks["alu"].reference)
    assert (execution.label, execution.subcode, execution.stage) == (Label.PASS, "", Stage.CHECK)
    assert execution.metrics == {"samples": 360, "mismatches": 0}
    assert execution.diagnostics == "simulation finished: all 360 samples match\n"
