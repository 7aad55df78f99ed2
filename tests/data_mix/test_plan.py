"""The plan: nested, within budget boundaries, independent of ranks, bound to its content."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecot.data_mix.plan import PackPlan
from ecot.data_mix.prepare import prepare
from ecot.errors import BudgetError, PlanError
from ecot.outcomes import Domain, Label
from ecot.segments import SUPERVISED_KINDS, Kind, count_tokens
from ecot.trajectory_io import write_trajectories


@pytest.fixture
def prepared(run_paths, data_config):
    return prepare(data_config(), run_paths, seed=1)


def test_budgets_end_at_step_boundaries_and_hold_their_own_documents(prepared):
    plan, store = prepared.plan, prepared.train
    previous, seen = 0, []
    for budget in plan.budgets:
        packs = [pack for step in range(previous, budget.last_step) for pack in plan.packs(step)]
        fillers = [pack for pack in packs if pack.is_filler]
        assert all(pack.step == budget.last_step - 1 for pack in fillers) and len(fillers) < plan.packs_per_step
        own = [index for pack in packs for index in pack.documents]
        assert all(sum(len(store[i]) for i in pack.documents) == pack.tokens <= plan.pack_tokens for pack in packs)
        seen += own
        assert len(seen) == len(set(seen)) == budget.documents
        assert sum(len(store[index]) for index in seen) == budget.planned == plan.tokens_until(budget.last_step)
        assert budget.planned <= budget.requested
        runs = [run for index in seen for run in store[index].runs]
        counts = plan.counts_until(budget.last_step)
        assert counts["tokens"] == budget.tokens
        assert counts["by_kind"] == {
            kind.name.lower(): count_tokens(runs, [kind]) for kind in list(Kind) if kind is not Kind.PADDING
        }
        assert counts["supervised"] == count_tokens(runs, SUPERVISED_KINDS)
        previous = budget.last_step
    assert previous == plan.num_steps


def test_budgets_of_one_plan_are_prefixes_of_each_other(prepared, run_paths, data_config):
    only_first = data_config(budgets=[{"name": "a", "tokens": 4000}])
    alone = prepare(only_first, run_paths, seed=1).plan
    assert alone.budgets[0] == prepared.plan.budgets[0]
    assert [alone.packs(s) for s in range(alone.num_steps)] == [prepared.plan.packs(s) for s in range(alone.num_steps)]
    assert alone.hash != prepared.plan.hash


def test_every_number_of_ranks_sees_the_same_steps(prepared):
    plan = prepared.plan
    for step in range(plan.num_steps):
        packs = plan.packs(step)
        for ranks in (1, 2, 4):
            plan.check_ranks(ranks)
            dealt = [packs[rank::ranks] for rank in range(ranks)]
            assert sorted((p for share in dealt for p in share), key=lambda p: p.slot) == packs
            assert len({len(share) for share in dealt}) == 1


def test_ranks_that_do_not_divide_are_refused(prepared):
    with pytest.raises(PlanError, match=r"3 data ranks .* allowed: 1, 2, 4"):
        prepared.plan.check_ranks(3)
    with pytest.raises(PlanError):
        prepared.plan.check_ranks(0)


def test_the_seed_decides_the_plan_and_nothing_else_does(run_paths, data_config, prepared, tmp_path):
    assert prepare(data_config(), run_paths, seed=2).plan.hash != prepared.plan.hash
    assert prepare(data_config(), run_paths, seed=1).plan.hash == prepared.plan.hash


def test_reopening_gives_the_same_packs(prepared, run_paths):
    again = PackPlan.open(run_paths.plan)
    assert again.hash == prepared.plan.hash and again.budgets == prepared.plan.budgets
    assert all(again.packs(s) == prepared.plan.packs(s) for s in range(again.num_steps))
    with pytest.raises(PlanError, match="not in the plan"):
        again.packs(again.num_steps)


def test_a_changed_plan_file_is_noticed(prepared, run_paths):
    table = pq.read_table(run_paths.plan / "plan.parquet")
    swapped = table.take(np.arange(len(table))[::-1].copy())
    pq.write_table(swapped, run_paths.plan / "plan.parquet")
    with pytest.raises(PlanError, match="does not belong"):
        PackPlan.open(run_paths.plan)
    with pytest.raises(PlanError, match="ecot plan"):
        PackPlan.open(run_paths.root / "nowhere")


def edit_header(folder, change):
    header = json.loads((folder / "plan.json").read_text("utf-8"))
    change(header)
    (folder / "plan.json").write_text(json.dumps(header), "utf-8")


DAMAGE = {
    "torn header": lambda folder: (folder / "plan.json").write_bytes((folder / "plan.json").read_bytes()[:200]),
    "header of another kind": lambda folder: (folder / "plan.json").write_text("[]"),
    "no packs": lambda folder: (folder / "plan.parquet").unlink(),
    "torn packs": lambda folder: (folder / "plan.parquet").write_bytes(b"PAR1"),
    "other packs": lambda folder: edit_header(folder, lambda header: header.update(hash="0" * 64)),
    "a budget's unknown key": lambda folder: edit_header(folder, lambda header: header["budgets"][0].update(old=1)),
    "a missing key": lambda folder: edit_header(folder, lambda header: header.pop("store_key")),
    "packs of another schema": lambda folder: pq.write_table(
        pa.table({name: [1] for name in ("documents", "tokens", "cost", "counts")}), folder / "plan.parquet"
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_plan_is_named_and_mended_by_planning_again(name, prepared, run_paths, data_config):
    DAMAGE[name](run_paths.plan)
    with pytest.raises(PlanError, match="plan"):
        PackPlan.open(run_paths.plan)
    assert prepare(data_config(), run_paths, seed=1).plan.hash == prepared.plan.hash
    assert PackPlan.open(run_paths.plan).hash == prepared.plan.hash


def test_density_and_balance_are_those_of_the_packs(prepared):
    plan, previous, ratios = prepared.plan, 0, []
    for budget in plan.budgets:
        packs = [pack for step in range(previous, budget.last_step) for pack in plan.packs(step) if pack.documents]
        tokens = sum(pack.tokens for pack in packs)
        assert budget.density == pytest.approx(tokens / (len(packs) * plan.pack_tokens))
        assert len(packs) <= np.ceil(tokens / plan.pack_tokens) + 1
        previous = budget.last_step
    for step in range(plan.num_steps):
        lengths = [[len(prepared.train[index]) for index in pack.documents] for pack in plan.packs(step)]
        costs = [sum(n + n * n / 99_000 for n in pack) for pack in lengths]
        if all(costs):
            ratios.append(max(costs) / np.mean(costs))
    assert plan.header["balance"]["mean"] == pytest.approx(np.mean(ratios), rel=1e-5)
    assert plan.header["balance"]["worst"] == pytest.approx(max(ratios), rel=1e-5)


def test_domain_shares_of_steps_are_reported(prepared):
    plan, store, deviations = prepared.plan, prepared.train, []
    whole = np.zeros(6)
    steps = []
    for step in range(plan.num_steps):
        tokens = np.zeros(6)
        for pack in plan.packs(step):
            for index in pack.documents:
                tokens[store.domains[index]] += store.lengths[index]
        whole += tokens
        steps.append((tokens, any(pack.is_filler for pack in plan.packs(step))))
    for tokens, has_filler in steps:
        if not has_filler:
            deviations.append(np.abs(tokens / tokens.sum() - whole / whole.sum()).max())
    assert plan.header["balance"]["domain_mean"] == pytest.approx(np.mean(deviations))
    assert plan.header["balance"]["domain_worst"] == pytest.approx(max(deviations))


def test_expanded_documents_of_a_trajectory_share_a_pack_and_count_their_beginning_once(run_paths, data_config):
    packing = {"pack_tokens": 1024, "global_batch_tokens": 2048}
    config = data_config(past_thinking="expand", packing=packing, mixture={"max_epochs": 2})
    prepared = prepare(config, run_paths, seed=1)
    plan, store = prepared.plan, prepared.train
    taken, previous = [], 0
    for budget in plan.budgets:
        packs = [pack.documents for step in range(previous, budget.last_step) for pack in plan.packs(step)]
        home = {}
        for number, documents in enumerate(packs):
            for index in documents:
                home.setdefault(store.trajectories[index], set()).add(number)
        shared = [pack for documents in packs for pack in documents if store.repeated[pack]]
        assert len(shared) > 10
        for trajectory, numbers in home.items():
            members = [index for index in range(len(store)) if store.trajectories[index] == trajectory]
            if store.lengths[members].sum() <= 1024:
                assert len(numbers) <= max(sum(documents.count(m) for documents in packs) for m in members)
        taken += [index for documents in packs for index in documents]
        seen, repeated = set(), 0
        for index in taken:
            repeated += store.lengths[index] if index in seen else store.repeated[index]
            seen.add(index)
        counts = plan.counts_until(budget.last_step)
        assert counts["repeated"] == budget.repeated == repeated > 0
        assert counts["unique"] == counts["all"] - repeated
        previous = budget.last_step
    summary = prepared.summary["plan"]["budgets"][-1]
    assert summary["unique"] + summary["repeated"] == summary["all"] == plan.tokens_until(plan.num_steps)


def test_short_data_names_the_remedy(run_paths, data_config):
    config = data_config(budgets=[{"name": "huge", "tokens": 10**8}])
    with pytest.raises(BudgetError, match=r"are missing; raise synthesis\.train_trajectories"):
        prepare(config, run_paths, seed=1)
    assert not run_paths.plan.exists()


def relabel(trajectory):
    attempts = [replace(a, label=Label.TIMEOUT) for a in trajectory.attempts[:-1]]
    return replace(trajectory, attempts=(*attempts, *trajectory.attempts[-1:]))


CHANGES = {
    "attempt labels": relabel,
    "verdict": lambda t: replace(
        t, verdict=Label.TIMEOUT, attempts=(*t.attempts[:-1], replace(t.attempts[-1], label=Label.TIMEOUT))
    ),
    "domain": lambda t: replace(t, domain=Domain.CAD_3D),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_hash_covers_what_loss_rules_and_groups_use(name, run_paths, data_config, trajectories):
    config = data_config(budgets=[{"name": "a", "tokens": 4000}])
    chips = [replace(trajectory, domain=Domain.CHIP_DESIGN) for trajectory in trajectories]
    plans, ids = [], []
    for rows in (chips, [CHANGES[name](trajectory) for trajectory in chips]):
        write_trajectories(run_paths.trajectories / "train.parquet", rows)
        prepared = prepare(config, run_paths, seed=1)
        plans.append(prepared.plan)
        ids.append([document.ids.tolist() for document in prepared.train])
    assert ids[0] == ids[1]
    assert plans[0].hash != plans[1].hash
    assert plans[0].budgets[0].content_hash != plans[1].budgets[0].content_hash
