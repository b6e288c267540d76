"""Labelled texts in the shapes that they come in, and labels that mean what they say or nothing."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from actkit.errors import InputError, RecordError, RunError, UsageError
from actkit.pipeline.data import Record, Rejected
from actkit.pipeline.input.class_names import ClassName
from actkit.recipes.feedback import Feedback, Labels, parse_feedback
from actkit.recipes.label_counts import check_both, labelled_lines, meant_in
from actkit.recipes.labels import FeedbackFields, check_labels, labels_in

FIELDS = FeedbackFields()


def records(values: list[Any]) -> Iterator[Record | Rejected]:
    return (Record(index, "f", index + 1, value) for index, value in enumerate(values))


def with_labels(*labels: Any) -> list[dict[str, Any]]:
    return [{"text": "x", "label": label} for label in labels]


def parsed(value: Any, fields: FeedbackFields = FIELDS) -> Feedback:
    """A record of a file that has words as labels too."""
    labels, _ = labels_in(records([value, {"text": "x", "feedback": "positive"}]), fields)  # type: ignore[arg-type]
    return parse_feedback(value, fields, labels)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("positive", "positive"),
        (" Positive ", "positive"),
        (True, "positive"),
        ("true", "positive"),
        (1, "positive"),
        (1.0, "positive"),
        ("1", "positive"),
        ("+1", "positive"),
        ("negative", "negative"),
        (False, "negative"),
        (0, "negative"),
        ("0", "negative"),
        (-1, "negative"),
        ("-1", "negative"),
        ("neutral", "neutral"),
    ],
)
def test_the_usual_labels(value: Any, label: str) -> None:
    assert parsed({"text": "x", "feedback": value}).label == label


def test_zero_is_neutral_beside_minus_one_and_negative_beside_one() -> None:
    for values, meaning in (([1, 0, -1], "neutral"), ([1, 0, 1], "negative")):
        rows = [{"text": "x", "sentiment": value} for value in values]
        labels, again = labels_in(records(rows), FIELDS)  # type: ignore[arg-type]
        assert labels.of(0, "sentiment") == meaning
        assert len(list(again)) == 3


def test_minus_one_beside_a_label_of_zero_and_one_may_be_none() -> None:
    """`datasets` writes -1 where there is no label: such texts were negative, and negative ones neutral."""
    rows: list[Any] = [{"text": "x", "label": value} for value in (1, 0, -1)]
    with pytest.raises(InputError, match=r"field label has -1, 0, 1, so it is not clear") as raised:
        labels_in(records(rows), FIELDS)
    assert "--positive 1 --negative 0" in raised.value.hint
    said = FeedbackFields(positive=("1",), negative=("0",))
    labels, _ = labels_in(records(rows), said)
    assert labels.of(0, "label") == "negative"


def test_minus_one_after_zero_was_taken_for_negative_is_refused() -> None:
    """What has been labelled until then would be wrong, so that it is no record's affair."""
    labels = Labels(FIELDS)
    assert labels.of(0, "label") == "negative"
    with pytest.raises(InputError, match="not clear what 0 means"):
        labels.of(-1, "label")


@pytest.mark.parametrize(
    "values", [(1, 2, 5), ("0", "1.0", "4"), ([1], [3, 27]), (1, 0, -2), (0, 1, Decimal("3.00")), (True, 1, 10)]
)
def test_ratings_and_numbers_of_classes_are_refused_and_1_not_taken_for_positive(values: tuple[Any, ...]) -> None:
    given = [{"text": "x", "rating": value} for value in values]
    with pytest.raises(InputError, match="rating has .*, so it is not clear what 1 means") as raised:
        labels_in(records(given), FIELDS)  # type: ignore[arg-type]
    assert "--positive" in raised.value.hint
    own = FeedbackFields(positive=("5", "4"), negative=("1", "2"))
    labels, _ = labels_in(records(given), own)  # type: ignore[arg-type]
    assert labels.of(1, "rating") == "negative" and labels.of("5.0", "rating") == "positive"


def test_grades_are_listed_and_the_hint_names_the_outermost() -> None:
    given = [{"text": "x", "rating": rating} for rating in (3, 1, 10, "none")]
    with pytest.raises(InputError, match="rating has 1, 10, 3, none, so it is not clear") as raised:
        labels_in(records(given), FIELDS)  # type: ignore[arg-type]
    assert raised.value.hint.endswith("name the labels that count, such as --positive 10 --negative 1")


