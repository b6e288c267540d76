"""`verify` on real runs: an undamaged one passes, and whatever is done to a copy of one is named."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actkit.errors import RunError
from actkit.export.formats import export
from actkit.runs.manifest import read as read_manifest
from actkit.runs.manifest import save
from actkit.schemas import SCHEMA_VERSION
from actkit.verify.tables.findings import Findings
from actkit.verify.tables.run import checked_facts, verify
from tests.verify.conftest import COMMANDS
from tests.verify.tampering import Change, change_part, put, reseal, seal

NAMES = tuple(name for name in COMMANDS if name != "directions")  # of which the slower tests of mutations are


def part(run: Path, table: str, number: int = 1) -> Path:
    return run / table / f"part-{number:05d}.parquet"


def damage(run: Path, table: str, change: Change, number: int = 1, group: int = 0) -> None:
    """Change one row group of a part, and make sizes and checksums fit again, so that nothing else is wrong."""
    change_part(part(run, table, number), change, group)
    seal(run)


def edit(run: Path, **changes: Any) -> None:
    """Set figures of run.json: counts__read=3 is counts.read."""
    facts = json.loads((run / "run.json").read_text())
    for place, value in changes.items():
        *outer, name = place.split("__")
        inner = facts
        for key in outer:
            inner = inner[key]
        inner[name] = value
    (run / "run.json").write_text(json.dumps(facts))
    reseal(run)


def swapped(table: pa.Table) -> pa.Table:
    """The first two rows exchanged."""
    return table.take([1, 0, *range(2, len(table))])


def without(row: int) -> Change:
    return lambda table: table.take([index for index in range(len(table)) if index != row])


def twice(table: pa.Table) -> pa.Table:
    """The first row twice."""
    return table.take([0, *range(len(table))])


def element(index: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value if at == index else item for at, item in enumerate(values)]


def both(*changes: Change) -> Change:
    def change(table: pa.Table) -> pa.Table:
        for change in changes:
            table = change(table)
        return table

    return change


def said(findings: Findings) -> str:
    return "\n".join(f"{problem.check}: {problem}" for problem in findings.problems)


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", NAMES)
def test_an_undamaged_run_passes_and_everything_in_it_is_looked_at(name: str, finished: Callable[[str], Path]) -> None:
    findings = verify(finished(name))
    assert said(findings) == ""
    facts = json.loads((finished(name) / "run.json").read_text())
    files = sum(table["parts"] for table in facts["tables"].values())
    assert findings.checked["files"] == findings.checked["schema"] == files
    of_records = facts["tables"].get("steered_texts", {"rows": 0})["rows"]  # looked at with the sequences
    assert findings.checked["sequences"] == facts["counts"]["sequences"] + of_records
    assert findings.checked["tokens"] == facts["counts"]["tokens"]
    for table in ("activations", "features"):
        assert findings.checked.get(table, 0) == facts["tables"].get(table, {"rows": 0})["rows"]
    assert len(list((finished(name) / "shards").glob("*.json"))) > 1
    every = {path for path in (finished(name)).rglob("*") if path.is_file()} - {
        finished(name) / own for own in ("verify.json", "run.log")
    }
    assert findings.checked["checksums"] == len(every) - 1  # but for the last manifest, which has them


def test_sealing_a_copy_leaves_nothing_wrong_with_it(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    damage(run, "activations", lambda table: table)
    assert said(verify(run)) == ""


SEQUENCES, TOKENS, VECTORS = (("vectors", table) for table in ("sequences", "tokens", "activations"))
SIDES, FEATURES = ("pairs", "sequences"), ("features", "features")
POOLED, MEANS = (("pooled", table) for table in ("pooled_features", "pooled_activations"))
VALUES, IDS = "feature_activations", "feature_ids"
DAMAGE: dict[str, tuple[tuple[str, str], Change, str]] = {
    # what → run and table, change, the problem
    "sequences swapped": (SEQUENCES, swapped, "sequence ids are not ascending"),
    "sequence lost": (SEQUENCES, without(1), "sequence ids leave some out (sequence 8)"),
    "parent lost": (SIDES, put("parent_id", 1, 999), "its parent is not an earlier sequence of the"),
    "parent of none": (SEQUENCES, put("start", 0, 1), "it has no parent, but does not start at 0"),
    "start after parent": (
        SIDES,
        put("start", 1, lambda old: old + 1),
        "starts beyond its parent's end",
    ),
    "n_tokens below start": (SIDES, put("n_tokens", 1, 0), "start and n_tokens do not fit"),
    "n_tokens too large": (SEQUENCES, put("n_tokens", 0, 2**50), "not one row for each position from"),
    "n_kept impossible": (SEQUENCES, put("n_kept", 0, 10_000), "n_kept is no number of its own positions"),
    "n_kept wrong": (SEQUENCES, put("n_kept", 0, 1), "not as many rows as n_kept says (sequence 6: "),
    "response outside": (("features", "sequences"), put("response_start", 0, 999), "response_start is outside"),
    "record twice": (SEQUENCES, put("record_id", 1, 0), "record ids are not ascending"),
    "null": (SEQUENCES, put("n_tokens", 0, None), "nulls in the column n_tokens"),
    "token lost": (TOKENS, without(2), "not one row for each position from start to n_tokens (sequence 6"),
    "tokens swapped": (TOKENS, swapped, "positions are not from start to n_tokens, in order (sequence 6"),
    "tokens reversed": (TOKENS, lambda table: table.take([*range(len(table))][::-1]), "are not ordered by sequence"),
    "token of none": (TOKENS, put("sequence_id", 0, 0), "of no sequence of the shard"),
    "token id": (TOKENS, put("token_id", 3, -1), "a negative token id (sequence 6, position 3"),
    "span backwards": (TOKENS, put("char_start", 3, 0), "character spans run backwards (sequence 6, pos"),
    "span outside": (TOKENS, put("char_end", 9, 10**6), "character spans leave the text"),
    "vectors swapped": (VECTORS, swapped, "rows are not ordered by sequence and position"),
    "vector twice": (VECTORS, twice, "rows are not ordered by sequence and position"),
    "vector lost": (VECTORS, without(3), "blocks.1.hook_mlp_out has not as many rows as n_kept says"),
    "other rows": (
        VECTORS,
        without(0),
        "blocks.1.hook_resid_post has other rows than blocks.1.hook_mlp",
    ),
    "position outside": (VECTORS, put("position", 4, 400), "a position outside its sequence's own"),
    "position negative": (VECTORS, put("position", 0, -1), "a position outside its sequence's own"),
    "position of parent": (("pairs", "activations"), put("position", -1, 0), "a position outside its sequence's own"),
    "vector of none": (VECTORS, put("sequence_id", 0, 5), "of no sequence of the shard"),
    "NaN": (
        VECTORS,
        put("activation", 2, element(7, np.nan)),
        "NaN or infinity (blocks.1.hook_mlp_out",
    ),
    "infinity": (VECTORS, put("activation", 2, element(7, np.inf)), "sequence 6, position 2"),
    "layer": (VECTORS, put("layer", 0, 2), "layer is not the hook point's"),
    "mixed": (
        VECTORS,
        put("hook_point", 0, "blocks.1.hook_x"),
        "row group 0 holds blocks.1.hook_x, bl",
    ),
    "short vector": (("lists", "activations"), put("activation", 3, lambda old: old[1:]), "a vector of another length"),
    "NaN feature": (
        FEATURES,
        put(VALUES, 1, element(0, np.nan)),
        "NaN or infinity (tiny/bl",
    ),
    "negative": (
        FEATURES,
        put(VALUES, 1, element(4, -1.0)),
        "a feature that is not above 0",
    ),
    "zero": (FEATURES, put(VALUES, 1, element(4, 0.0)), "a feature that is not above 0"),
    "threshold": (("chunks", "features"), put(VALUES, 1, lambda old: [*old[:-1], 0.4]), "is not above 0.5"),
    "unsorted": (
        FEATURES,
        both(
            put(VALUES, 1, lambda old: old[::-1]),
            put(IDS, 1, lambda old: old[::-1]),
        ),
        "features are not sorted by activation and id (tiny/blocks.2.hook_resid_post, sequence 6, position 1)",
    ),
    "ties": (
        FEATURES,
        both(
            put(VALUES, 1, [2.0, 1.0, 1.0, 1.0, 0.5]),
            put(IDS, 1, [9, 3, 5, 4, 1]),
        ),
        "features are not sorted by activation and id",
    ),
    "id twice": (
        FEATURES,
        both(
            put(VALUES, 1, [5.0, 4.0, 3.0, 2.0, 1.0]),
            put(IDS, 1, [9, 3, 5, 9, 1]),
        ),
        "a feature is listed twice",
    ),
    "id too large": (
        FEATURES,
        put(IDS, 1, element(2, 4096)),
        "a feature id that is not below 4096",
    ),
    "id negative": (
        FEATURES,
        put(IDS, 1, element(2, -5)),
        "a feature id that is not below 4096",
    ),
    "too many": (
        FEATURES,
        both(
            put(VALUES, 1, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]),
            put(IDS, 1, [1, 2, 3, 4, 5, 6]),
        ),
        "more than 5 features",
    ),
    "left out": (
        FEATURES,
        both(
            put(VALUES, 1, lambda old: old[:3]),
            put(IDS, 1, lambda old: old[:3]),
        ),
        "features are left out",
    ),
    "uneven": (
        FEATURES,
        put(IDS, 1, lambda old: old[:3]),
        "not as many activations as feature",
    ),
    "n_active": (FEATURES, put("n_active", 1, 2), "n_active is below the number of features listed"),
    "SAE": (
        FEATURES,
        lambda table: all_of(table, "sae", "other"),
        "other is not among the SAEs of run.json",
    ),
    "hook point": (
        VECTORS,
        lambda table: all_of(table, "hook_point", "blocks.1.hook_x"),
        "blocks.1.hook_x is not among the hook points of run.json",
    ),
    "pooled swapped": (POOLED, swapped, "rows are not ordered by sequence"),
    "pooled lost": (MEANS, put("sequence_id", 0, 77), "of no sequence of the shard"),
    "pooled NaN": (
        MEANS,
        put("activation", 0, element(0, np.nan)),
        "NaN or infinity (blocks.2",
    ),
    "pooled place": (
        POOLED,
        put("feature_positions", 0, element(0, 999)),
        "a position outside its",
    ),
    "pooled places": (
        POOLED,
        put("feature_positions", 0, lambda old: old[1:]),
        "as many positions",
    ),
    "pooled order": (POOLED, put(VALUES, 0, element(0, 1e-6)), "are not sorted by"),
    "pair lost": (("pairs", "pairs"), without(0), "not one row for each record of the shard, in order"),
    "line": (("pairs", "sequences"), put("line", 0, lambda old: -old), "a line of its source below the first"),
}


def all_of(table: pa.Table, column: str, value: str) -> pa.Table:
    at = table.schema.get_field_index(column)
    return table.set_column(at, table.schema.field(at), pa.array([value] * len(table), type=pa.string()))


@pytest.mark.quick(18)
@pytest.mark.parametrize("what", DAMAGE)
def test_damage_to_the_rows_of_a_table_is_named_with_its_file(what: str, copy: Callable[[str], Path]) -> None:
    (name, table), change, says = DAMAGE[what]
    run = copy(name)
    damage(run, table, change)
    found = [str(problem) for problem in verify(run).problems]
    hits = [problem for problem in found if says in problem]
    assert hits, found
    assert all(f"{table}/part-00001.parquet: " in hit for hit in hits) or table in ("sequences",), hits
    others = [problem for problem in found if "part-00000" in problem or "part-00002" in problem]
    assert others == [], "shards that are whole are not blamed"


def test_a_file_that_is_truncated_flipped_garbled_or_missing_is_named_and_the_rest_is_checked(
    copy: Callable[[str], Path],
) -> None:
    run = copy("vectors")
    data = part(run, "activations", 0).read_bytes()
    part(run, "activations", 0).write_bytes(data[: len(data) // 2])
    flipped = bytearray(part(run, "activations", 1).read_bytes())
    flipped[len(flipped) // 3] ^= 16
    part(run, "activations", 1).write_bytes(flipped)
    part(run, "tokens", 1).unlink()
    part(run, "rejected", 1).write_bytes(b"nothing of the kind")
    problems = said(verify(run))
    assert "files: activations/part-00000.parquet: cannot be opened" in problems
    assert f"checksums: activations/part-00000.parquet: {len(data) // 2:,} bytes, but {len(data):,} were" in problems
    assert "checksums: activations/part-00001.parquet: its bytes are not those that were written" in problems
    assert "files: tokens/part-00001.parquet: missing" in problems
    assert "counts: tokens: 1 parts, but run.json says 2" in problems
    assert "files: rejected/part-00001.parquet: cannot be opened" in problems


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["vectors", "features", "pooled", "pairs"])
def test_every_flipped_bit_of_a_shard_is_found(name: str, copy: Callable[[str], Path]) -> None:
    run = copy(name)
    for path in sorted(run.glob("*/part-00000.parquet")):
        if not any(
            f"{path.parent.name}" in entry.tables for entry in map(read_manifest, run.glob("shards/*.json")) if entry
        ):
            continue
        data = path.read_bytes()
        for at in np.random.default_rng(0).integers(0, len(data), 3):
            flipped = bytearray(data)
            flipped[at] ^= 1 << int(at % 8)
            path.write_bytes(flipped)
            assert any(problem.where == path.relative_to(run).as_posix() for problem in verify(run).problems), (
                path,
                at,
            )
        path.write_bytes(data)


def test_a_run_without_a_last_manifest_has_nothing_to_be_held_against(copy: Callable[[str], Path]) -> None:
    """And a gap is still named, without any manifest too."""
    run = copy("vectors")
    (run / "manifest.json").unlink()
    missing = "checksums: manifest.json: missing, so there is nothing to compare the run's files with"
    assert said(verify(run)) == missing
    shutil.rmtree(run / "shards")
    assert said(verify(run)) == missing
    part(run, "tokens", 0).unlink()
    assert "files: tokens/part-00000.parquet: missing" in said(verify(run))


def test_a_missing_or_edited_manifest_is_named(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    path = run / "shards" / "part-00000.json"
    path.write_text(path.read_text().replace('"rows": 6', '"rows": 7'))
    assert "checksums: shards/part-00000.json: damaged (its own sha256 differs)" in said(verify(run))
    path.write_text("{")
    assert "checksums: shards/part-00000.json: damaged (" in said(verify(run))
    path.unlink()
    problems = said(verify(run))
    assert "checksums: shards/part-00000.json: missing" in problems
    last = run / "manifest.json"
    last.write_text(last.read_text().replace('"shards": ', '"shards": 1'))
    assert "checksums: manifest.json: damaged (its own sha256 differs)" in said(verify(run))


def test_the_last_manifest_says_how_many_shards_there_were(copy: Callable[[str], Path]) -> None:
    """A whole shard that is gone with its manifest leaves no gap."""
    run = copy("vectors")
    shards = sorted((run / "shards").iterdir())
    name = shards[-1].stem
    for path in run.rglob(f"{name}.*"):
        path.unlink()
    found = said(verify(run))
    assert f"checksums: shards: manifests of {len(shards) - 1} shards, where the run had {len(shards)}" in found
    assert f"files: shards/{name}.json: missing" in found and f"files: tokens/{name}.parquet: missing" in found


def test_the_two_kinds_of_manifests_must_agree(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    change_part(part(run, "tokens"), swapped)
    reseal(run)
    says = "checksums: tokens/part-00001.parquet: its shard's manifest and manifest.json do not say the same of it"
    assert says in said(verify(run))


def test_files_that_do_not_belong_to_the_run_are_named(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    shutil.copy(part(run, "tokens", 1), part(run, "tokens", 2))
    (run / "more").mkdir()
    shutil.copy(part(run, "tokens", 1), run / "more" / "part-00000.parquet")
    (run / "notes.txt").write_text("mine")
    (run / "link").symlink_to("shards")
    problems = said(verify(run))
    for name in ("tokens/part-00002.parquet", "more/part-00000.parquet", "notes.txt", "link"):
        assert f"files: {name}: in no manifest" in problems
    assert "counts: tokens: 3 parts, but run.json says 2" in problems


def test_what_a_run_may_have_beside_its_files_is_no_problem(copy: Callable[[str], Path]) -> None:
    run = copy("features")
    for name in ("lock", ".actkit-0123456789ab.tmp", "verify.json", ".lock-12"):
        (run / name).write_text("{}")
    assert said(verify(run)) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop_columns(["position"]), "no column position"),
        (lambda table: table.append_column("extra", pa.array([0] * len(table))), "an unknown column extra"),
        (
            lambda table: table.set_column(1, "position", table["position"].cast(pa.int32())),
            "position is int32, not int64",
        ),
        (lambda table: table.select([1, 0, 2, 3, 4]), "columns in another order"),
        (
            lambda table: table.set_column(4, "activation", table["activation"].cast(pa.list_(pa.float64(), 192))),
            "activation is fixed_size_list<element: double>[192], not",
        ),
    ],
)
def test_columns_that_are_not_the_tables_are_named(change: Change, says: str, copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    path = part(run, "activations", 1)
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)
    seal(run)
    assert f"schema: activations/part-00001.parquet: {says}" in said(verify(run))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"counts__read": 12}, "counts: run.json: 12 read are not 9 written and 1 rejected"),
        ({"counts__written": 8, "counts__read": 9}, "counts.written is 8, but the tables have 9"),
        ({"counts__rejected": 0, "counts__read": 9}, "counts.rejected is 0, but the tables have 1"),
        ({"counts__tokens": 3}, "counts.tokens is 3, but the tables have"),
        ({"counts__sequences": 3}, "counts.sequences is 3, but the tables have 9"),
        ({"counts__truncated": 1}, "counts.truncated is 1, but the tables have 0"),
        ({"counts__special_in_text": 1}, "counts.special_in_text is 1, but the tables have 0"),
        ({"rejected_reasons": {}}, "reasons for 0 of 1 rejected records"),
        ({"tables__tokens__rows": 1}, "rows, but run.json says 1"),
        ({"tables__tokens__bytes": 1}, "bytes, but run.json says 1"),
        ({"tables__layer_stats__parts": 2}, "counts: layer_stats: 1 parts, but run.json says 2"),
    ],
)
def test_counts_that_do_not_fit_are_named(changes: dict[str, Any], says: str, copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    edit(run, **changes)
    assert says in said(verify(run))


def test_a_part_of_other_hook_points_than_the_first_is_named(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    damage(run, "activations", lambda table: table.slice(0, 0), group=1)
    says = "it holds blocks.1.hook_mlp_out, the table's first part blocks.1.hook_mlp_out, blocks.1.hook_resid_post"
    assert f"activations: activations/part-00001.parquet: {says}" in said(verify(run))


def test_rows_of_one_hook_point_in_two_row_groups_are_named(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    with pq.ParquetFile(part(run, "activations")) as file:
        first, second = (file.read_row_group(index) for index in range(2))
    with pq.ParquetWriter(part(run, "activations"), first.schema) as writer:
        for table in (first, second.slice(0, 5), second.slice(5)):
            writer.write_table(table)
    seal(run)
    assert "activations/part-00001.parquet: blocks.1.hook_resid_post has more than one row group" in said(verify(run))


def test_a_table_that_run_json_has_lost_is_named(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    facts = json.loads((run / "run.json").read_text())
    del facts["tables"]["activations"]
    (run / "run.json").write_text(json.dumps(facts))
    problems = said(verify(run))
    assert "files: activations: in the manifests, but not among the tables of run.json" in problems


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("name", "table", "column", "value", "says"),
    [
        ("vectors", "layer_stats", "mean", lambda old: old * (1 + 1e-6), "mean is not what the shards give (row 0: "),
        ("vectors", "layer_stats", "n_positions", 7, "n_positions is not what the shards give (row 0: 7, not "),
        (
            "pairs",
            "pair_diffs",
            "response_cosine",
            0.5,
            "response_cosine is not what the shards give (row 0: 0.5, not ",
        ),
        ("pairs", "pair_stats", "median", 0.5, "median is not what the shards give"),
        ("chunks", "feature_stats", "n_active", 9999, "n_active is not what the shards give (row 0: 9999, not "),
    ],
)
def test_statistics_that_are_not_those_of_the_shards_are_named(
    name: str, table: str, column: str, value: Any, says: str, copy: Callable[[str], Path]
) -> None:
    run = copy(name)
    damage(run, table, put(column, 0, value), number=0)
    problems = [str(problem) for problem in verify(run).problems]
    assert len(problems) == 1 and problems[0].startswith(f"{table}/part-00000.parquet: {says}")


def test_statistics_of_fewer_rows_are_named_and_those_of_another_version_are_not_compared(
    copy: Callable[[str], Path],
) -> None:
    run = copy("vectors")
    damage(run, "layer_stats", without(1), number=0)
    says = "derived: layer_stats/part-00000.parquet: 3 rows, but the shards give 4"
    assert said(verify(run)) == says
    edit(run, versions__actkit="0.0.0", fingerprint__actkit="0.0.0")
    findings = verify(run)
    assert said(findings) == ""
    assert findings.notes == [f"not computed again: layer_stats (the run is of actkit 0.0.0, not {version('actkit')})"]


@pytest.mark.slow
def test_verdicts_of_another_version_are_not_called_wrong_by_deep_either(copy: Callable[[str], Path]) -> None:
    """What a feature must do to be said to respond has changed: an older run is as it was made, not damaged."""
    run = copy("pooled")
    damage(run, "feature_scores", put("responds_to", 0, "negative"), number=0)
    edit(run, versions__actkit="0.4.0", fingerprint__actkit="0.4.0")
    findings = verify(run, deep=True)
    assert said(findings) == ""
    (note,) = findings.notes
    assert note.startswith("not computed again: ") and "feature_scores" in note
    assert note.endswith(f"(the run is of actkit 0.4.0, not {version('actkit')})")


@contextmanager
def little_memory(more: int = 1 << 30) -> Iterator[None]:
    """No more address space than this process has, and so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_part_with_an_enormous_number_takes_no_memory(copy: Callable[[str], Path]) -> None:
    """All numbers below it were counted out: 10 GB and more."""
    run = copy("vectors")
    shutil.copy(run / "activations" / "part-00000.parquet", run / "activations" / "part-999999999.parquet")
    with little_memory():
        found = said(verify(run))
    assert "part-999999999.parquet: in no manifest" in found and "activations/part-00002.parquet: missing" in found


