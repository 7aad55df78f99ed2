"""Requests as they go over the wire."""

import pytest

from ecot.config import validate_config
from ecot.errors import ConfigError
from ecot.synthesis.config import EndpointConfig, SynthesisConfig
from ecot.synthesis.endpoint.wire import api_root, request_body, wire_messages
from ecot.trajectories import Message, Role

MESSAGES = (
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "Do it."),
    Message(Role.ASSISTANT, "first", "because"),
    Message(Role.OBSERVATION, "outcome: TIMEOUT"),
    Message(Role.ASSISTANT, "second"),
    Message(Role.OBSERVATION, "outcome: RUNTIME_ERROR"),
)


def endpoint(**options):
    return EndpointConfig(type="openai", base_url="http://host:8000", model="m", **options)


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("http://host:8000/v1", "http://host:8000/v1"),
        ("http://host:8000/v1/", "http://host:8000/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("https://host/proxy/8000", "https://host/proxy/8000/v1"),
        ("https://host/api/paas/v4", "https://host/api/paas/v4"),
        ("https://host/v1beta/openai", "https://host/v1beta/openai"),
    ],
)
def test_the_address_may_come_with_or_without_its_version(given, root):
    assert api_root(given) == root


def test_thinking_of_earlier_turns_is_stripped_or_sent_as_the_server_wants_it():
    plain = {"role": "assistant", "content": "second"}
    stripped = wire_messages(endpoint(), MESSAGES)
    assert stripped == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Do it."},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "outcome: TIMEOUT"},
        plain,
        {"role": "user", "content": "outcome: RUNTIME_ERROR"},
    ]
    for name, first in (
        ("content", {"role": "assistant", "content": "<think>\nbecause\n</think>\n\nfirst"}),
        ("reasoning_content", {"role": "assistant", "content": "first", "reasoning_content": "because"}),
        ("reasoning", {"role": "assistant", "content": "first", "reasoning": "because"}),
    ):
        kept = wire_messages(endpoint(past_thinking="keep", past_thinking_as=name), MESSAGES)
        assert (kept[2], kept[4]) == (first, plain)
        assert [*kept[:2], kept[3], kept[5]] == [*stripped[:2], stripped[3], stripped[5]]


def test_observations_as_tool_messages_have_ids_of_their_own():
    wired = wire_messages(endpoint(observation_role="tool"), MESSAGES)
    tools = [message for message in wired if message["role"] == "tool"]
    assert [message["content"] for message in tools] == ["outcome: TIMEOUT", "outcome: RUNTIME_ERROR"]
    ids = {message["tool_call_id"] for message in tools}
    assert len(ids) == 2 and all(len(id) == 9 and id.isalnum() for id in ids)


def test_sampling_options_are_sent_unless_they_are_null():
    body = request_body(endpoint(temperature=0.5, extra_body={"top_k": 20}), MESSAGES[:2], 2**40 + 5)
    assert {name: value for name, value in body.items() if name != "messages"} == {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.95,
        "max_tokens": 16_384,
        "seed": 5,
        "top_k": 20,
    }
    bare = endpoint(temperature=None, top_p=None, max_tokens=None, send_seed=False)
    assert set(request_body(bare, MESSAGES[:2], 5)) == {"model", "messages"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "host:8000"}, "key 'generator.base_url': base_url must look like http://host:8000"),
        ({"base_url": "http://u:p@host"}, "no user, key, query or fragment; a key's place is api_key_env"),
        ({"base_url": "http://host/v1?key=p"}, "no user, key, query or fragment"),
        ({"api_key_env": "sk-p"}, "name of an environment variable .* never the key itself"),
        ({"api_key_env": "hf_pAbC"}, "never the key itself"),
        ({"api_key": "p"}, "unknown key 'generator.api_key'; did you mean 'api_key_env'"),
        ({"temprature": 1}, "unknown key 'generator.temprature'; did you mean 'temperature'"),
        ({"temperature": -1}, "key 'generator.temperature': .*greater than or equal to 0"),
        ({"top_p": 0}, "key 'generator.top_p'"),
        ({"extra_body": {"stream": True}}, "extra_body may not hold stream; this section's own keys say them"),
        ({"extra_body": {"api_key": "p"}}, "extra_body may hold no key; name its environment variable"),
        ({"past_thinking": "expand"}, "past_thinking must be keep or strip here"),
        ({"faults": {"max": 2}}, "unknown key 'generator.faults'"),
    ],
)
def test_bad_options_are_refused_with_the_remedy_and_without_a_key(options, message):
    section = {"type": "openai", "base_url": "http://host", "model": "m", **options}
    with pytest.raises(ConfigError, match=message) as caught:
        validate_config(SynthesisConfig, {"generator": section}, "run.yaml")
    for value in options.values():
        if value in ("sk-p", "hf_pAbC", "http://u:p@host"):
            assert value not in str(caught.value)


def test_what_concerns_faults_is_refused_with_a_model():
    section = {"type": "openai", "base_url": "http://host", "model": "m"}
    with pytest.raises(ConfigError, match=r"balance.syntax concerns faults that are injected.*max_label_share"):
        validate_config(SynthesisConfig, {"generator": section, "balance": {"syntax": 0.5}}, "run.yaml")
    free = validate_config(SynthesisConfig, {"generator": section}, "run.yaml")
    capped = validate_config(SynthesisConfig, {"generator": section, "balance": {"max_label_share": 0.7}}, "run.yaml")
    assert (free.max_label_share, capped.max_label_share, SynthesisConfig().max_label_share) == (1.0, 0.7, 0.6)
    missing = {"type": "openai", "base_url": "http://host"}
    with pytest.raises(ConfigError, match=r"key 'generator\.model': Field required"):
        validate_config(SynthesisConfig, {"generator": missing}, "run.yaml")
