"""Features that are active on a token's text: recall and precision of each."""

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from actkit.numerals import percent
from actkit.plots.feature_dataset.all_features import EXACT
from actkit.plots.feature_rows import position_rows
from actkit.plots.picked import d_sae_of, sae_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Source, sql
from actkit.plots.style import MAX_POINTS, figure, plain, shares, visible
from actkit.plots.traces import points


def search(run: Source, pick: Pick) -> Drawn:
    """Precision against recall of every feature for one token's text."""
    sae = sae_shown(run, pick)
    token = pick.token if pick.token is not None else _common_token(run)
    found = features_of_token(run, sae, token)
    if not found.n_tokens:
        raise LackingError(f"No token of this run reads {visible(token)!r}.", "spaces count: ' the' is not 'the'")
    order = np.argsort(-found.f1, kind="stable")[:MAX_POINTS]
    order = order[found.hits[order] > 0]
    best = order[0] if len(order) else 0
    hover = "feature %{customdata}: recall %{x:.2p}, precision %{y:.2p}<extra></extra>"
    marker = {"size": 6, "opacity": 0.8}
    shown = points(found.recall[order], found.precision[order], hover, order.tolist(), marker, showlegend=False)
    made = figure(shown, height=440)
    ends = [-0.02, 1.03]
    made.update_xaxes(title="recall: share of these tokens on which it is active", range=ends, **shares())
    made.update_yaxes(title="precision: share of its tokens that are these", range=ends, **shares())
    return Drawn(
        made,
        f"Which features are active on {plain(token.replace(' ', '·'), 20)}",
        f"{found.n_tokens:,} tokens with this text and {len(order):,} features of {plain(sae)} that are active on one of them; best by F1: feature "
        f"{best}, recall {percent(found.recall[best], found.n_tokens)}, precision {percent(found.precision[best], int(found.active[best]))}. {EXACT}",
        f"SELECT feature_id, count(*) AS hits FROM 'RUN/feature_positions/*.parquet' JOIN 'RUN/tokens/*.parquet' USING (sequence_id, position)\n"
        f"WHERE sae = '{sql(sae)}' AND token = '{sql(visible(token))}' GROUP BY 1 ORDER BY hits DESC",
        opens="feature",
    )


class TokenFeatures:
    """How every feature [d_sae] does as a detector of one token's text."""

    def __init__(self, hits: npt.NDArray[np.int64], active: npt.NDArray[np.int64], n_tokens: int) -> None:
        self.hits, self.active, self.n_tokens = hits, active, n_tokens

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of the tokens with that text on which it is active."""
        return self.hits / max(self.n_tokens, 1)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """Share of the tokens on which it is active that have that text."""
        found: npt.NDArray[np.float64] = self.hits / np.maximum(self.active, 1)
        return found

    @property
    def f1(self) -> npt.NDArray[np.float64]:
        """Their harmonic mean."""
        found: npt.NDArray[np.float64] = 2 * self.hits / np.maximum(self.active + self.n_tokens, 1)
        return found


def features_of_token(run: Source, sae: str, token: str) -> TokenFeatures:
    """How the features of one SAE do as detectors of a token's text; special tokens are left out."""
    d_sae = d_sae_of(run, sae)
    hits, active, n = np.zeros(d_sae, dtype=np.int64), np.zeros(d_sae, dtype=np.int64), 0
    for rows in position_rows(run, sae):
        keep = ~rows.is_special
        same = keep & (rows.tokens == token)
        n += int(same.sum())
        owner = np.repeat(np.arange(len(keep)), rows.lengths)
        active += np.bincount(rows.feature_ids[keep[owner]], minlength=d_sae)
        hits += np.bincount(rows.feature_ids[same[owner]], minlength=d_sae)
    return TokenFeatures(hits, active, n)


def _common_token(run: Source) -> str:
    """The commonest token of four letters or more: shorter ones say little about a feature."""
    tokens = run.table("tokens", ["token", "is_special"])
    texts = tokens.filter(pc.invert(tokens["is_special"]))["token"].combine_chunks()
    counts = [(entry["counts"], entry["values"]) for entry in pc.value_counts(texts.cast("string")).to_pylist()]
    words = [(n, text) for n, text in counts if len(text.strip()) >= 4 and text.strip().isalpha()]
    return min(words or counts, key=lambda entry: (-entry[0], entry[1]))[1] if counts else ""
