"""The ways to give a file to each command that `peek` tries: its defaults, and options that the columns suggest."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actkit.config import ReadSpec
from actkit.pipeline.recipe import Recipe
from actkit.recipes import capture, concept, dpo, feature_dataset, reward_detect, sae_extract
from actkit.recipes.conversations.fields import ContextFields, PairFields, lookup
from actkit.recipes.conversations.names import MESSAGES, QUESTION, SYSTEM
from actkit.recipes.peeking.columns import FileColumn, texts_first
from actkit.recipes.peeking.labels import label_options
from actkit.recipes.peeking.questions import without_passages
from actkit.recipes.runner import Ingredients

ANSWERS = re.compile(r"repl|respon|answer|output|completion|choices|solution", re.IGNORECASE)
"""Paths of what may answer what another field asks."""
ASKS = {*QUESTION, *MESSAGES, "problem", "question_stem"}
"""Names of what asks, in small letters, of a field or of an object that it lies in."""
FIRST = re.compile(r"\.0(?=\.|$)")
"""The first of a list, in a path."""
USUAL = "response"
"""The field that is an answer without being named."""


@dataclass(frozen=True)
class Try:
    """One way to give a file to a command: the options beside the file, and the recipe that they make."""

    options: tuple[str, ...]
    recipe: Callable[[Ingredients], Recipe]


@dataclass(frozen=True)
class Asked:
    """Fields of prompts, answers and system messages, and whether all go into the chat template.

    None looks for usual names.
    """

    prompt: str | None = None
    response: str | None = None
    chat: bool = False
    system: str | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The options to type for it."""
        own = (("--prompt-field", self.prompt), ("--response-field", self.response))
        named = (*own, ("--system-field", self.system))
        return (*(word for flag, name in named if name for word in (flag, name)), *(("--chat",) if self.chat else ()))

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a spec for it, but the context."""
        return {"prompt_field": self.prompt, "response_field": self.response or USUAL, "chat": self.chat}

    def within(self, context: ContextFields) -> ContextFields:
        """The fields beside the prompt."""
        return replace(context, system_field=self.system)


def tries_of(
    path: str, read: ReadSpec, columns: Sequence[FileColumn], values: Sequence[Any], context: ContextFields
) -> Iterator[tuple[str, list[Try]]]:
    """Command → the ways to give it the file, the plainest first."""
    texts = texts_first(columns)
    read_so: dict[str, Any] = {"read": read, "context": context}
    without = tuple(word for name in context.ignore_field for word in ("--ignore-field", name))

    def attempt(command: Any, spec: Any, options: Sequence[str] = ()) -> Try:
        return Try((*options, *without), lambda made: command.recipe(spec, made))

    def of_pairs(asked: str | None, answers: PairFields) -> dpo.DpoSpec:
        return dpo.DpoSpec(path, prompt_field=asked, answers=answers, **read_so)

    def of_corpus(name: str | None) -> Try:
        way = Asked(system=_system_beside(name, columns))
        spec = feature_dataset.FeatureDatasetSpec(path, name, read=read, context=way.within(context))
        return attempt(feature_dataset, spec, (*(("--text-field", name) if name else ()), *way.options))

    yield "dpo", [attempt(dpo, of_pairs(asked, answers), options) for options, asked, answers in _pairs(columns)]
    yield "concept", [attempt(concept, concept.ConceptSpec(path, **read_so))]
    labelled = label_options(columns, values)
    feedback = [(reward_detect.RewardDetectSpec(path, own, **read_so), named) for named, own in labelled]
    yield "reward-detect", [attempt(reward_detect, spec, options) for spec, options in feedback]
    ids = {column.name for column in columns if column.is_names}
    texts = [name for name in texts if not _is_of_several(name, values)]
    texts = [name for name in texts if _last(name) not in SYSTEM] or texts
    answers = [name for name in texts if ANSWERS.search(name) and name not in ids]
    asked = _questions(without_passages(texts, columns))
    ways = [replace(way, system=_system_beside(way.prompt, columns)) for way in _asked(asked, answers)]
    for command, spec_of in ((capture, capture.CaptureSpec), (sae_extract, sae_extract.SaeExtractSpec)):
        specs = [spec_of(path=path, read=read, context=way.within(context), **way.fields) for way in ways]
        tried = [attempt(command, spec, way.options) for spec, way in zip(specs, ways, strict=True)]
        yield spec_of.command, tried
    yield "feature-dataset", [of_corpus(name) for name in (None, *texts)]


def _is_of_several(path: str, values: Sequence[Any]) -> bool:
    """Whether a path is to the first of several objects in a list: the others would not be read."""
    parents = [path[: found.start()] for found in FIRST.finditer(path)]
    lists = (lookup(value, parent) for parent in parents for value in values)
    return any(isinstance(held, list) and len(held) > 1 for held in lists)


def _questions(texts: Sequence[str]) -> Sequence[str]:
    """Columns that are called as questions and conversations are, or lie in such; where there are none, all."""
    return [name for name in texts if ASKS & {*name.lower().split(".")}] or texts


def _system_beside(path: str | None, columns: Sequence[FileColumn]) -> str | None:
    """The system message in the object in which a text lies; one of the record itself is found without being named."""
    parent, dot, _ = (path or "").rpartition(".")
    names = {column.name for column in columns if column.kinds.get("text")}
    return next((f"{parent}.{name}" for name in SYSTEM if dot and f"{parent}.{name}" in {*names} - {path}), None)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


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
