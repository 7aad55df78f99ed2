"""The page shows the figures that lie in the run's folder, whole and by itself."""

import html
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from ecot.eval.report.page import render_page, write_report
from ecot.eval.report.record import read_record
from ecot.run_paths import RunPaths

pytestmark = pytest.mark.xdist_group("eval")  # one worker makes the run that these tests share

VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture(scope="module")
def page(finished):
    return write_report(read_record(finished)).read_text("utf-8")


def visible(page):
    """The text without tags and styles."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


class Checker(HTMLParser):
    """Collects elements, ids and references, and checks that tags are balanced."""

    def __init__(self):
        super().__init__()
        self.stack, self.elements, self.ids, self.references = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.stack)))
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
                self.references.append(value)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes {self.stack[-3:]}"
        self.stack.pop()


def check(page):
    checker = Checker()
    checker.feed(page)
    assert checker.stack == []
    return checker


def test_nothing_comes_from_the_network(page):
    checker = check(page)
    assert checker.references and all(reference.startswith("#") for reference in checker.references)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _, _ in checker.elements}
    assert "://" not in page and "@import" not in page
    assert set(re.findall(r"url\((.)", page)) == {"#"}


def test_references_and_ids_are_sound(page):
    checker = check(page)
    assert len(checker.ids) == len(set(checker.ids))
    targets = {reference.removeprefix("#") for reference in checker.references} | set(
        re.findall(r"url\(#([^)]+)", page)
    )
    assert targets <= set(checker.ids)


def test_it_can_be_read_without_seeing_it(page):
    elements = check(page).elements
    assert ("html", {"lang": "en"}, ()) in elements
    drawings = [attributes for tag, attributes, _ in elements if tag == "svg"]
    assert len(drawings) == 8  # four charts, each wide and narrow
    assert all(drawing["role"] == "img" and len(drawing["aria-label"]) > 40 for drawing in drawings)
    tables = sum(tag == "table" for tag, _, _ in elements)
    assert tables == sum(tag == "caption" for tag, _, _ in elements) >= 8
    assert all("scope" in attributes for tag, attributes, _ in elements if tag == "th")
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_losses_are_those_of_the_evaluation(page, finished):
    text = visible(page)
    for result in read_record(finished).results:
        means = result.heldout.means
        cells = [f"{means[name]:.3f}" for name in ("loss", "loss/thinking", "loss/answer", "loss/observation")]
        assert f"{result.milestone} {result.trained_tokens:,} {' '.join(cells)}" in text
    trained = read_record(finished).results[-1].heldout.means["loss/thinking"]
    assert f"held-out thinking loss {trained:.3f}" in text
    assert "on 1 task that no training document touches" in text


def test_labels_of_synthesis_are_summed_over_subcodes(page):
    text = visible(page)
    assert "attempt PASS COMPILATION_ERROR FUNCTIONAL_MISMATCH all attempt 1 1 11 5 17 attempt 2 13 0 3 16" in text
    assert "58 executions in 12 s" in text and "not implicated: 6" in text
    assert "attempt 1: 1 PASS, 11 COMPILATION_ERROR, 5 FUNCTIONAL_MISMATCH" in page  # for those who do not see it


def test_budgets_show_what_was_planned_and_reached(page, finished):
    budget = json.loads((finished.plan / "plan.json").read_text())["budgets"][0]
    shortfall = budget["requested"] - budget["planned"]
    text = visible(page)
    assert f"small {budget['requested']} {budget['planned']} {shortfall}" in text
    assert f"step 1 {budget['content_hash'][:12]}" in text
    assert f"trained tokens {budget['planned']} of 500 asked for; 321 supervised" in text


def test_the_account_is_that_of_the_store(page, run):
    kept = run.prepared.summary["train"]
    line = f"train: chip_design 3 / {kept['tokens']:,} 0 / 0 0 / 0 0 / 0 {kept['supervised']:,} -"
    assert line in visible(page)


def test_trajectories_are_shown_token_for_token(page, run, trajectories):
    text = html.unescape(page)
    for trajectory in trajectories:
        for message in trajectory.messages:
            if message.role != "assistant":
                continue
            assert message.content in text and message.reasoning_content in text
    lengths = {run.prepared.train[i].trajectory_id: len(run.prepared.train[i]) for i in range(3)}
    shown = re.findall(r"([\d,]+) tokens, <code>([^<]+)</code>", page)
    assert shown and all(lengths[name] == int(count.replace(",", "")) for count, name in shown)


def test_the_models_attempts_are_shown_as_they_are(page, finished):
    text = visible(page)
    record = read_record(finished)
    rate = "33.3% (1/3; 95%: 6.1% to 79.2%)"
    assert f"trained {rate} 66.7% (2/3; 95%: 20.8% to 93.9%) 5 " in text
    assert "milestone PASS COMPILATION_ERROR FUNCTIONAL_MISMATCH FORMAT_ERROR all" in text
    assert "fresh, attempt 1 0 0 0 3 3" in text and "trained, attempt 2 1 0 1 0 2" in text
    for label in ("PASS", "COMPILATION_ERROR", "FUNCTIONAL_MISMATCH"):
        first = next(c for c in record.completions("trained") if c.attempts[0].label == label)
        assert html.escape(first.provenance.details["turns"][0]["text"], quote=False) in page.replace("&#39;", "'")


def test_commands_and_environment_are_recorded(page, finished):
    text = visible(page)
    assert "ecot synth gates.yaml eval.max_corrections=1" in text and f"ecot report {finished.root}" in text
    for name, version in read_record(finished).results[-1].environment.items():
        assert f"{name} {version}" in text
    assert "name: gates seed: 3" in text


@pytest.mark.parametrize(
    ("gone", "commands"),
    [
        (("trajectories", "metrics.jsonl", "eval/trained.completions.jsonl"), ("synth", "train")),
        (("store", "milestones", "tokenizer"), ("plan", "train")),
        (("export", "eval"), ("export", "eval")),
    ],
)
def test_what_is_missing_is_named_with_its_command(finished, tmp_path, gone, commands):
    root = tmp_path / "gates"
    shutil.copytree(finished.root, root)
    for name in gone:
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()
    record = read_record(RunPaths(root))
    page = render_page(record)
    check(page)
    arguments = "CONFIG" if "eval" in gone else "gates.yaml eval.max_corrections=1"
    for verb in commands:
        assert f"ecot {verb} {root if verb == 'export' else arguments}" in visible(page)
    assert {entry.command.split()[1] for entry in record.missing} == set(commands)


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path):
    page = render_page(read_record(RunPaths(tmp_path)))
    check(page)
    text = visible(page)
    for verb in ("synth CONFIG", "plan CONFIG", "train CONFIG", f"export {tmp_path}", "eval CONFIG"):
        assert f"ecot {verb}" in text
    assert "<svg" not in page and "<table" not in page
