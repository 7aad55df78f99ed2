"""The engine with a real HTTP server that plays a model, and the real Python backend behind."""

import pytest

from ecot.answers import format_answer
from ecot.errors import ConfigError, EndpointError, ToolError
from ecot.outcomes import Label, Stage
from ecot.run_paths import RunPaths
from ecot.synthesis.config import SynthesisConfig
from ecot.synthesis.engine import JOURNAL, synthesise
from ecot.synthesis.observation import observation_text
from ecot.synthesis.slots import derive_seed
from ecot.synthesis.summary import SynthesisSummary
from ecot.trajectories import Role
from ecot.trajectory_io import read_trajectories

KEY = "sk-do-not-tell-0123456789"
TASK = "modbus_crc"
SEED = 5


@pytest.fixture
def task(general):
    return general[TASK]


@pytest.fixture
def good(task):
    return format_answer(task.reference, "python")


@pytest.fixture
def wrong(task):
    """Two candidates that fail in different ways."""
    codes = {candidate.name: candidate.code for candidate in task.wrong}
    return [format_answer(codes[name], "python") for name in ("missing_paren", "high_byte_first")]


@pytest.fixture
def run(task, python, generator, tmp_path):
    """Draw `count` trajectories on the one task: (trajectories, summary)."""

    def draw(count=1, backend=python, options=None, **settings):
        values = {"train_trajectories": count, "heldout_trajectories": 0, "concurrency": 1, "format": "jsonl"}
        config = SynthesisConfig(**{**values, **settings}, generator=generator(**(options or {})))
        summary = synthesise(config, RunPaths(tmp_path), SEED, {TASK: task}, backend)
        return list(read_trajectories(tmp_path / "trajectories" / "train.jsonl")), summary

    return draw


def test_a_wrong_attempt_is_executed_shown_and_corrected(run, server, say, task, good, wrong):
    server.play(
        say(f"<think>\nOkay, a table would be faster.\n</think>\n\nHere:\n{wrong[0]}"),
        say(wrong[1], reasoning_content="The parenthesis was missing."),
        say(f"{good}\n", reasoning="The low byte comes first."),
    )
    (trajectory,), summary = run(options={"max_tokens": 4000, "temperature": 0.7, "extra_body": {"top_k": 20}})
    assert [a.label for a in trajectory.attempts] == [
        Label.COMPILATION_ERROR,
        Label.FUNCTIONAL_MISMATCH,
        Label.PASS,
    ]
    assert trajectory.verdict is Label.PASS
    thinking = [m.reasoning_content for m in trajectory.messages if m.role is Role.ASSISTANT]
    assert thinking == ["a table would be faster.", "The parenthesis was missing.", "The low byte comes first."]
    assert [m.content for m in trajectory.messages if m.role is Role.ASSISTANT] == [
        f"Here:\n{wrong[0]}",
        wrong[1],
        good,
    ]
    assert trajectory.attempts[2].code == task.reference
    assert trajectory.provenance.generator == "tiny"
    assert trajectory.provenance.seed == derive_seed(SEED, "train", 0)

    assert server.paths == ["/v1/chat/completions"] * 3
    third = server.requests[2]["messages"]
    assert [m["role"] for m in third] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [m["content"] for m in third] == [m.content for m in trajectory.messages[:6]]
    assert all(set(m) == {"role", "content"} for m in third), "past thinking is stripped"
    assert [r["messages"] for r in server.requests[:2]] == [third[:2], third[:4]]
    seeds = [derive_seed(trajectory.provenance.seed, "turn", turn) % 2**31 for turn in range(3)]
    assert [r["seed"] for r in server.requests] == seeds
    for request in server.requests:
        sent = {name: value for name, value in request.items() if name not in ("messages", "seed")}
        assert sent == {"model": "tiny", "max_tokens": 4000, "temperature": 0.7, "top_p": 0.95, "top_k": 20}
    assert all("authorization" not in {name.lower() for name in headers} for headers in server.headers)
    assert (summary.usage.completions, summary.usage.prompt_tokens, summary.usage.completion_tokens) == (3, 300, 30)
    assert summary.splits["train"].operators == {}
    assert SynthesisSummary.from_json(summary.to_json()) == summary