@pytest.mark.parametrize("column", ["sequence_id", "position"])
def test_a_null_that_numbers_a_row_is_no_number_of_an_export(
    column: str, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    """It was cast to some number, and the file was written."""
    run = copy("pairs")
    damage(run, "activations", put(column, 0, None))
    with pytest.raises(RunError, match=f"activations/part-00001.parquet: .*nulls in the column {column}"):
        export(run, "npz", tmp_path / "x.npz")
    assert f"nulls in the column {column}" in said(verify(run)) and not (tmp_path / "x.npz").exists()


def test_a_table_of_another_version_is_named(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    (run / "layer_stats").rename(run / "figures")
    facts = json.loads((run / "run.json").read_text())
    facts["tables"]["figures"] = facts["tables"].pop("layer_stats")
    (run / "run.json").write_text(json.dumps(facts))
    (run / "README.md").unlink()
    reseal(run)
    assert said(verify(run)) == "schema: figures: a table that this version of actkit does not know"


def test_a_record_that_is_lost_or_both_written_and_rejected_is_named(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")
    damage(run, "rejected", put("record_id", 0, 0), number=0)
    assert "counts: shard part-00000.parquet: its records, written and rejected, are not 0 to" in said(verify(run))


def test_a_gap_in_sequence_ids_is_fine_where_memory_ran_out(copy: Callable[[str], Path]) -> None:
    run = copy("vectors")

    def shift(table: pa.Table) -> pa.Table:
        return table.set_column(0, table.schema.field(0), pa.array(table["sequence_id"].to_numpy() + 1))

    for table in ("sequences", "tokens", "activations"):
        damage(run, table, shift)
    damage(run, "activations", shift, group=1)
    assert "sequence ids leave some out (sequence 7)" in said(verify(run))
    damage(run, "rejected", put("reason", 0, "out of memory with 9 tokens"), number=0)
    reasons = {"out of memory with 9 tokens": 1}
    for path in run.glob("shards/*.json"):
        shard = read_manifest(path)
        if shard.progress.reasons:
            save(run, replace(shard, progress=replace(shard.progress, reasons=reasons, first_rejected="")), {})
    edit(run, rejected_reasons=reasons, first_rejected=None)
    assert said(verify(run)) == ""


def test_what_is_no_finished_run_is_refused(copy: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run"):
        verify(tmp_path)
    run = copy("vectors")
    edit(run, schema_version=99)
    with pytest.raises(RunError, match="schema version 99"):
        verify(run)
    (run / "run.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION, "counts": {}}))
    with pytest.raises(RunError, match="it has no command"):
        checked_facts(run)
    assert "files: run.json: is damaged: it has no command" in said(verify(run))
    reseal(run)
    with pytest.raises(RunError, match="it has no command"):
        verify(run)
    (run / "run.json").write_text("{")
    assert "files: run.json: is damaged (" in said(verify(run))
    (run / "run.json").unlink()
    assert "files: run.json: missing" in said(verify(run))
    run.rename(run.with_name("vectors.partial"))
    with pytest.raises(RunError) as caught:
        verify(run)
    assert caught.value.hint == "the run is unfinished"


@pytest.mark.slow
def test_texts_of_a_steered_run_are_one_a_record(six_runs: Mapping[str, Path], tmp_path: Path) -> None:
    """One that stood twice was not noticed where the checksums fitted."""
    run = Path(shutil.copytree(six_runs["steer"], tmp_path / "run"))
    part = next(path for path in sorted(run.glob("steered_texts/*.parquet")) if pq.read_metadata(path).num_rows)
    change_part(part, lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    seal(run)
    found = [str(problem) for problem in verify(run).problems]
    assert any("steered_texts" in problem and "not one row for each record" in problem for problem in found), found


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("vectors", {"rejected_reasons": {"another": 1}}, "rejected_reasons are not those of the table rejected"),
        ("vectors", {"first_rejected": "in.jsonl:4: empty"}, "first_rejected is no row of the table rejected"),
        ("features", {"l0": 1.5}, "health.l0 of "),
        ("features", {"n_tokens": 9}, "health.n_tokens of "),
    ],
)
def test_what_run_json_counts_is_counted_in_the_tables(
    name: str, change: dict[str, Any], says: str, copy: Callable[[str], Path]
) -> None:
    run = copy(name)
    facts = json.loads((run / "run.json").read_text())
    (facts["health"][0] if name == "features" else facts).update(change)
    (run / "run.json").write_text(json.dumps(facts))
    (run / "README.md").unlink()
    reseal(run)
    assert said(verify(run)).startswith(f"counts: run.json: {says}")