@pytest.mark.parametrize("scores", [(0.0, 0.31, 1.0), ("1", "0.9"), (1e-05, 1.0), (0, Decimal("0.50"))])
def test_scores_between_0_and_1_are_grades_of_which_those_at_the_ends_are_not_all(scores: tuple[Any, ...]) -> None:
    given = [{"text": "x", "label": score} for score in scores]
    with pytest.raises(InputError, match="label has .*, so it is not clear what 1 means") as raised:
        labels_in(records(given), FIELDS)  # type: ignore[arg-type]
    assert "--positive '>=0.5' --negative '<0.5'" in raised.value.hint
    labels, _ = labels_in(records(given), FeedbackFields(positive=(">=0.5",), negative=("<0.5",)))  # type: ignore[arg-type]
    assert labels.of(scores[-1], "label") == "positive"


@pytest.mark.parametrize("first", [(0, 1), ("pos", "1"), (None, None), ("maybe", "")])
def test_a_rating_after_the_first_records_ends_the_run_where_numbers_may_be_what_it_is_labelled_by(first: Any) -> None:
    """Each process that shares a run decides alike, by the first records: no order of them makes 1 positive."""
    labels, _ = labels_in(records(with_labels(*first)), FIELDS)  # type: ignore[arg-type]
    assert labels.of(1, "label") == "positive"
    with pytest.raises(InputError, match="the field label has 3, so it is not clear which labels are positive"):
        labels.of(3, "label")


def test_among_words_a_rating_is_its_own_records_affair_and_a_sign_ends_the_run() -> None:
    """A file of words that goes on with grades from 1 to 5 had its ones taken for positive, and the rest rejected."""
    words, _ = labels_in(records(with_labels("pos", "neg")), FIELDS)  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="neither positive nor negative"):
        words.of(3, "label")
    for sign in (1, "0", -1.0):
        with pytest.raises(InputError, match=f"has {int(float(sign))} after words alone") as raised:
            words.of(sign, "label")
        assert "--positive" in raised.value.hint
    named, _ = labels_in(records(with_labels("pos", "neg")), FeedbackFields(positive=("pos", "1"), negative=("neg",)))  # type: ignore[arg-type]
    assert named.of(1, "label") == "positive"


def test_grades_without_1_are_refused_before_1_comes() -> None:
    """A file that is sorted by grade, the best first, had its ones taken for positive and its zeros for negative."""
    with pytest.raises(InputError, match="rating has 4, 5, so it is not clear which labels are positive"):
        labels_in(records([{"text": "x", "rating": rating} for rating in (5, 4)]), FIELDS)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, "", "maybe", 0.5, 2, [], ["x"]])
def test_a_label_that_means_nothing_is_rejected_and_never_guessed(value: Any) -> None:
    with pytest.raises(RecordError) as raised:
        parsed({"text": "x", "label": value})
    assert raised.value.field == "label"
    assert raised.value.reason == ("missing" if value is None else "neither positive nor negative")


def test_labels_of_ones_own() -> None:
    fields = FeedbackFields(label="labels", positive=("gratitude", "Joy"), negative=("anger",))
    assert parsed({"text": "x", "labels": ["surprise", "joy"]}, fields).label == "positive"
    assert parsed({"text": "x", "labels": "ANGER"}, fields).label == "negative"
    for value, reason in (
        (["joy", "anger"], "both positive and negative"),
        ("positive", "neither positive nor negative"),
    ):
        with pytest.raises(RecordError, match=reason):
            parsed({"text": "x", "labels": value}, fields)


GRADES = FeedbackFields(label="helpfulness", positive=(">=3",), negative=("<= 1",))


@pytest.mark.parametrize(
    ("value", "label"),
    [(4, "positive"), (3.0, "positive"), ("3", "positive"), (Decimal("1.0"), "negative"), (0, "negative")],
)
def test_grades_by_rule(value: Any, label: str) -> None:
    """HelpSteer2: grades of 0 to 4."""
    assert parsed({"prompt": "p", "response": "x", "helpfulness": value}, GRADES).label == label


@pytest.mark.parametrize("value", [2, "2.5", "many", float("nan"), None, True])
def test_a_grade_between_the_rules_is_neither(value: Any) -> None:
    with pytest.raises(RecordError) as raised:
        parsed({"response": "x", "helpfulness": value}, GRADES)
    assert raised.value.field == "helpfulness"


