"""Whoever changes a figure and makes all checksums anew is found out wherever something else says the same."""

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actkit.errors import ActkitError
from actkit.runs.facts import facts_of
from actkit.verify.recompute.run import RecomputeSpec, recompute
from actkit.verify.tables.run import verify
from tests.verify.conftest import COMMANDS
from tests.verify.mutations import different, files, is_empty, kind_of, leaves, line, other
from tests.verify.tampering import change_part, put, seal

OF_EACH = ("pairs", "vectors", "directions", "features", "chunks", "pooled", "steered")
SAMPLE = 2
"""Changes of all that are tried where tests must be fast."""
GIVEN = "of the input, which is not kept"
MEASURED = "of the machine and the hour"
SAID = "counted while the run was made, of what is not kept"
TYPED = "of which characters were a user's, which the rendering does not say"
NOT_KNOWN: dict[str, dict[str, str]] = {
    "sequences": dict.fromkeys(("source", "line", "group", "label", "template", "score"), GIVEN)
    | dict.fromkeys(("boundary_merged", "response_start", "n_special_in_text", "n_unknown", "split"), TYPED),
    "tokens": {"role": TYPED, "is_sink": "of norms that are not kept"},
    "pairs": dict.fromkeys(("prompt_sha256", "chosen_sha256", "rejected_sha256", "status"), TYPED)
    | dict.fromkeys(("chosen_response_start", "rejected_response_start"), "of an identical pair, one of the two"),
    "rejected": dict.fromkeys(("source", "line", "field", "reason"), GIVEN),
    "steered_texts": dict.fromkeys(("split", "stem", "template", "prompt", "positive", "negative"), GIVEN),
    "logprobs": dict.fromkeys(("kl", "words_positive", "words_negative", "logprob"), "of a few interventions alone"),
    "interventions": dict.fromkeys(("source", "strength", "unit_norm", "seed", "control_group", "sink_norm"), GIVEN),
    "run.json": dict.fromkeys(
        ("seconds", "profile", "tokens_per_second", "peak_memory_mb", "batch_tokens_used", "began", "ended"), MEASURED
    )
    | dict.fromkeys(("sessions", "versions", "model"), MEASURED)
    | dict.fromkeys(
        ("input", "rejected_reasons", "first_rejected", "notes", "warnings", "health", "saes", "detected", "unit"), SAID
    )
    | dict.fromkeys(("exports", "statistics", "rules", "steer", "concept", "scores"), SAID),
    "shards": dict.fromkeys(("any",), "for whoever continues a run"),
    "fingerprint.json": {"sessions": MEASURED},
}
"""Kind of file → column or entry → why nothing else says what it is."""


def places(run: Path) -> Iterator[tuple[str, str]]:
    """Every kind of file, and its columns that hold anything, its leaves, or its lines."""
    kinds = {kind_of(path, run): path for path in reversed(files(run))}
    for kind, path in sorted(kinds.items()):
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            columns = (name for name in table.column_names if not all(map(is_empty, table[name].to_pylist())))
            yield from ((kind, name) for name in columns)
        elif kind == "run.json":
            document = json.loads(path.read_text(encoding="utf-8"))
            yield from ((kind, "/".join(map(str, where))) for where in leaves(document))
        elif kind in ("README.md", "config.yaml"):
            yield from ((kind, str(number)) for number in range(10))


def change(run: Path, kind: str, where: str, draw: random.Random) -> bool:
    """Change one value and make the checksums anew; whether there was one."""
    path = draw.choice([file for file in files(run) if kind_of(file, run) == kind])
    if path.suffix == ".parquet":
        group = draw.randrange(pq.read_metadata(path).num_row_groups or 1)
        values = (
            pq.ParquetFile(path).read_row_group(group)[where].to_pylist() if pq.read_metadata(path).num_rows else []
        )
        filled = [at for at, value in enumerate(values) if not is_empty(value)]
        if not filled:
            return False
        at = draw.choice(filled)
        change_part(path, put(where, at, different(values[at], draw)), group)
    elif kind == "run.json":
        document = inner = json.loads(path.read_text(encoding="utf-8"))
        *outer, last = [int(key) if key.isdigit() else key for key in where.split("/")]
        for key in outer:
            inner = inner[key if isinstance(inner, list) else str(key)]
        last = last if isinstance(inner, list) else str(last)
        inner[last] = other(inner[last], draw)
        path.write_text(json.dumps(document), encoding="utf-8")
    else:
        line(path, draw)
    seal(run)
    return True


def is_found(run: Path) -> bool:
    """Whether `verify --deep --recompute all` says that something is wrong."""
    try:
        findings = verify(run, deep=True)
        if findings.problems:
            return True
        found, _ = recompute(run, facts_of(run), RecomputeSpec(1 << 30), findings)
    except ActkitError:
        return True
    return bool(found.problems or findings.problems)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
def test_what_can_be_known_is_found(every: bool, finished: Callable[[str], Path], tmp_path: Path) -> None:
    draw = random.Random(1)
    names = OF_EACH if every else ("vectors",)
    cases = [(name, *place) for name in names for place in places(finished(name))]
    if not every:
        known = [case for case in cases if case[2].partition("/")[0] not in NOT_KNOWN.get(case[1], {})]
        cases = draw.sample(known, SAMPLE)
    tried, hit, missed = Counter[tuple[str, str]](), Counter[tuple[str, str]](), []
    for name, kind, where in cases:
        run = Path(shutil.copytree(finished(name), tmp_path / "run"))
        if change(run, kind, where, draw):
            found = is_found(run)
            for key in (("by file", kind), ("by command", COMMANDS[name][0])):
                tried[key] += 1
                hit[key] += found
            if not found and where.partition("/")[0] not in NOT_KNOWN.get(kind, {}):
                missed.append(f"{COMMANDS[name][0]}: {kind}: {where}")
        shutil.rmtree(run)
    sys.stdout.write("".join(f"{' '.join(key):32}{hit[key]:4} of {count:4}\n" for key, count in sorted(tried.items())))
    assert missed == []
