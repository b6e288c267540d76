"""Read JSON files: an array, values one after another, or one object that holds all records.

No more than one record is in memory at a time. The first object of a file shows its shape: a record, or all records.

{"data": [ … ]}                           a wrapper, under one of `WRAPPERS`, or by split: {"train": [ … ], …}
{"schema": …, "data": [ … ]}              pandas `to_json(orient="table")`: a wrapper
{"columns": […], "data": [[…], …]}        pandas `to_json(orient="split")`
{"0": {"prompt": …}, "1": …}              pandas `to_json(orient="index")`: rows by number
{"prompt": {"0": …, "1": …}, …}           pandas `to_json()`: columns of rows by number
{"prompt": […], "chosen": […]}            columns as lists, as `Dataset.to_dict()` gives them
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import IO, Any, Literal

from actkit.config import ReadSpec
from actkit.errors import InputError
from actkit.pipeline.input.field_names import is_known
from actkit.pipeline.input.files import bytes_of, can_be_opened_again, name_of
from actkit.pipeline.input.json_stream import Item, JsonStream
from actkit.pipeline.input.records import Record, Records, Rejected

Kind = Literal["values", "wrapper", "splits", "table", "index", "columns", "lists"]
SPLITS = ("train", "validation", "valid", "dev", "test", "eval")
WRAPPERS = ("data", "rows", "records", "examples", "instances", "items", "samples", "dataset", *SPLITS)
MESSAGES = ("role", "from", "content", "value")
"""Fields that mark the elements of an array as the messages of one record."""
MOST_COLUMNS = 64
"""Most columns; each is read by its own stream, so the file is read about half as many times as it has columns."""
AS_ROWS = "write rows: df.to_json(FILE, orient='records', lines=True)"


@dataclass(frozen=True)
class JsonShape:
    """Where the records stand in a JSON file; `keys` are the object's keys that hold them."""

    kind: Kind = "values"
    keys: tuple[str, ...] = ()


def shape_of(path: str, split: str) -> JsonShape:
    """Return the shape of a file by its first object; `split` chooses among records by split.

    A damaged file is taken for values one after another, so that reading them raises the error, with its line. Raises
    InputError for a missing split.
    """
    try:
        with bytes_of(path) as file:
            stream = JsonStream(file, name_of(path))
            shape = _shape(stream, split) if stream.next_character() == "{" else JsonShape()
    except InputError:
        return JsonShape()
    if shape.kind == "splits":
        there = ", ".join(shape.keys)
        raise InputError(f"{name_of(path)}: there is no split {split}", f"--split names one of {there}")
    return shape


def _shape(stream: JsonStream, split: str) -> JsonShape:
    """Return the shape of the object that begins here, reading no further than needed."""
    splits: list[str] = []
    lengths: dict[str, int] = {}
    others = 0
    for key in stream.members():
        first = stream.next_character()
        if first == "{":
            others += 1
            found = _rows_or_columns(stream, key)
            if found is not None:
                return found
        elif first == "[":
            stream.skip("[")
            second = stream.next_character()
            if key in WRAPPERS and second in ("{", "["):
                if key == split or key not in SPLITS:
                    return JsonShape("table" if second == "[" and "columns" in lengths else "wrapper", (key,))
                splits.append(key)
            elif second == "{":
                names = list(stream.keys())
                if "variations" in names:  # a document of results has its records further inside
                    return JsonShape()
                is_record = is_known(key) or any(name in MESSAGES for name in names)
                if is_record or sum(map(is_known, names)) > 1:
                    return JsonShape() if is_record else JsonShape("wrapper", (key,))
                stream.skip(",")
                others += 1
            lengths[key] = stream.pass_elements()
        elif is_known(key):
            return JsonShape()
        else:
            stream.pass_value()
            others += 1
    if splits:
        return JsonShape("splits", tuple(splits))
    alike = len(set(lengths.values())) == 1 and any(lengths.values())
    return JsonShape("lists", tuple(lengths)) if alike and not others else JsonShape()


def _rows_or_columns(stream: JsonStream, key: str) -> JsonShape | None:
    """Tell rows by number from columns by number, for the member `key`; for any other object read past it: None."""
    inner = stream.members()
    name = next(inner, None)
    if name is None:
        return None
    if key.isdigit():
        return JsonShape("index")
    if name.isdigit():
        return JsonShape("columns")
    stream.pass_value()
    for _ in inner:
        stream.pass_value()
    return None


