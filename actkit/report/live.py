"""A run as the viewer shows it: an index made once, and one text or one feature at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from actkit.errors import RunError
from actkit.report.feature_views import one_feature
from actkit.report.features_in_order import features_in_order, ordered_features
from actkit.report.mapped_texts import MappedTexts, mapped_texts
from actkit.report.projections import projections_of
from actkit.report.run_blocks import ROWS, beginning, drawn_pictures, n_texts, run_index
from actkit.report.text_views import Projection, Scale, scales_of, views_of
from actkit.report.token_index import token_index
from actkit.runs.by_sequence import sequence_of_record
from actkit.runs.part import read_part
from actkit.runs.reader import parts
from actkit.runs.run import Run


@dataclass
class LiveRun:
    """One run of a viewer."""

    run: Run
    scales: list[Scale] = field(default_factory=list)

    def prepare(self) -> None:
        """Make scales, pictures and the index, which every page needs. For a large run this takes time."""
        self.scales = scales_of(self.run.path, self.run.facts.get("saes", ()))
        _ = self.pictures, self.index, self.projections, self.texts

    @cached_property
    def texts(self) -> MappedTexts | None:
        """The texts that contexts of features are cut from; None where the disk has no room for them."""
        return mapped_texts(self.run.path, self.run.facts["counts"]["tokens"]) if self.scales else None

    @cached_property
    def pictures(self) -> list[tuple[str, str, Any]]:
        """The run's pictures."""
        return drawn_pictures(self.run)

    @cached_property
    def projections(self) -> list[Projection]:
        """The quantities that can colour texts."""
        return projections_of(self.run)

    @cached_property
    def index(self) -> dict[str, Any]:
        """Data for the page's script: the first texts, the features of most tokens, the search."""
        run = self.run
        features, missing = [], []
        for scale in self.scales:
            _, rows = ordered_features(run, scale)
            if len(rows) > ROWS:
                missing.append(
                    f"the first {ROWS:,} of {len(rows):,} active features of {scale.sae} are listed; each has a page"
                )
            features.append([[*row[:4], "live", *row[5:]] for row in rows[:ROWS]])
        sequences = list(self._listed())
        n = n_texts(run)
        if len(sequences) < n:
            missing.append(f"the first {ROWS:,} of {n:,} texts are listed; each has a page")
        return run_index(run, self.scales, sequences, features, self._tokens(), missing)

    def sequence(self, number: int) -> dict[str, Any]:
        """One text. Raises RunError where there is none."""
        return views_of(self.run.path, [number], self.scales, self.projections)[0]

    def feature(self, sae: int, number: int) -> dict[str, Any]:
        """One feature. Raises RunError where there is none."""
        if not 0 <= sae < len(self.scales) or not 0 <= number < len(self.scales[sae].maxima):
            raise RunError(f"no feature {number} of SAE {sae}")
        return one_feature(self.run.path, sae, number, self.scales[sae], self.texts)

    def record(self, number: int) -> dict[str, int | None]:
        """The first text of a record; None where the record has none."""
        return {"sequence": sequence_of_record(self.run.path, number)}

    def _listed(self) -> Iterator[list[Any]]:
        columns = ["sequence_id", "record_id", "side", "label", "n_tokens", "parent_id", "text"]
        n = 0
        for part in parts(self.run.path, "sequences"):
            rows = read_part(part, columns).to_pylist()
            parents = {row["parent_id"] for row in rows}
            for row in rows:
                if row["sequence_id"] in parents:
                    continue
                if n >= ROWS:
                    return
                n += 1
                yield [*(row[name] for name in columns[:5]), "live", beginning(row["text"] or ""), row["parent_id"]]

    def _tokens(self) -> list[Any]:
        if not self.scales:
            return []
        index = token_index(self.run.path)
        for scale in self.scales:
            index.start_sae()
            for feature, rows in features_in_order(self.run.path, scale.sae, len(scale.maxima)):
                index.count(feature, index.rows(rows))
        return index.found()
