"""Read the records of a file of preference pairs, one for each pair."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from actkit.config import ReadSpec
from actkit.errors import InputError, RecordError, in_short, own_python
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.field_names import leaves
from actkit.pipeline.input.files import name_of
from actkit.pipeline.input.reader import look_ahead, read_records
from actkit.pipeline.input.records import Records
from actkit.pipeline.rejections import remedy
from actkit.recipes.conversations.fields import FieldNames, Fields, object_of
from actkit.recipes.conversations.judged import Judged
from actkit.recipes.conversations.judged_shapes import LISTS
from actkit.recipes.conversations.named_fields import check_named, fields_shown
from actkit.recipes.conversations.pairs import (
    PairOf,
    PairsSpec,
    check_form,
    chosen_of,
    detect,
    shape_in,
    shape_or_none,
    why_no_pair,
)
from actkit.recipes.conversations.ranked import Ranked
from actkit.recipes.conversations.shape import OBJECT_TEXT
from actkit.recipes.conversations.trees import from_trees

BEST = re.compile("best|better|chosen|choice|correct|preferred|winner|index|answer|label", re.IGNORECASE)
"""Parts of names of fields that may tell the best of several answers by its number."""
READ_BY = {
    **dict.fromkeys(("csv", "tsv", "tab"), 'read_csv({}, sep=None, engine="python")'),
    **dict.fromkeys(("parquet", "pq"), "read_parquet({})"),
    **dict.fromkeys(("arrow", "feather"), "read_feather({})"),
    "json": "read_json({})",
}
"""The end of a file's name → the call of pandas that reads the file."""
SCORED = re.compile("scor|rating|grade|stars|reward|quality|helpful|overall", re.IGNORECASE)
"""Parts of names of fields that tell how good an answer is; fields with other numbers lack them."""
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
LOOK_AHEAD = 1000
"""Records among which one pair must be found."""


def pairs_in(path: str, spec: PairsSpec, read: ReadSpec | None = None) -> Records:
    """Read the records of a file of pairs, one for each pair.

    Raises InputError when none of the first records has a known shape, or none of them has a field that a user named.
    """
    check_form(spec.form)
    looked_at, records, _ = look_ahead(from_trees(read_records(path, "jsonl", read)), LOOK_AHEAD)
    values = [record.value for record in looked_at if isinstance(record, Record)]
    check_named(values, [name for name in spec.names.given() if not _is_of_answers(values, name, spec.names)])
    check_numbers(values, spec.names)
    if spec.form is None and not any(detect(value, spec.names) for value in values):
        raise _none_found(looked_at, path, spec.names)
    return one_a_pair(records, spec)


def _is_of_answers(values: Sequence[Any], name: str, names: FieldNames) -> bool:
    """Whether a field ranks the answers in a list: then it is a field of the answers, not of the record."""
    if name != names.preference:
        return False
    shapes = (shape_or_none(Fields(value, names)) for value in values if isinstance(value, Mapping))
    return any(shape is not None and isinstance(shape.answers, Ranked) for shape in shapes)


def check_numbers(values: Sequence[Any], names: FieldNames) -> None:
    """Raise InputError where numbers tell which of two answers is better, but not which number means which answer.

    If answers are called 1 and 2, a 1 may mean the second one where a 0 occurs too. If both names occur, one further
    number is a tie or no verdict; several, such as -3 to 3, are strengths and not names.
    """
    seen: dict[tuple[str, tuple[str, str]], dict[str, None]] = {}
    for value in values:
        shape = shape_or_none(Fields(value, names)) if isinstance(value, Mapping) else None
        if shape is not None and isinstance(shape.answers, Judged):
            for path, both, word in shape.answers.numbers(Fields(value, names)):
                seen.setdefault((path, both), {})[word] = None
    for (path, both), words in seen.items():
        named, others = {*both} & {*words}, {*words} - {*both}
        if others and (len(named) == 1 or (named and len(others) > 1)):
            raise InputError(
                f"the field {path} has {', '.join(words)}, and the answers are called {both[0]} and {both[1]}: which "
                "one a number means is not clear",
                f"--preference-field {path} --first-is-better VALUE says with which the first one is better",
            )


def one_a_pair(records: Records, spec: PairsSpec) -> Records:
    """Yield each record as often as it has pairs, numbered consecutively."""
    number = 0
    for record in records:
        several = pairs_of(record.value, spec) if isinstance(record, Record) else 1
        for index in range(several):
            own = replace(record, record_id=number)
            yield replace(own, value=PairOf(own.value, index)) if isinstance(own, Record) and several > 1 else own
            number += 1


def pairs_of(value: Any, spec: PairsSpec) -> int:
    """Return the number of pairs in a record; at least one, so that reading a bad record raises its error."""
    if spec.which == "best-worst":
        return 1
    try:
        fields = Fields(object_of(value), spec.names)
        return max(len(chosen_of(shape_in(fields, spec.form).answers.read(fields), spec.which)), 1)
    except RecordError:
        return 1


