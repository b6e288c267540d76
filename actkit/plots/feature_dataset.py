"""Pictures of a corpus through an SAE: the map of its features, one feature, what a token's text has, whole documents."""

from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import pyarrow.compute as pc

from actkit.numerals import percent
from actkit.plots.feature_rows import position_rows, sae_shown
from actkit.plots.picture import Drawn, LackingError, Pick, Picture, Source, columns_of, needs, sql
from actkit.plots.strip import MOST, strip
from actkit.plots.style import (
    BLUE,
    GREY,
    LOG,
    MAX_POINTS,
    ORANGE,
    band,
    counts,
    figure,
    line,
    panels,
    plain,
    visible,
    wholes,
)
from actkit.runs.by_feature import positions_of_feature
from actkit.runs.by_sequence import sequences_of

BINS = 40
"""Of a feature's histogram, between 0 and its largest activation."""
DENSE = 0.1
"""Density above which a feature is called dense, as in the report of SAE health."""
POSITIONS = 128
NOT_SAID = "Exact over the run's tokens, special ones left out; there is no interval."


def map_(run: Source, pick: Pick) -> Drawn:
    """Density against the largest activation, a point a feature."""
    sae, rows = _stats(run, pick, ["feature_id", "density", "max"])
    density, most, ids = (rows[name].to_numpy(zero_copy_only=False) for name in ("density", "max", "feature_id"))
    alive = np.flatnonzero(density > 0)
    if not len(alive):
        raise LackingError("No feature is active on any token that is not special.", "another SAE or layer")
    shown = alive[:: max(1, -(-len(alive) // MAX_POINTS))]
    made = figure(
        go.Scatter(
            x=density[shown],
            y=most[shown],
            mode="markers",
            marker={"color": BLUE, "size": 4, "opacity": 0.75},
            customdata=ids[shown].tolist(),
            hovertemplate="feature %{customdata}: density %{x:.3%}, largest %{y:.3g}<extra></extra>",
            showlegend=False,
        ),
        height=460,
    )
    made.update_xaxes(title="density: share of the tokens", **{**LOG, "dtick": 1, "tickformat": "~%"})
    made.update_yaxes(title="largest activation", **LOG)
    return Drawn(
        made,
        "Every feature: how often and how strongly",
        f"{len(shown):,} of the {len(alive):,} features of {plain(sae)} that are active on some token, of {len(ids):,}. A click opens the "
        f"feature. {NOT_SAID}",
        f"SELECT feature_id, density, max FROM 'RUN/feature_stats/*.parquet' WHERE sae = '{sql(sae)}' AND n_active > 0 ORDER BY density DESC",
        opens="feature",
    )


def feature(run: Source, pick: Pick) -> Drawn:
    """One feature's activations, and what they are on."""
    sae, number = feature_shown(run, pick)
    bins, most = histogram_of(run, sae, number)
    edges = np.linspace(0, most, len(bins) + 1)
    made = figure(
        go.Bar(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=[int(count) if count else None for count in bins],
            width=float(edges[1] - edges[0]) * 0.92,
            marker_color=BLUE,
            hovertemplate="%{x:.3g}: %{y:,} tokens<extra></extra>",
        )
    )
    made.update_xaxes(title="activation", range=[0, most * 1.01])
    wide = max(bins) > 50
    made.update_yaxes(
        title="tokens",
        **({**LOG, "dtick": 1, "range": [-0.3, np.log10(max(bins)) + 0.1]} if wide else counts(max(bins))),
    )
    row = _row(run, sae, number)
    said = (
        NOT_SAID
        if row and row.get("histogram")
        else "Exact over the run's tokens, special ones included; there is no interval."
    )
    rate = f", {percent(row['density'], 3)} of the tokens" if row and row.get("density") is not None else ""
    return Drawn(
        made,
        f"Feature {number}: how strongly it is active",
        f"{int(sum(bins)):,} tokens on which feature {number} of {plain(sae)} is active{rate if said is NOT_SAID else ''}; largest activation {most:.3g}. {said}",
        f"SELECT least(floor(activation / {most:.6g} * {len(bins)}), {len(bins) - 1}) AS bin, count(*) FROM 'RUN/feature_positions/*.parquet'\n"
        f"WHERE sae = '{sql(sae)}' AND feature_id = {number} GROUP BY 1 ORDER BY 1",
    )


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
    made = figure(
        go.Scatter(
            x=found.recall[order],
            y=found.precision[order],
            mode="markers",
            marker={"color": BLUE, "size": 6, "opacity": 0.8},
            customdata=order.tolist(),
            hovertemplate="feature %{customdata}: recall %{x:.1%}, precision %{y:.1%}<extra></extra>",
            showlegend=False,
        ),
        height=440,
    )
    made.update_xaxes(
        title="recall: share of these tokens on which it is active", tickformat=".0%", range=[-0.02, 1.03]
    )
    made.update_yaxes(title="precision: share of its tokens that are these", tickformat=".0%", range=[-0.02, 1.03])
    return Drawn(
        made,
        f"Which features are active on {plain(token.replace(' ', '·'), 20)}",
        f"{found.n_tokens:,} tokens with this text and {len(order):,} features of {plain(sae)} that are active on one of them; best by F1: feature "
        f"{best}, recall {percent(found.recall[best], 1)}, precision {percent(found.precision[best], 1)}. {NOT_SAID}",
        f"SELECT feature_id, count(*) AS hits FROM 'RUN/feature_positions/*.parquet' JOIN 'RUN/tokens/*.parquet' USING (sequence_id, position)\n"
        f"WHERE sae = '{sql(sae)}' AND token = '{sql(visible(token))}' GROUP BY 1 ORDER BY hits DESC",
        opens="feature",
    )


def document(run: Source, pick: Pick) -> Drawn:
    """One sequence with the heat of one feature: that of the picture `feature`, where it is strongest, unless picked."""
    needs(run, "features")
    sae, feature = feature_shown(run, pick)
    places = positions_of_feature(run.path, sae, feature)
    sequence = _sequence(run, pick, places)
    text = sequences_of(run.path, [sequence])[sequence]
    here = places.filter(pc.equal(places["sequence_id"], sequence))
    values = dict(zip(here["position"].to_pylist(), here["activation"].to_pylist(), strict=True))
    boxes = [box for box in text.boxes if not box.is_special]
    heat = [max((values.get(at, 0.0) for at in range(box.first, box.last + 1)), default=0.0) for box in boxes]
    most = max(places["activation"].to_pylist(), default=1.0)
    made = strip([("", [box.text for box in boxes], heat)], "activation", signed=False, top=most)
    return Drawn(
        made,
        f"Feature {feature} over sequence {sequence} (record {text.row['record_id']})",
        f"The first {min(len(boxes), MOST):,} of {len(boxes):,} tokens, special ones left out; activation of feature {feature} of {plain(sae)}, from 0 to its "
        "largest anywhere. One text, no interval.",
        f"SELECT position, activation FROM 'RUN/feature_positions/*.parquet'\n"
        f"WHERE sequence_id = {sequence} AND sae = '{sql(sae)}' AND feature_id = {feature} ORDER BY position",
    )


def l0(run: Source, pick: Pick) -> Drawn:
    """Active features by position, and the histogram of densities."""
    sae = sae_shown(run, pick)
    tallies: list[npt.NDArray[np.int64]] = [np.zeros(1024, dtype=np.int64) for _ in range(POSITIONS)]
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
    for trace in (*band(x, low, high, "quartiles", BLUE), line(x, mid, "median", 0)):
        made.add_trace(trace, row=1, col=1)
    made.update_xaxes(title="position", **wholes(x), row=1, col=1)
    made.update_yaxes(title="active features (L0)", rangemode="tozero", row=1, col=1)
    said = ""
    if "feature_stats" in run.tables:
        _, stats = _stats(run, Pick(sae=sae), ["density"])
        density = stats["density"].to_numpy(zero_copy_only=False)
        alive = density[density > 0]
        share = go.Histogram(x=np.log10(alive), nbinsx=40, marker_color=ORANGE, showlegend=False)
        made.add_trace(share, row=1, col=2)
        made.add_vline(x=np.log10(DENSE), line={"color": GREY, "dash": "dot"}, row=1, col=2)
        ticks = list(range(int(np.floor(np.log10(alive.min()))), 1)) if len(alive) else [0]
        made.update_xaxes(title="density", tickvals=ticks, ticktext=[_percent(tick) for tick in ticks], row=1, col=2)
        made.update_yaxes(title="features", row=1, col=2)
        said = f" Of {len(density):,} features {percent((density == 0).mean(), 1)} are silent and {percent((density > DENSE).mean(), 1)} dense (above {percent(DENSE)}, dotted)."
    n = int(sum(histogram.sum() for _, histogram in kept))
    return Drawn(
        made,
        "Active features by position, and how dense features are",
        f"Median and quartiles over {n:,} tokens before position {POSITIONS} of {plain(sae)}, special ones left out.{said}",
        f"SELECT position, quantile_cont(n_active, [.25, .5, .75]) AS l0, count(*) AS n FROM 'RUN/features/*.parquet'\n"
        f"WHERE sae = '{sql(sae)}' GROUP BY 1 ORDER BY 1",
    )


PICTURES = (
    Picture("map", "every feature: density and largest activation", map_),
    Picture("feature", "one feature's activations", feature),
    Picture("search", "features of one token's text: recall and precision", search),
    Picture("document", "a whole sequence with one feature's heat", document),
    Picture("l0", "active features by position; densities", l0),
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
    d_sae = next(entry["d_sae"] for entry in run.facts["saes"] if entry["name"] == sae)
    hits, active, n = np.zeros(d_sae, dtype=np.int64), np.zeros(d_sae, dtype=np.int64), 0
    for rows in position_rows(run, sae):
        keep = ~rows.is_special
        same = keep & (rows.tokens == token)
        n += int(same.sum())
        owner = np.repeat(np.arange(len(keep)), rows.lengths)
        active += np.bincount(rows.feature_ids[keep[owner]], minlength=d_sae)
        hits += np.bincount(rows.feature_ids[same[owner]], minlength=d_sae)
    return TokenFeatures(hits, active, n)


def feature_shown(run: Source, pick: Pick) -> tuple[str, int]:
    """The feature that was picked, or of those that are not dense the one of the largest activation × count."""
    sae = sae_shown(run, pick)
    if pick.feature is not None:
        d_sae = next(entry["d_sae"] for entry in run.facts["saes"] if entry["name"] == sae)
        if not 0 <= pick.feature < d_sae:
            raise LackingError(f"{sae} has no feature {pick.feature}.", f"they are numbered from 0 to {d_sae - 1}")
        return sae, pick.feature
    _, rows = _stats(run, pick, ["feature_id", "density", "max"])
    density, most = (rows[name].to_numpy(zero_copy_only=False) for name in ("density", "max"))
    score = np.where((density > 0) & (density <= DENSE), np.nan_to_num(most) * np.sqrt(np.maximum(density, 0)), 0)
    return sae, int(rows["feature_id"][int(score.argmax())].as_py())


def histogram_of(run: Source, sae: str, number: int) -> tuple[list[int], float]:
    """Counts of a feature's activations in equal bins between 0 and its largest, and that."""
    row = _row(run, sae, number)
    if row and row.get("histogram") and row.get("max"):
        return list(row["histogram"]), float(row["max"])
    values = positions_of_feature(run.path, sae, number)["activation"].to_numpy()
    if not len(values):
        raise LackingError(f"Feature {number} of {sae} is active on no token.", "the picture map shows those that are")
    most = float(values.max())
    return np.histogram(values, bins=BINS, range=(0, most))[0].tolist(), most


def _stats(run: Source, pick: Pick, columns: list[str]) -> tuple[str, Any]:
    needs(run, "feature_stats")
    sae = sae_shown(run, pick)
    table = run.table("feature_stats", ["sae", *columns])
    return sae, table.filter(pc.equal(table["sae"], sae))


def _row(run: Source, sae: str, number: int) -> dict[str, Any] | None:
    if "feature_stats" not in run.tables:
        return None
    names = [
        name
        for name in ("sae", "feature_id", "density", "max", "histogram")
        if name in columns_of(run, "feature_stats")
    ]
    table = run.table("feature_stats", names)
    here = table.filter(pc.and_(pc.equal(table["sae"], sae), pc.equal(table["feature_id"], number)))
    found: dict[str, Any] | None = here.to_pylist()[0] if len(here) else None
    return found


def _common_token(run: Source) -> str:
    """The commonest token of four letters or more: shorter ones say little about a feature."""
    tokens = run.table("tokens", ["token", "is_special"])
    texts = tokens.filter(pc.invert(tokens["is_special"]))["token"].combine_chunks()
    counts = [(entry["counts"], entry["values"]) for entry in pc.value_counts(texts.cast("string")).to_pylist()]
    words = [(n, text) for n, text in counts if len(text.strip()) >= 4 and text.strip().isalpha()]
    return min(words or counts, key=lambda entry: (-entry[0], entry[1]))[1] if counts else ""


def _sequence(run: Source, pick: Pick, places: Any) -> int:
    """The first sequence of the record that was picked, or else the one with the feature's strongest token."""
    if pick.record is None and len(places):
        best = int(np.argmax(places["activation"].to_numpy()))
        return int(places["sequence_id"][best].as_py())
    rows = run.table("sequences", ["sequence_id", "record_id"]).to_pylist()
    for row in rows:
        if pick.record in (None, row["record_id"]):
            return int(row["sequence_id"])
    raise LackingError(f"This run has no record {pick.record}.", "actkit show lists them")


def _percent(power: int) -> str:
    return f"{100 * 10.0**power:g}%"
