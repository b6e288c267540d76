"""Stage 4 under interventions: run a batch once by the unsteered model and once under each intervention.

For each kept position and intervention the log-probability of the next token is kept. Neutral texts measure the cost of
an intervention; for these, the KL divergence of the whole next-token distribution is kept too.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from actkit.backends import Model
from actkit.backends.actions import Action
from actkit.backends.interventions import Intervention
from actkit.backends.steered import steered_batch
from actkit.pipeline.data import Batch, Ints, Kept, TokenSequence

LOGPROB, KL, RAN, WORDS = "logprob", "kl", "ran", ("words_positive", "words_negative")
"""The keys of `Kept.activations` in place of hook points, [n, interventions] each, on the CPU; `ran` is 1 where run."""
AT_ONCE = 1 << 26
"""Most logits computed at once: 256 MB in float32."""


@dataclass(frozen=True)
class Steering:
    """The interventions under which each batch is run, and the measures computed from the logits."""

    actions: Sequence[Action]
    """The interventions as rows of the table `interventions`."""
    interventions: Sequence[Intervention]
    """The same as edits, by id; the first one is the unsteered model."""
    of_kind: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """Kind of text → the ids of the interventions under which it is run; all of them for a kind that is not here."""
    costs: int = -1
    """The kind of the texts whose KL is computed."""
    words: tuple[Ints, Ints] | None = None
    """Token ids of two sets of words: the log-probability that the next token is in a set is kept too."""

    def of(self, kind: int) -> Sequence[int]:
        """Return the ids of the interventions for one kind of text."""
        return self.of_kind.get(kind, range(len(self.interventions)))


def forward_steered(
    model: Model,
    batch: Batch,
    sequences: Sequence[TokenSequence],
    steering: Steering,
    on_share: Callable[[float], None] = lambda _share: None,
) -> Kept:
    """Run a batch under each intervention and measure the logits at the kept positions.

    After each, `on_share` gets the finished share of the batch, 0 to 1: hundreds of interventions take minutes.
    Raises ModelError for a model that cannot be steered.
    """
    known = {each.sequence_id: each for each in sequences}
    owners = [known[int(each)] for each in batch.sequence_ids]
    following = np.array([_next(owner, int(at)) for owner, at in zip(owners, batch.kept_positions, strict=True)])
    kinds = np.array([owner.kind for owner in owners])
    work = Counter(sorted(kinds.tolist()))
    names = (LOGPROB, KL, *(WORDS if steering.words else ()))
    size = (len(following), len(steering.interventions))
    found = {RAN: torch.zeros(size), **{name: torch.full(size, torch.nan) for name in names}}
    total, done = sum(n * len(steering.of(kind)) for kind, n in work.items()), 0
    for kind in work:
        for _ in _of_kind(model, batch, kind, np.flatnonzero(kinds == kind), following, steering, found):
            done += work[kind]
            on_share(done / total)
    return Kept(batch.sequence_ids, batch.kept_positions, batch.is_special, found)


def _of_kind(
    model: Model,
    batch: Batch,
    kind: int,
    kept: Ints,
    following: Ints,
    steering: Steering,
    found: Mapping[str, torch.Tensor],
) -> Iterator[int]:
    """Run the rows of a batch with texts of one kind, and write the measures at kept positions `kept` [m] into `found`.

    Yields the id of each intervention after it has been run.
    """
    assert batch.steered is not None, "every text of a steered run says where it is steered"
    own, targets = torch.from_numpy(kept), torch.from_numpy(following[kept])
    rows, at = torch.unique(batch.rows[own], return_inverse=True)
    tree = None if batch.tree is None else batch.tree[rows]
    given = batch.input_ids[rows], batch.positions[rows], tree, batch.steered[rows]
    run = steered_batch(model, *given, at, batch.columns[own])
    wanted = [steering.interventions[number] for number in steering.of(kind)]
    run.keep_below(wanted)
    plain: torch.Tensor | None = None
    for number, intervention in zip(steering.of(kind), wanted, strict=True):
        logits = run.logits(intervention)
        device, normaliser = logits.device, torch.logsumexp(logits, dim=-1)
        next_ids = targets.to(device)
        logprob = logits.gather(1, next_ids.clamp_min(0)[:, None])[:, 0] - normaliser
        found[LOGPROB][own, number] = torch.where(next_ids < 0, torch.nan, logprob).cpu()
        found[RAN][own, number] = 1.0
        if kind == steering.costs:
            distribution = logits - normaliser[:, None]
            plain = distribution if plain is None else plain
            kl = (plain.exp() * (plain - distribution)).sum(-1)
            found[KL][own, number] = kl.clamp_min(0).cpu()
        for name, ids in zip(WORDS, steering.words or (), strict=False):
            chosen = logits[:, torch.from_numpy(ids).to(device)]
            found[name][own, number] = (torch.logsumexp(chosen, dim=-1) - normaliser).cpu()
        yield number


def _next(sequence: TokenSequence, position: int) -> int:
    """Return the token after a position; -1 after the last."""
    ids = sequence.encoding.token_ids
    return int(ids[position + 1]) if position + 1 < len(ids) else -1


def most_tokens(vocabulary: int, asked: int) -> int:
    """Return the tokens of a batch whose logits fit into memory: as requested, but no more than AT_ONCE logits."""
    return max(min(asked, AT_ONCE // max(vocabulary, 1)), 1)


def by_sequence(kept: Kept) -> tuple[Ints, dict[str, "np.typing.NDArray[np.float64]"]]:
    """Return the ids of the sequences, and for each name a sum over each one's positions; for words the last position.

    A sum is [sequences, interventions] in float64. The names include `ran`, which comes from the last position too, and
    `n_tokens` [sequences, 1]: the number of positions with a token after them.
    """
    ids, at = np.unique(kept.sequence_ids, return_inverse=True)
    last = np.zeros(len(ids), dtype=np.int64)
    last[at] = np.arange(len(at))  # of equal indices the last one stays
    tensors = {name: part for name, part in kept.activations.items() if isinstance(part, torch.Tensor)}
    values = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
    followed = ~np.isnan(values[LOGPROB][:, :1])
    found: dict[str, np.typing.NDArray[np.float64]] = {}
    for name, rows in values.items():
        if name in (*WORDS, RAN):
            found[name] = rows[last]
            continue
        total = np.zeros((len(ids), rows.shape[1]))
        np.add.at(total, at, np.where(followed, rows, 0.0))
        found[name] = total
    count = np.zeros((len(ids), 1))
    np.add.at(count, at, followed.astype(np.float64))
    return ids, {**found, "n_tokens": count}
