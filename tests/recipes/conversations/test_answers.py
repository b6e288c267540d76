"""Answers of a record and their ranks, by the classes that read them: named sides, lists in order, ranked, judged."""

from typing import Any

import pytest

from actkit.errors import RecordError
from actkit.recipes.conversations.answers import InOrder, LastOf, NamedSides
from actkit.recipes.conversations.fields import FieldNames, Fields
from actkit.recipes.conversations.judged import Judged
from actkit.recipes.conversations.ranked import Ranked
from actkit.recipes.conversations.verdicts import Verdict, by_name, by_sign

SIDES = NamedSides("chosen", "rejected", [("good", "bad")])
USER = {"role": "user", "content": "Hello?"}
SAID = {"role": "assistant", "content": "Hi."}


def read(kind: Any, value: dict[str, Any], names: FieldNames | None = None) -> list[tuple[Any, str, float]]:
    fields = Fields(value, names or FieldNames())
    assert kind.found(fields), value
    return [(answer.value, answer.path, answer.rank) for answer in kind.read(fields)]


def refused(kind: Any, value: dict[str, Any], names: FieldNames | None = None) -> tuple[str | None, str]:
    with pytest.raises(RecordError) as error:
        kind.read(Fields(value, names or FieldNames()))
    return error.value.field, error.value.reason


def test_two_fields_named_for_what_they_are() -> None:
    assert read(SIDES, {"chosen": "a", "rejected": "b"}) == [("a", "chosen", 0), ("b", "rejected", 1)]
    assert read(SIDES, {"good": "a", "bad": "b"}) == [("a", "good", 0), ("b", "bad", 1)]
    assert read(SIDES, {"chosen": "a", "rejected": "b", "good": "c", "bad": "d"})[0] == ("a", "chosen", 0)
    assert read(SIDES, {"chosen": ["a", "b"], "rejected": [USER, SAID]}) == [
        ("a", "chosen[0]", 0),
        ("b", "chosen[1]", 0),
        ([USER, SAID], "rejected", 1),
    ]
    assert not SIDES.found(Fields({"chosen": "a"})) and not SIDES.found(Fields({"chosen": "a", "rejected": ""}))
    assert refused(SIDES, {"chosen": "a"}) == ("rejected", "missing")
    assert refused(SIDES, {"chosen": "a", "rejected": ""}) == ("rejected", "empty")
    assert refused(SIDES, {"chosen": None, "rejected": "b"}) == ("chosen", "empty")
    nested = NamedSides("a.x", "a.y")
    assert refused(nested, {"a": {"x": "1", "y": []}}) == ("a.y", "empty")


def test_answers_in_a_table_of_text_are_the_list_that_they_were() -> None:
    """All of them were one answer."""
    several = NamedSides("correct_answers", "incorrect_answers")
    listed = [("a", "correct_answers[0]", 0), ("b", "correct_answers[1]", 0), ("c", "incorrect_answers[0]", 1)]
    for both in ('["a", "b"]', "a; b"):
        assert read(several, {"correct_answers": both, "incorrect_answers": "c"}) == listed
    field, why = refused(several, {"correct_answers": ["a"], "incorrect_answers": "['b' 'c']"})
    assert field == "incorrect_answers" and "a Python list that was printed" in why
    assert read(SIDES, {"chosen": "['a', 'b']", "rejected": "a; b"}) == [
        ("['a', 'b']", "chosen", 0),
        ("a; b", "rejected", 1),
    ]


def test_messages_that_end_with_the_better_answer() -> None:
    kind = LastOf("messages", "rejected_response")
    whole = [USER, SAID]
    (first, *others) = read(kind, {"messages": whole, "rejected_response": ["No.", "Never."]})
    assert [message["content"] for message in first[0]] == ["Hello?", "Hi."] and first[1:] == ("messages", 0)
    assert [[message["content"] for message in other[0]] for other in others] == [
        ["Hello?", "No."],
        ["Hello?", "Never."],
    ]
    assert {other[1:] for other in others} == {("rejected_response", 1)}
    (_, other) = read(kind, {"messages": whole, "rejected_response": [{"role": "user", "content": "Other?"}, SAID]})
    assert [message["content"] for message in other[0]] == ["Other?", "Hi."], "a conversation of its own"
    (_, other) = read(kind, {"messages": whole, "rejected_response": [{"role": "assistant", "content": "No."}]})
    assert [message["content"] for message in other[0]] == ["Hello?", "No."]
    assert not kind.found(Fields({"messages": whole}))


