"""A batch completes each prompt as if it were alone."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ecot.inference.generation import CACHE_STEP, BatchGenerator, Sampling

PAD, END = 0, 1


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        initializer_range=0.4,  # large, so that no two logits are close
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def prompts():
    generator = torch.Generator().manual_seed(5)
    lengths = (1, 17, 4, 9, 30, 2, 23)
    return [torch.randint(2, 61, (length,), generator=generator).tolist() for length in lengths]


def greedy_alone(model, prompt, steps):
    """Argmax after a full forward of the whole text, no cache, no padding."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(steps):
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == END:
                break
    return tuple(ids[len(prompt) :])


def test_a_batch_gives_the_greedy_tokens_of_each_prompt_alone(model, prompts):
    expected = [greedy_alone(model, prompt, 24) for prompt in prompts]
    for batch_size in (1, 3, 7):
        generator = BatchGenerator(model, [END], PAD, Sampling(24), batch_size)
        found = generator.generate(prompts, [0] * len(prompts))
        assert [result.ids for result in found] == expected
        assert [result.stopped for result in found] == [ids[-1] == END for ids in expected]


def test_a_completion_ends_with_the_end_of_turn_token(model, prompts):
    first = greedy_alone(model, prompts[3], 24)
    end = first[5]  # pretend that the sixth token ends the turn
    generator = BatchGenerator(model, [end], PAD, Sampling(24), 4)
    result = generator.generate(prompts, [0] * len(prompts))[3]
    assert result.stopped
    assert result.ids == first[: first.index(end) + 1]


def test_sampling_depends_on_the_seed_and_not_on_the_batch(model, prompts):
    seeds = [11, 12, 13, 14, 15, 16, 17]
    sampling = Sampling(16, temperature=1.0, top_p=0.9)
    alone = [
        BatchGenerator(model, [END], PAD, sampling, 1).generate([p], [s])[0]
        for p, s in zip(prompts, seeds, strict=True)
    ]
    together = BatchGenerator(model, [END], PAD, sampling, 7).generate(prompts, seeds)
    assert together == alone
    other = BatchGenerator(model, [END], PAD, sampling, 7).generate(prompts, [seed + 100 for seed in seeds])
    assert other != together


def test_seeded_noise_samples_from_the_softmax(model):
    """Frequencies of the first token over many seeds against softmax(logits / temperature)."""
    prompt, draws, temperature = [7, 8, 9], 4000, 2.5
    with torch.no_grad():
        expected = (model(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
    generator = BatchGenerator(model, [END], PAD, Sampling(1, temperature=temperature), 1000)
    results = generator.generate([prompt] * draws, list(range(draws)))
    counts = torch.bincount(torch.tensor([result.ids[0] for result in results]), minlength=61)
    # Chi-squared with 60 degrees of freedom exceeds 120 with probability 8e-6; rare tokens are pooled.
    common = expected * draws >= 5
    observed = torch.cat([counts[common], counts[~common].sum()[None]]).double()
    wanted = torch.cat([expected[common], expected[~common].sum()[None]]).double() * draws
    assert ((observed - wanted) ** 2 / wanted.clamp_min(1)).sum() < 120


def test_a_prompt_without_room_for_the_completion_is_refused(model):
    generator = BatchGenerator(model, [END], PAD, Sampling(90), 2)
    assert generator.longest_prompt == 6
    with pytest.raises(ValueError, match="leave room for 6"):
        generator.generate([[2] * 7], [0])


def test_a_long_completion_outgrows_the_room_of_the_cache():
    torch.manual_seed(4)
    sizes = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, initializer_range=0.4)).eval()
    steps = 2 * CACHE_STEP + 20
    (found,) = BatchGenerator(model, [-1], PAD, Sampling(steps), 1).generate([[5, 6, 7]], [0])
    with torch.no_grad():  # every token against the argmax after a full forward of the whole text
        logits = model(torch.tensor([[5, 6, 7, *found.ids]]), use_cache=False).logits[0]
    assert found.ids == tuple(logits[2:-1].argmax(-1).tolist())
