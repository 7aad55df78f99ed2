"""Which tokens end a model's turn: those that its chat template trained it to end with, and the tokenizer's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ecot.data_mix.layout import Layout, LayoutFinder
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.skeleton import MessageShape, Shape, shape_of
from ecot.errors import TemplateError
from ecot.segments import Kind
from ecot.trajectories import Message


def end_of_turn_ids(renderer: Renderer, opening: Sequence[Message]) -> tuple[int, ...]:
    """Ids of the tokens at which a completion of `opening` is over.

    The trained ones come first. They are not always the tokenizer's `eos_token`: base models keep `<|endoftext|>` there
    while ChatML ends turns with `<|im_end|>`, and in templates without an end of turn it is the next role's token.

    Args:
        renderer: the run's template, observation role and treatment of past thinking.
        opening: the messages before the first attempt.

    Raises:
        TemplateError: no special token ends an assistant turn after these messages.
    """
    finder = LayoutFinder(renderer.tokenizer, renderer.past_thinking)
    texts: list[str] = []
    refusal: TemplateError | None = None
    for shape, turn in _shapes(shape_of(opening, renderer.observation_role), renderer.observation_role):
        try:
            texts.append(_end_of(finder, finder.find(shape), turn))
        except TemplateError as error:  # a shape that was never trained either
            refusal = error
    if not texts:
        assert refusal is not None
        raise refusal
    ids = [renderer.tokenizer.convert_tokens_to_ids(text) for text in texts]
    own = renderer.tokenizer.eos_token_id
    return tuple(dict.fromkeys(ids if own is None else [*ids, own]))


def _shapes(opening: Shape, observation_role: str) -> Iterator[tuple[Shape, int]]:
    """Conversations that go on from `opening`, and which attempt of theirs follows it."""
    attempt = 1 + sum(message.role == "assistant" for message in opening)
    observation = MessageShape(observation_role, observation=True, thinks=False, has_content=True)
    for thinks in (False, True):
        answer = MessageShape("assistant", observation=False, thinks=thinks, has_content=True)
        for following in ((), (observation,)):
            yield (*opening, answer, *following), attempt


def _end_of(finder: LayoutFinder, layout: Layout, attempt: int) -> str:
    """The special token that ends an attempt: the last of its answer."""
    answer = [p.literal for p in layout.pieces if p.kind is Kind.ANSWER and p.attempt == attempt and p.literal]
    return finder.control.findall(answer[-1])[-1]
