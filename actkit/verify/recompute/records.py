"""Compute records of finished shards again on the plain model, a sequence at a time, and compare them with the tables.

None of the code that computed the run is used: `actkit.backends.reference` runs the Hugging Face model on a sequence's
whole path of token ids, without padding, and the SAEs' own `encode` turns the activations into features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from actkit.backends import Description
from actkit.backends.interventions import Intervention
from actkit.backends.reference import PlainModel
from actkit.backends.saes.sae import Sae
from actkit.config import StoreDtype
from actkit.hooks import HookPoint
from actkit.pipeline.data import Ints
from actkit.pipeline.recipe import Pooling, Rules
from actkit.runs.reader import lists_in, matrix, parts
from actkit.verify.recompute.differences import Recomputed, Tolerance, tolerance
from actkit.verify.recompute.features import Cut, compare_pooled, compare_token, pooled_vector, positions_pooled
from actkit.verify.recompute.health import HealthAgain
from actkit.verify.recompute.retokenize import Retokenizer
from actkit.verify.recompute.sinks import Norms, other_sinks
from actkit.verify.recompute.steered import compare_logprobs
from actkit.verify.recompute.stored import StoredSequence, read_records, records_in

AT_ONCE = 8
"""Records whose stored values are in memory at once."""
CHUNK = 1 << 23
"""Tokens × features encoded at once: 32 MB in float32."""
NO_MODULE = "no module's input or output: only the bridge computes it"
NO_SAE = "it is not known where the SAE is"
NO_POOLING = "the tables do not tell which positions the text was pooled over"
Read = Mapping[HookPoint, torch.Tensor]


@dataclass(frozen=True)
class Recomputing:
    """Computes records of runs again: the model, the SAEs, and the rules by which the rows were made."""

    model: PlainModel
    saes: Mapping[str, Sae]
    texts: Retokenizer
    cut: Cut
    pooling: Pooling | None
    """None where nothing was pooled."""
    tolerance: Tolerance
    interventions: Mapping[int, tuple[Intervention, str]] = field(default_factory=dict)
    """For runs that steer: id → the intervention, and the positions at which it acts."""
    norms: Norms = field(default_factory=dict)
    """Hook point → norm, where `is_sink` is checked; empty where it is not."""
    health: HealthAgain = field(default_factory=HealthAgain)
    """Health of the SAEs, where all records are computed again; else of none."""

    @classmethod
    def by(
        cls,
        rules: Rules,
        store_dtype: StoreDtype,
        description: Description,
        plain: PlainModel,
        saes: Mapping[str, Sae],
        interventions: Mapping[int, tuple[Intervention, str]],
        same_attention: bool = True,
        spells: bool = True,
    ) -> "Recomputing":
        """Make a `Recomputing` for a run that was made by these rules; `saes` by name.

        See `Recomputing.interventions`, `tolerance` and `Retokenizer.spells`.
        """
        return cls(
            plain,
            saes,
            Retokenizer(description.tokenizer, rules.bos, rules.chat, spells),
            Cut(rules.top_k, rules.threshold),
            rules.pooling,
            tolerance(description.spec.dtype, store_dtype, same_attention),
            interventions,
        )

    def run(
        self,
        run: Path,
        n: int,
        seed: int,
        only: Sequence[str] = (),
        into: Recomputed | None = None,
        on_record: Callable[[int], None] = lambda _n: None,
    ) -> Recomputed:
        """Compute `n` records again, drawn with `seed` from all shards or from those whose parts are called `only`.

        Returns the counts, added to `into` where it is given. Calls `on_record` with the number of records done. Raises
        ModelError where a module is not run as expected.
        """
        found = into or Recomputed(self.tolerance)
        for part, records in drawn(run, n, seed, only).items():
            for first in range(0, len(records), AT_ONCE):
                for record in read_records(run, part, records[first : first + AT_ONCE].tolist()):
                    found.count(int(record[0].row["record_id"]))
                    self.texts.check(run, part, record, found.texts)
                    for sequence in record:
                        self._sequence(sequence, found)
                    on_record(found.records)
        return found

    def _sequence(self, sequence: StoredSequence, found: Recomputed) -> None:
        wanted = {
            HookPoint.of(name)
            for table in ("activations", "pooled_activations")
            for name in sequence.values.get(table, ())
        }
        for name in (name for table in ("features", "pooled_features") for name in sequence.values.get(table, ())):
            if name in self.saes:
                wanted.add(self.saes[name].hook_point)
            else:
                found.not_recomputed[name] = NO_SAE
        found.not_recomputed |= {str(point): NO_MODULE for point in sorted(wanted) if not self.model.has(point)}
        points = sorted(point for point in wanted if self.model.has(point))
        for table in sequence.values.get("logprobs", {}).values():
            found.sequences += 1
            found.tokens += len(sequence.token_ids)
            compare_logprobs(self.model, sequence, table, self.interventions, found)
        if not points:
            return
        found.sequences += 1
        found.tokens += len(sequence.token_ids)
        read = self.model.read(sequence.token_ids, points)
        self.health.count(sequence, read)
        found.others += other_sinks(sequence, read, self.norms, self.tolerance.vectors)
        for name, table in sequence.values.get("activations", {}).items():
            stored, positions = matrix(table), table["position"].to_numpy()
            if HookPoint.of(name) in read and stored is not None:
                again = read[HookPoint.of(name)].cpu().to(torch.float64).numpy()[positions]
                found.vectors_of(name).compare(stored, again, [f"{sequence.place}, position {at}" for at in positions])
        for name, table in sequence.values.get("features", {}).items():
            if name in self.saes and self.saes[name].hook_point in read:
                self._features(sequence, self.saes[name], table, read, found)
        if sequence.values.keys() & {"pooled_activations", "pooled_features"}:
            self._pooled(sequence, read, found)

    def _features(self, sequence: StoredSequence, sae: Sae, table: pa.Table, read: Read, found: Recomputed) -> None:
        positions, n_active = table["position"].to_numpy(), table["n_active"].to_numpy()
        both = (lists_in(table, f"feature_{name}") for name in ("ids", "activations"))
        ids, values = (np.split(flat, np.cumsum(lengths)[:-1]) for flat, lengths in both)
        step = max(CHUNK // sae.d_sae, 1)
        for first in range(0, len(positions), step):
            x = read[sae.hook_point][torch.tensor(positions[first : first + step])]
            with torch.inference_mode():
                encoded = sae.encode(x).float().cpu().numpy()
            for row, again in enumerate(encoded, first):
                where = f"{sequence.place}, position {positions[row]}"
                stored = ids[row], values[row], int(n_active[row])
                compare_token(found.features_of(sae.name), sae, x[row - first], again, stored, self.cut, where)

    def _pooled(self, sequence: StoredSequence, read: Read, found: Recomputed) -> None:
        positions = positions_pooled(self.pooling, sequence) if self.pooling is not None else None
        if self.pooling is None or positions is None:
            found.not_recomputed["pooled tables"] = NO_POOLING
            return
        for name, table in sequence.values.get("pooled_activations", {}).items():
            stored = matrix(table)
            if HookPoint.of(name) in read and stored is not None:
                again = pooled_vector(read[HookPoint.of(name)][torch.tensor(positions)])
                found.vectors_of(f"pooled {name}").compare(stored, again, [sequence.place])
        for name, table in sequence.values.get("pooled_features", {}).items():
            if name in self.saes and self.saes[name].hook_point in read:
                sae = self.saes[name]
                x, seen = read[sae.hook_point][torch.tensor(positions)], found.features_of(f"pooled {name}")
                compare_pooled(seen, sae, x, positions, table, self.pooling.pool, sequence.place)


def drawn(run: Path, n: int, seed: int, only: Sequence[str] = ()) -> dict[str, Ints]:
    """Part → ids of the records drawn from it, ascending: `n` of all that have sequences, or all where there are fewer.

    A record in several shards counts as several, one for each shard. With `only`, records of the parts of those names.
    """
    records = {part.name: records_in(part) for part in parts(run, "sequences") if not only or part.name in only}
    owner = np.repeat(np.arange(len(records)), [len(record) for record in records.values()])
    every = np.concatenate([*records.values(), np.zeros(0, dtype=np.int64)])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(every))[:n])
    found = {name: every[chosen[owner[chosen] == number]] for number, name in enumerate(records)}
    return {name: table for name, table in found.items() if len(table)}
