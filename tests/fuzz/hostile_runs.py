"""Run folders of somebody else's making: a finished run, of which one to three things are as no run of actkit's is."""

import json
import os
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actkit.runs.atomic_files import of_facts
from tests.fuzz.hostile_folders import TEXTS
from tests.verify.tampering import reseal, seal

WHATEVER: list[Any] = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../etc/passwd",
    "/dev/zero",
    "\x1b[31mred\x1b[0m\n",
    "\ud800",
    "a" * 5000,
    [],
    {},
    [1, "x", None],
    {"a": {"b": [{}]}},
]
ODD_NAMES = (
    "part-999999999.json",
    "part-999999999999.json",
    "part-00001.parquet",
    "part-99999.parquet",
    "part-999999999.parquet",
    "part-00000",
    "part-00000.json.json",
    "\x1b[2J.json",
    "new\nline.parquet",
)
Step = tuple[str, int, int, int]
"""What is done, and three numbers by which it chooses where and how."""
STEPS: dict[str, Callable[[Path, int, int, int], None]] = {}
KINDS = ("json", "json", "text", "cell", "cell", "column", "rows", "file", "extra", "bomb", "parents", "row groups")


def drawn(name: str, number: int) -> tuple[list[Step], str]:
    """The steps of case `number` of a run, and which checksums fit again after them: the same everywhere."""
    draw = random.Random(f"{name} {number}")
    steps = [(draw.choice(KINDS), *(draw.randrange(10**6) for _ in range(3))) for _ in range(draw.choice([1, 1, 2, 3]))]
    return steps, draw.choice(["as it is", "last manifest", "every manifest"])


def make(run: Path, steps: list[Step], sealing: str) -> None:
    """Make the steps; where one cannot be made after those before it, it is left out."""
    for what, *numbers in steps:
        try:
            STEPS[what](run, *numbers)
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            ArithmeticError,
            AttributeError,
            RecursionError,
            pa.ArrowException,
        ):
            continue
    if any(path.is_fifo() for path in run.rglob("*")):
        return  # whoever seals the run would wait for a writer
    try:
        {"as it is": lambda _run: None, "last manifest": reseal, "every manifest": seal}[sealing](run)
    except Exception:
        return  # what does not let itself be sealed is as it is


def step(name: str) -> Callable[[Callable[[Path, int, int, int], None]], Callable[[Path, int, int, int], None]]:
    def named(function: Callable[[Path, int, int, int], None]) -> Callable[[Path, int, int, int], None]:
        STEPS[name] = function
        return function

    return named


@step("json")
def _json(run: Path, where: int, which: int, how: int) -> None:
    """Any node of any document is lost, or is something else; the document's own checksum fits again, or not."""
    path = _chosen(_files(run, ".json"), where)
    document = json.loads(path.read_bytes())
    nodes = list(_nodes(document))
    inner, key = nodes[which % len(nodes)]
    if how % 7 == 0:
        del inner[key]
    else:
        inner[key] = WHATEVER[how % len(WHATEVER)]
    if how % 2 and isinstance(document, dict) and "sha256" in document:
        document.pop("sha256")
        document = {**document, "sha256": of_facts(document)}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


@step("text")
def _text(run: Path, where: int, which: int, _how: int) -> None:
    _chosen([path for path in _files(run) if path.suffix != ".parquet"], where).write_bytes(TEXTS[which % len(TEXTS)])


@step("cell")
def _cell(run: Path, where: int, which: int, how: int) -> None:
    """A null, or a number far from the others, in one row of one column."""
    path = _chosen(_files(run, ".parquet"), where)

    def change(table: pa.Table) -> pa.Table:
        at = which % table.num_columns
        field = table.schema.field(at)
        values = table[at].to_pylist()
        values[how % len(values)] = _extreme(field.type, how)
        return table.set_column(at, field.with_nullable(True), pa.array(values, type=field.type))

    _rewrite(path, change)


@step("column")
def _column(run: Path, where: int, which: int, how: int) -> None:
    """A column that is lost, of another type, of another name, all null, or there twice."""
    path = _chosen(_files(run, ".parquet"), where)

    def change(table: pa.Table) -> pa.Table:
        at = which % table.num_columns
        name = table.column_names[at]
        n = len(table)
        ways: list[Callable[[], pa.Table]] = [
            lambda: table.remove_column(at),
            lambda: table.set_column(at, name, pa.array(["x"] * n)),
            lambda: table.set_column(at, name, pa.nulls(n)),
            lambda: table.set_column(at, table.schema.field(at), pa.nulls(n, table.schema.field(at).type)),
            lambda: table.set_column(at, name, pa.array([[1.0]] * n)),
            lambda: table.rename_columns(
                [f"{column}\x1b[0m" if column == name else column for column in table.column_names]
            ),
            lambda: table.append_column(name, table[at]),
            lambda: table.select([]),
            lambda: table.set_column(at, name, pa.array([{"a": 1}] * n)),
        ]
        return ways[how % len(ways)]()

    _rewrite(path, change)


