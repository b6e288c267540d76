"""The checks of one part file, on parts that are made by hand: sequences, tokens, vectors and features of a shard."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import first_line
from actkit.pipeline.recipe import Rules
from actkit.runs.reader import keys_of, lists_in
from actkit.schemas import arrow_schema
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.reading import Sequences, columns_of, groups_of
from actkit.verify.tables.sequences import Totals, check_counts, check_records, check_sequences, check_tokens
from actkit.verify.tables.values import Expected, check_values

ROW = {
    "sequence_id": 0,
    "record_id": 0,
    "parent_id": None,
    "start": 0,
    "n_tokens": 4,
    "n_truncated": 0,
    "response_start": None,
    "n_kept": 3,
    "char_offset": 0,
    "n_special_in_text": 0,
    "n_unknown": 0,
    "chunk": None,
    "line": 1,
    "text": "abcd",
}
Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write groups of rows as a part of a table; columns that are not given are made up."""

    def write(table: str, *groups: Sequence[dict[str, Any]], vector: pa.DataType | None = None) -> Path:
        schema = arrow_schema(table, vector or pa.list_(pa.float32()))
        path = tmp_path / table / "part-00000.parquet"
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(path, schema) as writer:
            for rows in groups:
                columns = [
                    pa.array([row[field.name] for row in rows], field.type)
                    if all(field.name in row for row in rows)
                    else _made_up(field.type, len(rows))
                    for field in schema
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        return path

    return write


def _made_up(kind: pa.DataType, n: int) -> pa.Array:
    value: Any = [] if pa.types.is_list(kind) else "x" if pa.types.is_string(kind) else 0
    return pa.array([bool(value) if pa.types.is_boolean(kind) else value] * n, kind)


def said(findings: Findings) -> list[str]:
    return [problem.what for problem in findings.problems]


def sequences(put: Put, tmp_path: Path, *changes: dict[str, Any], totals: Totals | None = None) -> list[str]:
    """What is said of sequences that differ from `ROW` so: ids and records count up unless they are given."""
    rows = [{**ROW, "sequence_id": n, "record_id": n, **change} for n, change in enumerate(changes)]
    findings = Findings(tmp_path)
    check_sequences(put("sequences", rows), totals or Totals(), findings)
    assert findings.checked["sequences"] == len(rows)
    return said(findings)


def test_sequences_in_order_are_fine(put: Put, tmp_path: Path) -> None:
    child = {"record_id": 0, "parent_id": 0, "start": 2, "n_kept": 2, "response_start": 4}
    assert sequences(put, tmp_path, {}, child, {"start": 0, "n_tokens": 1, "n_kept": 0}) == []
    chunks = [{"record_id": 5, "chunk": n} for n in range(3)]
    assert sequences(put, tmp_path, *chunks) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([{}, {"sequence_id": 0}], "sequence ids are not ascending (sequence 0)"),
        ([{"sequence_id": 1}, {"sequence_id": 2}], "sequence ids leave some out (sequence 1)"),
        ([{}, {"sequence_id": 2}, {"sequence_id": 4}], "sequence ids leave some out (sequence 2, and 1 more)"),
        ([{"record_id": 3}, {}], "record ids are not ascending (sequence 1)"),
        ([{"n_tokens": 0, "n_kept": 0}], "start and n_tokens do not fit (sequence 0)"),
        ([{"n_kept": 5}], "n_kept is no number of its own positions (sequence 0)"),
        ([{"n_kept": -1}], "n_kept is no number of its own positions (sequence 0)"),
        (
            [{}, {"record_id": 0, "parent_id": 0, "start": 2, "n_kept": 3}],
            "n_kept is no number of its own positions (sequence 1)",
        ),
        ([{"response_start": 5}], "response_start is outside the sequence (sequence 0)"),
        ([{"response_start": -1}], "response_start is outside the sequence (sequence 0)"),
        ([{"line": 0}], "a line of its source below the first (sequence 0)"),
        ([{"start": 1}], "it has no parent, but does not start at 0 (sequence 0)"),
        ([{"parent_id": 0, "start": 1}], "its parent is not an earlier sequence of the shard (sequence 0)"),
        ([{"parent_id": 7, "start": 1}], "its parent is not an earlier sequence of the shard (sequence 0)"),
        ([{}, {"record_id": 0, "parent_id": 0}], "it starts beyond its parent's end (sequence 1)"),
        (
            [{"n_tokens": 2, "n_kept": 1}, {"record_id": 0, "parent_id": 0, "start": 3, "n_kept": 1}],
            "it starts beyond its parent's end",
        ),
        ([{}, {"parent_id": 0, "start": 1, "n_kept": 1}], "its parent is of another record (sequence 1)"),
        ([{"chunk": 1}], "the chunks of a record are not numbered one after another (sequence 0)"),
        ([{"record_id": 0, "chunk": 0}, {"record_id": 0, "chunk": 2}], "the chunks of a record are not numbered"),
        ([{"record_id": 0, "chunk": 0}, {"record_id": 1, "chunk": 1}], "the chunks of a record are not numbered"),
    ],
)
def test_what_is_wrong_with_sequences_is_said_once(
    put: Put, tmp_path: Path, changes: list[dict[str, Any]], says: str
) -> None:
    (found,) = sequences(put, tmp_path, *changes)
    assert found.startswith(says)


