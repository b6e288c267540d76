"""Changes of a finished run, one at a time: what a disk, a tool or a person could do to any file of it."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.runs.paths import LOG_FILE, VERIFIED
from tests.verify.tampering import Change, change_part

Mutate = Callable[[Path, random.Random], None]
"""Changes one file."""


def flip(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, draw: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def extend(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() + draw.choice([b"\n", b"\0", b" ", b"}"]))


def delete(path: Path, draw: random.Random) -> None:
    path.unlink()


def rename(path: Path, draw: random.Random) -> None:
    path.rename(path.with_name(f"{path.stem}x{path.suffix}"))


def repeat(path: Path, draw: random.Random) -> None:
    """The file a second time under the next number, or another name."""
    number = f"part-{draw.randrange(50, 99_999):05d}" if path.stem.startswith("part-") else f"{path.stem}-2"
    shutil.copy(path, path.with_name(f"{number}{path.suffix}"))


def into_a_folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def link_elsewhere(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


def value(path: Path, draw: random.Random) -> None:
    """Another value in one place of a table."""
    _in_a_group(path, draw, lambda table: _changed(table, draw), any_of=True)


def row_lost(path: Path, draw: random.Random) -> None:
    _in_a_group(path, draw, lambda table: table.slice(1), any_of=False)


def _in_a_group(path: Path, draw: random.Random, change: Change, any_of: bool) -> None:
    """Change one row group, the first or any; of a part without rows, a bit."""
    n = pq.read_metadata(path).num_row_groups
    if n:
        change_part(path, change, draw.randrange(n) if any_of else 0)
    else:
        flip(path, draw)


def leaf(path: Path, draw: random.Random) -> None:
    """Another value at one leaf of a JSON document, spelled as actkit spells it."""
    document = json.loads(path.read_text(encoding="utf-8"))
    where = draw.choice(list(leaves(document)))
    inner: Any = document
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = other(inner[where[-1]], draw)
    indent = 2 if path.name == "run.json" else 1
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def line(path: Path, draw: random.Random) -> None:
    """One line of a text changed, lost or doubled."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    at = draw.randrange(len(lines))
    lines[at : at + 1] = draw.choice([[lines[at] * 2], [], [f"#{lines[at]}"]])
    path.write_text("".join(lines), encoding="utf-8")


OF_BYTES: dict[str, Mutate] = {
    "a bit flipped": flip,
    "cut short": truncate,
    "bytes added": extend,
    "deleted": delete,
    "renamed": rename,
    "doubled": repeat,
    "a folder instead": into_a_folder,
    "a link instead": link_elsewhere,
}
OF_TABLES: dict[str, Mutate] = {"a value changed": value, "a row lost": row_lost}
OF_JSON: dict[str, Mutate] = {"a leaf changed": leaf}
OF_TEXT: dict[str, Mutate] = {"a line changed": line}


def all_manifests_lost(run: Path, draw: random.Random) -> None:
    shutil.rmtree(run / "shards")
    (run / "manifest.json").unlink()


def manifests_of_shards_lost(run: Path, draw: random.Random) -> None:
    shutil.rmtree(run / "shards")


def last_shard_lost(run: Path, draw: random.Random) -> None:
    name = max(path.stem for path in (run / "shards").iterdir())
    for path in list(run.rglob(f"{name}.*")):
        path.unlink()


def parts_exchanged(run: Path, draw: random.Random) -> None:
    first, second = sorted((run / "tokens").iterdir())[:2]
    first.rename(run / "aside")
    second.rename(first)
    (run / "aside").rename(second)


def table_lost(run: Path, draw: random.Random) -> None:
    shutil.rmtree(run / draw.choice([path.name for path in run.iterdir() if path.is_dir()]))


def file_added(run: Path, draw: random.Random) -> None:
    folder = draw.choice([run, *(path for path in run.iterdir() if path.is_dir())])
    (folder / draw.choice(["notes.txt", "part-77777.parquet", ".hidden"])).write_text("mine")


OF_RUNS: dict[str, Mutate] = {
    mutation.__name__.replace("_", " "): mutation
    for mutation in (
        all_manifests_lost,
        manifests_of_shards_lost,
        last_shard_lost,
        parts_exchanged,
        table_lost,
        file_added,
    )
}


def kind_of(path: Path, run: Path) -> str:
    """What a file is: its table, `shards`, or its own name."""
    return path.parent.name if path.parent != run else path.name


def fitting(path: Path) -> dict[str, Mutate]:
    """The changes that a file can undergo."""
    by_suffix = {".parquet": OF_TABLES, ".json": OF_JSON, ".yaml": OF_TEXT, ".md": OF_TEXT}
    return {**OF_BYTES, **by_suffix[path.suffix]}


def cases_of(run: Path) -> list[tuple[str, str]]:
    """Every kind of file with every change that fits, and every change of the run as a whole: (kind, change)."""
    kinds = {kind_of(path, run): path for path in files(run)}
    found = [(kind, change) for kind, path in sorted(kinds.items()) for change in fitting(path)]
    return [*found, *(("the run", change) for change in OF_RUNS)]


def apply(run: Path, kind: str, change: str, draw: random.Random) -> str:
    """Change the run, and return which file was changed."""
    if kind == "the run":
        OF_RUNS[change](run, draw)
        return "the run"
    path = draw.choice([file for file in files(run) if kind_of(file, run) == kind])
    fitting(path)[change](path, draw)
    return path.relative_to(run).as_posix()


def files(run: Path) -> list[Path]:
    """The files of a run but its log and what `verify` left, which are no part of what it says."""
    return sorted(path for path in run.rglob("*") if path.is_file() and path.name not in (LOG_FILE, VERIFIED))


def leaves(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from leaves(child, (*where, key)) if isinstance(child, (dict, list)) and child else [(*where, key)]


def other(old: Any, draw: random.Random) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, (int, float)):
        return old + draw.choice([1, -1, 1000])
    return f"{old}x" if isinstance(old, str) else draw.choice([1, "x", [0]])


def _changed(table: pa.Table, draw: random.Random) -> pa.Table:
    """The table with another value in one row of one column."""
    row = draw.randrange(len(table))
    columns = [name for name in table.column_names if not is_empty(table[name][row].as_py())]
    name = draw.choice(columns)
    field = table.schema.field(name)
    values = table[name].to_pylist()
    values[row] = different(values[row], draw)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, type=field.type))


def is_empty(value: Any) -> bool:
    """Whether there is nothing in a value that could be changed: a null, no elements, or lists of no elements."""
    return value is None or (isinstance(value, list) and all(is_empty(item) for item in value))


def different(old: Any, draw: random.Random) -> Any:
    """Another value of the same kind, a little off where it is a number."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return old + draw.choice([-1, 1]) if old else 1
    if isinstance(old, float):
        return 1.0 if old != old else old * 1.01 + 0.01
    if isinstance(old, str):
        return f"{old}x"
    if isinstance(old, dict):
        key = draw.choice([name for name, item in old.items() if not is_empty(item)])
        return {**old, key: different(old[key], draw)}
    at = draw.choice([number for number, item in enumerate(old) if not is_empty(item)])
    return [*old[:at], different(old[at], draw), *old[at + 1 :]]
