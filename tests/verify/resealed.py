"""Changes of one value of a finished run by somebody who makes all checksums anew: every leaf, and every column."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from actkit.runs.card import card
from actkit.runs.manifest import Manifest, read, save
from actkit.runs.paths import CARD, CONFIG, FINGERPRINT, RUN_FILE
from tests.verify.mutations import different, files, is_empty, leaves, other
from tests.verify.tampering import change_part, put, reseal, written

Place = tuple[str, str]
"""A file, or a table, and in it: the path of a leaf, with `*` for any element of a list; a column; or `metadata`."""


def places(run: Path) -> list[Place]:
    """Everything that a run says, each of a list's elements and each of a table's parts as one."""
    found: dict[Place, None] = {}
    for path in files(run):
        if path.suffix == ".parquet":
            about = pq.read_schema(path)
            rows = pq.ParquetFile(path).read()
            names = [name for name in rows.column_names if not all(map(is_empty, rows[name].to_pylist()))]
            names += [f"metadata/{key.decode()}" for key in about.metadata or ()]
            found |= dict.fromkeys((path.parent.name, name) for name in names)
        elif path.name in (RUN_FILE, CONFIG, FINGERPRINT):
            found |= dict.fromkeys((path.name, _pattern(where)) for where in leaves(_read(path)))
    return list(found)


def change(run: Path, place: Place, draw: random.Random) -> bool:
    """Change one value there and make the checksums anew; whether there was one."""
    name, where = place
    if (run / name).is_file():
        path = run / name
        document = _read(path)
        fits = [leaf for leaf in leaves(document) if _pattern(leaf) == where]
        *outer, last = draw.choice(fits)
        inner = document
        for key in outer:
            inner = inner[key]
        inner[last] = other(inner[last], draw)
        facts = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
        said_so = (run / CARD).read_text(encoding="utf-8") == card(facts)
        _write(path, document)
        if said_so and name == RUN_FILE:
            (run / CARD).write_text(card(document), encoding="utf-8")
    else:
        parts = sorted((run / name).glob("*.parquet"))
        draw.shuffle(parts)
        if not any(_changed(path, where, draw) for path in parts):
            return False
        _vouch(run)
    reseal(run)
    return True


def _changed(path: Path, where: str, draw: random.Random) -> bool:
    with pq.ParquetFile(path) as file:
        if where.startswith("metadata/"):
            key = where.removeprefix("metadata/").encode()
            old = file.schema_arrow.metadata
            if key not in old:
                return False
            metadata = {**old, key: old[key] + b"x"}
            groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
            if not groups:
                return False
            _rewrite(path, groups, metadata)
            return True
        spots = [
            (group, row, value)
            for group in range(file.num_row_groups)
            for row, value in enumerate(file.read_row_group(group, columns=[where])[where].to_pylist())
            if not is_empty(value)
        ]
    if not spots:
        return False
    group, row, value = draw.choice(spots)
    change_part(path, put(where, row, different(value, draw)), group)
    return True


def _rewrite(path: Path, groups: list[Any], metadata: dict[bytes, bytes]) -> None:
    with pq.ParquetWriter(path, groups[0].schema.with_metadata(metadata)) as writer:
        for group in groups:
            writer.write_table(group.replace_schema_metadata(metadata), row_group_size=len(group))


def _vouch(run: Path) -> None:
    """The manifests of the shards, and the bytes in `run.json`, as they would be had the parts been written so."""
    for path in sorted(run.glob("shards/*.json")):
        old = read(path)
        tables = {table: written(run / table / f"{path.stem}.parquet") for table in old.tables}
        save(run, Manifest(old.part, tables, old.state, old.progress, old.end, old.given, old.used), {})
    facts = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    was = card(facts)
    for table, about in facts["tables"].items():
        about["bytes"] = sum(path.stat().st_size for path in run.glob(f"{table}/*.parquet"))
    _write(run / RUN_FILE, facts)
    if (run / CARD).read_text(encoding="utf-8") == was:
        (run / CARD).write_text(card(facts), encoding="utf-8")


def _pattern(leaf: tuple[Any, ...]) -> str:
    return "/".join("*" if isinstance(key, int) else str(key) for key in leaf)


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return yaml.safe_load(text) if path.name == CONFIG else json.loads(text)


def _write(path: Path, document: Any) -> None:
    if path.name == CONFIG:
        head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
        text = head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    else:
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