def test_a_shard_goes_on_where_the_one_before_ended(put: Put, tmp_path: Path) -> None:
    totals = Totals()
    first = [{"record_id": 0}, {"record_id": 1, "chunk": 0, "n_truncated": 1}, {"record_id": 1, "chunk": 1}]
    assert sequences(put, tmp_path, *first, totals=totals) == []
    assert (totals.next_sequence_id, totals.record, totals.chunk, totals.truncated) == (3, 1, 1, 1)
    second = [{"record_id": 1, "chunk": 2, "n_truncated": 1}, {"record_id": 2, "n_truncated": 2, "n_unknown": 1}]
    assert (
        sequences(put, tmp_path, *[{"sequence_id": 3 + n, **row} for n, row in enumerate(second)], totals=totals) == []
    )
    assert totals.goes_on and (totals.truncated, totals.unknown_in_text) == (2, 1), "a record of two shards counts once"
    third = [{"sequence_id": 5, "record_id": 3, "chunk": 1}]
    assert "not numbered" in sequences(put, tmp_path, *third, totals=totals)[0]


def test_gaps_are_allowed_where_records_were_taken_out(put: Put, tmp_path: Path) -> None:
    part = put("sequences", [{**ROW, "sequence_id": n, "record_id": n} for n in (0, 4)])
    findings = Findings(tmp_path)
    found = check_sequences(part, Totals(), findings, may_have_gaps=True)
    assert said(findings) == [] and found.ids.tolist() == [0, 4] and found.char_end.tolist() == [4, 4]
    assert sequences(put, tmp_path, {"sequence_id": 2}, totals=Totals(whole=False)) == []


def test_each_record_is_written_or_rejected_once(tmp_path: Path) -> None:
    def counted(written: list[int], rejected: list[int], totals: Totals) -> list[str]:
        findings = Findings(tmp_path)
        check_records(np.array(written), np.array(rejected, dtype=np.int64), "part-00000", totals, findings)
        return said(findings)

    totals = Totals()
    assert counted([0, 0, 2], [1], totals) == [] and (totals.records, totals.written, totals.rejected) == (3, 2, 1)
    totals.goes_on = True
    assert counted([2, 3], [], totals) == [] and (totals.records, totals.written) == (4, 3)
    totals.goes_on = False
    (says,) = counted([4, 6], [], totals)
    assert says == "its records, written and rejected, are not 4 to 5, each once"
    assert counted([7], [7], totals) != [] and counted([], [], Totals()) == []
    assert counted([3], [], Totals(whole=False)) == []


SHARD = Sequences(*(np.array(column) for column in ([3, 5], [0, 1], [0, 1], [2, 3], [2, 1], [0, 0], [4, 6])))
TOKENS = [
    {
        "sequence_id": n,
        "position": p,
        "token_id": 7,
        "char_start": p,
        "char_end": p + 1,
        "is_special": p == 0,
        "is_sink": s,
    }
    for n, p, s in ((3, 0, False), (3, 1, None), (5, 1, True), (5, 2, False))
]


def tokens(put: Put, tmp_path: Path, row: int | None = None, **change: Any) -> list[str]:
    rows = [dict(token) for token in TOKENS]
    if row is not None:
        rows[row] |= change
    findings, totals = Findings(tmp_path), Totals()
    found = check_tokens(put("tokens", rows), SHARD, totals, findings)
    if row is None:
        assert found.special is not None and totals.sinks == 1
        assert found.special.tolist() == sorted(keys_of(np.array([3, 5]), np.array([0, 1])).tolist())
    return said(findings)