def test_kept_thinking_and_tool_messages_go_over_the_wire(run, server, say, good, wrong):
    server.play(say(wrong[0], reasoning_content="First."), say(good, reasoning_content="Second."))
    (trajectory,), _ = run(
        options={"past_thinking": "keep", "past_thinking_as": "reasoning_content", "observation_role": "tool"}
    )
    answer, observation = server.requests[1]["messages"][2:]
    assert answer == {"role": "assistant", "content": wrong[0], "reasoning_content": "First."}
    assert (observation["role"], observation["content"]) == ("tool", trajectory.messages[3].content)
    assert trajectory.messages[3].role is Role.OBSERVATION


def test_a_completion_cut_by_length_is_judged_as_it_stands(run, server, say, good):
    server.play(
        say(None, "length", reasoning_content="I go round and round"),
        say(good[: len(good) // 2], "length"),
        say("", "stop", reasoning="Nothing to add."),
        say(good),
    )
    (trajectory,), summary = run()
    assert [(a.label, a.subcode) for a in trajectory.attempts[:3]] == [(Label.FORMAT_ERROR, "no_code")] * 3
    assert trajectory.verdict is Label.PASS
    assert trajectory.attempts[0].stage is Stage.PARSE
    assert trajectory.messages[2].content == "" and trajectory.messages[2].reasoning_content == "I go round and round"
    turns = trajectory.provenance.details["turns"]
    assert [(turn["finish_reason"], turn["truncated"]) for turn in turns] == [
        ("length", True),
        ("length", True),
        ("stop", False),
        ("stop", False),
    ]
    assert summary.usage.truncated_turns == 2


def test_a_model_that_falls_silent_ends_the_conversation(run, server, say, good, wrong):
    """Neither thought nor answer: training would refuse a row with such a turn."""
    server.play(say("<think>\n</think>"), say(wrong[0]), say(None), say(good))
    rows, summary = run(2)
    assert [[a.label for a in row.attempts] for row in rows] == [[Label.COMPILATION_ERROR], [Label.PASS]]
    assert rows[0].messages[-1].role is Role.OBSERVATION
    assert [turn["completion_tokens"] for turn in rows[0].provenance.details["turns"]] == [10, 10]
    assert summary.discards == {"empty_completion": 1}
    assert (summary.usage.empty_turns, summary.usage.completions) == (2, 4)


def test_what_passes_is_waited_for(run, server, say, refuse, reply, good):
    server.play(
        refuse(429, "slow down", Retry_After="0.05"),
        refuse(429, "slow down", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        refuse(503, "loading"),
        reply(reset=True),
        reply(body="<html>a proxy's page</html>"),
        reply(body={"error": {"message": "upstream is busy", "code": 502}}),
        say(good),
    )
    (trajectory,), summary = run()
    assert trajectory.verdict is Label.PASS
    assert len(server.requests) == 7 and summary.usage.retries == 6
    assert all(request == server.requests[0] for request in server.requests), "the same seed, the same words"


def test_a_server_that_is_waited_for_is_told_of_once(run, server, say, refuse, good, caplog):
    server.play(refuse(503, "loading the weights"), refuse(503, "still loading"), say(good))
    run()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        f"{server.url}/v1: HTTP 503: loading the weights; trying again"
    ]


def test_a_server_that_does_not_speak_is_left_after_the_time_out(run, server, say, reply, good):
    server.play(reply(hang=True), say(good))
    (trajectory,), summary = run(options={"timeout_seconds": 1.0})
    assert trajectory.verdict is Label.PASS and summary.usage.retries >= 1


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [
        (401, f"Incorrect API key provided: {KEY}", "the environment variable ECOT_TEST_KEY is not accepted"),
        (
            404,
            "The model `tiny` does not exist.",
            r"synthesis.generator.model' \('tiny' must be a name that .* it serves: small, large$",
        ),
        (400, "Unsupported parameter: seed", "check sampling options, 'extra_body', .* 'send_seed'"),
        (307, "moved", "put its new address into 'synthesis.generator.base_url'"),
    ],
)
def test_what_a_user_has_to_mend_ends_the_run_at_once(run, server, refuse, monkeypatch, status, message, remedy):
    monkeypatch.setenv("ECOT_TEST_KEY", KEY)
    server.play(refuse(status, message))
    with pytest.raises(EndpointError, match=rf"{server.url}/v1: HTTP {status}: .*{remedy}") as caught:
        run(options={"api_key_env": "ECOT_TEST_KEY"})
    assert message.replace(KEY, "[key]") in str(caught.value)
    assert len(server.requests) == 1


def test_a_server_that_wants_a_key_says_how_to_give_one(run, server, refuse):
    server.play(refuse(401, "Unauthorized"))
    with pytest.raises(EndpointError, match=r"the server wants a key: .*'synthesis\.generator\.api_key_env'"):
        run()


def test_the_key_is_sent_and_stands_in_no_file(run, server, say, refuse, good, wrong, monkeypatch, tmp_path):
    options = {"api_key_env": "ECOT_TEST_KEY"}
    with pytest.raises(ConfigError, match="the environment variable ECOT_TEST_KEY is not set; export it"):
        run(options=options)
    monkeypatch.setenv("ECOT_TEST_KEY", KEY)
    answers = [say(wrong[0]), say(good), refuse(401, f"{KEY} has expired")]
    server.play(*answers)
    with pytest.raises(EndpointError) as caught:
        run(2, options=options)
    assert KEY not in str(caught.value)
    assert (tmp_path / "trajectories" / JOURNAL).read_text("utf-8").count("\n") == 2
    server.play(say(wrong[1]), say(good))
    rows, _ = run(2, options=options)
    assert len(rows) == 2
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert all(KEY.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens", None),
        (400, "Requested token count exceeds the model's maximum context length of 4096 tokens.", None),
        (400, "the request exceeds the available context size, try increasing it", "exceed_context_size_error"),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096", None),
        (400, "Too long, sorry", "context_length_exceeded"),
    ],
)
def test_a_conversation_that_outgrows_the_context_ends_there_and_is_kept(
    run, server, say, refuse, wrong, status, message, code
):
    server.play(say(wrong[0]), refuse(status, message, code))
    (trajectory,), summary = run()
    assert [a.label for a in trajectory.attempts] == [Label.COMPILATION_ERROR]
    assert trajectory.messages[-1].role is Role.OBSERVATION
    assert trajectory.provenance.details["out_of_context"] is True
    assert len(server.requests) == 2 and summary.usage.out_of_context == 1


