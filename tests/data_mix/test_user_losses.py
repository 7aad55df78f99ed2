"""Where users of other fine-tuning tools lost runs to masks, templates, cut thoughts or tokenisation: one test each.

Each test says what breaks elsewhere. Over-long rows have tests in `test_splitting.py`, completions of other families in
`test_family_properties.py`, empty thoughts that a template writes by itself in `test_rendering.py`.
"""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ecot.data_mix.batch import Collator
from ecot.data_mix.config import ObservationRole, OverLong, PastThinking, SourceConfig
from ecot.data_mix.converters import convert
from ecot.data_mix.documents import DocumentMaker
from ecot.data_mix.ledger import Fate
from ecot.data_mix.loss_rules import LossRule
from ecot.data_mix.loss_weights import LossWeights
from ecot.data_mix.prepare import prepare
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.store_builder import StoreBuilder
from ecot.errors import DataError, TemplateError
from ecot.progress import no_progress
from ecot.segments import SUPERVISED_KINDS, Kind
from ecot.trajectories import Message, Role, parse_trajectory
from ecot.trajectory_io import write_trajectories

TURNS = (
    Message(Role.USER, "An adder."),
    Message(Role.ASSISTANT, "bad code", "First."),
    Message(Role.OBSERVATION, "syntax error near wire"),
    Message(Role.ASSISTANT, "good code", "Then."),
)


def encode(renderer, messages):
    (encoded,) = renderer.encode([renderer.render(messages)])
    assert not isinstance(encoded, DataError), encoded
    return encoded


def supervised_text(renderer, messages):
    """The decoded supervised tokens of each attempt, in order."""
    encoded, position, texts = encode(renderer, messages), 0, {}
    for run in encoded.runs:
        if run.kind in SUPERVISED_KINDS:
            text = renderer.decode(encoded.ids[position : position + run.length].tolist())
            texts[run.attempt] = texts.get(run.attempt, "") + text
        position += run.length
    return list(texts.values())


def test_feedback_in_user_turns_is_never_trained(make_renderer):
    """Elsewhere: with a template that rewrites earlier turns, spans found by comparing prefixes run past their turn and
    train the end of it, the next header and what the tool said; no warning."""
    renderer = make_renderer("qwen3", "user", "strip")
    assert supervised_text(renderer, TURNS) == [
        "bad code<|im_end|>",
        "<think>\nThen.\n</think>\n\ngood code<|im_end|>",
    ]
    with pytest.raises(TemplateError, match="past_thinking: strip or expand"):
        encode(make_renderer("qwen3", "user", "keep"), TURNS)  # never by accident of the template


def test_the_first_thinking_tag_of_every_turn_is_trained(make_renderer):
    """Elsewhere: multi-turn conversations are rejected, or the first `<think>` is masked and a work-around in the
    tokenizer is needed."""
    for template in ("shipped", "qwen3"):
        texts = supervised_text(make_renderer(template), TURNS)
        assert [text.startswith("<think>\n") for text in texts] == [True, True]


def test_masks_survive_packing(run_paths, data_config):
    """Elsewhere: the mask of assistant turns is lost when rows are packed; the model learns to write `<|im_start|>`."""
    prepared = prepare(data_config(), run_paths, seed=1)
    collator = Collator(prepared.train, {Kind.THINKING: 1.0, Kind.ANSWER: 1.0}, pad_id=0)
    headers = set(prepared.train[0].ids[:1].tolist())
    checked = 0
    for pack in prepared.plan.packs(0):
        if not pack.is_filler:
            batch = collator(pack)
            counts = prepared.train.kind_counts[list(pack.documents)]
            assert len(batch.labels) == counts[:, [Kind.THINKING, Kind.ANSWER]].sum()
            assert not headers & set(batch.labels.tolist())
            checked += 1
    assert checked > 1


def test_every_document_has_something_to_train_or_the_row_is_in_the_account(
    tmp_path, tokenizer, data_config, make_trajectory
):
    """Elsewhere: of rows longer than the limit only the prompt is left; their loss is 0 or not a number, no warning."""
    tokenizer.save_pretrained(tmp_path / "tok")
    rows = [make_trajectory(number, turns=3, words=8 * (1 + number % 9)) for number in range(40)]
    write_trajectories(tmp_path / "rows.jsonl", rows)
    for over_long in OverLong:
        config = data_config(
            over_long=over_long, max_lost=1.0, packing={"pack_tokens": 160, "global_batch_tokens": 160}
        )
        source = SourceConfig(path=tmp_path / "rows.jsonl")
        store = StoreBuilder(config, [source], tmp_path / "tok", tmp_path / "store").build(no_progress)
        assert (store.kind_counts[:, [Kind.THINKING, Kind.ANSWER]].sum(axis=1) > 0).all()
        assert store.ledger.total([Fate.KEPT, Fate.LEFT_OUT]).rows == 40
        assert store.ledger.total([Fate.LEFT_OUT]).rows > 0