def test_tokens_in_order_are_fine(put: Put, tmp_path: Path) -> None:
    assert tokens(put, tmp_path) == []


@pytest.mark.parametrize(
    ("row", "change", "says"),
    [
        (0, {"sequence_id": 4}, ["of no sequence of the shard", "not one row for each position", "not ordered"]),
        (1, {"position": 2}, ["positions are not from start to n_tokens, in order (sequence 3, position 2)"]),
        (
            2,
            {"sequence_id": 3},
            ["not one row for each position from start to n_tokens (sequence 3: 3 rows, and 1 more)"],
        ),
        (1, {"token_id": -1}, ["a negative token id (sequence 3, position 1)"]),
        (1, {"char_start": 2, "char_end": 1}, ["character spans run backwards (sequence 3, position 1)"]),
        (3, {"char_start": 0}, ["character spans run backwards (sequence 5, position 2)"]),
        (3, {"char_end": 7}, ["character spans leave the text (sequence 5, position 2)"]),
    ],
)
def test_what_is_wrong_with_tokens_is_said(
    put: Put, tmp_path: Path, row: int, change: dict[str, Any], says: list[str]
) -> None:
    found = tokens(put, tmp_path, row, **change)
    assert all(any(text in each for each in found) for text in says), found


COUNTS = dict.fromkeys(("read", "written", "rejected", "truncated", "special_in_text", "unknown_in_text"), 0)


def test_counts_fit_one_another_and_the_tables(tmp_path: Path) -> None:
    counts = {**COUNTS, "read": 3, "written": 2, "rejected": 1, "sinks": 4, "sequences": 5, "tokens": 6}
    totals, rows = Totals(written=2, rejected=1, sinks=4), {"sequences": 5, "tokens": 6}
    facts = {"counts": counts, "rejected_reasons": {"empty": 1}}

    def counted(facts: dict[str, Any], totals: Totals) -> list[str]:
        findings = Findings(tmp_path)
        check_counts(facts, totals, rows, findings)
        return said(findings)

    assert counted(facts, totals) == []
    assert counted({**facts, "counts": {**counts, "read": 4}}, totals) == ["4 read are not 2 written and 1 rejected"]
    assert counted({**facts, "rejected_reasons": {}}, totals) == ["reasons for 0 of 1 rejected records"]
    for name in ("truncated", "special_in_text", "unknown_in_text", "sinks", "sequences", "tokens"):
        (says,) = counted({**facts, "counts": {**counts, name: 99}}, totals)
        assert says.startswith(f"counts.{name} is 99, but the tables have ")
    assert counted({**facts, "counts": {**counts, "tokens": 99}}, replace(totals, whole=False)) == []


RULES = Rules(top_k=3, threshold=0.5)
EXPECTED = Expected(frozenset({"blocks.1.hook_resid_post", "blocks.1.attn.hook_pattern"}), 2, {"sae": 10}, RULES)
KNOWN = replace(SHARD, special=keys_of(np.array([3]), np.array([0])))
VECTORS = [
    {"sequence_id": n, "position": p, "layer": 1, "hook_point": "blocks.1.hook_resid_post", "activation": [1.0, 2.0]}
    for n, p in ((3, 0), (3, 1), (5, 1))
]


def values(put: Put, tmp_path: Path, table: str, *groups: list[dict[str, Any]], known: Sequences = KNOWN) -> list[str]:
    findings = Findings(tmp_path)
    check_values(put(table, *groups), known, EXPECTED, Totals(), findings)
    return said(findings)


@pytest.fixture
def shard() -> Sequences:
    return replace(KNOWN, n_kept=np.array([1, 1]))


def changed(rows: list[dict[str, Any]], at: int, **change: Any) -> list[dict[str, Any]]:
    return [{**row, **(change if number == at else {})} for number, row in enumerate(rows)]


def test_vectors_in_order_are_fine(put: Put, tmp_path: Path, shard: Sequences) -> None:
    assert values(put, tmp_path, "activations", VECTORS, known=shard) == []
    heads = [
        {**row, "hook_point": "blocks.1.attn.hook_pattern", "activation": [0.5] * 2 * (row["position"] + 1)}
        for row in VECTORS
    ]
    assert values(put, tmp_path, "activations", VECTORS, heads, known=shard) == []


