"""Generate answers for `steer`: to score, and to show. In a plan, placeholders stand for them."""

from collections.abc import Sequence
from typing import Any

from actkit.backends import Model
from actkit.backends.actions import interventions_of
from actkit.backends.generation import greedy
from actkit.backends.interventions import Edit
from actkit.pipeline.data import Ints
from actkit.recipes.prompt_response import conversation, encode_messages, encode_plain
from actkit.recipes.steering.recipe import Ready
from actkit.recipes.steering.spec import SteerSpec
from actkit.recipes.steering.texts import TEST, Wordings

SHOWN = 40
"""Tokens of each answer that is generated to be shown."""
ONE_PART = " the"
"""Placeholder of each token of an unknown answer, in a plan."""


def answered(wordings: Sequence[Wordings], spec: SteerSpec, model: Model, chat: bool) -> list[dict[str, Any]]:
    """Return the stems with the answers that the unsteered model gives under both wordings."""
    if not wordings:
        return []
    asked = [text for wording in wordings for text in (wording.positive, wording.negative)]
    answers = _decoded(model, [_prompt_ids(text, spec, model, chat) for text in asked], spec.answer_tokens)
    return with_answers(wordings, list(zip(answers[::2], answers[1::2], strict=True)))


def expected(wordings: Sequence[Wordings], spec: SteerSpec) -> list[dict[str, Any]]:
    """Return the stems with placeholders for answers of the longest allowed length: a plan runs no model."""
    filler = (ONE_PART * spec.answer_tokens).strip()
    return with_answers(wordings, [(filler, f"{filler}.")] * len(wordings))


def with_answers(wordings: Sequence[Wordings], answers: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the stems with an answer for each of their wordings, positive and negative."""
    return [
        {
            "split": wording.split,
            "stem": wording.stem,
            "template": wording.template,
            "prompt": wording.stem,
            "positive": positive,
            "negative": negative,
        }
        for wording, (positive, negative) in zip(wordings, answers, strict=True)
    ]


def generated(spec: SteerSpec, ready: Ready, model: Model, number: int) -> list[dict[str, str]]:
    """Generate answers to the first test prompts, by the unsteered model and under an intervention."""
    tested = [text for text in ready.texts if text["split"] == TEST]
    prompts = list(dict.fromkeys(str(text.get("prompt") or text.get("text") or text["positive"]) for text in tested))
    prompts = prompts[: spec.show]
    ids = [_prompt_ids(prompt, spec, model, ready.chat) for prompt in prompts]
    (intervention,) = interventions_of(
        [action for action in ready.actions if action.intervention_id == number], ready.saes
    )
    said = [_decoded(model, ids, SHOWN, edits) for edits in ((), intervention.edits)]
    return [
        {"prompt": prompt, "unsteered": plain, "steered": steered}
        for prompt, plain, steered in zip(prompts, *said, strict=True)
    ]


def _decoded(model: Model, prompts: Sequence[Ints], n_tokens: int, edits: Sequence[Edit] = ()) -> list[str]:
    """Generate answers by `greedy`, and return their texts without special tokens."""
    decode = model.description.tokenizer.decode
    return [str(decode(answer, skip_special_tokens=True)) for answer in greedy(model, prompts, n_tokens, edits)]


def _prompt_ids(text: str, spec: SteerSpec, model: Model, chat: bool) -> Ints:
    tokenizer = model.description.tokenizer
    if chat:
        return encode_messages(tokenizer, conversation(text, None), chat).encoding.token_ids
    return encode_plain(tokenizer, text, None, spec.tokens.bos).encoding.token_ids