def test_prompts_that_never_fit_end_the_run_and_one_among_many_does_not(
    run, server, say, refuse, good, wrong, tmp_path
):
    too_long = refuse(400, "This model's maximum context length is 100 tokens.", None)
    server.play(too_long)
    with pytest.raises(EndpointError, match=r"not one of 8 prompts fits .*'synthesis.generator.max_tokens' \(16384\)"):
        run(20)
    (tmp_path / "trajectories" / JOURNAL).unlink()
    server.play(say(good), too_long, say(wrong[0]), say(good))
    rows, summary = run(2)
    assert len(rows) == 2
    assert summary.discards == {"prompt_too_long": 1}


def test_a_tool_that_breaks_costs_no_second_completion(run, server, say, python, good, wrong):
    class Stumbling:
        name, domains, fingerprint = python.name, python.domains, python.fingerprint
        calls = 0

        async def execute(self, task, code):
            self.calls += 1
            if self.calls == 2:
                raise ToolError("the disk is full")
            return await python.execute(task, code)

    server.play(say(wrong[0]), say(good))
    (trajectory,), summary = run(backend=Stumbling())
    assert [a.label for a in trajectory.attempts] == [Label.COMPILATION_ERROR, Label.PASS]
    assert len(server.requests) == 2 and summary.usage.completions == 2
    assert summary.splits["train"].tool_errors == 1


def test_the_observation_is_what_the_tool_said(run, server, say, execute_python, task, good, wrong):
    server.play(say(wrong[1]), say(good))
    (trajectory,), _ = run()
    told = execute_python(task, trajectory.attempts[0].code)
    assert server.requests[1]["messages"][-1]["content"] == observation_text(told)