@pytest.mark.parametrize(
    ("at", "change", "says"),
    [
        (1, {"activation": [1.0]}, "a vector of another length (blocks.1.hook_resid_post, sequence 3, position 1)"),
        (2, {"activation": [1.0, float("nan")]}, "NaN or infinity (blocks.1.hook_resid_post, sequence 5, position 1)"),
        (0, {"activation": [float("inf"), 1.0]}, "NaN or infinity"),
        (0, {"layer": 2}, "layer is not the hook point's"),
        (2, {"position": 0}, "a position outside its sequence's own"),
        (2, {"position": 3}, "a position outside its sequence's own"),
        (1, {"position": 0}, "rows are not ordered by sequence and position"),
        (2, {"sequence_id": 4}, "of no sequence of the shard"),
    ],
)
def test_what_is_wrong_with_vectors_is_said(
    put: Put, tmp_path: Path, shard: Sequences, at: int, change: dict[str, Any], says: str
) -> None:
    found = values(put, tmp_path, "activations", changed(VECTORS, at, **change), known=shard)
    assert any(text.startswith(says) for text in found), found


def test_groups_are_of_one_hook_point_of_the_run_and_have_the_same_rows(
    put: Put, tmp_path: Path, shard: Sequences
) -> None:
    other = [{**row, "hook_point": "blocks.1.hook_mlp_out"} for row in VECTORS]
    assert values(put, tmp_path, "activations", VECTORS, other, known=shard) == [
        "blocks.1.hook_mlp_out is not among the hook points of run.json"
    ]
    heads = [{**row, "hook_point": "blocks.1.attn.hook_pattern", "activation": [0.5] * 2} for row in VECTORS[:1]]
    found = values(put, tmp_path, "activations", VECTORS, heads, known=shard)
    assert "blocks.1.attn.hook_pattern has other rows than blocks.1.hook_resid_post" in found
    assert "blocks.1.attn.hook_pattern has not as many rows as n_kept says (sequence 3: 0, not 1, and 1 more)" in found
    assert values(put, tmp_path, "activations", VECTORS, VECTORS, known=shard) == [
        "blocks.1.hook_resid_post has more than one row group"
    ]
    mixed = [*VECTORS[:2], {**VECTORS[2], "hook_point": "blocks.1.attn.hook_pattern"}]
    (says,) = values(put, tmp_path, "activations", mixed, known=shard)
    assert says == "row group 0 holds blocks.1.hook_resid_post, blocks.1.attn.hook_pattern, not one of them"


FEATURES = [
    {"sequence_id": 3, "position": 0, "n_active": 4, "feature_ids": [4, 1, 2], "feature_activations": [3.0, 2.0, 2.0]},
    {"sequence_id": 3, "position": 1, "n_active": 0, "feature_ids": [], "feature_activations": []},
    {"sequence_id": 5, "position": 1, "n_active": 1, "feature_ids": [9], "feature_activations": [1.0]},
]
FEATURES = [{**row, "sae": "sae", "layer": 1, "hook_point": "blocks.1.hook_resid_post"} for row in FEATURES]


@pytest.mark.parametrize(
    ("at", "change", "says"),
    [
        (0, {"feature_activations": [3.0, 2.0]}, "not as many activations as feature ids"),
        (0, {"feature_activations": [3.0, 2.0, 2.5]}, "features are not sorted by activation and id"),
        (0, {"feature_ids": [4, 2, 1]}, "features are not sorted by activation and id"),
        (0, {"feature_ids": [4, 1, 4], "feature_activations": [3.0, 2.0, 1.0]}, "a feature is listed twice"),
        (0, {"feature_activations": [3.0, 2.0, 0.5]}, "a feature that is not above 0.5"),
        (0, {"feature_activations": [float("inf"), 2.0, 2.0]}, "NaN or infinity"),
        (2, {"feature_ids": [10]}, "a feature id that is not below 10"),
        (2, {"feature_ids": [-1]}, "a feature id that is not below 10"),
        (0, {"n_active": 2}, "n_active is below the number of features listed"),
        (0, {"feature_ids": [4, 1, 2, 0], "feature_activations": [3.0, 2.0, 2.0, 1.0]}, "more than 3 features"),
        (1, {"sequence_id": 4}, "of no sequence of the shard"),
    ],
)
def test_what_is_wrong_with_features_is_said(
    put: Put, tmp_path: Path, shard: Sequences, at: int, change: dict[str, Any], says: str
) -> None:
    assert values(put, tmp_path, "features", FEATURES, known=shard) == []
    found = values(put, tmp_path, "features", changed(FEATURES, at, **change), known=shard)
    assert any(text.startswith(says) for text in found), found