@pytest.mark.parametrize("template", ["shipped", "qwen25", "qwen3", "incoder", "iquest"])
def test_the_end_of_every_turn_is_trained(make_renderer, template):
    """Elsewhere: the end of turn is equal to the padding token and masked with it, or lies outside the span; the model
    never stops."""
    plain = tuple(Message(message.role, message.content) for message in TURNS)
    messages = plain if template in ("qwen25", "incoder") else TURNS
    for text in supervised_text(make_renderer(template), messages):
        assert text.endswith("<|im_end|>")


def test_a_padding_token_that_ends_turns_is_still_trained(make_renderer, run_paths, data_config):
    """Elsewhere: labels equal to the padding token are masked everywhere, the ends of turns among them."""
    prepared = prepare(data_config(), run_paths, seed=1)
    end = int(prepared.train[0].ids[prepared.train[0].ids.tolist().index(2)])
    collator = Collator(prepared.train, {Kind.ANSWER: 1.0}, pad_id=end, layout="padded")
    pack = next(pack for pack in prepared.plan.packs(0) if not pack.is_filler)
    ends = sum(len(prepared.train[index].attempt_labels) for index in pack.documents)
    assert (collator(pack).labels == end).sum() == ends


def test_thinking_in_a_field_of_its_own_reaches_the_tokens_or_the_run_stops(make_renderer):
    """Elsewhere: `reasoning_content` is dropped without a word, by a mask generator or by the stock template."""
    with pytest.raises(TemplateError, match="loses the thinking"):
        encode(make_renderer("qwen25"), TURNS)
    assert "First." in supervised_text(make_renderer(), TURNS)[0]


def test_a_thought_whose_opening_tag_was_in_the_prompt_stays_whole(make_renderer, tmp_path):
    """Elsewhere: a completion with only `</think>` becomes an empty thought and an orphan tag."""
    row = {"prompt": "Q", "completion": "because\n</think>\n\nA"}
    trajectory = parse_trajectory(convert(row, SourceConfig(path=tmp_path / "a.jsonl"), "a:1"), "a:1")
    (text,) = supervised_text(make_renderer(), trajectory.messages)
    assert text == "<think>\nbecause\n</think>\n\nA<|im_end|>"


def test_a_turn_without_a_thought_does_not_learn_an_empty_one(make_renderer):
    """Elsewhere: the empty `<think></think>` that a template puts into turns without thinking is trained."""
    silent = (Message(Role.USER, "q"), Message(Role.ASSISTANT, "a"))
    for template in ("qwen3", "iquest", "shipped"):
        assert supervised_text(make_renderer(template), silent) == ["a<|im_end|>"]


def test_a_template_needs_no_generation_tags(make_renderer, bare_tokenizer):
    """Elsewhere: without `{% generation %}` in the template the mask is all ones or all zeros, or an error."""
    renderer = make_renderer("qwen25")
    assert "generation %}" not in bare_tokenizer.chat_template
    plain = tuple(Message(message.role, message.content) for message in TURNS)
    expected = supervised_text(renderer, plain)
    tagged = bare_tokenizer.chat_template.replace(
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}",
        "{{- '<|im_start|>' + message.role + '\\n' }}{% generation %}{{- message.content + '<|im_end|>' }}"
        "{% endgeneration %}{{- '\\n' }}",
    )
    assert tagged != bare_tokenizer.chat_template
    bare_tokenizer.chat_template = tagged
    with_tags = Renderer(bare_tokenizer, ObservationRole.TOOL, PastThinking.KEEP)
    assert supervised_text(with_tags, plain) == expected == ["bad code<|im_end|>", "good code<|im_end|>"]


def test_weights_never_change_the_tokens(make_renderer, run_paths, data_config):
    """Elsewhere: each weighted span is tokenised by itself, so training sees other tokens than inference."""
    renderer = make_renderer()
    own = encode(renderer, TURNS).ids.tolist()
    assert own == renderer.tokenizer(renderer.render(TURNS).text, add_special_tokens=False)["input_ids"]
    (other,) = renderer.encode([renderer.render(TURNS, kinds={1: Kind.OBSERVATION, 3: Kind.PROMPT})])
    assert other.ids.tolist() == own
    prepared = prepare(data_config(), run_paths, seed=1)
    document = prepared.train[0]
    rules = [LossRule(factor=0.3, kinds=["answer"]), LossRule(factor=1.5, min_attempt=2)]
    for weights in (LossWeights({Kind.ANSWER: 1.0}), LossWeights({Kind.THINKING: 0.5, Kind.ANSWER: 1.0}, rules)):
        batch = Collator(prepared.train, weights, pad_id=0).collate([document])
        assert batch.input_ids.flatten().tolist() == document.ids.tolist()


def test_weights_are_not_rounded_to_trained_or_not(run_paths, data_config):
    """Elsewhere: a weight of 0.3 on a span becomes true, and counts like 1."""
    prepared = prepare(data_config(), run_paths, seed=1)
    rules = [LossRule(factor=0.3, failed=True, kinds=["answer"])]
    weights = LossWeights({Kind.THINKING: 1.0, Kind.ANSWER: 1.0}, rules)
    failed = next(i for i in range(len(prepared.train)) if len(prepared.train[i].attempt_labels) == 2)
    batch = Collator(prepared.train, weights, pad_id=0).collate([prepared.train[failed]])
    assert {round(weight, 4) for weight in batch.weights.tolist()} == {0.3, 1.0}


