"""The table of known shapes of prompts, answered prompts and chats, which the documentation shows.

They need no telling apart, as preference pairs do: `prompts.py` reads any of them from the fields in `names.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
