"""The documentation's page of shapes, made from the tables that the code uses."""

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from actkit.recipes.conversations.messages import CALLERS, ROLES, UNREAD
from actkit.recipes.conversations.names import (
    BEGUN,
    CHOICES,
    HISTORY,
    JOINED,
    MESSAGES,
    PROMPT,
    STEMS,
    SYSTEM,
    TEMPLATE_OPTIONS,
    TOOLS,
    UNREADABLE,
)
from actkit.recipes.conversations.shapes import SHAPES

PROMPTS = ("capture", "sae-extract")
ANSWERED = (*PROMPTS, "reward-detect")
CHATS = (*ANSWERED, "feature-dataset")


@dataclass(frozen=True)
class PromptShape:
    """One shape of records."""

    record: str
    """What a record looks like."""
    seen_in: Sequence[str]
    """Data sets, and tools whose files are so."""
    commands: Sequence[str]
    """What reads it."""


PROMPT_SHAPES: tuple[PromptShape, ...] = (
    PromptShape('{"prompt", "response"}: texts', ("nvidia/HelpSteer2", "results of one's own"), ANSWERED),
    PromptShape(
        '{"prompt", "completion"}: text or messages', ("trl-lib/kto-mix-14k", "TRL's prompt-completion"), ANSWERED
    ),
    PromptShape(
        '{"instruction", "input", "output"}',
        ("tatsu-lab/alpaca", "LLaMA-Factory (with `system` and `history`)"),
        ANSWERED,
    ),
    PromptShape('{"instruction", "context", "response"}', ("databricks/databricks-dolly-15k",), ANSWERED),
    PromptShape('{"system_prompt", "question", "response"}', ("Open-Orca/OpenOrca",), ANSWERED),
    PromptShape(
        '{"messages": [{"role", "content"}]}', ("OpenAI chat fine-tuning", "HuggingFaceH4/ultrachat_200k"), CHATS
    ),
    PromptShape(
        '{"conversations": [{"from", "value"}]}', ("ShareGPT", "teknium/OpenHermes-2.5", "LLaMA-Factory"), CHATS
    ),
    PromptShape('{"conversation": [{"input", "output"}]}', ("LDJnr/Capybara",), CHATS),
    PromptShape('{"conversation": [{"role", "content"}]}', ("lmsys/lmsys-chat-1m", "allenai/WildChat"), CHATS),
    PromptShape('{"contents": [{"role", "parts": [{"text"}]}]}, with "systemInstruction"', ("Gemini tuning",), CHATS),
    PromptShape(
        '{"turns": [{"speaker", "utterance"}]}: the only field that holds messages, whatever its name',
        ("logs of one's own",),
        CHATS,
    ),
    PromptShape(
        r'{"text": "### Human: …### Assistant: …"}, or "\n\nHuman: …\n\nAssistant: …"',
        ("timdettmers/openassistant-guanaco", "Anthropic/hh-rlhf"),
        ANSWERED,
    ),
    PromptShape('{"prompt" or "messages", "tools", "chat_template_kwargs"}', ("TRL", "OpenAI"), CHATS),
    PromptShape("a preference pair: what both of its conversations begin with", ("all of the table above",), PROMPTS),
)


def page(made: str = "") -> str:
    """The page's text; `made` says below its title what made it."""
    title, *lines = _lines()
    return "\n".join([title, *(["", made] if made else []), *lines]) + "\n"


def _lines() -> Iterator[str]:
    yield "# Shapes of records"
    yield from (*_shapes(), *_context(), *_messages())


