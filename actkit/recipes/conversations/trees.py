"""Trees of messages (OpenAssistant): each question with its ranked replies becomes a record, its earlier turns with it.

A tree is one record with nested `replies`, or rows of one `message_tree_id` that follow one another, each a message
that names its parent. Any other record passes as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actkit.errors import RecordError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.records import Records

TREE, PARENT, MESSAGE = "message_tree_id", "parent_id", "message_id"
DEEPEST = 100
"""Turns of one conversation."""
MOST = 10_000
"""Messages of one tree that are held in memory."""
LOST = "its parent message is not among its tree's records"


def is_row(value: Any) -> bool:
    """Whether a record is one message of a tree whose others are records of their own."""
    return isinstance(value, Mapping) and all(name in value for name in (TREE, PARENT, MESSAGE, "text", "role"))


def is_tree(value: Any) -> bool:
    """Whether a record is a whole tree."""
    return isinstance(value, Mapping) and isinstance(value.get("prompt"), Mapping) and "replies" in value["prompt"]


def check_alone(value: Mapping[str, Any], ignored: Sequence[str]) -> None:
    """Raise RecordError for a message of a tree: what was said before it stands in other records."""
    if PARENT not in ignored and is_row(value) and value[PARENT] is not None:
        reason = "a message of a tree, whose earlier turns stand in other records"
        raise RecordError(PARENT, f"{reason}; --ignore-field {PARENT} does without them")


def from_trees(records: Records) -> Records:
    """The records, with those of trees in place of the messages. Numbers are those of what was read."""
    waiting: list[Record] = []
    for record in records:
        row = record if isinstance(record, Record) and is_row(record.value) else None
        if waiting and (row is None or row.value[TREE] != waiting[0].value[TREE] or len(waiting) >= MOST):
            yield from _of_rows(waiting)
            waiting = []
        if row is not None:
            waiting.append(row)
        elif isinstance(record, Record) and is_tree(record.value):
            yield from _of_tree(record, record.value["prompt"])
        else:
            yield record
    yield from _of_rows(waiting)


def _of_rows(rows: Sequence[Record]) -> Iterator[Record | Rejected]:
    """The questions of one tree that is given message by message; a message that no first one leads to is rejected."""
    replies: dict[Any, list[Record]] = {}
    for row in rows:
        replies.setdefault(_name(row.value[PARENT]), []).append(row)
    reached: set[int] = set()

    def node(row: Record, depth: int) -> dict[str, Any]:
        reached.add(row.record_id)
        own = replies.get(_name(row.value[MESSAGE]), []) if depth < DEEPEST else []
        return {**row.value, "replies": [node(reply, depth + 1) for reply in own if reply.record_id not in reached]}

    roots = [(row, node(row, 0)) for row in replies.get(None, ())]
    lost = (row for row in rows if row.record_id not in reached)
    yield from (Rejected(row.record_id, row.source, row.line, PARENT, LOST) for row in lost)
    for row, root in roots:
        yield from _of_tree(row, root)


def _name(value: Any) -> Any:
    """A message's name, which may be of any type in a strange file."""
    return value if value is None or isinstance(value, str) else repr(value)


def _of_tree(record: Record, root: Mapping[str, Any]) -> Iterator[Record | Rejected]:
    found = list(_questions(root, []))
    if not found:
        yield Rejected(
            record.record_id, record.source, record.line, "replies", "no question of the tree has two ranked replies"
        )
    yield from (replace(record, value=question) for question in found)


def _questions(node: Any, before: list[Any]) -> Iterator[dict[str, Any]]:
    """Every message of a tree that has at least two replies with a rank, with the turns that lead to it."""
    if not isinstance(node, Mapping) or len(before) > DEEPEST:
        return
    replies = node.get("replies")
    replies = [reply for reply in replies if isinstance(reply, Mapping)] if isinstance(replies, (list, tuple)) else []
    turns = [*before, {name: node.get(name) for name in ("role", "text")}]
    ranked = [
        {name: reply.get(name) for name in ("text", "rank")} for reply in replies if reply.get("rank") is not None
    ]
    if len(ranked) > 1:
        yield {"messages": turns, "answers": ranked}
    for reply in replies:
        yield from _questions(reply, turns)