@pytest.mark.parametrize(
    ("positive", "negative", "says"),
    [
        ([">=3"], ["<=3"], "have grades in common"),
        ([">2"], [">4"], "have grades in common"),
        ([">=3"], ["4"], "4 is given as positive and as negative"),
        (["=>3"], ["1"], "=>3 is no rule"),
        ([">=three"], ["1"], "is no rule"),
    ],
)
def test_rules_that_contradict_or_are_none_are_a_usage_error(
    positive: list[str], negative: list[str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check_labels(FeedbackFields(positive=tuple(positive), negative=tuple(negative)))
    check_labels(FeedbackFields(positive=(">2",), negative=("<=2", "none")))


def test_names_of_classes_are_read_and_their_numbers_can_be_named() -> None:
    """In Parquet's metadata 0 may be called positive; its number would be read the other way round."""
    first, second = ClassName("positive", 0), ClassName("negative", 1)
    assert [parsed({"text": "x", "label": label}).label for label in (first, second)] == ["positive", "negative"]
    ham = FeedbackFields(positive=("0",), negative=("Spam",))
    assert parsed({"text": "x", "label": ClassName("ham", 0)}, ham).label == "positive"
    assert parsed({"text": "x", "label": [ClassName("spam", 1)]}, ham).label == "negative"
    with pytest.raises(RecordError, match="neither"):
        parsed({"text": "x", "label": ClassName("ham", 0)})


@pytest.mark.parametrize("text", ["4,27", "[27, 4]", "4;27", "['27', '4']", "4"])
def test_several_labels_in_one_text_are_each_a_label(text: str) -> None:
    fields = FeedbackFields(label="labels", positive=("4", "15"), negative=("2", "3"))
    assert parsed({"text": "x", "labels": text}, fields).label == "positive"
    with pytest.raises(RecordError, match="both"):
        parsed({"text": "x", "labels": f"{text},3".replace("],", ",")}, fields)


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("True", "positive"),
        ("FALSE", "negative"),
        ("Yes", "positive"),
        ("n", "negative"),
        ("👍", "positive"),
        ("Cons", "negative"),
    ],
)
def test_booleans_and_thumbs_as_text(word: str, label: str) -> None:
    assert parsed({"text": "x", "kto_tag": word}).label == label


def test_columns_of_zeros_and_ones() -> None:
    """GoEmotions as its authors publish it has a column an emotion."""
    fields = FeedbackFields(positive_columns=("joy", "love"), negative_columns=("anger",))
    row = {"text": "x", "joy": "0", "love": 0, "anger": False}
    assert parsed({**row, "love": 1}, fields).label == "positive"
    assert parsed({**row, "anger": "1.0"}, fields).label == "negative"
    for value, reason in (({}, "neither"), ({"joy": 1, "anger": 1}, "both"), ({"joy": 0.5}, "neither 0 nor 1")):
        with pytest.raises(RecordError, match=reason):
            parsed({**row, **value}, fields)
    with pytest.raises(RecordError, match="no field anger"):
        parsed({"text": "x", "joy": 0, "love": 0}, fields)
    alone = FeedbackFields(negative_columns=("toxic", "insult"))
    assert [parsed({"text": "x", "toxic": a, "insult": b}, alone).label for a, b in ((0, 0), (0, 1))] == [
        "positive",
        "negative",
    ]
    for wrong in ({"label": "x"}, {"positive": ("a",)}, {"positive_columns": ("toxic",)}):
        with pytest.raises(UsageError):
            check_labels(replace(alone, **wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["score", "weight"])
def test_no_weight_is_read_from_a_field_that_nobody_named(name: str) -> None:
    assert parsed({"text": "x", "label": 1, name: 7}).score is None
    karma = {"text": "x", "label": 1, name: -12}
    assert parsed(karma).score is None  # and it is not rejected either


def test_what_labels_were_taken_for_is_told() -> None:
    rows = with_labels("good", "Bad", "good", "mixed", "mixed", None, "x" * 90)
    labels, again = labels_in(records(rows), FIELDS)  # type: ignore[arg-type]
    assert meant_in(labels, list(again)) == {
        "field": "label",
        "positive": ["good"],
        "negative": ["Bad"],
        "neither": {"mixed": 2, "None": 1, "x" * 40 + "…": 1},
    }
    columns = FeedbackFields(positive_columns=("joy",))
    assert meant_in(Labels(columns), []) == {"field": None, "positive": ["joy"], "negative": []}


def test_lines_with_a_label_around_them_or_in_their_files_name() -> None:
    """The label would be read as text otherwise, and every feature of it would tell the sides apart."""
    lines = [
        Record(0, "a.zip/b/Pros.txt", 1, "   <Pros>Easy <b>use</b></Pros>\r"),
        Record(1, "x/neg.txt", 1, "No <Pros>."),
    ]
    found = [line.value for line in labelled_lines(iter(lines))]  # type: ignore[arg-type, union-attr]
    assert found == [{"text": "Easy <b>use</b>", "label": "Pros"}, {"text": "No <Pros>.", "file": "neg", "folder": "x"}]


def test_one_sided_or_contradicting_labels_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="belong together"):
        check_labels(FeedbackFields(positive=("a",)))
    with pytest.raises(UsageError, match="a is given as positive and as negative"):
        check_labels(FeedbackFields(positive=("a",), negative=("a", "b")))
    with pytest.raises(UsageError, match="joy is given as positive and as negative"):  # as labels are compared
        check_labels(FeedbackFields(positive=("Joy",), negative=(" joy",)))


