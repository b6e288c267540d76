"""The shape of a JSON file by its first object: a record, or all records in one object.

{"data": [ … ]}                           a wrapper, under one of `WRAPPERS`, or by split: {"train": [ … ], …}
{"schema": …, "data": [ … ]}              pandas `to_json(orient="table")`: a wrapper
{"columns": […], "data": [[…], …]}        pandas `to_json(orient="split")`
{"0": {"prompt": …}, "1": …}              pandas `to_json(orient="index")`: rows by number
{"prompt": {"0": …, "1": …}, …}           pandas `to_json()`: columns of rows by number
{"prompt": […], "chosen": […]}            columns as lists, as `Dataset.to_dict()` gives them
"""

from dataclasses import dataclass
from typing import Literal

from actkit.errors import InputError
from actkit.pipeline.input.field_names import is_known
from actkit.pipeline.input.files import bytes_of, name_of
from actkit.pipeline.input.json_stream import JsonStream

Kind = Literal["values", "wrapper", "splits", "table", "index", "columns", "lists"]
SPLITS = ("train", "validation", "valid", "dev", "test", "eval")
WRAPPERS = ("data", "rows", "records", "examples", "instances", "items", "samples", "dataset", *SPLITS)
MESSAGES = ("role", "from", "content", "value")
"""Fields that mark the elements of an array as the messages of one record."""


@dataclass(frozen=True)
class JsonShape:
    """The place of the records in a file of JSON; `keys` are those of the object that hold them."""

    kind: Kind = "values"
    keys: tuple[str, ...] = ()


def shape_of(path: str, split: str) -> JsonShape:
    """The shape of a file by its first object; `split` chooses where a wrapper has records by split.

    A file that is damaged holds values, one after another: whoever reads them says what is wrong, and where.
    Raises InputError for a split that is not there.
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
    """The shape of the object that begins here; it is read no further than needed."""
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
                if "variations" in names:  # a document of results, whose records lie deeper
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
    """Of an object in the object: whether numbers stand on its outside or its inside; None reads past it."""
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