def _shapes() -> Iterator[str]:
    yield from _paragraph(
        "What a record may look like, and which data sets are known to have it. The shape is told of each record,",
        "so that a file may mix them. A run prints how many records had each shape, which fields it read and",
        "which it left; `run.json` has the same under `input`. The tables stand in `actkit/recipes/conversations/`.",
    )
    yield from ("", "## Preference pairs: `dpo`, `reward-detect`")
    yield from _paragraph(
        "`--input-format NAME` reads all records as one shape. `--prompt-field`, `--chosen-field`,",
        "`--rejected-field`, `--system-field` and `--history-field` name the fields of any other; a dotted path",
        "such as `chosen.content` or `input.messages` reaches into objects. Of more than two ranked answers",
        "`--pairs` makes one pair (`best-worst`), those of neighbours (`adjacent`), or `all`.",
        "`--preference-field` and `--first-is-better` say which of two answers is better, or by which score a",
        "list of them is ranked, where a record says it twice or in its own words; of a rank, a loss, or what is",
        "held against an answer, less is better.",
    )
    yield from _table(
        ("name", "a record", "known from"),
        ((f"`{shape.name}`", _code(shape.record), ", ".join(shape.seen_in)) for shape in SHAPES),
    )
    yield from ("", "## Prompts, answers and chats")
    yield from _table(
        ("a record", "known from", "read by"),
        ((_code(shape.record), ", ".join(shape.seen_in), _names(shape.commands)) for shape in PROMPT_SHAPES),
    )
    yield from _paragraph(
        "Messages that stand beside a prompt and contain it are the whole conversation, read to its end;",
        "`--prompt-field prompt` reads them as far as the prompt. `concept` reads what stands before `positive` and",
        "`negative` in the same way. A prompt that is one text is run as it is, or with `--chat` in the model's chat",
        "template; `capture`, `sae-extract` and `reward-detect` reject a record whose system message, history or tools",
        "would be lost without it.",
    )


def _context() -> Iterator[str]:
    yield from ("", "## What stands before an answer")
    yield from _table(
        ("what", "under"),
        (
            ("the question", f"{_names(PROMPT)}; {_joined()}"),
            ("messages", _names(MESSAGES)),
            ("system message", _names(SYSTEM)),
            ("earlier turns", f"{_names(HISTORY)}: messages, or lists of a question and its answer"),
            ("an answer's beginning", _names(BEGUN)),
            ("for the chat template", f"{_names(TOOLS)}, `{TEMPLATE_OPTIONS}`"),
            ("never read", _names(UNREADABLE)),
            ("what a question lets choose among, not read either", f"{_names(CHOICES)}; {_a_field_each()}"),
        ),
    )
    yield from _paragraph(
        "A field of these that holds something is used, or repeats what was used, or the record is rejected with",
        "its name: `--ignore-field NAME` says that leaving it out is meant. So is one with a sentence in it whose name",
        "has a word for context, such as `ContextString` or `sql_context`, and no `context_id`.",
    )


def _a_field_each() -> str:
    return f"or a field each, such as {_names((*(f'{stem}1' for stem in STEMS), 'A'))}"


def _messages() -> Iterator[str]:
    yield from ("", "## Messages")
    yield from _paragraph(
        "A conversation may be a list of messages (`role` and `content`, `from` and `value`, LangChain's `type` and",
        "`content`, contents of text parts), lists of a question and its answer, an object of lists (`role` and",
        "`content` with a list each,",
        "as `datasets` and Parquet write them), JSON text of any of these, or one text of turns that begin with",
        "`Human:` and `Assistant:`. A Python list that was printed into a column is refused: it is no JSON.",
    )
    yield from _paragraph(
        "A part of a message that would be lost rejects its record:",
        f"{_names(UNREAD)}. So does, with a chat template, a prompt that is written in a template already (ChatML,",
        "Llama's, Alpaca's `### Response:`, `USER: … ASSISTANT:`): `--no-chat` runs it as it is. A field `text` that",
        "writes out the record's own question and answer or messages is left out in favour of them.",
    )
    roles = ((role, _names([name for name in ROLES if ROLES[name] == role])) for role in dict.fromkeys(ROLES.values()))
    yield from _table(("role", "names, in any case"), (*roles, ("the call of a tool, as JSON", _names(CALLERS))))


def _paragraph(*pieces: str) -> Iterator[str]:
    yield ""
    yield from textwrap.wrap(" ".join(pieces), 120, break_long_words=False, break_on_hyphens=False)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from ("", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}")
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _joined() -> str:
    return "; ".join(f"{_names(below)} below {_names([name])}" for name, below in JOINED.items())


def _code(record: str) -> str:
    """A record's fields as code, what is said of them as text."""
    if not record.startswith("{"):
        return record
    depth = itertools.accumulate((letter == "{") - (letter == "}") for letter in record)
    end = next(at for at, braces in enumerate(depth, 1) if not braces)
    return f"`{record[:end]}`{record[end:]}"
