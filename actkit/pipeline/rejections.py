"""Sentences about a rejected record: its place, field and reason; for a missing field also the record's fields."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from actkit.errors import in_short, listed
from actkit.pipeline.input.field_names import leaves
from actkit.pipeline.input.records import Rejected

SHOWN = 12
"""Most fields of a record that a sentence lists."""
LONGEST = 60
"""Most characters of a field's name that a sentence shows."""


def told(rejected: Rejected, value: Any) -> str:
    """Say it as `pairs.jsonl:3, field chosen: missing; it has prompt, chosen_response; nearest: chosen_response`."""
    field = f", field {in_short(rejected.field)}" if rejected.field else ""
    found = f" ({in_short(rejected.found)})" if rejected.found else ""
    return f"{rejected.place}{field}: {rejected.reason}{found}{_there(rejected, value)}"


REMEDIES = (
    ("unknown role", "actkit docs shapes lists what speakers may be called; jq or sed renames yours"),
    (
        "not valid UTF-8",
        "iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW makes UTF-8 of what is in Latin-1 or Windows-1252",
    ),
    (
        "an object that Python printed",
        "of objects that Python printed this makes JSON: python3 -c 'import ast, json, sys; "
        "[print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]' < FILE > NEW.jsonl",
    ),
    (
        "a comma after the value",
        "sed 's/,[[:space:]]*$//' FILE > NEW.jsonl leaves out the comma at the end of each line",
    ),
    ("more than one value on a line", "jq -c . FILE > NEW.jsonl writes a line for each value"),
    (
        "one message, of a conversation",
        "jq -cs 'flatten | {messages: .}' FILE > CHAT.jsonl makes one conversation of all messages of a file",
    ),
    (
        "but a list",
        "a list's values have no names; jq names them: "
        """jq -c 'if (.[0]|type) == "array" then .[] else . end | {text: .[0], label: .[1]}' FILE > NAMED.jsonl""",
    ),
)
"""Part of a rejection's reason → a hint how to make a readable file."""


def remedy(said: str) -> str | None:
    """Return a hint for a file whose records are all rejected for this reason; None where none is known."""
    return next((hint for part, hint in REMEDIES if part in said), None)


def _there(rejected: Rejected, value: Any) -> str:
    reason = rejected.reason
    if not isinstance(value, Mapping) or not reason.startswith(("missing", "no field", "no ")):
        return ""
    names = [in_short(path[:LONGEST]) for path in leaves(value)]
    there = f"; it has {listed(names, SHOWN) or 'no fields'}"
    wanted = (
        reason.removeprefix("no field ").split(" or ") if reason.startswith("no field ") else [rejected.field or ""]
    )
    near = nearest([name for name in wanted if name], names)
    return f"{there}; nearest: {near}" if near else there


def nearest(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the name in `names` that is most like a name in `wanted`; None where no name is close."""
    missing = [name for name in wanted if name not in names]
    within = next(
        (name for absent in missing for name in names if len(absent) > 2 and absent.lower() in name.lower()), None
    )
    by_small = {name.lower(): name for name in names}
    close = (difflib.get_close_matches(absent.lower(), by_small, n=1, cutoff=0.7) for absent in missing)
    return within or next((by_small[found[0]] for found in close if found), None)
