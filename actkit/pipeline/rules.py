"""`Rules`: how a recipe decides on its rows, as plain values that `run.json` keeps and `verify` goes by."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from actkit.config import Bos, Pool


@dataclass(frozen=True)
class Pooling:
    """The pooling of the positions of a text into one."""

    pool: Pool
    special: bool = False
    """Whether special tokens are pooled too."""


@dataclass(frozen=True)
class Rules:
    """Settings that rows depend on beside text, model and SAEs, as they were resolved."""

    bos: Bos = "auto"
    """How plain text begins: where SAEs were trained with BOS, or without, as they were."""
    chat: bool | None = None
    """Whether texts are renderings of chats; None where a run may have both, and the roles of tokens tell."""
    top_k: int | None = None
    """Most features of a position; None where all active ones are kept."""
    threshold: float = 0.0
    """Features that are no larger are not kept."""
    pooling: Pooling | None = None
    """None where nothing is pooled."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Rules":
        """Make the rules of a run from its `run.json`. Raises KeyError and TypeError for what `plain` did not make."""
        rules = dict(facts["rules"])
        pooling = rules.pop("pooling")
        return cls(**rules, pooling=None if pooling is None else Pooling(**pooling))

    def plain(self) -> dict[str, Any]:
        """The rules as plain values, for `run.json`."""
        return asdict(self)