def test_a_list_the_best_one_first() -> None:
    kind = InOrder("output")
    assert read(kind, {"output": ["a", "b", "c"]}) == [(text, f"output[{n}]", n) for n, text in enumerate("abc")]
    for value in ("a", ["a"], ["a", 1], [], None):
        assert not kind.found(Fields({"output": value}))


RANKED = Ranked(("completions", "answers"), ("text", "content"), ("rank",), ("score", "rating.overall"))
BESIDE = Ranked(("responses",), (), ("ranks",), ("scores",))


def test_objects_with_ranks_or_scores() -> None:
    rows = [
        {"text": "a", "rank": 2},
        {"text": "b", "rank": "1"},
        {"text": "c"},
        {"rank": 3},
        {"text": "", "content": "e", "rank": 4},
    ]
    assert read(RANKED, {"completions": rows}) == [
        ("a", "completions[0].text", 2.0),
        ("b", "completions[1].text", 1.0),
        ("e", "completions[4].content", 4.0),
    ]
    scored = [{"text": "a", "score": 2}, {"text": "b", "score": 5}]
    assert [row[2] for row in read(RANKED, {"answers": scored})] == [-2.0, -5.0], "more is better"
    inner = [{"text": "a", "rating": {"overall": 1}}, {"text": "b", "rating": {"overall": 3}}]
    assert [row[2] for row in read(RANKED, {"answers": inner})] == [-1.0, -3.0]
    both = [{"text": "a", "score": 2, "rank": 7}]
    assert read(RANKED, {"answers": both})[0][2] == 7.0, "ranks come first"


@pytest.mark.parametrize(
    ("named", "ranks"),
    [
        ("score", [-2.0]),
        ("my_rank", [4.0]),
        ("grade", [-3.0]),
        ("answers.0.grade", [-3.0]),
        ("answers[1].my_rank", [4.0]),
        ("answers.grade", [-3.0]),
        ("ranker_score", [-0.5]),
        ("loss", [0.1]),
        ("toxicity", [0.2]),
        ("non_toxic", [-0.8]),
    ],
)
def test_what_a_user_names_counts_and_a_rank_is_told_by_its_name(named: str, ranks: list[float]) -> None:
    """A loss, or what is held against an answer, is better the less there is of it; errors list paths as they are."""
    more = {"ranker_score": 0.5, "loss": 0.1, "toxicity": 0.2, "non_toxic": 0.8}
    rows = [{"text": "a", "rank": 1, "score": 2, "my_rank": 4, "grade": 3, **more}]
    assert [row[2] for row in read(RANKED, {"answers": rows}, FieldNames(preference=named))] == ranks


def test_texts_beside_their_scores() -> None:
    assert read(BESIDE, {"responses": ["a", "", "c"], "scores": [1, 2, None]}) == [("a", "responses[0]", -1.0)]
    assert read(BESIDE, {"responses": ["a", "b"], "ranks": "[2, 1]"}) == [
        ("a", "responses[0]", 2.0),
        ("b", "responses[1]", 1.0),
    ]
    assert refused(BESIDE, {"responses": ["a", "b"], "scores": [1]}) == (
        "scores",
        "as many as there are responses are needed",
    )
    for value in (
        {"responses": ["a"]},
        {"responses": [{"text": "a"}], "scores": [1]},
        {"responses": "a", "scores": [1]},
    ):
        assert not BESIDE.found(Fields(value))


def test_two_lists_that_are_ranked_are_one_too_many() -> None:
    rows = [{"text": "a", "rank": 1}]
    field, reason = refused(RANKED, {"completions": rows, "answers": rows})
    assert (
        field == "completions"
        and reason == "completions and answers both have ranked answers: --ignore-field leaves one out"
    )
    assert (
        read(RANKED, {"completions": rows, "answers": rows}, FieldNames(ignore=("answers",)))[0][1]
        == "completions[0].text"
    )


def test_an_answer_of_a_list_may_have_a_system_message_of_its_own() -> None:
    rows = [{"text": "a", "rank": 1, "system_prompt": "Be brief."}, {"text": "b", "rank": 2, "system_prompt": ""}]
    fields = Fields({"answers": rows})
    found = RANKED.read(fields)
    assert [answer.system for answer in found] == [("answers[0].system_prompt", "Be brief."), None]
    assert {"answers", "answers.rank", "answers.system_prompt"} <= set(fields.read)
    ignoring = Fields({"answers": rows}, FieldNames(ignore=("answers.system_prompt",)))
    assert [answer.system for answer in RANKED.read(ignoring)] == [None, None]


JUDGED = Judged(
    ("response_", "conversation_"),
    (("a", "b"), ("1", "2")),
    (Verdict("winner", by_name), Verdict("strength", by_sign)),
    ("score_{}", "{}_rating"),
    turn="turn",
)
TWO = {"response_a": "x", "response_b": "y"}


