"""`Progress`: the counters and timings that `extract` reports, keeps with each shard and writes into `run.json`."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from actkit.errors import UsageError, in_short

COUNTERS = ("read", "written", "rejected", "truncated", "tokens", "special_in_text", "unknown_in_text", "sinks")
MOST_NAMES = 1000
"""Most names that are counted for a kind: input with new keys in every record must not fill the memory."""
LONGEST, OTHERS = 200, "(others)"
TEMPLATE_TOKENS, TOUCHING, REPEATING, CONTRARY = "template_tokens", "touching", "repeating", "contrary_scores"
"""Kinds that are counted besides shapes and fields: records whose one position is a token of the chat template itself,
records whose prompt and answer were joined with nothing between, records whose answer begins with the prompt, and pairs
whose rejected answer has the better score."""


@dataclass(frozen=True)
class Step:
    """A point of a progress bar: `done` of `total` records, the present stage, and the tokens that were run by then."""

    stage: str
    """A part of the work as `Progress.timed` names it: read, tokenize, forward, reduce, order, finish, verify, …"""
    done: float = 0
    """Records whose rows are made; a record in progress counts by its finished share."""
    total: float | None = None
    """About how many records there are; None where that is unknown."""
    tokens: float = 0


@dataclass
class Progress:
    """Counters and timings of a run; handed to `on_progress` after every batch and every rejected record."""

    read: int = 0
    written: int = 0
    rejected: int = 0
    truncated: int = 0
    tokens: int = 0
    """Tokens of the sequences, each shared beginning counted once."""
    special_in_text: int = 0
    """Records whose text has special tokens typed into it."""
    unknown_in_text: int = 0
    """Records with characters that the tokenizer does not know, if it has a token for unknown ones."""
    sinks: int = 0
    """Attention sinks among the positions read, special tokens not counted."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why records were rejected, and how many for each reason."""
    first_rejected: str = ""
    """The first rejected record: its place, field, reason and value."""
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind → name → usable records with it: `shapes`, `fields_read`, `fields_left`, and the kinds named above."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Part of the work → its time in seconds; parts follow one another."""
    within: dict[str, float] = field(default_factory=dict)
    """Seconds of work inside another part (`encode`, in `reduce`) or in parallel with the parts (`write`)."""
    notes: list[str] = field(default_factory=list)
    """Notes for the user: damaged shards, memory that ran out."""

    def __post_init__(self) -> None:
        # For progress bars; these are not kept with a shard.
        self.part = ""
        """The part of the work that is being timed now."""
        self.total: int | None = None
        """About how many records there are."""
        self.computed = 0.0
        """Records of the finished shards."""
        self.shard: tuple[float, int] = (0, 0)
        self.share = 0.0
        """`shard` has the records and tokens of the shard in progress, `share` the finished share of it."""

    @property
    def step(self) -> Step:
        """The present point of the bar."""
        records, tokens = self.shard
        done = round(self.computed + self.share * records, 6)  # shares of a record that is in several shards add up
        known = self.total is not None and done <= self.total
        return Step(self.part or "compute", done, self.total if known else None, self.tokens + self.share * tokens)

    def reject(self, reason: str, told: str = "") -> None:
        """Count one rejected record; `told` describes it, and is kept for the first."""
        self.first_rejected = self.first_rejected or told
        self.rejected += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def tally(self, said: Mapping[str, Iterable[str]]) -> None:
        """Count the names (kind → names) of one record; names beyond `MOST_NAMES` of a kind count as `OTHERS`."""
        for kind, names in said.items():
            counts = self.seen.setdefault(kind, {})
            for name in names:
                short = name[:LONGEST].encode("utf-8", "backslashreplace").decode()
                key = short if short in counts or len(counts) < MOST_NAMES else OTHERS
                counts[key] = counts.get(key, 0) + 1

    def add(self, now: "Progress", before: "Progress") -> None:
        """Add the counts that another `Progress` made between `before` and `now`."""
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(now, name) - getattr(before, name))
        for name in ("reasons", "seconds", "within"):
            own, new, old = getattr(self, name), getattr(now, name), getattr(before, name)
            own.update({key: own.get(key, 0) + value - old.get(key, 0) for key, value in new.items()})
        for kind, counts in now.seen.items():
            own, old = self.seen.setdefault(kind, {}), before.seen.get(kind, {})
            own.update({name: own.get(name, 0) + count - old.get(name, 0) for name, count in counts.items()})
        self.first_rejected = self.first_rejected or now.first_rejected
        self.notes.extend(now.notes[len(before.notes) :])

    def since(self, before: "Progress") -> "Progress":
        """The counts since an earlier state, `before`."""
        found = Progress()
        found.add(self, before)
        if before.first_rejected:
            found.first_rejected = ""
        for name in ("reasons", "seconds", "within"):
            setattr(found, name, {key: value for key, value in getattr(found, name).items() if value})
        found.seen = {kind: {name: n for name, n in counts.items() if n} for kind, counts in found.seen.items()}
        return found

    @contextmanager
    def timed(self, part: str, within: bool = False) -> Iterator[None]:
        """Add the time spent inside to `part` of `seconds`; with `within`, where another part is timed, of `within`."""
        start, times = time.perf_counter(), self.within if within else self.seconds
        before = self.part
        if not within:
            self.part = part
        try:
            yield
        finally:
            self.part = before
            times[part] = times.get(part, 0.0) + time.perf_counter() - start


OnProgress = Callable[[Progress], None]


def check_callable(on_progress: OnProgress) -> None:
    """Raise UsageError for an `on_progress` that cannot be called, before anything is run."""
    if not callable(on_progress):
        raise UsageError(
            f"on_progress {in_short(repr(on_progress))} is not possible", "give a function, or leave it out"
        )


def reasons(progress: Progress) -> str:
    """The three most common reasons for rejected records, as the end of a sentence."""
    most = sorted(progress.reasons.items(), key=lambda item: -item[1])[:3]
    return ": " + "; ".join(f"{count} × {reason}" for reason, count in most) if most else ""


def profile(progress: Progress) -> Mapping[str, Mapping[str, float | None]]:
    """Part → its `seconds`, and the run's tokens by them, `tokens_per_second` (None where a part took no time).

    * tokenize: records read and turned into token ids
    * forward: batches planned and run through the model
    * encode: SAEs' features computed, selected and pooled, their health counted
    * reduce: vectors turned into rows
    * order: a shard's rows put into the order of the input
    * write: tables written, in parallel with the other parts
    * wait: idle until a table is written; on CUDA also until the next shard is read or the rows of the batch before are
      made
    * finish: tables over the finished run

    All but `write` follow one another. On CUDA, tokenize, encode and reduce wait for the device in parallel with
    forward, which then only feeds it. A continued run includes the seconds of the shards finished before.
    """
    spent, within = progress.seconds, progress.within
    encode = within.get("encode", 0.0)
    parts = {
        "tokenize": spent.get("read", 0.0) + spent.get("tokenize", 0.0),
        "forward": spent.get("forward", 0.0),
        "encode": encode,
        "reduce": spent.get("reduce", 0.0) - encode,
        "order": spent.get("order", 0.0),
        "write": within.get("write", 0.0),
        "wait": sum(spent.get(f"wait_for_{what}", 0.0) for what in ("writer", "rows", "shard")),
        "finish": spent.get("finish", 0.0),
    }
    return {
        part: {
            "seconds": round(seconds, 3),
            "tokens_per_second": round(progress.tokens / seconds, 1) if seconds > 0 else None,
        }
        for part, seconds in parts.items()
    }