def test_without_a_threshold_no_active_feature_is_left_out(put: Put, tmp_path: Path, shard: Sequences) -> None:
    part = put("features", FEATURES)
    for top_k, wrong in ((3, []), (4, ["features are left out (sae, sequence 3, position 0)"]), (None, 1)):
        findings = Findings(tmp_path)
        check_values(part, shard, replace(EXPECTED, rules=Rules(top_k=top_k)), Totals(), findings)
        assert said(findings) == (
            wrong if isinstance(wrong, list) else ["features are left out (sae, sequence 3, position 0)"]
        )
    other = [{**row, "sae": "unknown"} for row in FEATURES]
    assert values(put, tmp_path, "features", other, known=shard) == ["unknown is not among the SAEs of run.json"]


POOLED = [
    {"sequence_id": 3, "feature_ids": [4, 1], "feature_activations": [0.4, 0.1], "feature_positions": [0, 1]},
    {"sequence_id": 5, "feature_ids": [9], "feature_activations": [1.0], "feature_positions": [2]},
]
POOLED = [{**row, "sae": "sae", "layer": 1, "hook_point": "blocks.1.hook_resid_post"} for row in POOLED]


@pytest.mark.parametrize(
    ("at", "change", "says"),
    [
        (0, {"feature_positions": [0]}, "not as many positions as feature ids"),
        (0, {"feature_positions": [0, 2]}, "a position outside its sequence's own"),
        (1, {"feature_positions": [0]}, "a position outside its sequence's own"),
        (1, {"feature_activations": [0.0]}, "a feature that is not above 0"),
        (1, {"sequence_id": 3}, "rows are not ordered by sequence"),
    ],
)
def test_what_is_wrong_with_pooled_features_is_said(
    put: Put, tmp_path: Path, at: int, change: dict[str, Any], says: str
) -> None:
    assert values(put, tmp_path, "pooled_features", POOLED) == []
    found = values(put, tmp_path, "pooled_features", changed(POOLED, at, **change))
    assert any(text.startswith(says) for text in found), found


def test_columns_are_read_without_nulls(put: Put, tmp_path: Path) -> None:
    part = put("sequences", [ROW])
    assert columns_of(part, ["chunk", "text"]).to_pylist() == [{"chunk": None, "text": "abcd"}]
    part = put("sequences", [{**ROW, "text": None}])
    with pytest.raises(pa.ArrowInvalid, match="nulls in the column text"):
        columns_of(part, ["text"])
    part = put("activations", [{**VECTORS[0], "activation": [1.0, None]}])
    with pytest.raises(pa.ArrowInvalid, match="nulls in the column activation"):
        next(groups_of(part, KNOWN, Findings(tmp_path)))


def test_rows_are_found_by_their_sequence_and_lists_by_their_row(put: Put, tmp_path: Path) -> None:
    row, known = SHARD.find(np.array([5, 4, 3, 99, -1]))
    assert known.tolist() == [True, False, True, False, False] and row[[0, 2]].tolist() == [1, 0]
    nobody = replace(SHARD, **{name: np.array([], dtype=np.int64) for name in ("ids", "start", "n_tokens")})
    assert nobody.find(np.array([1, 2]))[1].tolist() == [False, False]
    (group,) = groups_of(put("features", FEATURES), SHARD, Findings(tmp_path))
    flat, lengths = lists_in(group.table, "feature_ids")
    assert flat.tolist() == [4, 1, 2, 9] and lengths.tolist() == [3, 0, 1]
    assert group.of_rows(np.array([False, True, True, False]), lengths).tolist() == [True, False, False]
    assert (group.start.tolist(), group.n_tokens.tolist()) == ([0, 0, 1], [2, 2, 3])
    assert group.place(2) == "sae, sequence 5, position 1"
    assert first_line(ValueError("first\nsecond")) == "first" and first_line(MemoryError()) == "MemoryError"