def ranks(value: dict[str, Any], names: FieldNames | None = None) -> list[float]:
    return [row[2] for row in read(JUDGED, value, names)]


def test_a_verdict_says_which_is_better() -> None:
    assert ranks({**TWO, "winner": "a"}) == [0, 1] and ranks({**TWO, "winner": "response_b"}) == [1, 0]
    assert ranks({**TWO, "strength": -2}) == [0, 1] and ranks({**TWO, "strength": 1}) == [1, 0]
    assert ranks({"response_1": "x", "response_2": "y", "winner": "2"}) == [1, 0]
    assert ranks({**TWO, "winner": "a", "strength": -1}) == [0, 1], "two that say the same"
    assert not JUDGED.found(Fields(TWO)) and not JUDGED.found(Fields({"response_a": "x", "winner": "a"}))


def test_scores_count_where_nothing_says_which_is_better() -> None:
    assert ranks({**TWO, "score_a": 3, "score_b": "2.5"}) == [0, 1]
    assert ranks({**TWO, "score_A": 1, "score_B": 2}) == [1, 0]
    assert ranks({**TWO, "a_rating": 1, "b_rating": 2}) == [1, 0]
    assert ranks({**TWO, "score_a": 3, "score_b": 1, "winner": "b"}) == [1, 0], "a verdict comes first"
    assert not JUDGED.found(Fields({**TWO, "score_a": 3})) and not JUDGED.found(
        Fields({**TWO, "score_a": 3, "score_b": "x"})
    )


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ({"winner": "tie"}, "winner", "a tie: neither answer is better"),
        ({"strength": 0}, "strength", "a tie: neither answer is better"),
        ({"score_a": 1, "score_b": 1}, "score_a", "a tie: neither answer is better"),
        ({"winner": "a", "strength": 2}, "winner", "winner and strength contradict each other"),
        ({"winner": "perhaps"}, "winner", "winner is 'perhaps', and which answer that means is not clear"),
    ],
)
def test_what_no_pair_can_be_made_of(value: dict[str, Any], field: str, reason: str) -> None:
    found = refused(JUDGED, {**TWO, **value})
    assert found[0] == field and found[1].startswith(reason)


def test_a_user_says_what_counts() -> None:
    value = {**TWO, "winner": "a", "strength": 2, "mine": "yes"}
    assert ranks(value, FieldNames(preference="strength")) == [1, 0]
    assert ranks(value, FieldNames(preference="mine", first_is_better=("yes", "1"))) == [0, 1]
    assert ranks(value, FieldNames(preference="mine", first_is_better=("no",))) == [1, 0]
    assert not JUDGED.found(Fields(value, FieldNames(preference="other")))


def test_verdicts_that_are_numbers_are_told_apart_later() -> None:
    assert JUDGED.numbers(Fields({**TWO, "winner": 1})) == [("winner", ("a", "b"), "1")]
    assert JUDGED.numbers(Fields({**TWO, "winner": "a"})) == []
    assert JUDGED.numbers(Fields({**TWO, "strength": 1})) == [], "its sign is what it says"
    assert JUDGED.numbers(Fields({**TWO, "winner": 1}, FieldNames(first_is_better=("1",)))) == []
    assert JUDGED.numbers(Fields({"winner": 1})) == []


def test_what_comes_after_the_turn_that_was_judged_is_no_part_of_it() -> None:
    turns = [USER, SAID, USER, {"role": "assistant", "content": "Later."}]
    value = {"conversation_a": turns, "conversation_b": turns, "winner": "a"}
    for turn, n in ((1, 2), (2, 4), (3, 4), (0, 4), (None, 4)):
        assert [len(row[0]) for row in read(JUDGED, {**value, "turn": turn})] == [n, n], turn


def test_several_questions_and_as_many_answers() -> None:
    kind = Judged(("response_",), (("a", "b"),), (Verdict("winner", by_name),), asked="prompts")
    value = {"prompts": '["one?", "two?"]', "response_a": '["1", "2"]', "response_b": ["3", None], "winner": "a"}
    assert [row[0] for row in read(kind, value)] == [[["one?", "1"], ["two?", "2"]], [["one?", "3"], ["two?", ""]]]
    assert refused(kind, {**value, "response_b": ["3"]}) == ("response_b", "1 answers to 2 questions")


@pytest.mark.parametrize("kind", [SIDES, LastOf("m", "r"), InOrder("x"), RANKED, BESIDE, JUDGED])
def test_none_is_found_in_a_record_without_fields(kind: Any) -> None:
    assert kind.found(Fields({})) is False
