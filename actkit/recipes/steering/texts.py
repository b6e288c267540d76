"""Make the texts that measure interventions: prompts with two answers, labelled texts, and neutral text.

A concept's held-out stems are prompts without either wording. The unsteered model's answers under the two wordings are
the positive and the negative answer. A user's own answers, and contrast pairs that are answers, are taken unchanged.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actkit.analysis.columns import Bools
from actkit.analysis.concepts.contrast import read_pairs
from actkit.analysis.concepts.directions import FEWEST_STEMS, split_pairs
from actkit.config import ReadSpec
from actkit.errors import InputError, RecordError, UsageError
from actkit.pipeline.data import Encoding, Ints, Record, Rejected, TokenSequence
from actkit.pipeline.input.files import name_of
from actkit.pipeline.input.reader import look_ahead, read_records
from actkit.pipeline.input.records import Records
from actkit.recipes.concepts import Template
from actkit.recipes.contrasts import Contrast, contrasts_in, from_stems, parse_contrast
from actkit.recipes.conversations.fields import ContextFields, FieldNames, names_of, object_of
from actkit.recipes.conversations.pairs import PairsSpec, detect, read_pair
from actkit.runs.reader import part_of, parts

NEUTRAL = Path(__file__).with_name("neutral_texts.txt")
VALIDATION, TEST, COST = "validation", "test", "neutral"
COLUMNS = ["sequence_id", "record_id", "parent_id", "start", "response_start", "group", "label", "text"]


@dataclass(frozen=True)
class Wordings:
    """A held-out stem that the model is to answer, and the two texts that ask it."""

    stem: str
    template: str | None
    split: str
    positive: str
    negative: str


def neutral_texts() -> list[dict[str, Any]]:
    """Read the short neutral texts, written for actkit, that measure the cost of an intervention."""
    lines = NEUTRAL.read_text(encoding="utf-8").splitlines()
    return [{"split": COST, "stem": f"neutral {number}", "text": line} for number, line in enumerate(lines) if line]


def held_out_of(run: Path, options: Mapping[str, Any], seed: int) -> tuple[list[Wordings], list[dict[str, Any]]]:
    """Return a concept run's held-out pairs: stems whose answers are to be generated, and pairs that are answers.

    Of a stem in several templates one is taken, in turn. Raises UsageError for a run that held nothing out, and
    InputError where the run's input file is gone or has changed.
    """
    pairs = read_pairs(run)
    split = split_pairs(pairs.stems, seed)
    if split is None:
        raise UsageError(
            f"{run} holds nothing out: it has fewer than {FEWEST_STEMS} stems",
            "give texts of your own: --answers FILE, with prompt, positive and negative in each record",
        )
    part = {
        int(record): (VALIDATION if split.validation[row] else TEST, int(pairs.stems[row]))
        for row, record in enumerate(pairs.record_ids)
        if not split.train[row]
    }
    asked: dict[int, list[Wordings]] = {}
    given: list[dict[str, Any]] = []
    for record in _source(options):
        if not isinstance(record, Record) or record.record_id not in part:
            continue
        name, stem = part[record.record_id]
        contrast = parse_contrast(record.value, _names(options))
        written = record.value.get("stem") if isinstance(record.value, Mapping) else None
        in_both = isinstance(written, str) and all(written in text for text in contrast.texts)
        if contrast.prompt is None and in_both:  # one stem in two wordings: the stem alone can be asked
            asked.setdefault(stem, []).append(Wordings(contrast.stem, contrast.template, name, *contrast.texts))
        else:
            given.append(_given(contrast, contrast.stem, name))
    if sum(map(len, asked.values())) + len(given) < len(part):
        raise InputError(
            f"{options.get('what')}: it is no longer the file that {run} was made from", "give --answers FILE"
        )
    return [several[number % len(several)] for number, several in enumerate(asked.values())], given


def own_answers(path: str, seed: int, choose: bool) -> list[dict[str, Any]]:
    """Read the prompts of a file with two answers each: `prompt`, `positive`, `negative`, or preference pairs.

    With `choose`, half of the prompts serve to choose layer and strength. Raises InputError for an empty file and for a
    bad record, and UsageError for too few prompts to choose with.
    """
    first, records, _ = look_ahead(read_records(path, default_format="jsonl"), 1)
    if not first:
        raise InputError(f"{name_of(path)}: the input has no records", "is the file, or what is piped in, empty?")
    found = []
    for record in records:
        try:
            if isinstance(record, Rejected):
                raise RecordError(record.field, record.reason)
            found.append(_own(record.value))
        except RecordError as error:
            field = f", field {error.field}" if error.field else ""
            hint = "a record has prompt, positive and negative, or chosen and rejected as preference pairs have them"
            raise InputError(f"{record.place}{field}: {error}", hint) from error
    stems = list(dict.fromkeys(text["stem"] for text in found))
    if not choose:
        return found
    if len(stems) < FEWEST_STEMS:
        raise UsageError(
            f"{path} has {len(stems)} prompts: too few to choose layer and strength with some and report others",
            f"name both, such as --layers 15 --strengths 2; or give {FEWEST_STEMS} prompts",
        )
    order = np.random.default_rng(seed).permutation(len(stems))
    chosen = {stems[index] for index in order[: len(stems) // 2]}
    return [{**text, "split": VALIDATION if text["stem"] in chosen else TEST} for text in found]


def steered_at(encoding: Encoding, response_start: int | None, positions: str) -> Bools:
    """[n_tokens] Whether an intervention acts at a token: never at special ones, nor at the first, an attention sink.

    `response` begins at the token that predicts the answer's first token.
    """
    where: Bools = ~encoding.is_special & (np.arange(len(encoding)) > 0)
    if response_start is None or positions == "all":
        return where
    first = np.arange(len(encoding)) >= response_start - 1
    return where & (first if positions == "response" else ~first)


def predicted(first: int, last: int) -> Ints:
    """Return the positions whose logits predict the tokens at [first, last): each predicts the next token."""
    return np.arange(max(first, 1) - 1, last - 1, dtype=np.int64)


def _source(options: Mapping[str, Any]) -> Records:
    """Read the records of a concept run again, as the run read them."""
    read = ReadSpec(options.get("split") or ReadSpec.split, options.get("columns"))
    if options.get("stems") is not None:
        own = Template("own", str(options["positive"]), str(options["negative"]))
        return from_stems(own, str(options["stems"]), read)
    return contrasts_in(str(options["what"]), read, _names(options))[1]


def _names(options: Mapping[str, Any]) -> FieldNames:
    """Return the fields that a concept run's options name or ignore."""
    ignored = tuple(options.get("ignore_field") or ())
    context = ContextFields(options.get("system_field"), options.get("history_field"), ignored)
    return names_of(options.get("prompt_field"), context)


