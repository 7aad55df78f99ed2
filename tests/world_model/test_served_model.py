"""Predictions through a server against those made here; the server is a real one that runs the same weights."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ecot.errors import ConfigError, EndpointError
from ecot.inference.loading import load_model
from ecot.outcomes import Domain, Label, Stage
from ecot.world_model.asking import Asker
from ecot.world_model.config import EndpointOptions
from ecot.world_model.environment import Question
from ecot.world_model.local_model import LocalModel
from ecot.world_model.outcome_text import Verdict
from ecot.world_model.served_model import ServedModel

pytestmark = pytest.mark.xdist_group("python")

VERDICTS = {
    Domain.GENERAL: (
        Verdict(Label.PASS, "", Stage.CHECK),
        Verdict(Label.FUNCTIONAL_MISMATCH, "", Stage.CHECK),
        Verdict(Label.RUNTIME_ERROR, "exception", Stage.RUN),
    )
}


class Completions:
    """`/v1/completions` of a model, as vLLM answers; `refusals` are statuses to answer first."""

    def __init__(self, folder):
        self.model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.refusals: list[int] = []
        self.knows_echo = True
        self.keys: set[str] = set()
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.keys.add(self.headers.get("Authorization"))
                    status = outer.refusals.pop() if outer.refusals else 200
                    answer = outer.answer(request) if status == 200 else {"error": {"message": "not now"}}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @torch.inference_mode()
    def answer(self, request):
        assert request["model"] == "tools" and request["temperature"] == 0
        ids = list(request["prompt"])
        written = []
        for _ in range(request["max_tokens"]):
            logits = self.model(torch.tensor([ids + written]), use_cache=False).logits[0]
            written.append(int(logits[-1].argmax()))
            if written[-1] in request.get("stop_token_ids", []):
                break
        choice = {"index": 0, "text": self.tokenizer.decode(written, skip_special_tokens=True)}
        if request.get("echo") and self.knows_echo:
            logs = logits.log_softmax(-1)
            told = [logs[place, token].item() for place, token in enumerate(ids[1:])]
            choice["logprobs"] = {"token_logprobs": [None, *told, 0.0]}
        return {"choices": [choice]}


@pytest.fixture(scope="module")
def folder(world_run):
    return world_run[1].export / "1K"


@pytest.fixture(scope="module")
def asker(folder, renderer):
    return Asker(renderer(AutoTokenizer.from_pretrained(folder)), VERDICTS, Question(500, hidden=False), 4096, 6)


@pytest.fixture
def served(folder):
    found = Completions(folder)
    yield found
    found.server.shutdown()
    found.server.server_close()


def options(served, **values):
    return EndpointOptions(base_url=served.url, model="tools", backoff_seconds=0.01, requests_at_once=4, **values)


def test_a_server_predicts_what_the_same_weights_predict_here(folder, asker, served, tasks, monkeypatch):
    monkeypatch.setenv("TOOLS_KEY", "sesame")
    local = LocalModel(load_model(folder, "cpu", "sdpa", "device"), asker, 0, batch_size=4)
    far = ServedModel(options(served, api_key_env="TOOLS_KEY", retries=3), asker)
    task = tasks["merge_windows"]
    prompts = [far.prompt(task, code) for code in ("def merge(): pass", "x = 1", "import os")]
    served.refusals = [503, 429]
    done = []
    expected = local.predict(prompts)
    for ours, theirs in zip(far.predict(prompts, done.append), expected, strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=2e-3)
        assert ours.outcome.verdict == theirs.outcome.verdict and ours.outcome.metrics == theirs.outcome.metrics
        assert ours.outcome.diagnostics.split() == theirs.outcome.diagnostics.split()
    assert done == [1, 2, 3] and served.keys == {"Bearer sesame"}


def test_a_server_that_cannot_or_will_not_is_named(asker, served, tasks):
    far = ServedModel(options(served, retries=1), asker)
    prompts = [far.prompt(tasks["merge_windows"], "x = 1")]
    served.knows_echo = False
    with pytest.raises(EndpointError, match="does not tell the log-probabilities"):
        far.predict(prompts)
    served.refusals = [404] * 9
    with pytest.raises(EndpointError, match=r"no completion from model .tools.: HTTP 404: not now"):
        far.predict(prompts)
    served.refusals = [500] * 9
    with pytest.raises(EndpointError, match="HTTP 500"):
        far.predict(prompts)
    with pytest.raises(ConfigError, match=r"TOOLS_ABSENT is not set"):
        ServedModel(options(served, api_key_env="TOOLS_ABSENT"), asker)
