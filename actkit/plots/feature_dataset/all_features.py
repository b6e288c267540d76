"""All features of an SAE on a corpus: how often and strongly each is active, how many at once, which detect a token."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc

from actkit.numerals import percent
from actkit.plots.feature_rows import Floats, position_rows
from actkit.plots.picture import Drawn, LackingError, Pick, Source, d_sae_of, needs, sae_shown, sql
from actkit.plots.style import BLUE, LOG, MAX_POINTS, ORANGE, figure, panels, plain, shares, visible, wholes
from actkit.plots.traces import DIAGONAL, band, line, points
from actkit.runs.reader import Ints

DENSE = 0.1
"""Density above which a feature is called dense, as in the report of SAE health."""
POSITIONS = 128
EXACT = "Exact over the run's tokens, special ones left out; there is no interval."


def map_(run: Source, pick: Pick) -> Drawn:
    """Draw density against the largest activation, a point a feature."""
    sae, rows = stats_of(run, pick, ["feature_id", "density", "max"])
    density, most, ids = (rows[name].to_numpy(zero_copy_only=False) for name in ("density", "max", "feature_id"))
    alive = np.flatnonzero(density > 0)
    if not len(alive):
        raise LackingError("No feature is active on any token that is not special.", "another SAE or layer")
    shown = alive[:: max(1, -(-len(alive) // MAX_POINTS))]
    hover = "feature %{customdata}: density %{x:.2p}, largest %{y:.3g}<extra></extra>"
    marker = {"size": 4, "opacity": 0.75}
    shown_as = points(density[shown], most[shown], hover, ids[shown].tolist(), marker, showlegend=False)
    made = figure(shown_as, height=460)
    made.update_xaxes(title="density: share of the tokens", **shares(float(density[shown].min())))
    made.update_yaxes(title="largest activation", **LOG)
    return Drawn(
        made,
        "Every feature: how often and how strongly",
        f"{len(shown):,} of the {len(alive):,} features of {plain(sae)} that are active on some token, of {len(ids):,}. A click opens the "
        f"feature. {EXACT}",
        f"SELECT feature_id, density, max FROM 'RUN/feature_stats/*.parquet' WHERE sae = '{sql(sae)}' AND n_active > 0 ORDER BY density DESC",
        opens="feature",
    )


def l0(run: Source, pick: Pick) -> Drawn:
    """Draw active features by position, and the histogram of densities."""
    sae = sae_shown(run, pick)
    tallies: list[Ints] = [np.zeros(1024, dtype=np.int64) for _ in range(POSITIONS)]
    for rows in position_rows(run, sae, with_features=False):
        for position in range(POSITIONS):
            here = rows.n_active[(rows.positions == position) & ~rows.is_special]
            tallies[position] += np.bincount(np.minimum(here, 1023), minlength=1024)
    kept = [(at, histogram) for at, histogram in enumerate(tallies) if histogram.sum() >= 5]
    if not kept:
        raise LackingError("Fewer than five texts have a token at any position: too few to draw.", "more documents")
    made = panels(2, widths=[0.56, 0.44])
    x = [at for at, _ in kept]
    low, mid, high = (
        [int(np.searchsorted(np.cumsum(histogram), q * histogram.sum())) for _, histogram in kept]
        for q in (0.25, 0.5, 0.75)
    )
    # Traces without row and column go to the first panel.
    made.add_traces([*band(x, low, high, "quartiles", BLUE), line(x, mid, "median", 0)])
    made.update_xaxes(title="position", **wholes(x), row=1, col=1)
    made.update_yaxes(title="active features (L0)", rangemode="tozero", row=1, col=1)
    said = ""
    if "feature_stats" in run.tables:
        _, stats = stats_of(run, Pick(sae=sae), ["density"])
        density = stats["density"].to_numpy(zero_copy_only=False)
        alive = density[density > 0]
        share = go.Histogram(x=np.log10(alive), nbinsx=40, marker_color=ORANGE, showlegend=False)
        made.add_trace(share, row=1, col=2)
        made.add_vline(x=np.log10(DENSE), line=DIAGONAL, row=1, col=2)
        ticks = list(range(int(np.floor(np.log10(alive.min()))), 1)) if len(alive) else [0]
        made.update_xaxes(
            title="density", tickvals=ticks, ticktext=[f"{100 * 10.0**tick:g} %" for tick in ticks], row=1, col=2
        )
        made.update_yaxes(title="features", row=1, col=2)
        said = f" Of {len(density):,} features {percent((density == 0).mean(), len(density))} are silent and {percent((density > DENSE).mean(), len(density))} dense (above {percent(DENSE)}, dotted)."
    n = int(sum(histogram.sum() for _, histogram in kept))
    return Drawn(
        made,
        "Active features by position, and how dense features are",
        f"Median and quartiles over {n:,} tokens before position {POSITIONS} of {plain(sae)}, special ones left out.{said}",
        f"SELECT position, quantile_cont(n_active, [.25, .5, .75]) AS l0, count(*) AS n FROM 'RUN/features/*.parquet'\n"
        f"WHERE sae = '{sql(sae)}' GROUP BY 1 ORDER BY 1",
    )


def stats_of(run: Source, pick: Pick, columns: list[str]) -> tuple[str, Any]:
    """Return the SAE that is shown, and its rows of `feature_stats`. Raises LackingError."""
    needs(run, "feature_stats")
    sae = sae_shown(run, pick)
    table = run.table("feature_stats", ["sae", *columns])
    return sae, table.filter(pc.equal(table["sae"], sae))


def search(run: Source, pick: Pick) -> Drawn:
    """Draw precision against recall of every feature for one token's text."""
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


@dataclass(frozen=True)
class TokenFeatures:
    """How well every feature [d_sae] detects one token's text."""

    n_tokens: int
    """Tokens with that text."""
    hits: Ints
    """Of these, the tokens on which the feature is active."""
    active: Ints
    """All tokens on which the feature is active."""
    recall: Floats
    """Share of the tokens with that text on which the feature is active."""
    precision: Floats
    """Share of the tokens on which the feature is active that have that text."""
    f1: Floats
    """The harmonic mean of both."""


def features_of_token(run: Source, sae: str, token: str) -> TokenFeatures:
    """Measure how well the features of one SAE detect a token's text. Special tokens are left out."""
    d_sae = d_sae_of(run, sae)
    hits, active, n = np.zeros(d_sae, dtype=np.int64), np.zeros(d_sae, dtype=np.int64), 0
    for rows in position_rows(run, sae):
        keep = ~rows.is_special
        same = keep & (rows.tokens == token)
        n += int(same.sum())
        active += rows.counts(keep, d_sae)
        hits += rows.counts(same, d_sae)
    f1 = 2 * hits / np.maximum(active + n, 1)
    return TokenFeatures(n, hits, active, hits / max(n, 1), hits / np.maximum(active, 1), f1)


def _common_token(run: Source) -> str:
    """Return the commonest token of four letters or more, else of any: shorter ones say little about a feature."""
    tokens = run.table("tokens", ["token", "is_special"])
    texts = tokens.filter(pc.invert(tokens["is_special"]))["token"].combine_chunks()
    counts = [(entry["counts"], entry["values"]) for entry in pc.value_counts(texts.cast("string")).to_pylist()]
    words = [(n, text) for n, text in counts if len(text.strip()) >= 4 and text.strip().isalpha()]
    return min(words or counts, key=lambda entry: (-entry[0], entry[1]))[1] if counts else ""
