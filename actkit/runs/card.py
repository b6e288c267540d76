"""`README.md` of a run: a dataset card, with which `datasets.load_dataset("runs/x", "features")` finds each table.

Its last line is a checksum of the rest. By it actkit knows a card that somebody edited, and never removes that.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEALED = "<!-- made by actkit, sha256 "
DEFAULT = "sequences"
"""The table that `datasets` loads where the caller names none."""
SHOWN = ("features", "pooled_features", "activations", "effects", "directions")
"""Tables for the example of the card, which takes the first that has rows."""
UNSAID = ("out", "device", "batch_tokens", "shard_sequences", "shard_mb", "verify")
"""Options that the card does not list, since they change no row."""
ABOUT = {
    "sequences": "one row a text that was run: where it came from, its length, its side or label, and the text",
    "tokens": "one row a token: its id, its text and where that stands, its role, whether it is special",
    "activations": "one row a text, position and hook point: the model's activation vector there",
    "pooled_activations": "one row a text and hook point: the vectors of its tokens as one",
    "layer_stats": "one row a hook point: mean, standard deviation, norm and extremes of its activations",
    "features": "one row a token and SAE: the features that are active, strongest first, and how many are",
    "feature_positions": "the same by feature: one row a feature and token where it is active",
    "pooled_features": "one row a text and SAE: the features that are active in it, pooled over its tokens",
    "feature_stats": "one row a feature: how often and how strongly it is active, and its strongest contexts",
    "feature_logits": "one row a feature that is active here: the tokens that it raises and lowers most at the output",
    "feature_scores": "one row a feature: how well it tells positive from negative texts, with the evidence",
    "pairs": "one row a pair: where its two sides begin to differ, and their lengths",
    "pair_diffs": "one row a pair and hook point: how far its two sides are apart",
    "pair_stats": "one row a hook point and measure: the differences of all pairs in short",
    "contrasts": "one row a pair and hook point: how far positive and negative are apart",
    "directions": "one row a hook point and method: the direction that separates positive from negative",
    "direction_scores": "one row a direction: the evidence for it, on pairs that it was not fitted to",
    "projections": "one row a token and method: its activation along the direction",
    "direction_features": "one row a direction and feature: the SAE's features nearest to it",
    "steered_texts": "one row a text that the steered model was asked about",
    "logprobs": "one row a text and intervention: the log-probability that the model gives it",
    "interventions": "one row an intervention: what was changed in the model, where and how much",
    "effects": "one row an intervention and measure: what it changed, with intervals",
    "effect_samples": "one row a text and intervention: the same, text by text",
    "rejected": "one row an input record that was not used, and why",
}
"""Table → a description of its rows in plain words."""


def card(facts: Mapping[str, Any], licence: str | None = None, name: str | None = None) -> str:
    """Make the card of a run with these `facts` (`run.json`); the same facts give the same bytes.

    `licence` is one of the hub's identifiers; without it the card states none, since actkit knows neither the model's
    nor the texts'. `name` is the dataset's name on the hub; without it the example loads the run's directory.
    """
    tables = {table: about for table, about in facts["tables"].items() if about["parts"]}
    text = "\n".join([*_front_matter(facts, tables, licence), "", *_body(facts, tables, licence, name), ""])
    return sealed(text)


def sealed(text: str) -> str:
    """Add the last line, with the checksum, to the text of a card."""
    return f"{text}{SEALED}{hashlib.sha256(text.encode()).hexdigest()} -->\n"


def is_own(path: Path) -> bool:
    """Whether the file is a card as actkit made it, which nobody has edited."""
    try:
        return is_own_text(path.read_bytes())
    except OSError:
        return False


def is_own_text(data: bytes) -> bool:
    """Whether these are the bytes of a card as actkit made it."""
    text = data.decode("utf-8", "replace")
    return text == sealed(text.rpartition(SEALED)[0])


def _front_matter(facts: Mapping[str, Any], tables: Mapping[str, Any], licence: str | None) -> list[str]:
    # A string in JSON is a string in YAML too, whatever it holds.
    lines = ["---", f"pretty_name: {json.dumps(_title(facts))}"]
    lines += [f"license: {json.dumps(licence)}"] if licence else []
    lines += ["tags:", *(f"- {tag}" for tag in ("actkit", "interpretability", "activations"))]
    lines += ["- sparse-autoencoder"] if facts.get("saes") else []
    lines += ["configs:"]
    for table in (table for table, about in tables.items() if about["rows"]):  # `datasets` loads no table without rows
        lines += [f"- config_name: {table}", f"  data_files: {table}/part-*.parquet"]
        lines += ["  default: true"] if table == DEFAULT else []
    return [*lines, "---"]


def _title(facts: Mapping[str, Any]) -> str:
    return f"actkit {facts['command']} with {facts['model']['name']}"


def _body(facts: Mapping[str, Any], tables: Mapping[str, Any], licence: str | None, name: str | None) -> list[str]:
    counts, model = facts["counts"], facts["model"]
    shown = next((name for name in SHOWN if name in tables and tables[name]["rows"]), DEFAULT)
    revision = f" at revision `{_code(model['revision'])}`" if model.get("revision") else ""
    lines = [
        f"# {_code(_title(facts))}",
        "",
        f"What `actkit {facts['command']}` made of {counts['read']:,} records: {counts['written']:,} were used, "
        f"{counts['rejected']:,} were not; {counts['sequences']:,} texts of {counts['tokens']:,} tokens.",
        "",
        f"* Model: `{_code(model['name'])}`{revision}, {model.get('architecture', 'unknown')}, computed in "
        f"{model.get('dtype', 'unknown')}.",
    ]
    points = facts.get("hook_points") or []
    lines += (
        [f"* Hook points, by TransformerLens's names: {', '.join(f'`{point}`' for point in points)}."] if points else []
    )
    for sae in facts.get("saes") or ():
        where = f", reads `{sae['hook_point']}`, {sae['d_sae']:,} features"
        lines.append(f"* SAE: `{_code(sae['name'])}`{where}.")
    lines += [
        "* Options: " + ", ".join(f"`{_code(option)}`" for option in _options(facts)) + ".",
        "",
        "## Tables",
        "",
        "```py",
        "from datasets import load_dataset",
        "",
        f'load_dataset({json.dumps(name or "path/to/this/directory", ensure_ascii=False)}, "{shown}")',
        "```",
        "",
        "| table | rows | |",
        "|---|---|---|",
        *(f"| `{table}` | {about['rows']:,} | {ABOUT.get(table, '')} |" for table, about in tables.items()),
        "",
        "`sequence_id` and `position` are what tables are joined by. `actkit schema TABLE`, and the metadata of every "
        "Parquet file, say what each column means and its unit.",
        "",
        "## Files",
        "",
        "`run.json` has everything above and more: versions, settings of statistics, warnings. `config.yaml` runs the "
        f"same again: `actkit {facts['command']} --config config.yaml`. `manifest.json` has the sha256 of every file; "
        "`actkit verify` compares them, and with `--recompute` the numbers too. `shards/` is what an interrupted run "
        "goes on from.",
        "",
        "## Licence",
        "",
        f"{licence}, as whoever published this stated."
        if licence
        else "None is stated here: the texts have that of the data they came from, and the numbers may be bound by the "
        "model's and the SAE's. Whoever publishes this states it: `actkit push --license`.",
    ]
    return lines


def _options(facts: Mapping[str, Any]) -> list[str]:
    """Options that are set and change rows; of a local path only the last part."""
    said = {key: value for key, value in facts.get("options", {}).items() if key not in UNSAID}
    given = {key: value for key, value in said.items() if value not in (None, False)}
    paths = {key for key, value in given.items() if str(value).startswith(("/", "~", "./", "../"))}
    return [f"{key} {value.rstrip('/').rpartition('/')[2] if key in paths else value}" for key, value in given.items()]


def _code(text: Any) -> str:
    """Replace in a text all characters that end a line, a code span or a table cell of Markdown; 200 characters."""
    return " ".join(str(text).replace("`", "'").replace("|", "¦").split())[:200]
