"""List the tries of `peek`: for each command its defaults, and the options that the columns of a file suggest."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actkit.config import ReadSpec
from actkit.pipeline.recipe import Recipe
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.conversations.fields import ContextFields, PairFields, lookup
from actkit.recipes.conversations.names import MESSAGES, QUESTION, SYSTEM
from actkit.recipes.labels import FeedbackFields
from actkit.recipes.peeking.columns import FileColumn, texts_first
from actkit.recipes.peeking.labels import is_guess, label_fields
from actkit.recipes.peeking.questions import without_passages
from actkit.recipes.runner import Ingredients

ANSWERS = re.compile(r"repl|respon|answer|output|completion|choices|solution", re.IGNORECASE)
"""Paths of fields that may answer the question in another field."""
ASKS = {*QUESTION, *MESSAGES, "problem", "question_stem"}
"""Names of a question's field, or of an object that contains it, in small letters."""
FIRST = re.compile(r"\.0(?=\.|$)")
"""The index of a list's first object, in a path."""
USUAL = "response"
"""The field of the answer where no option names one."""


@dataclass(frozen=True)
class Try:
    """One way to give a file to a command: the options besides the file, and the recipe that they make."""

    options: tuple[str, ...]
    recipe: Callable[[Ingredients], Recipe]
    is_guess: bool = False
    """Whether nothing tells which of the two labels in the options is the positive one."""


@dataclass(frozen=True)
class Asked:
    """Fields of prompts, answers and system messages, and whether the chat template renders them.

    None looks for the usual names.
    """

    prompt: str | None = None
    response: str | None = None
    chat: bool = False
    system: str | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The options that name these fields on the command line."""
        named = (("--prompt-field", self.prompt), ("--response-field", self.response), ("--system-field", self.system))
        return (*_typed(*named), *(("--chat",) if self.chat else ()))

    def fields(self, context: ContextFields) -> dict[str, Any]:
        """Return these fields as fields of a spec."""
        beside = {"chat": self.chat, "context": replace(context, system_field=self.system)}
        return {"prompt_field": self.prompt, "response_field": self.response or USUAL, **beside}


def tries_of(
    path: str, read: ReadSpec, columns: Sequence[FileColumn], values: Sequence[Any], context: ContextFields
) -> Iterator[tuple[str, list[Try]]]:
    """Yield each command with the tries for it, the plainest first."""
    texts = texts_first(columns)
    read_so: dict[str, Any] = {"read": read, "context": context}
    without = _typed(*(("--ignore-field", name) for name in context.ignore_field))

    def attempt(command: Any, spec: Any, options: Sequence[str] = (), guessed: bool = False) -> Try:
        return Try((*options, *without), lambda made: command.recipe(spec, made), guessed)

    def of_pairs(asked: str | None, own: PairFields) -> Try:
        answers = (("--chosen-field", own.chosen_field), ("--rejected-field", own.rejected_field))
        spec = dpo.DpoSpec(path, prompt_field=asked, answers=own, **read_so)
        return attempt(dpo, spec, _typed(("--prompt-field", asked), *answers))

    def of_labels(own: FeedbackFields) -> Try:
        rules = (*(("--positive", word) for word in own.positive), *(("--negative", word) for word in own.negative))
        options = _typed(("--text-field", own.text), ("--label-field", own.label), *rules)
        guessed = is_guess(own.positive, own.negative)
        return attempt(reward_detect, reward_detect.RewardDetectSpec(path, own, **read_so), options, guessed)

    def of_corpus(name: str | None) -> Try:
        system = _system_beside(name, columns)
        beside = replace(context, system_field=system)
        spec = feature_dataset.FeatureDatasetSpec(path, name, read=read, context=beside)
        return attempt(feature_dataset, spec, _typed(("--text-field", name), ("--system-field", system)))

    yield "dpo", [of_pairs(asked, own) for asked, own in _pairs(columns)]
    yield "concept", [attempt(concept, concept.ConceptSpec(path, **read_so))]
    yield "reward-detect", [of_labels(own) for own in label_fields(columns, values)]
    ids = {column.name for column in columns if column.is_names}
    texts = [name for name in texts if not _is_of_several(name, values)]
    texts = [name for name in texts if name.rpartition(".")[2] not in SYSTEM] or texts
    answers = [name for name in texts if ANSWERS.search(name) and name not in ids]
    asked = _questions(without_passages(texts, columns))
    ways = [replace(way, system=_system_beside(way.prompt, columns)) for way in _asked(asked, answers)]
    for command, spec_of in ((capture, capture.CaptureSpec), (sae_extract, sae_extract.SaeExtractSpec)):
        specs = ((spec_of(path=path, read=read, **way.fields(context)), way.options) for way in ways)
        yield spec_of.command, [attempt(command, spec, options) for spec, options in specs]
    yield "feature-dataset", [of_corpus(name) for name in (None, *texts)]


def _is_of_several(path: str, values: Sequence[Any]) -> bool:
    """Whether a path leads to the first of several objects in a list: the others would not be read."""
    parents = [path[: found.start()] for found in FIRST.finditer(path)]
    lists = (lookup(value, parent) for parent in parents for value in values)
    return any(isinstance(held, list) and len(held) > 1 for held in lists)


def _questions(texts: Sequence[str]) -> Sequence[str]:
    """Return the columns with the name of a question or conversation, or within one; all columns if there are none."""
    return [name for name in texts if ASKS & {*name.lower().split(".")}] or texts


def _system_beside(path: str | None, columns: Sequence[FileColumn]) -> str | None:
    """Return the system message in the object that contains a text; that of a record itself need not be named."""
    parent, dot, _ = (path or "").rpartition(".")
    names = {column.name for column in columns if column.kinds.get("text")}
    return next((f"{parent}.{name}" for name in SYSTEM if dot and f"{parent}.{name}" in {*names} - {path}), None)


def _asked(texts: Sequence[str], answers: Sequence[str]) -> Iterator[Asked]:
    """Yield fields of prompts, with fields that may answer them; `chat` is for context that needs a template."""
    yield Asked()
    yield Asked(chat=True)
    for name in texts:
        if name not in answers:
            yield from (Asked(name, answer) for answer in answers)
        yield Asked(name)


def _typed(*named: tuple[str, str | None]) -> tuple[str, ...]:
    """Return the options to type: each flag that was given a value, followed by it. An empty label is a value."""
    return tuple(word for flag, value in named if value is not None for word in (flag, value))


def _pairs(columns: Sequence[FileColumn]) -> Iterator[tuple[str | None, PairFields]]:
    """Yield the fields of prompt and answers: the usual names, and such names within one object."""
    yield None, PairFields()
    names = {column.name for column in columns}
    for before in dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name):
        chosen, rejected, prompt = (f"{before}.{name}" for name in ("chosen", "rejected", "prompt"))
        if {chosen, rejected} <= names:
            yield prompt if prompt in names else None, PairFields(chosen_field=chosen, rejected_field=rejected)