def test_text_prompt_group_and_score() -> None:
    weighted = FeedbackFields(score="score")
    found = parsed({"text": "t", "prompt": "p", "feedback": 1, "group": 7, "score": "2.5", "id": 3}, weighted)
    assert (found.label, found.said.plain, found.group, found.score) == ("positive", ("p", "t"), "7", 2.5)
    assert set(found.said.read) == {"text", "prompt", "feedback", "group", "score"} and found.said.left == ("id",)
    assert parsed({"response": "t", "rating": "bad"}).said.plain == (None, "t")
    own = FeedbackFields(text="a", label="b", prompt="c", group="d", score="e")
    found = parsed({"a": "t", "b": 1, "c": "p", "d": "g", "e": 0}, own)
    assert (found.label, found.said.plain, found.group, found.score) == ("positive", ("p", "t"), "g", 0.0)


def test_a_conversation_is_pooled_over_its_last_answer() -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    found = parsed({"messages": messages, "label": True})
    assert found.said.messages == tuple(messages)
    with pytest.raises(RecordError, match="no assistant's answer at the end"):
        parsed({"messages": messages[:1], "label": True})


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ("text", None, "not an object"),
        ({"text": "x"}, None, "no field feedback or label"),
        ({"label": 1}, None, "no field text or response"),
        ({"label": 1, "text": " "}, "text", "empty"),
        ({"label": 1, "text": 5}, "text", "not text or messages but a number"),
        ({"label": 1, "text": None}, "text", "empty"),
        ({"label": 1, "text": "x", "prompt": 5}, "prompt", "not text or messages but a number"),
        ({"label": 1, "text": "x", "score": "much"}, "score", "not a number"),
        ({"label": 1, "text": "x", "score": -1}, "score", "from 0 on"),
        ({"label": 1, "text": "x", "score": "nan"}, "score", "from 0 on"),
    ],
)
def test_what_is_missing_or_wrong_is_named(value: Any, field: str | None, reason: str) -> None:
    with pytest.raises(RecordError, match=reason) as raised:
        parsed(value, FeedbackFields(score="score"))
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("field", "held", "turned_down"),
    [("answer", "accept", "reject"), ("status", "Validated", "Discarded"), ("was_cancelled", False, True)],
)
def test_a_label_that_its_annotator_turned_down_is_none(field: str, held: Any, turned_down: Any) -> None:
    record = {"text": "Fine.", "label": "POSITIVE"}
    assert parsed({**record, field: held}).label == "positive"
    with pytest.raises(RecordError, match="turned down") as caught:
        parsed({**record, field: turned_down})
    assert caught.value.field == field
    assert parsed({"prompt": "Do we take it?", "answer": "reject", "label": 1}).label == "positive"


def test_a_list_is_named_as_it_is_shown() -> None:
    fields = FeedbackFields(positive=("[0, 1]",), negative=("[1, 0]",))
    assert [parsed({"text": "a", "label": label}, fields).label for label in ([0, 1], [1, 0])] == [
        "positive",
        "negative",
    ]
    with pytest.raises(RecordError, match="neither"):
        parsed({"text": "a", "label": [1, 1]}, fields)


