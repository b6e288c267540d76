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
"""Names of the question itself; if a user names one of them as the prompt, the others are no context."""
MESSAGES = tuple("messages conversations conversation context_messages prompt_messages trajectory dialogue".split())
JOINED = {"instruction": ("input", "context"), "prompt": ("input",)}
"""Field of a prompt → fields whose text is appended to it on a new line: Alpaca, Dolly, LLaMA-Factory."""
BEGUN = ("initial_reason_steps",)
"""Beginning of the answer, which both answers continue (Math-Step-DPO)."""
TOOLS = ("tools", "functions")
TEMPLATE_OPTIONS = "chat_template_kwargs"
"""TRL's column of further arguments of the chat template."""
OF_TEMPLATE = (*TOOLS, TEMPLATE_OPTIONS)
"""Fields that go to the chat template unchanged, with all that they contain."""
UNREADABLE = (
    *("document", "documents", "retrieved_documents", "retrieved_context", "passage", "passages", "paragraph"),
    *("contexts", "ctx", "ctxs", "reference_contexts", "retrieved_contexts", "retrieved_passages", "retrieved_docs"),
    *("search_results", "entity_pages", "source_document", "source_documents", "background", "knowledge", "evidence"),
    *("article", "premise", "persona", "personas", "personality", "scenario", "instructions"),
    *("images", "image", "image_url", "image_path", "videos", "video", "audios", "audio"),
)
"""Names of context that is never read."""
CHOICES = ("choices", "options", "answer_choices", "endings")
"""Fields with the choices of a question: lists of texts, which are part of the question (MMLU, ARC)."""
STEMS = ("choice", "option", "op", "ending", "distractor")
"""Names of fields with one choice each, without its letter or number: COPA, WinoGrande, MedMCQA, SWAG, SciQ."""
ANSWER_STEMS = ("answer", "ans", "sol")
"""Further such names, which may also be names of answers that somebody gave: SIQA, BBQ, PIQA."""
LETTERS = re.compile("[A-E]")
"""Names of the fields with choices in MMLU as CSV."""
LISTED = (*HISTORY, *MESSAGES, *TOOLS, TEMPLATE_OPTIONS, *UNREADABLE)
"""Fields that hold lists or objects; in a table of texts, JSON of these."""
CONTEXT = (*SYSTEM, *HISTORY, *PROMPT, *MESSAGES, *BEGUN, *TOOLS, *UNREADABLE, *CHOICES)
"""Fields that may not be left out in silence."""

WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
ABOUT = frozenset("context contexts passage passages paragraph paragraphs document documents transcript".split())
"""Words in the name of a field that holds the context of a question."""
OF_IT = frozenset(
    "id ids idx index title titles url urls name names source sources type kind date length size language hash label "
    "labels score scores rank tokens count number condition relevance summary topic category".split()
)
"""Words that, in such a name, show that the field only describes the context."""


@lru_cache(maxsize=1 << 12)
def tells_context(name: str) -> bool:
    """Whether a name is one of a context: `ContextString` and `sql_context` are, `context_id` is not."""
    words = {word.lower() for word in WORDS.findall(name)}
    return bool(words & ABOUT) and not words & OF_IT


@lru_cache(maxsize=1 << 12)
def plain(name: str) -> str:
    """Return a name without case and separators: `System Prompt`, `systemPrompt` and `system_prompt` become equal."""
    return re.sub(r"[\W_]+", "", name).lower()


SPELT: Mapping[str, str] = {plain(name): name for name in CONTEXT}
"""Plain name → the usual spelling, for fields that may not be left out in silence."""


def choices_of(value: Any) -> list[str]:
    """Return a question's choices, from a list, a list under `text` (ARC), or an object by letter (MedQA); else none.

    Fields with a service's answers or settings have the same names, but hold no list of texts.
    """
    given = value.get("text", [*value.values()]) if isinstance(value, Mapping) else value
    several = isinstance(given, (list, tuple)) and len(given) > 1 and all(isinstance(text, str) for text in given)
    return [text.strip() for text in given] if several else []


def fields_of_choices(record: Mapping[str, Any], stems: tuple[str, ...] = STEMS) -> list[str]:
    """Return the fields that hold one choice each, such as `choice1` and `choice2`, or `A` to `D`; may be none."""
    pattern = re.compile(rf"(?i:({'|'.join(stems)})[ _-]?(?:[a-e]|\d))|{LETTERS.pattern}")
    groups: dict[str, list[str]] = {}
    for name, value in record.items():
        found = pattern.fullmatch(name) if isinstance(name, str) and isinstance(value, str) and value.strip() else None
        if found is not None:
            groups.setdefault((found[1] or "").lower(), []).append(name)
    return next((names for stem, names in groups.items() if len(names) > (1 if stem else 2)), [])
