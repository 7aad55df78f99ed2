"""The CadQuery backend passes the suite with every adversary, and what the suite cannot see holds as well."""

import asyncio

from ecot.backends.conformance import CheckState, check_backend
from ecot.backends.registry import make_attack
from ecot.outcomes import Label


def test_cadquery_passes_with_all_adversaries(cadquery, tasks, tmp_path):
    canary = tmp_path / "canary"
    few = {name: tasks[name] for name in ("square_flange", "hollow_cube_frame")}
    attack = make_attack("cadquery", canary)
    results = asyncio.run(check_backend(cadquery, few, attack, canary=canary))
    assert [result for result in results if result.state is not CheckState.PASSED] == []
    groups = {result.group for result in results}
    assert groups == {"protocol", "reference", "wrong", "adversary", "cancellation", "determinism"}
    assert {result.name for result in results if result.group == "adversary"} == {
        adversary.name for adversary in attack.adversaries
    }


def test_the_escape_suite_is_complete(tmp_path):
    names = {adversary.name for adversary in make_attack("cadquery", tmp_path / "canary").adversaries}
    assert {
        "fork_bomb",
        "memory_hog",
        "endless_output",
        "endless_loop",
        "network",
        "reads_shadow",
        "reads_the_parents_environment",
        "writes_outside",
        "writes_outside_by_a_link",
        "kills_the_parent",
        "fills_the_disk",
        "surviving_children",
        "empty",
        "huge_file",
        "unicode_comment",
        "nul_bytes",
        "prints_a_verdict",
        "looks_for_the_reference_in_memory",
    } <= names


def test_one_script_leaves_nothing_to_the_next(cadquery, flange):
    """Neither patched libraries nor files."""
    patch = (
        "import cadquery as cq\ncq.Workplane.box = None\ncq.Shape.Volume = lambda *a: 1.0\n"
        "open('/tmp/left', 'w').write('x')\n"
    )
    look = flange.reference + "import os\nassert cq.Workplane.box is not None\nassert not os.path.exists('/tmp/left')\n"

    async def both():
        for _ in range(3):
            first = await cadquery.execute_many([(flange, patch)] * 2)
            second = await cadquery.execute_many([(flange, look)] * 2)
            assert {outcome.label for outcome in first} == {Label.RUNTIME_ERROR}
            assert {outcome.label for outcome in second} == {Label.PASS}

    asyncio.run(both())
