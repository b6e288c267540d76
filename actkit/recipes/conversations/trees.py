"""Read trees of messages (OpenAssistant): make a record of each question, with earlier turns and ranked replies.

A tree is one record with nested `replies`, or consecutive rows with one `message_tree_id`, each a message that names
its parent. Other records pass unchanged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actkit.errors import RecordError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.records import Records

TREE, PARENT, MESSAGE = "message_tree_id", "parent_id", "message_id"
DEEPEST = 100
"""Most turns of one conversation."""
MOST = 10_000
"""Most messages of one tree in memory."""
LOST = "its parent message is not among its tree's records"


def is_row(value: Any) -> bool:
    """Whether a record is one message of a tree whose other messages are separate records."""
    return isinstance(value, Mapping) and all(name in value for name in (TREE, PARENT, MESSAGE, "text", "role"))


def is_tree(value: Any) -> bool:
    """Whether a record is a whole tree."""
    return isinstance(value, Mapping) and isinstance(value.get("prompt"), Mapping) and "replies" in value["prompt"]


def check_alone(value: Mapping[str, Any], ignored: Sequence[str]) -> None:
    """Raise RecordError for a message of a tree that has a parent: its earlier turns stand in other records."""
    if PARENT not in ignored and is_row(value) and value[PARENT] is not None:
        reason = "a message of a tree, whose earlier turns stand in other records"
        raise RecordError(PARENT, f"{reason}; --ignore-field {PARENT} does without them")


def from_trees(records: Records) -> Records:
    """Yield the records, with the questions of trees in place of messages; numbers are those of the records read."""
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
    """Yield the questions of a tree given message by message; reject messages that the tree's root does not lead to."""
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
    yield from (row.rejected(RecordError(PARENT, LOST)) for row in lost)
    for row, root in roots:
        yield from _of_tree(row, root)


def _name(value: Any) -> Any:
    """Return a message's name as a value that can be hashed: in a strange file it may have any type."""
    return value if value is None or isinstance(value, str) else repr(value)


def _of_tree(record: Record, root: Mapping[str, Any]) -> Iterator[Record | Rejected]:
    found = list(_questions(root, []))
    if not found:
        yield record.rejected(RecordError("replies", "no question of the tree has two ranked replies"))
    yield from (replace(record, value=question) for question in found)


def _questions(node: Any, before: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield each message of a tree with at least two ranked replies, with the turns that lead to it."""
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