@step("rows")
def _rows(run: Path, where: int, which: int, how: int) -> None:
    """No rows, one row, rows twice, rows backwards."""
    ways: list[Callable[[pa.Table], pa.Table]] = [
        lambda table: table.slice(0, 0),
        lambda table: table.slice(which % max(len(table), 1), 1),
        lambda table: pa.concat_tables([table, table]),
        lambda table: table.take(list(range(len(table)))[::-1]),
    ]
    _rewrite(_chosen(_files(run, ".parquet"), where), ways[how % len(ways)])


@step("row groups")
def _row_groups(run: Path, where: int, which: int, how: int) -> None:
    """Row groups of other sizes than one a hook point."""
    path = _chosen(_files(run, ".parquet"), where)
    _refuse_bomb(path)
    pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=1 + which % 20)


@step("parents")
def _parents(run: Path, where: int, which: int, how: int) -> None:
    """A sequence that continues itself, one that is not there, or a later one."""
    path = _chosen(_files(run / "sequences", ".parquet"), where)

    def change(table: pa.Table) -> pa.Table:
        ids = table["sequence_id"].to_pylist()
        at = table.schema.get_field_index("parent_id")
        parents = [[number, 10**12, ids[-1], ids[0]][how % 4] for number in ids]
        return table.set_column(at, table.schema.field(at), pa.array(parents, type=pa.int64()))

    _rewrite(path, change)


@step("file")
def _file(run: Path, where: int, which: int, how: int) -> None:
    """Something else where a file should be."""
    path = _chosen(_files(run), where)
    data = path.read_bytes()
    path.unlink()
    ways: list[Callable[[], object]] = [
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("/nowhere"),
        lambda: path.mkdir(),
        lambda: path.write_bytes(data[: which % max(len(data), 1)]),
        lambda: path.write_bytes(data[: len(data) // 2] + bytes([which % 256]) + data[len(data) // 2 + 1 :]),
        lambda: None,
    ]
    ways[how % len(ways)]()


@step("extra")
def _extra(run: Path, where: int, which: int, how: int) -> None:
    """A file that belongs to no shard, or folders that lead into one another."""
    folders = [run, *sorted(path for path in run.iterdir() if path.is_dir())]
    folder = _chosen(folders, where)
    if how % 5 == 0:
        (folder / "loop").symlink_to("..")
    elif how % 5 == 1:
        os.mkfifo(folder / ODD_NAMES[which % len(ODD_NAMES)])
    else:
        models = [path for path in folder.iterdir() if path.is_file()] or [run / "run.json"]
        shutil.copy(_chosen(models, how), folder / ODD_NAMES[which % len(ODD_NAMES)])


@step("bomb")
def _bomb(run: Path, where: int, which: int, how: int) -> None:
    """Few bytes that stand for a great many values."""
    path = _chosen(_files(run, ".parquet"), where)
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    name = schema.names[which % len(schema.names)]
    path.write_bytes(_bomb_of(name, is_text=how % 2 == 0))


@cache
def _bomb_of(name: str, is_text: bool) -> bytes:
    if is_text:  # one text, many times, by a dictionary
        column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, type=pa.int32()), 2_000_000), ["x" * 10_000])
    else:
        column = pa.repeat(pa.scalar(0, type=pa.int64()), 20_000_000)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: column}), sink, compression="zstd")
    return bytes(sink.getvalue())


def _nodes(value: Any) -> Any:
    """Every place in a document: what holds it, and under which key."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, child in inner:
        yield value, key
        yield from _nodes(child)


def _files(run: Path, suffix: str = "") -> list[Path]:
    """Those that can be read: a step before may have put a pipe there."""
    return sorted(path for path in run.rglob(f"*{suffix}") if path.is_file() and not path.is_symlink())


def _chosen(among: list[Path], number: int) -> Path:
    return among[number % len(among)]


def _refuse_bomb(path: Path) -> None:
    if pq.read_metadata(path).num_rows > 100_000:
        raise ValueError("a step before has made a bomb of it")


def _rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    _refuse_bomb(path)
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
        whole = file.read()
    made = [change(group) for group in groups] or [change(whole)]
    with pq.ParquetWriter(path, made[0].schema) as writer:
        for group in made:
            if group.schema.equals(made[0].schema) and len(group):
                writer.write_table(group, row_group_size=len(group))


def _extreme(kind: pa.DataType, number: int) -> Any:
    """A value that a column of this type can hold, and actkit would not have written."""
    if number % 5 == 0:
        return None
    if pa.types.is_integer(kind):
        most = 2 ** (kind.bit_width - 1)
        return [-1, most - 1, -most, 10**6 % most][number % 4]
    if pa.types.is_floating(kind):
        return [float("nan"), float("inf"), -1e30, 0.0][number % 4]
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_string(kind):
        return ["", "\x1b[31m", "x" * 100_000, "blocks.x.y", "blocks", "a\x00b"][number % 6]
    if pa.types.is_fixed_size_list(kind):
        return [float("nan")] * kind.list_size
    if pa.types.is_list(kind):
        extreme = _extreme(kind.value_type, number // 5)
        return [[], None, [extreme], [extreme] * 3][number % 4]
    return None
