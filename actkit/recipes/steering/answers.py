"""Answers that `steer` generates: to score, to stand for these in a plan, and to look at."""

from collections.abc import Sequence
from typing import Any

from actkit.backends import Model
from actkit.backends.actions import interventions_of
from actkit.backends.generation import greedy
from actkit.recipes.prompt_response import conversation, encode_messages, encode_plain
from actkit.recipes.steering.recipe import Ready
from actkit.recipes.steering.spec import SteerSpec
from actkit.recipes.steering.texts import TEST, Wordings

SHOWN = 40
"""Tokens that are generated to be looked at."""
ONE_PART = " the"
"""Placeholder of each token of an unknown answer, in a plan."""


def answered(wordings: Sequence[Wordings], spec: SteerSpec, model: Model, chat: bool) -> list[dict[str, Any]]:
    """The stems with what the unsteered model answers under both wordings."""
    if not wordings:
        return []
    tokenizer = model.description.tokenizer
    asked = [text for wording in wordings for text in (wording.positive, wording.negative)]
    ids = [_prompt_ids(text, spec, model, chat) for text in asked]
    answers = [
        str(tokenizer.decode(answer, skip_special_tokens=True)) for answer in greedy(model, ids, spec.answer_tokens)
    ]
    return with_answers(wordings, list(zip(answers[::2], answers[1::2], strict=True)))


def with_answers(wordings: Sequence[Wordings], answers: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The stems with an answer for each of their wordings, positive and negative."""
    return [
        {**_unanswered(wording), "positive": positive, "negative": negative}
        for wording, (positive, negative) in zip(wordings, answers, strict=True)
    ]


def generated(spec: SteerSpec, ready: Ready, model: Model, number: int) -> list[dict[str, str]]:
    """Generate answers to the first test prompts, by the model as it is and under an intervention."""
    tested = [text for text in ready.texts if text["split"] == TEST]
    prompts = list(dict.fromkeys(str(text.get("prompt") or text.get("text") or text["positive"]) for text in tested))
    prompts = prompts[: spec.show]
    ids = [_prompt_ids(prompt, spec, model, ready.chat) for prompt in prompts]
    edits = interventions_of([action for action in ready.actions if action.intervention_id == number], ready.saes)[
        0
    ].edits
    said = [
        [
            str(model.description.tokenizer.decode(answer, skip_special_tokens=True))
            for answer in greedy(model, ids, SHOWN, by)
        ]
        for by in ((), edits)
    ]
    return [
        {"prompt": prompt, "unsteered": plain, "steered": steered}
        for prompt, plain, steered in zip(prompts, *said, strict=True)
    ]


def _prompt_ids(text: str, spec: SteerSpec, model: Model, chat: bool) -> Any:
    tokenizer = model.description.tokenizer
    if chat:
        return encode_messages(tokenizer, conversation(text, None), chat).encoding.token_ids
    return encode_plain(tokenizer, text, None, spec.tokens.bos).encoding.token_ids


def expected(wordings: Sequence[Wordings], spec: SteerSpec) -> list[dict[str, Any]]:
    """The stems with answers as long as the model may give them, for a plan: nothing is run for it."""
    filler = (ONE_PART * spec.answer_tokens).strip()
    return [{**_unanswered(wording), "positive": filler, "negative": f"{filler}."} for wording in wordings]


def _unanswered(wordings: Wordings) -> dict[str, Any]:
    return {"split": wordings.split, "stem": wordings.stem, "template": wordings.template, "prompt": wordings.stem}