def test_the_template_that_was_trained_is_the_one_beside_the_model(run_paths, data_config, trajectories):
    """Elsewhere: the export holds another template than the training used, and every benchmark is wrong."""
    prepared = prepare(data_config(), run_paths, seed=1)
    shipped = AutoTokenizer.from_pretrained(run_paths.tokenizer)
    for index in range(0, len(prepared.train), 11):
        document = prepared.train[index]
        (trajectory,) = [t for t in trajectories if t.id == document.trajectory_id]
        wire = [
            {"role": str(m.role), "content": m.content}
            | ({"reasoning_content": m.reasoning_content} if m.reasoning_content else {})
            for m in trajectory.messages
        ]
        ids = shipped.apply_chat_template(wire, tokenize=True, return_dict=False)
        assert ids == document.ids.tolist()


def with_backend(tokenizer, change):
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    change(backend)
    loaded = PreTrainedTokenizerFast(tokenizer_object=backend)
    loaded.chat_template = tokenizer.chat_template
    return Renderer(loaded, ObservationRole.TOOL, PastThinking.KEEP)


def test_a_limit_in_the_tokenizer_cuts_nothing(tokenizer):
    """Elsewhere: a default of 1024 tokens, or the tokenizer's own truncation, cuts rows in the middle of a thought."""
    renderer = with_backend(tokenizer, lambda backend: backend.enable_truncation(8))
    long = (TURNS[0], Message(Role.ASSISTANT, "code", "why " * 500))
    encoded = encode(renderer, long)
    assert renderer.decode(encoded.ids.tolist()) == renderer.render(long).text and len(encoded.ids) > 500


def test_a_beginning_of_sequence_that_the_template_writes_is_not_doubled(tokenizer):
    """Elsewhere: template and tokenizer both put one, and the model is trained on two and served with one."""

    def change(backend):
        backend.add_special_tokens([AddedToken("<s>", normalized=False)])
        start = backend.token_to_id("<s>")
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])

    renderer = with_backend(tokenizer, change)
    renderer.tokenizer.chat_template = "<s>" + renderer.tokenizer.chat_template
    ids = encode(renderer, TURNS).ids.tolist()
    start = renderer.tokenizer.convert_tokens_to_ids("<s>")
    assert ids[0] == start and ids.count(start) == 1
    assert renderer.token_ids(renderer.generation_prompt(TURNS[:1])).count(start) == 1


def test_texts_that_look_like_markers_move_no_mask(make_renderer):
    """Elsewhere: the mask is found by searching for the assistant's header as a string, also where a user quotes it."""
    quoting = (
        Message(Role.USER, "Why does it print\nassistant\n<think>\nand user\n</think> ?"),
        Message(Role.ASSISTANT, "It is a\nassistant\nheader.", "user\nHm.\nassistant\n"),
    )
    (text,) = supervised_text(make_renderer(), quoting)
    assert text == "<think>\nuser\nHm.\nassistant\n\n</think>\n\nIt is a\nassistant\nheader.<|im_end|>"
    for name in ("<|im_start|>assistant\n", "<|im_end|>"):
        with pytest.raises(DataError, match="control token"):
            make_renderer().render((Message(Role.USER, name), TURNS[1]))


def test_nothing_is_cut_in_proportion(make_renderer, make_trajectory):
    """Elsewhere: prompt and answer of a long row are both shortened, and nobody knows why the result is bad."""
    renderer = make_renderer()
    trajectory = make_trajectory(3, turns=2, words=30)
    whole = renderer.render(trajectory.messages).text
    for over_long in OverLong:
        for room in (100, 200, 300):
            (made,) = DocumentMaker(renderer, room, over_long).make([trajectory])
            for document in made.documents:
                text = renderer.decode(document.encoded.ids.tolist())
                question = renderer.generation_prompt(trajectory.messages[:2])
                assert text.startswith(question)
                rest = text.removeprefix(question)
                assert rest in whole and rest.endswith("<|im_end|>\n")


def test_rows_read_by_a_missing_key_are_not_dropped_in_silence(tmp_path, tokenizer, data_config):
    """Elsewhere: rows that a converter cannot read are skipped with a debug message, or fail hours later."""
    tokenizer.save_pretrained(tmp_path / "tok")
    good = {"prompt": "Q", "completion": "A"}
    rows = [{**good, "prompt": f"Q {number}"} for number in range(9)] + [{"prompt": "Q", "completio": "A"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = SourceConfig(path=tmp_path / "rows.jsonl")
    builder = StoreBuilder(data_config(max_refused=0.05), [source], tmp_path / "tok", tmp_path / "store")
    with pytest.raises(DataError, match=r"1 of 10 rows are refused.*store\.refused\.jsonl"):
        builder.build(no_progress)
    (refused,) = (tmp_path / "store.refused.jsonl").read_text().splitlines()
    assert "its keys are completio, prompt" in json.loads(refused)["reason"]