@pytest.mark.parametrize("nothing", ["", " ", None, float("nan")])
def test_a_cell_without_a_group_is_no_group_of_all_such_texts(nothing: Any) -> None:
    """As CSV, pandas and Parquet write a gap: else all texts without a group would be one in the split and the test."""
    assert parsed({"text": "a", "feedback": 1, "group": nothing}).group is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("score", 10**400, "a number that is too large"),
        ("score", "1e999", "a weight must be a number from 0 on"),
        ("score", Decimal("sNaN"), "not a number"),
        ("group", "\ud800", "half a character (a lone surrogate)"),
        ("group", ["a", {"b": "\udfff"}], None),
    ],
)
def test_a_weight_or_group_that_no_table_can_hold_is_named(name: str, value: Any, reason: str | None) -> None:
    record = {"text": "a", "feedback": 1, name: value}
    if reason is None:  # printed, the half character is an escape
        assert parsed(record).group == str(value)
        return
    with pytest.raises(RecordError) as caught:
        parsed(record, FeedbackFields(score="score"))
    assert (caught.value.field, caught.value.reason) == (name, reason)


def test_numbers_that_a_csv_file_spells_with_a_point_are_labels_as_numbers_are() -> None:
    assert [parsed({"text": "a", "label": label}).label for label in ("1.0", " 0.00", "-1.0", "+1.")] == [
        "positive",
        "negative",
        "negative",
        "positive",
    ]
    assert parsed({"text": "a", "label": "1.0"}, FeedbackFields(positive=("0",), negative=("1",))).label == "negative"
    for value in ("1.5", ".0", "1.0.0", "v1.0"):
        with pytest.raises(RecordError, match="neither positive nor negative"):
            parsed({"text": "a", "label": value})


def test_decimals_of_a_parquet_file_are_labels_as_numbers_are() -> None:
    assert [parsed({"text": "a", "feedback": Decimal(label)}).label for label in ("1.00", "0.00")] == [
        "positive",
        "negative",
    ]
    for value in (Decimal("0.50"), Decimal("NaN"), Decimal("Infinity"), [["positive"]]):
        with pytest.raises(RecordError, match="neither positive nor negative"):
            parsed({"text": "a", "feedback": value})


def test_fields_within_objects_are_reached() -> None:
    value = {"input": "q", "output": "a", "feedback": {"thumb": "up", "weight": 2, "user": {"id": 7}}, "note": "n"}
    fields = FeedbackFields(
        label="feedback.thumb", score="feedback.weight", group="feedback.user.id", positive=("up",), negative=("down",)
    )
    read = parsed(value, fields)
    assert (read.label, read.score, read.group) == ("positive", 2.0, "7")
    assert read.said.left == ("note",)
    labels, again = labels_in(records([value]), fields)
    assert meant_in(labels, list(again)) == {"field": "feedback.thumb", "positive": ["up"]}
    columns = FeedbackFields(positive_columns=("marks.joy",), negative_columns=("marks.anger",))
    assert parsed({"text": "x", "marks": {"joy": 0, "anger": 1}}, columns).label == "negative"
    with pytest.raises(RecordError, match=r"no field feedback\.thumbs"):
        parsed(value, replace(fields, label="feedback.thumbs"))


@pytest.mark.parametrize(
    ("name", "values"), [("toxicity", [0, 1]), ("is_harmful", [True, False]), ("rejected", ["no", "yes"])]
)
def test_a_yes_to_something_bad_is_no_positive_feedback(name: str, values: list[Any]) -> None:
    """1 of `toxicity` was taken for positive: every sign of the ranking was the other way round."""
    found = [{"text": "x", name: value} for value in values]
    with pytest.raises(InputError, match=f"the field {name} has .* is nothing positive") as caught:
        labels_in(records(found), FeedbackFields(label=name))  # type: ignore[arg-type]
    _, _, words = caught.value.hint.partition("--positive and --negative, each repeatable, such as ")
    _, no, _, yes = words.split()
    fields = FeedbackFields(label=name, positive=(no,), negative=(yes,))
    labels, _ = labels_in(records(found), fields)  # type: ignore[arg-type]
    assert {parse_feedback(value, fields, labels).label for value in found} == {"positive", "negative"}
    spared = [{"text": "x", "non_toxic": value} for value in values]
    labels_in(records(spared), FeedbackFields(label="non_toxic"))  # type: ignore[arg-type]


def test_of_several_labels_only_those_that_mean_it_are_said_to() -> None:
    """Of [anger, fear] the second was shown as negative, which nobody had named."""
    labels = Labels(FeedbackFields(positive=("joy",), negative=("anger",)))
    told = meant_in(labels, list(records(with_labels(["joy"], ["anger", "fear"], ["fear"]))))
    assert told == {"field": "label", "positive": ["joy"], "negative": ["anger"], "neither": {"fear": 1}}