def read_json(path: str, read: ReadSpec) -> Records:
    """Read the records of a JSON file. Raises InputError where it is broken: no later record can be found."""
    shape = shape_of(path, read.split) if can_be_opened_again(path) else JsonShape()
    with closing(_items(path, shape)) as items:
        yield from numbered(items, name_of(path))


def numbered(items: Iterable[Item], name: str) -> Records:
    """Yield the items as numbered records; an item with a fault is rejected."""
    for index, (line, value, fault) in enumerate(items):
        yield Record(index, name, line, value) if fault is None else Rejected(index, name, line, None, fault)


def read_array(file: IO[bytes], name: str) -> Iterator[Item]:
    """Yield the elements of an array, or values one after another."""
    stream = JsonStream(file, name)
    closing_bracket = "]" if stream.skip("[") else ""
    while not stream.at_end(closing_bracket):
        yield stream.item()
        stream.skip(",")
    if closing_bracket:
        stream.skip(closing_bracket)
        stream.check_end("JSON array")


def _items(path: str, shape: JsonShape) -> Generator[Item, None, None]:
    if shape.kind in ("columns", "lists"):
        yield from _columns(path, shape)
        return
    with bytes_of(path) as file:
        if shape.kind == "values":
            yield from read_array(file, name_of(path))
            return
        stream = JsonStream(file, name_of(path))
        if shape.kind == "index":
            yield from (stream.item() for _ in stream.members())
        elif shape.kind == "table":
            yield from _table(stream, shape.keys[0], name_of(path))
        else:
            yield from (_unwrapped(item) for item in _wrapped(stream, shape.keys[0]))
        stream.check_end("object")


def _wrapped(stream: JsonStream, wrapper: str) -> Iterator[Item]:
    for key in stream.members():
        if key == wrapper:
            yield from stream.elements()
        else:
            stream.pass_value()


def _unwrapped(item: Item) -> Item:
    """Take a row out of the object in which the hub's API for rows puts it; return any other item unchanged."""
    line, value, fault = item
    enveloped = isinstance(value, dict) and "row_idx" in value and isinstance(value.get("row"), dict)
    return (line, value["row"], fault) if enveloped else item


def _table(stream: JsonStream, rows: str, name: str) -> Iterator[Item]:
    """Yield the rows of a file that has the names of columns and then each row as a list."""
    columns: list[Any] = []
    for key in stream.members():
        if key == rows:
            for line, row, fault in stream.elements():
                if fault is None and (not isinstance(row, list) or len(row) != len(columns)):
                    fault = f"a row needs {len(columns)} values"
                yield line, row if fault else dict(zip(columns, row, strict=True)), fault
        elif key == "columns":
            columns = [value for _, value, _ in stream.elements()]
            if not all(isinstance(column, str) for column in columns) or len(set(columns)) < len(columns):
                raise InputError(f"{name}: columns need names, each its own", AS_ROWS)
        else:
            stream.pass_value()


def _columns(path: str, shape: JsonShape) -> Iterator[Item]:
    """Yield rows from columns that stand one after another; each column is read by its own stream."""
    names = list(shape.keys)
    if not names:  # columns of rows by number (pandas): `shape_of` has read only the first key
        with bytes_of(path) as file:
            names = list(JsonStream(file, name_of(path)).keys())
    if len(names) > MOST_COLUMNS:
        raise InputError(f"{name_of(path)}: {len(names)} columns, one after another", AS_ROWS)
    with ExitStack() as stack:
        columns = [stack.enter_context(closing(_column(path, name))) for name in names]
        while True:
            found = [next(column, None) for column in columns]
            if all(value is None for value in found):
                return
            cells = [value for value in found if value is not None]
            if len(cells) < len(found) or len({index for index, *_ in cells}) > 1:
                raise InputError(f"{name_of(path)}: its columns do not have the same rows", AS_ROWS)
            fault = next((fault for *_, fault in cells if fault), None)
            row = {name: value for name, (_, _, value, _) in zip(names, cells, strict=True)}
            yield cells[0][1], row, fault


def _column(path: str, name: str) -> Generator[tuple[str, int, Any, str | None], None, None]:
    """Yield index, line, value and fault of each cell of one column."""
    with bytes_of(path) as file:
        stream = JsonStream(file, name_of(path))
        for key in stream.members():
            if key != name:
                stream.pass_value()
                continue
            if stream.next_character() == "[":
                yield from ((str(number), *item) for number, item in enumerate(stream.elements()))
            else:
                yield from ((index, *stream.item()) for index in stream.members())
            return
