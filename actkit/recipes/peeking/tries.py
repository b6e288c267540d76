"""The ways to give a file to each command that `peek` tries: its defaults, and options that the columns suggest."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actkit.config import ReadSpec
from actkit.pipeline.recipe import Recipe
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.conversations.fields import ContextFields
from actkit.recipes.peeking.columns import Column, texts_first
from actkit.recipes.peeking.labels import label_options
from actkit.recipes.runner import Ingredients


@dataclass(frozen=True)
class Try:
    """One way to give a file to a command: the options beside the file, and the recipe that they make."""

    options: tuple[str, ...]
    recipe: Callable[[Ingredients], Recipe]


def tries_of(
    path: str, read: ReadSpec, columns: Sequence[Column], values: Sequence[Any], context: ContextFields
) -> Iterator[tuple[str, list[Try]]]:
    """Command → the ways to give it the file, the plainest first."""
    texts = texts_first(columns)
    without = tuple(word for name in context.ignore_field for word in ("--ignore-field", name))

    def attempt(recipe: Callable[[Any, Ingredients], Recipe], spec: Any, *options: str) -> Try:
        return Try((*options, *without), lambda made: recipe(spec, made))

    yield "dpo", [attempt(dpo.recipe, dpo.DpoSpec(path, read=read, context=context))]
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
    # A system message and other context beside a prompt need a template.
    ways: list[tuple[str | None, bool]] = [(None, False), (None, True), *((name, False) for name in texts)]
    yield (
        "capture",
        [
            attempt(
                capture.recipe,
                capture.CaptureSpec(path=path, prompt_field=name, chat=chat, read=read, context=context),
                *_asked("--field", name, chat),
            )
            for name, chat in ways
        ],
    )
    yield (
        "sae-extract",
        [
            attempt(
                sae_extract.recipe,
                sae_extract.SaeExtractSpec(path, prompt_field=name, chat=chat, read=read, context=context),
                *_asked("--prompt-field", name, chat),
            )
            for name, chat in ways
        ],
    )
    yield (
        "feature-dataset",
        [
            attempt(
                feature_dataset.recipe,
                feature_dataset.FeatureDatasetSpec(path, text_field=name, read=read, context=context),
                *_asked("--text-field", name),
            )
            for name in (None, *texts)
        ],
    )


def _asked(flag: str, name: str | None, chat: bool = False) -> tuple[str, ...]:
    return (*((flag, name) if name else ()), *(("--chat",) if chat else ()))