def test_a_group_is_one_whether_its_number_is_whole_or_has_a_point() -> None:
    """A table with gaps makes 1.0 of 1: pairs of two files were taken apart."""
    groups = [parsed({**with_labels("positive")[0], "group": group}).group for group in (1, 1.0, "1", 1.5)]
    assert groups == ["1", "1", "1", "1.5"]


def test_rules_for_grades_do_not_read_a_decimal_comma_as_two_labels() -> None:
    """`1,5` was positive by the 5 in it where `>=3` is, and so it stands in tables that Excel writes in Europe."""
    labels = Labels(FeedbackFields(positive=(">=3",), negative=("<=2",)))
    with pytest.raises(RecordError, match="a comma in a number") as raised:
        labels.of("1,5", "rating")
    assert raised.value.found == "1,5"
    assert labels.of("1.5", "rating") == "negative" and labels.meanings("4, 5") == {"positive"}
    classes = Labels(FeedbackFields(positive=("4",), negative=("27",)))
    assert classes.of("4,5", "labels") == "positive"


def test_a_label_that_is_an_object_names_the_fields_in_it() -> None:
    with pytest.raises(RecordError, match=r"an object: --label-field names one of its fields, feedback\.thumb"):
        Labels(FeedbackFields()).of({"thumb": "up", "text": None}, "feedback")


def test_a_field_that_is_read_twice_is_counted_once() -> None:
    """The label, the group and the text may be one field."""
    fields = FeedbackFields(group="label", label="label")
    found = parse_feedback({"text": "Fine.", "label": "good"}, fields, Labels(fields))
    assert found.said.read == ("text", "label") and found.group == "good"


def test_one_sign_alone_tells_of_the_records_that_were_rejected() -> None:
    """The other sign may be among them: how many there are stands there, and why the first one is."""
    broken = Rejected(0, "f", 1, None, "not valid UTF-8")
    odd = Record(2, "f", 3, {"text": "x", "label": {"value": ["pos"]}})
    negative = Record(1, "f", 2, {"text": "x", "label": "neg"})
    labels, _ = labels_in(iter([negative]), FIELDS)
    with pytest.raises(RunError) as caught:
        check_both(labels, [broken, negative, odd], "label")
    assert "0 positive and 1 negative texts, and 2 rejected (f:1: not valid UTF-8)" in caught.value.message
    assert caught.value.hint.startswith("iconv") and "--positive" not in caught.value.hint
    with pytest.raises(RunError) as caught:
        check_both(labels, [negative, odd], "label")
    assert "1 rejected (f:3, field label: an object: --label-field names one of its fields" in caught.value.message
    assert caught.value.hint.startswith("mend what is rejected; the labels in label are")
    with pytest.raises(RunError) as caught:
        check_both(labels, [negative], "label")
    assert "rejected" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "values", "hint"),
    [
        ("toxicity", (0.0, 0.62, 1.0), "--positive '<0.5' --negative '>=0.5'"),
        ("toxicity", (0.2, 0.62), "--positive '<0.5' --negative '>=0.5'"),
        ("quality", (0.2, 0.62), "--positive '>=0.5' --negative '<0.5'"),
        ("toxicity", (0, 1), "--positive 0 --negative 1"),
        ("toxicity", (1, 2, 5), "--positive 1 --negative 5"),
        ("quality", (1, 2, 5), "--positive 5 --negative 1"),
    ],
)
def test_the_hint_for_scores_is_where_they_begin_and_which_end_is_the_good_one(
    name: str, values: tuple[float, ...], hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        labels_in(records([{"text": "x", name: value} for value in values]), FeedbackFields(label=name))
    assert hint in caught.value.hint


def test_a_field_is_not_its_own_label() -> None:
    """WinoGrande: each text was the number of its answer, and so was the label."""
    fields = FeedbackFields(label="answer", positive=("1",), negative=("2",))
    rows = [{"sentence": "It is big.", "answer": "1"}, {"sentence": "It is.", "answer": "2"}]
    labels, _ = labels_in(records(rows), fields)
    with pytest.raises(RecordError, match="read as the text and as its label: --text-field names the text"):
        parse_feedback(rows[0], fields, labels)
    assert parse_feedback(rows[0], replace(fields, text="sentence"), labels).label == "positive"