def _none_found(looked_at: Sequence[Record | Rejected], path: str, names: FieldNames) -> InputError:
    if not looked_at:
        return InputError(f"{name_of(path)}: the input has no records", "is the file, or what is piped in, empty?")
    reasons = [record for record in looked_at if not isinstance(record, Record)]
    objects = [record.value for record in looked_at if isinstance(record, Record) and isinstance(record.value, dict)]
    why = f" ({reasons[0].place}: {reasons[0].reason})" if reasons else ""
    seen = f"; the first record has the fields {fields_shown(dict(sorted(objects[0].items())))}" if objects else why
    hint = "--chosen-field and --rejected-field name the answers, --prompt-field what they answer; "
    if objects:
        reason = why_no_pair(Fields(objects[0], names))
        hint = f"{reason.field}: {reason.reason}; " if reason.field else hint
        hint = _by_grade(objects[0]) or _by_number(objects) or _by_score(objects, path) or hint
    elif reasons and (mend := remedy(reasons[0].reason)) is not None:
        hint = f"{mend}; "
    return InputError(
        f"{name_of(path)}: no preference pairs in its first {len(looked_at)} records{seen}",
        f"{hint}actkit docs shapes lists what is read (trl, chatml, hh, sharegpt, …)",
    )


def _by_grade(record: Mapping[str, Any]) -> str | None:
    """Return the option that ranks a record's answers by a number that each of them has; None where they have none."""
    for answers in LISTS:
        given = record.get(answers)
        rows = given if isinstance(given, list) and len(given) > 1 and isinstance(given[0], Mapping) else []
        if rows and any(text in rows[0] for text in OBJECT_TEXT):
            grades = [name for name, value in leaves(rows[0]).items() if _is_score(value)]
            if grades:
                best = next((name for name in grades if SCORED.search(name)), grades[0])
                return f"--preference-field {shlex.quote(best)} ranks {in_short(answers)} by that number of each; "
    return None


def _by_number(objects: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a jq line that makes pairs of records with a list of answers and the best one's number; else None."""
    lists = [name for name, value in objects[0].items() if isinstance(value, list) and len(value) > 1]
    numbers = [name for name in objects[0] if BEST.search(name)]
    for answers, best in product(lists, numbers):
        if not all(_is_number_of(record.get(best), record.get(answers)) for record in objects):
            continue
        others = next((name for name, value in objects[0].items() if isinstance(value, str)), None)
        kept = f"{json.dumps(others)}: .[{json.dumps(others)}], " if others else ""
        each = f".[{json.dumps(answers)}]"
        line = (
            f"{each} as $a | .[{json.dumps(best)}] as $b | range($a | length) as $i | select($i != $b) | "
            f'{{{kept}"chosen": $a[$b], "rejected": $a[$i]}}'
        )
        return (
            f"{in_short(best)} gives the best of {in_short(answers)} by its number; jq makes pairs of it and each of "
            f"the others: jq -c {shlex.quote(line)} FILE > PAIRS.jsonl; "
        )
    return None


def _by_score(objects: Sequence[Mapping[str, Any]], path: str) -> str | None:
    """Return a line of pandas that groups records with one scored answer each into lists of answers; else None.

    No such row is a pair, and the user must decide which answers are compared, whatever their order.
    """
    first = objects[0]
    scores = [name for name in first if _is_score(first[name])]
    scores = [name for name in scores if all(record.get(name) is None or _is_score(record[name]) for record in objects)]
    scores = [name for name in scores if SCORED.search(name)] or scores
    texts = [name for name, value in first.items() if isinstance(value, str) and name not in scores]
    asked = [name for name in texts if len({str(record.get(name)) for record in objects}) < len(objects)]
    answers = [name for name in texts if name.lower() in OBJECT_TEXT and name not in asked[:1]]
    if not (asked and answers and scores):
        return None
    renamed = {old: new for old, new in ((answers[0], "answer"), (scores[-1], "score")) if old != new}
    named = f".rename(columns={json.dumps(renamed)})" if renamed else ""
    line = (
        f"import pandas; f = pandas.{pandas_call(path)}{named}; f.groupby({json.dumps(asked[0])})"
        '[["answer", "score"]].apply(lambda g: g.to_dict("records")).rename("answers").reset_index()'
        '.to_json("pairs.jsonl", orient="records", lines=True)'
    )
    return (
        f"each record is one answer with a score, {in_short(scores[-1])}: pairs are made of answers to one "
        f"{in_short(asked[0])}, which this puts together for actkit dpo pairs.jsonl: "
        f"{own_python()} -c {shlex.quote(line)}; "
    )


def pandas_call(path: str) -> str:
    """Return the call of pandas that reads a file, by the end of its name; by default it reads lines of JSON."""
    ending = path.lower().removesuffix(".gz").rpartition(".")[2]
    return READ_BY.get(ending, "read_json({}, lines=True)").format(json.dumps(path))


def _is_score(value: Any) -> bool:
    """Whether a value is a number, or, as in CSV, a text that spells one."""
    if isinstance(value, str):
        return NUMBER.fullmatch(value) is not None
    return isinstance(value, float | int) and not isinstance(value, bool)


def _is_number_of(number: Any, answers: Any) -> bool:
    counted = isinstance(number, int) and not isinstance(number, bool) and isinstance(answers, list)
    return counted and 0 <= number < len(answers) and all(isinstance(answer, str) for answer in answers)
