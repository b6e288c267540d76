"""The ways to give a file to each command that `peek` tries: its defaults, and options that the columns suggest."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actkit.config import ReadSpec
from actkit.pipeline.recipe import Recipe
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.conversations.fields import ContextFields, PairFields
from actkit.recipes.peeking.columns import FileColumn, texts_first
from actkit.recipes.peeking.labels import label_options
from actkit.recipes.runner import Ingredients

ANSWERS = re.compile(r"repl|respon|answer|output|completion|choices", re.IGNORECASE)
"""Paths of what may answer what another field asks."""
USUAL = "response"
"""The field that is an answer without being named."""


@dataclass(frozen=True)
class Try:
    """One way to give a file to a command: the options beside the file, and the recipe that they make."""

    options: tuple[str, ...]
    recipe: Callable[[Ingredients], Recipe]


@dataclass(frozen=True)
class Asked:
    """A field of prompts and one of answers, and whether both go into the chat template; None looks for usual names."""

    prompt: str | None = None
    response: str | None = None
    chat: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """The options to type for it."""
        named = (("--prompt-field", self.prompt), ("--response-field", self.response))
        return (*(word for flag, name in named if name for word in (flag, name)), *(("--chat",) if self.chat else ()))


def tries_of(
    path: str, read: ReadSpec, columns: Sequence[FileColumn], values: Sequence[Any], context: ContextFields
) -> Iterator[tuple[str, list[Try]]]:
    """Command → the ways to give it the file, the plainest first."""
    texts = texts_first(columns)
    without = tuple(word for name in context.ignore_field for word in ("--ignore-field", name))

    def attempt(recipe: Callable[[Any, Ingredients], Recipe], spec: Any, *options: str) -> Try:
        return Try((*options, *without), lambda made: recipe(spec, made))

    def pairs(asked: str | None, answers: PairFields) -> dpo.DpoSpec:
        return dpo.DpoSpec(path, prompt_field=asked, answers=answers, read=read, context=context)

    yield "dpo", [attempt(dpo.recipe, pairs(asked, answers), *options) for options, asked, answers in _pairs(columns)]
    yield "concept", [attempt(concept.recipe, concept.ConceptSpec(path, read=read, context=context))]
    yield (
        "reward-detect",
        [
            attempt(
                reward_detect.recipe, reward_detect.RewardDetectSpec(path, own, read=read, context=context), *options
            )
            for options, own in label_options(columns, values)
        ],
    )
    ids = {column.name for column in columns if column.is_names}
    ways = list(_asked(texts, [name for name in texts if ANSWERS.search(name) and name not in ids]))
    yield (
        "capture",
        [
            attempt(
                capture.recipe,
                capture.CaptureSpec(
                    path=path,
                    prompt_field=way.prompt,
                    response_field=way.response or USUAL,
                    chat=way.chat,
                    read=read,
                    context=context,
                ),
                *way.options,
            )
            for way in ways
        ],
    )
    yield (
        "sae-extract",
        [
            attempt(
                sae_extract.recipe,
                sae_extract.SaeExtractSpec(
                    path, way.prompt, way.response or USUAL, chat=way.chat, read=read, context=context
                ),
                *way.options,
            )
            for way in ways
        ],
    )
    yield (
        "feature-dataset",
        [
            attempt(
                feature_dataset.recipe,
                feature_dataset.FeatureDatasetSpec(path, text_field=name, read=read, context=context),
                *(("--text-field", name) if name else ()),
            )
            for name in (None, *texts)
        ],
    )


def _asked(texts: Sequence[str], answers: Sequence[str]) -> Iterator[Asked]:
    """Prompts with what may answer them; a system message and other context beside a prompt need a template."""
    yield Asked()
    yield Asked(chat=True)
    for name in texts:
        if name not in answers:
            yield from (Asked(name, answer) for answer in answers)
        yield Asked(name)


def _pairs(columns: Sequence[FileColumn]) -> Iterator[tuple[tuple[str, ...], str | None, PairFields]]:
    """The fields of preference pairs: the usual names, or those that lie within one object."""
    yield (), None, PairFields()
    names = {column.name for column in columns}
    for before in dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name):
        chosen, rejected, prompt = (f"{before}.{name}" for name in ("chosen", "rejected", "prompt"))
        if {chosen, rejected} <= names:
            asked = prompt if prompt in names else None
            named = ("--prompt-field", prompt) if asked else ()
            both = PairFields(chosen_field=chosen, rejected_field=rejected)
            yield (*named, "--chosen-field", chosen, "--rejected-field", rejected), asked, both