def _own(value: Any) -> dict[str, Any]:
    object_of(value)
    if detect(value) is None:
        contrast = parse_contrast(value)
        if contrast.prompt is None:
            raise RecordError("prompt", "missing")
        stem = value.get("stem")
        return _given(contrast, stem if isinstance(stem, str) else contrast.prompt, TEST)
    pair = read_pair(value, PairsSpec())
    _check_no_tools(pair.template)
    before, answer, other = pair.chosen[:-1], pair.chosen[-1], pair.rejected[-1]
    if pair.rejected[:-1] != before:
        raise RecordError("rejected", "the two sides answer different prompts")
    written = "\n".join(f"{message['role']}: {message['content']}" for message in before)
    messages = [dict(message) for message in before]
    return _answers(written, str(answer["content"]), str(other["content"]), written, TEST, messages)


def _given(contrast: Contrast, stem: str, split: str) -> dict[str, Any]:
    """Make the text of a contrast pair whose two sides are answers. Raises RecordError if it has tools or options."""
    _check_no_tools(contrast.positive.template)
    return _answers(contrast.prompt, *contrast.texts, stem, split, contrast.before)


def _check_no_tools(template: Mapping[str, Any]) -> None:
    """Raise RecordError for arguments of the chat template besides the messages: texts are stored without them."""
    if template:
        raise RecordError(next(iter(template)), "tools and options of the chat template are not read here")


def _answers(
    prompt: str | None, positive: str, negative: str, stem: str, split: str, messages: Sequence[Any] | None
) -> dict[str, Any]:
    found = {"split": split, "stem": stem, "prompt": prompt, "positive": positive, "negative": negative}
    return found if messages is None else {**found, "messages": messages}


def stored_texts(run: Path, sequence_ids: Collection[int]) -> dict[int, TokenSequence]:
    """Read some sequences of a run by their ids, each with its parent's tokens; no positions are kept yet."""
    found: dict[int, TokenSequence] = {}
    for part in parts(run, "sequences"):
        rows = part_of(run, "sequences", part, COLUMNS)
        wanted = rows.filter(pc.is_in(rows["sequence_id"], pa.array(sorted(sequence_ids), pa.int64()))).to_pylist()
        if not wanted:
            continue
        tokens = part_of(run, "tokens", part)
        for row in wanted:
            own = tokens.filter(pc.equal(tokens["sequence_id"], row["sequence_id"]))
            if row["parent_id"] is not None:
                parent = pc.equal(tokens["sequence_id"], row["parent_id"])
                shared = tokens.filter(pc.and_(parent, pc.less(tokens["position"], row["start"])))
                own = pa.concat_tables([shared, own])
            encoding = Encoding(
                row["text"],
                own["token_id"].to_numpy().astype(np.int64),
                own["char_start"].to_numpy(),
                own["char_end"].to_numpy(),
                own["is_special"].to_numpy(),
                tuple(own["role"].to_pylist()),
            )
            found[row["sequence_id"]] = TokenSequence(
                row["record_id"],
                encoding,
                np.zeros(0, dtype=np.int64),
                response_start=row["response_start"],
                group=row["group"],
                label=row["label"],
            )
    return found
