"""Labelled texts for `RewardSignalDetector`: from a file, from lists, or the example data."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actkit.api.run_location import rows_in
from actkit.errors import InputError, UsageError
from actkit.pipeline.data import Rejected
from actkit.pipeline.input.reader import read_records
from actkit.recipes.labels import FeedbackFields, check_labels
from actkit.recipes.reward_detect import EXAMPLES


class FeedbackDataLoader:
    """Texts and whether the feedback to them was positive; made by `from_file`, `from_lists`, `from_sides`, `example`.

    Made empty, it is filled by `load_from_json`.

    Iterated over, it gives the records: mappings such as {"text", "feedback", "group"}.

        data = actkit.FeedbackDataLoader.from_sides(["Thank you!", "Well done."], ["This is wrong.", "No use."])
        len(data), next(iter(data))["feedback"]
    """

    def __init__(
        self,
        path: str | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
        fields: FeedbackFields | None = None,
    ) -> None:
        self.path = path
        """The file; None for records in memory, and for the example data."""
        self.rows = None if rows is None else [dict(row) for row in rows]
        """The records in memory."""
        self.fields = FeedbackFields() if fields is None else fields
        self.is_example = False
        check_labels(self.fields)

    def load_from_json(self, path: Path | str) -> "FeedbackDataLoader":
        """Read [{"text", "feedback", "score"}] from a file in place of earlier records; `score` is a weight.

        Raises InputError for a file that is not there.

            data = actkit.FeedbackDataLoader()
            data.load_from_json("feedback.json")
        """
        read_records(str(path), default_format="json").close()
        self.path, self.rows, self.is_example = str(path), None, False
        if self.fields.score is None and any("score" in record for record in itertools.islice(self, 1)):
            self.fields = replace(self.fields, score="score")
        return self

    def get_batch(self, size: int | None = None) -> "FeedbackDataLoader":
        """Return at most `size` records. Raises InputError for a record that cannot be read, UsageError for none.

        records = list(actkit.FeedbackDataLoader.example().get_batch(10))
        """
        found = [dict(record) for record in itertools.islice(self, size)]
        if not found:
            raise UsageError("there are no records of feedback", "load some: load_from_json, or from_lists")
        return FeedbackDataLoader(rows=found, fields=self.fields)

    @classmethod
    def from_file(
        cls,
        path: Path | str,
        *,
        text_field: str | None = None,
        label_field: str | None = None,
        prompt_field: str | None = None,
        group_field: str | None = None,
        score_field: str | None = None,
        positive: Sequence[str] = (),
        negative: Sequence[str] = (),
    ) -> "FeedbackDataLoader":
        """Use a file of labelled texts, conversations or preference pairs, in any format that actkit reads.

        Fields that are not named are looked for under their usual names. `positive` and `negative` name your
        own labels; without them positive, true, 1, … and negative, false, 0, -1, … count.

        Raises InputError for a file that is not there, UsageError for labels of one sign only.

            data = actkit.FeedbackDataLoader.from_file("comments.csv", positive=["joy"], negative=["anger"])
            len(data)
        """
        own = FeedbackFields(
            text_field, label_field, prompt_field, group_field, score_field, tuple(positive), tuple(negative)
        )
        read_records(str(path), default_format="jsonl").close()  # a file that is not there is found now
        return cls(str(path), fields=own)

    @classmethod
    def from_lists(
        cls,
        texts: Sequence[str],
        labels: Sequence[Any],
        *,
        prompts: Sequence[str | None] | None = None,
        groups: Sequence[Any] | None = None,
        scores: Sequence[float | None] | None = None,
        positive: Sequence[str] = (),
        negative: Sequence[str] = (),
    ) -> "FeedbackDataLoader":
        """Use texts with a label each: positive or negative, True or False, 1 and 0 or -1, or labels of your own.

        `prompts` are run before the texts and not pooled, `groups` name the group of each text, `scores` are weights.

        Raises UsageError for lists of different lengths.

            data = actkit.FeedbackDataLoader.from_lists(["Thank you!", "This is wrong."], [1, 0])
            [record["feedback"] for record in data]
        """
        columns = {"text": texts, "feedback": labels, "prompt": prompts, "group": groups, "score": scores}
        given = {name: list(column) for name, column in columns.items() if column is not None}
        if len({len(column) for column in given.values()}) != 1:
            lengths = ", ".join(f"{len(column)} {name}" for name, column in given.items())
            raise UsageError(f"lists of different lengths: {lengths}", "give each text its label")
        rows = [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
        weight = None if scores is None else "score"
        return cls(rows=rows, fields=FeedbackFields(score=weight, positive=tuple(positive), negative=tuple(negative)))

    @classmethod
    def from_sides(cls, positive: Sequence[str], negative: Sequence[str]) -> "FeedbackDataLoader":
        """Use texts with positive feedback, and texts with negative feedback.

        data = actkit.FeedbackDataLoader.from_sides(["Thank you!"], ["This is wrong."])
        """
        texts = [*positive, *negative]
        return cls.from_lists(texts, ["positive"] * len(positive) + ["negative"] * len(negative))

    @classmethod
    def example(cls) -> "FeedbackDataLoader":
        """Load the texts that come with actkit, 200 of each sign, in groups of one topic.

        data = actkit.FeedbackDataLoader.example()
        """
        found = cls()
        found.is_example = True
        return found

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the records. Raises InputError for a record that cannot be read."""
        if self.path is None and not self.is_example:
            yield from self.rows or ()
            return
        for record in read_records(str(EXAMPLES if self.path is None else self.path), default_format="jsonl"):
            if isinstance(record, Rejected):
                raise InputError(f"{record.place}: {record.reason}", "detect leaves it out and counts it")
            yield record.value

    def __len__(self) -> int:
        return len(self.rows) if self.rows is not None else sum(1 for _ in self)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return list(self)[index]


def feedback_of(feedback: Any) -> FeedbackDataLoader:
    """Make a loader of feedback: a loader, a file, or records in memory. Raises UsageError for anything else."""
    if isinstance(feedback, FeedbackDataLoader):
        if feedback.path is None and feedback.rows is None and not feedback.is_example:
            raise UsageError("the loader is empty", "fill it: load_from_json, or take FeedbackDataLoader.example()")
        return feedback
    if isinstance(feedback, (str, Path)):
        return FeedbackDataLoader.from_file(feedback)
    rows = list(rows_in(feedback))
    wrong = next((row for row in rows if not isinstance(row, Mapping)), None)
    if wrong is not None:
        raise UsageError(
            f"{type(wrong).__name__} is no record of feedback", 'give {"text", "feedback"}, or a FeedbackDataLoader'
        )
    return FeedbackDataLoader(rows=rows)
