"""The names under which fields of a record carry parts of a conversation, and the choices of a question."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SYSTEM = (
    *("system", "system_prompt", "system_message", "system_instruction", "systemInstruction"),
    *("sys_prompt", "system_msg", "custom_system_prompt", "preamble"),
)
HISTORY = (
    "history",
    "chat_history",
    "conversation_history",
    "dialogue_history",
    "dialog_history",
    "message_history",
    "previous_messages",
    "past_messages",
)
"""Earlier turns: messages, or lists of a question and its answer (LLaMA-Factory, ms-swift)."""
PROMPT = ("prompt", "instruction", "question", "query", "input", "context")
"""Names of the question, most telling first."""
QUESTION = PROMPT[:4]
"""Those of them that are the question itself, of which one that is named rules out the others."""
MESSAGES = tuple("messages conversations conversation context_messages prompt_messages trajectory dialogue".split())
JOINED = {"instruction": ("input", "context"), "prompt": ("input",)}
"""Prompt → what is written below it, on a new line, where it is there: Alpaca, Dolly, LLaMA-Factory."""
BEGUN = ("initial_reason_steps",)
"""Beginning of the answer, which both answers continue (Math-Step-DPO)."""
TOOLS = ("tools", "functions")
TEMPLATE_OPTIONS = "chat_template_kwargs"
"""TRL's column of what else goes to the chat template."""
OF_TEMPLATE = (*TOOLS, TEMPLATE_OPTIONS)
"""What is passed on to the chat template as it is, all that lies in it."""
UNREADABLE = (
    *("document", "documents", "retrieved_documents", "retrieved_context", "passage", "passages", "paragraph"),
    *("contexts", "ctx", "ctxs", "reference_contexts", "retrieved_contexts", "retrieved_passages", "retrieved_docs"),
    *("search_results", "entity_pages", "source_document", "source_documents", "background", "knowledge", "evidence"),
    *("article", "premise", "persona", "personas", "personality", "scenario", "instructions"),
    *("images", "image", "image_url", "image_path", "videos", "video", "audios", "audio"),
)
"""Context that is never read."""
CHOICES = ("choices", "options", "answer_choices", "endings")
"""Fields of a multiple-choice question's options: lists of texts, as much a part of it as the question (MMLU, ARC)."""
STEMS = ("choice", "option", "op", "ending", "distractor")
"""Names of a field with one choice, less its letter or number: COPA, WinoGrande, MedMCQA, SWAG, SciQ."""
ANSWER_STEMS = ("answer", "ans", "sol")
"""The same of choices that may be answers of somebody's as well: SIQA, BBQ, PIQA."""
LETTERS = re.compile("[A-E]")
"""Fields of MMLU as CSV."""
LISTED = (*HISTORY, *MESSAGES, *TOOLS, TEMPLATE_OPTIONS, *UNREADABLE)
"""Fields that hold lists or objects; in a table of text, JSON of them."""
CONTEXT = (*SYSTEM, *HISTORY, *PROMPT, *MESSAGES, *BEGUN, *TOOLS, *UNREADABLE, *CHOICES)
"""Fields that may not be left out without a word."""

WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
ABOUT = frozenset("context contexts passage passages paragraph paragraphs document documents transcript".split())
"""Words in the name of a field that say that it holds what a question is about, whatever else it is called."""
OF_IT = frozenset(
    "id ids idx index title titles url urls name names source sources type kind date length size language hash label "
    "labels score scores rank tokens count number condition relevance summary topic category".split()
)
"""Words with which such a name says something of it."""


@lru_cache(maxsize=1 << 12)
def tells_context(name: str) -> bool:
    """Whether a name has a word for context, as `ContextString` and `sql_context` have, and `context_id` has not."""
    words = {word.lower() for word in WORDS.findall(name)}
    return bool(words & ABOUT) and not words & OF_IT


@lru_cache(maxsize=1 << 12)
def plain(name: str) -> str:
    """A name without what spellings differ in: `System Prompt`, `systemPrompt` and `system_prompt` are one."""
    return re.sub(r"[\W_]+", "", name).lower()


SPELT: Mapping[str, str] = {plain(name): name for name in CONTEXT}
"""Plain name → the usual spelling, of fields that may not be left out without a word."""


def choices_of(value: Any) -> list[str]:
    """The texts among which a question lets choose: a list, one under `text` (ARC), or one a letter (MedQA); else none.

    Fields with a service's answers or settings have the same names, and hold no list of texts.
    """
    given = value.get("text", [*value.values()]) if isinstance(value, Mapping) else value
    several = isinstance(given, (list, tuple)) and len(given) > 1 and all(isinstance(text, str) for text in given)
    return [text.strip() for text in given] if several else []


def fields_of_choices(record: Mapping[str, Any], stems: tuple[str, ...] = STEMS) -> list[str]:
    """The fields that hold one choice each, `choice1` and `choice2` or `A` to `D`; none of a record without."""
    pattern = re.compile(rf"(?i:({'|'.join(stems)})[ _-]?(?:[a-e]|\d))|{LETTERS.pattern}")
    groups: dict[str, list[str]] = {}
    for name, value in record.items():
        found = pattern.fullmatch(name) if isinstance(name, str) and isinstance(value, str) and value.strip() else None
        if found is not None:
            groups.setdefault((found[1] or "").lower(), []).append(name)
    return next((names for stem, names in groups.items() if len(names) > (1 if stem else 2)), [])
