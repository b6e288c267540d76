"""Preference pairs in the shapes of known data sets: each record's rendering is written out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from actkit.backends import describe
from actkit.config import ModelSpec
from actkit.errors import InputError, RecordError
from actkit.pipeline.data import Record, Rejected
from actkit.recipes.conversations.fields import FieldNames, Fields, Which
from actkit.recipes.conversations.pair_records import one_a_pair, pairs_in
from actkit.recipes.conversations.pairs import Pair, PairsSpec, detect, read_pair
from actkit.recipes.conversations.prompts import read_prompt
from actkit.recipes.conversations.shapes import SHAPES, _shapes_of
from actkit.recipes.prompt_response import encode_messages
from actkit.recipes.reward_detect import RewardDetectSpec, _records
from tests import page_of_shapes as page

Q, GOOD, POOR, FAIR = "Name a fruit.", "A plum.", "An onion.", "A tomato."
ASKED = "<|bos|><|user|>Name a fruit.<|end|><|assistant|>"
PLUM, ONION = f"{ASKED}A plum.<|end|>", f"{ASKED}An onion.<|end|>"
BRIEF = "<|bos|><|system|>Be brief.<|end|><|user|>Name a fruit.<|end|><|assistant|>"
GREETED = "<|bos|><|user|>Hi.<|end|><|assistant|>Hello.<|end|><|user|>Name a fruit.<|end|><|assistant|>"
BOTH = GREETED.replace("<|bos|>", "<|bos|><|system|>Be brief.<|end|>")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


WHOLE = {"chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(POOR)]}
TEXTS = {"chosen": GOOD, "rejected": POOR}
TURNS = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Name a fruit.\n\nAssistant:"
ARENA = {"question_id": "a", "model_a": "m-1", "model_b": "m-2", "judge": "j", "turn": 1, "language": "English"}
# Data set → shape, record, what comes before the answers where it is not ASKED.
RECORDS: dict[str, tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]] = {
    "ultrafeedback_binarized": (
        "trl",
        {"prompt": Q, "prompt_id": "0", **WHOLE, "messages": WHOLE["chosen"], "score_chosen": 8.0},
    ),
    "ultrafeedback cleaned": (
        "trl",
        {"source": "s", "prompt": Q, **WHOLE, "chosen-rating": 5.0, "rejected-model": "m"},
    ),
    "tulu 3": ("trl", {"id": "1", "source": "s", "prompt": Q, **WHOLE, "chosen_rating": 5.0}),
    "reward-bench": ("trl", {"prompt": Q, **TEXTS, "chosen_model": "a", "subset": "s", "id": 0}),
    "reward-bench-2": ("trl", {"prompt": Q, "chosen": [GOOD], "rejected": [POOR, "A stone."], "num_correct": 1}),
    "orpo-dpo-mix": (
        "trl",
        {
            "source": "s",
            "chosen": [user("Hi."), bot("Hello."), user(Q), bot(GOOD)],
            "rejected": [user("Hi."), bot("Hello."), user(Q), bot(POOR)],
            "prompt": Q,
            "question": Q,
        },
        GREETED,
    ),
    "capybara dpo": (
        "trl",
        {
            "source": "s",
            "conversation": [{"input": Q, "output": GOOD}],
            "prompt": Q,
            **WHOLE,
            "rating_chosen": 5,
            "new_generations": ["x"],
        },
    ),
    "truthy-dpo": ("trl", {"id": "0", "source": "s", "system": "Be brief.", "prompt": Q, **TEXTS}, BRIEF),
    "py-dpo": ("trl", {"prompt": Q, **TEXTS, "id": "0"}),
    "full-hh-rlhf": (
        "trl",
        {"prompt": TURNS, "response": f" {GOOD}", "chosen": f" {GOOD}", "rejected": f" {POOR}"},
        GREETED,
    ),
    "hh-rlhf-helpful-base of TRL": ("trl", {"prompt": [user(Q)], "chosen": [bot(GOOD)], "rejected": [bot(POOR)]}),
    "armorm": (
        "trl",
        {
            "prompt_id": "0",
            "prompt": Q,
            "all_generated_responses": [GOOD, FAIR, POOR],
            "all_rm_scores": [3.0, 2.0, 1.0],
            **WHOLE,
        },
    ),
    "JSON text of messages": ("trl", {"prompt": Q, **{side: json.dumps(said) for side, said in WHOLE.items()}}),
    "a prompt and what is below it": (
        "trl",
        {"prompt": "Name a", "input": "fruit.", **TEXTS},
        ASKED.replace("a fruit", "a\nfruit"),
    ),
    "developer role": (
        "trl",
        {
            "prompt": [{"role": "developer", "content": "Be brief."}, user(Q)],
            "chosen": [bot(GOOD)],
            "rejected": [bot(POOR)],
        },
        BRIEF,
    ),
    "LLaMA-Factory ranking": (
        "instruction",
        {"instruction": Q, "input": "", **TEXTS, "system": "Be brief.", "history": [["Hi.", "Hello."]]},
        BOTH,
    ),
    "LLaMA-Factory ranking, no history": (
        "instruction",
        {"instruction": "Name a", "input": "fruit.", **TEXTS, "system": "", "history": []},
        ASKED.replace("a fruit", "a\nfruit"),
    ),
    "orca_dpo_pairs": ("question", {"system": "Be brief.", "question": Q, **TEXTS}, BRIEF),
    "distilabel-intel-orca": (
        "question",
        {
            "system": "Be brief.",
            "input": Q,
            **TEXTS,
            "generations": [GOOD, POOR],
            "rating": [9.0, 2.0],
            "labelling_prompt": [user("x")],
        },
        BRIEF,
    ),
    "vulnerability dpo": ("question", {"lang": "c++", "system": "", "question": Q, **TEXTS}),
    "icr": ("question", {"input": Q, **TEXTS}),
    "context": ("question", {"context": [user(Q)], **TEXTS}),
    "query": ("question", {"query": Q, **TEXTS}),
    "DPO-En-Zh": (
        "sharegpt",
        {
            "conversations": [{"from": "human", "value": Q}],
            "chosen": {"from": "gpt", "value": GOOD},
            "rejected": {"from": "gpt", "value": POOR},
        },
    ),
    "LLaMA-Factory sharegpt, system": (
        "sharegpt",
        {
            "system": "Be brief.",
            "conversations": [{"from": "human", "value": Q}],
            "chosen": {"from": "gpt", "value": GOOD},
            "rejected": {"from": "gpt", "value": POOR},
        },
        BRIEF,
    ),
    "axolotl chat_template": ("sharegpt", {"messages": [user(Q)], "chosen": bot(GOOD), "rejected": bot(POOR)}),
    "UltraInteract": (
        "sharegpt",
        {"task": "t", "trajectory": [{"from": "user", "value": Q}], **TEXTS, "id": "0", "parent_id": "1"},
    ),
    "hh-rlhf": ("hh", {side: f"{TURNS} {text}" for side, text in TEXTS.items()}, GREETED),
    "skywork": ("chatml", {**WHOLE, "source": "s"}),
    "a system message beside chats": ("chatml", {"system": "Be brief.", **WHOLE}, BRIEF),
    "struct of lists": (
        "chatml",
        {side: {"role": ["user", "assistant"], "content": [Q, text]} for side, text in TEXTS.items()},
    ),
    "content parts": (
        "chatml",
        {side: [{"role": "user", "content": [{"type": "text", "text": Q}]}, bot(text)] for side, text in TEXTS.items()},
    ),
    "argilla preferences": (
        "responses",
        {"source": "s", "instruction": Q, "chosen_response": GOOD, "rejected_response": POOR, "chosen_avg_rating": 5.0},
    ),
    "openai": (
        "openai",
        {
            "input": {"messages": [user(Q)], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [bot(GOOD)],
            "non_preferred_output": [bot(POOR)],
        },
    ),
    "wildfeedback": (
        "preferred",
        {"prompt": [user(Q)], "preferred": bot(GOOD), "dispreferred": bot(POOR), "conv_id": "0"},
    ),
    "code preference": ("accepted", {"input": Q, "accepted": GOOD, "rejected": POOR, "ID": 0}),
    "one's own": ("better-worse", {"prompt": Q, "better_response": GOOD, "worse_response": POOR}),
    "stack-exchange-paired": (
        "j-k",
        {"qid": 1, "question": Q, "response_j": GOOD, "response_k": POOR, "metadata": ["x"]},
    ),
    "chosen_messages": (
        "chosen-messages",
        {"chosen_messages": WHOLE["chosen"], "rejected_messages": WHOLE["rejected"]},
    ),
    "truthful qa": (
        "truthful-qa",
        {"Type": "A", "Question": Q, "Best Answer": GOOD, "Best Incorrect Answer": POOR, "Correct Answers": "x"},
    ),
    "ms-swift": ("swift", {"messages": [user(Q), bot(GOOD)], "rejected_response": POOR}),
    "ms-swift, several": ("swift", {"messages": [user(Q), bot(GOOD)], "rejected_response": [POOR, FAIR]}),
    "ms-swift, messages": (
        "swift-messages",
        {"messages": [user(Q), bot(GOOD)], "rejected_messages": [user(Q), bot(POOR)]},
    ),
    "ms-swift 2": (
        "swift-query",
        {
            "system": "Be brief.",
            "query": Q,
            "response": GOOD,
            "rejected_response": POOR,
            "history": [["Hi.", "Hello."]],
        },
        BOTH,
    ),
    "summarize_from_feedback": (
        "post",
        {
            "info": {"id": "0", "post": Q, "title": None, "subreddit": None},
            "summaries": [{"text": POOR, "policy": "p"}, {"text": GOOD, "policy": "q"}],
            "choice": 1,
        },
    ),
    "summarize_from_feedback, titled": (
        "post",
        {
            "info": {"post": Q, "title": "Food", "subreddit": "ask"},
            "summaries": [{"text": GOOD}, {"text": POOR}],
            "choice": 0,
        },
        "<|bos|><|user|>SUBREDDIT: r/ask\n\nTITLE: Food\n\nPOST: Name a fruit.\n\nTL;DR:<|end|><|assistant|>",
    ),
    "summarize_from_feedback, news": (
        "post",
        {
            "info": {"post": None, "article": Q, "title": "Food"},
            "summaries": [{"text": GOOD}, {"text": POOR}],
            "choice": 0,
        },
    ),
    "shp": (
        "shp",
        {
            "post_id": "0",
            "history": Q,
            "human_ref_A": POOR,
            "human_ref_B": GOOD,
            "labels": 0,
            "score_A": 2,
            "score_B": 9,
        },
    ),
    "webgpt": (
        "webgpt",
        {
            "question": {"dataset": "eli5", "full_text": Q},
            "answer_0": POOR,
            "score_0": -0.5,
            "answer_1": GOOD,
            "score_1": 0.5,
            "quotes_0": {"title": ["t"]},
        },
    ),
    "chatbot_arena": (
        "battle",
        {**ARENA, "winner": "model_b", "conversation_a": [user(Q), bot(POOR)], "conversation_b": [user(Q), bot(GOOD)]},
    ),
    "mt-bench, first turn": (
        "battle",
        {
            **ARENA,
            "winner": "model_a",
            "conversation_a": [user(Q), bot(GOOD), user("Why?"), bot("So.")],
            "conversation_b": [user(Q), bot(POOR), user("Why?"), bot("No.")],
        },
    ),
    "arena 55k": (
        "battle-turns",
        {
            "id": 1,
            "model_a": "a",
            "model_b": "b",
            "prompt": json.dumps([Q]),
            "response_a": json.dumps([POOR]),
            "response_b": json.dumps([GOOD]),
            "winner_model_a": 0,
            "winner_model_b": 1,
            "winner_tie": 0,
        },
    ),
    "unified-feedback": (
        "conversations-rated",
        {
            "id": "0",
            "conv_A": [user(Q), bot(GOOD)],
            "conv_A_rating": 1.0,
            "conv_B": [user(Q), bot(POOR)],
            "conv_B_rating": 0.0,
            "source": "s",
        },
    ),
    "PKU-SafeRLHF": (
        "judged",
        {
            "prompt": Q,
            "response_0": POOR,
            "response_1": GOOD,
            "is_response_0_safe": False,
            "better_response_id": 1,
            "safer_response_id": 1,
        },
    ),
    "HelpSteer2 preference": (
        "judged",
        {"split": "train", "prompt": Q, "response_1": GOOD, "response_2": POOR, "preference_strength": -2},
    ),
    "HelpSteer3": (
        "judged",
        {"domain": "d", "context": [user(Q)], "response1": POOR, "response2": GOOD, "overall_preference": 3},
    ),
    "alpaca_farm": ("judged", {"instruction": Q, "input": "", "output_1": POOR, "output_2": GOOD, "preference": 2}),
    "offsetbias": ("judged", {"instruction": Q, "output_1": GOOD, "output_2": POOR, "label": 1}),
    "JudgeBench": ("judged", {"question": Q, "response_A": POOR, "response_B": GOOD, "label": "B>A"}),
    "named by the model": (
        "judged",
        {"prompt": Q, "model_a": "m-1", "model_b": "m-2", "response_a": GOOD, "response_b": POOR, "winner": "M-1"},
    ),
    "scores of two": ("judged", {"prompt": Q, "response_0": POOR, "response_1": GOOD, "score_0": 1, "score_1": "3.5"}),
    "nectar": (
        "ranked",
        {
            "prompt": f"\n\nHuman: {Q}\n\nAssistant: ",
            "answers": [{"answer": FAIR, "rank": 2.0}, {"answer": GOOD, "rank": 1.0}, {"answer": POOR, "rank": 3.0}],
            "turns": 1,
        },
    ),
    "UltraFeedback": (
        "ranked",
        {
            "instruction": Q,
            "models": ["a", "b"],
            "completions": [
                {
                    "custom_system_prompt": "Be brief.",
                    "response": POOR,
                    "overall_score": 2.0,
                    "fine-grained_score": 1.5,
                },
                {
                    "custom_system_prompt": "Be brief.",
                    "response": GOOD,
                    "overall_score": 9.0,
                    "fine-grained_score": 4.5,
                },
            ],
            "correct_answers": ["None"],
        },
        BRIEF,
    ),
    "UltraFeedback as a struct of lists": (
        "ranked",
        {"instruction": Q, "completions": {"response": [POOR, GOOD], "overall_score": [2.0, 9.0]}},
    ),
    "stack-exchange-preferences": (
        "ranked",
        {
            "qid": 1,
            "question": Q,
            "answers": [
                {"text": POOR, "pm_score": 0, "selected": False},
                {"text": GOOD, "pm_score": 7, "selected": True},
            ],
            "date": "d",
        },
    ),
    "distilabel": (
        "scored-lists",
        {"instruction": Q, "generations": [POOR, GOOD, None], "ratings": [1, 5, None], "generation_models": ["a"]},
    ),
    "distilabel, system": (
        "scored-lists",
        {"system_prompt": "Be brief.", "instruction": Q, "generations": [GOOD, POOR], "rating": [4.0, 2.0]},
        BRIEF,
    ),
    "ranks of candidates": ("scored-lists", {"prompt": Q, "candidates_completions": [POOR, GOOD], "ranks": [2.0, 1.0]}),
    "hhh_alignment": ("choices", {"input": Q, "targets": {"choices": [GOOD, POOR], "labels": [1, 0]}}),
    "mc1": ("choices", {"question": Q, "mc1_targets": {"choices": [POOR, GOOD], "labels": [0, 1]}}),
    "a list of answers, one of them chosen": (
        "ranked",
        {"prompt": Q, "completions": [{"text": POOR, "chosen": False}, {"text": GOOD, "chosen": True}]},
    ),
    "prometheus": (
        "prometheus",
        {
            "orig_instruction": Q,
            "orig_response_A": POOR,
            "orig_response_B": GOOD,
            "orig_preference": "B",
            "instruction": f"Judge.\n###Task:\n{Q}\n###Response A:\n{POOR}\n###Response B:\n{GOOD}\n###Feedback:",
            "output": "x",
        },
    ),
    "truthful_qa generation": (
        "truthful-qa-lists",
        {"question": Q, "best_answer": GOOD, "correct_answers": [GOOD, FAIR], "incorrect_answers": [POOR]},
    ),
    "Math-Step-DPO": (
        "trl",
        {"prompt": Q, "initial_reason_steps": "A", "chosen": " plum.", "rejected": "n onion.", "full_chosen": GOOD},
    ),
    "answers with a score each": (
        "trl",
        {"prompt": Q, "chosen": {"text": GOOD, "score": 5}, "rejected": {"text": POOR, "score": 1}},
    ),
    "pairs of a speaker and a text": (
        "chatml",
        {side: [["human", Q], ["ai", text]] for side, text in TEXTS.items()},
    ),
    "win and lose": ("better-worse", {"prompt": Q, "win": GOOD, "lose": POOR}),
    "one letter": ("judged", {"question": Q, "responseA": POOR, "responseB": GOOD, "verdict": "[[B]]"}),
    "arena 140k": (
        "battle",
        {
            **ARENA,
            "winner": "model_a",
            **{
                f"conversation_{side}": [
                    {"role": "user", "content": [{"type": "text", "text": Q, "image": None, "mimeType": None}]},
                    {"role": "assistant", "content": [{"type": "text", "text": text, "image": None}]},
                ]
                for side, text in (("a", GOOD), ("b", POOR))
            },
        },
    ),
    "LLaMA-Factory, older": ("best-first", {"instruction": Q, "input": "", "output": [GOOD, POOR]}),
}


@pytest.fixture(scope="module")
def tiny() -> Any:
    return describe(ModelSpec(device="cpu")).tokenizer


def rendered(tiny: Any, pair: Pair) -> tuple[str, str]:
    first, second = (encode_messages(tiny, side, True, told=pair.template) for side in (pair.chosen, pair.rejected))
    return first.encoding.text, second.encoding.text


@pytest.mark.parametrize("data_set", RECORDS)
def test_a_record_of_a_known_data_set_is_rendered_as_it_should_be(data_set: str, tiny: Any) -> None:
    shape, record, *before = RECORDS[data_set]
    assert detect(record) == shape
    pair = read_pair(record, PairsSpec())
    start = before[0] if before else ASKED
    assert rendered(tiny, pair) == (f"{start}A plum.<|end|>", f"{start}An onion.<|end|>")
    assert pair.shape == shape and not set(pair.read) & set(pair.left)
    forced = read_pair(record, PairsSpec(shape))
    assert (forced.chosen, forced.rejected) == (pair.chosen, pair.rejected)


def test_every_shape_of_the_table_has_a_record_here() -> None:
    assert {shape.name for shape in SHAPES} == {shape for shape, *_ in RECORDS.values()}
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)


def test_a_shape_that_a_record_has_is_looked_for() -> None:
    """Only shapes of whose fields a record has some are: none that would be found may be left out."""
    found = 0
    for _, record, *_ in RECORDS.values():
        fields = Fields(record)
        of_record = {shape.name for shape in SHAPES if shape.found(fields)}
        found += len(of_record)
        assert of_record <= {shape.name for shape in _shapes_of(fields.beginnings)}
    assert found >= len(SHAPES) and _shapes_of(frozenset({"prompt"})) == ()


def test_the_page_has_every_shape_with_a_data_set() -> None:
    assert all(f"| `{shape.name}` |" in page.page() and shape.seen_in for shape in SHAPES)


RANKED = {
    "prompt": Q,
    "answers": [{"answer": FAIR, "rank": 2}, {"answer": POOR, "rank": 3}, {"answer": GOOD, "rank": 1}],
}


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("best-worst", [(GOOD, POOR)]),
        ("adjacent", [(GOOD, FAIR), (FAIR, POOR)]),
        ("all", [(GOOD, FAIR), (GOOD, POOR), (FAIR, POOR)]),
    ],
)
def test_pairs_of_ranked_answers(which: Which, expected: list[tuple[str, str]]) -> None:
    def records() -> Any:
        yield Record(0, "f", 1, RANKED)
        yield Rejected(1, "f", 2, None, "not JSON")
        yield Record(2, "f", 3, {"prompt": Q, "answers": [{"answer": GOOD, "rank": 1}, {"answer": POOR, "rank": 1}]})
        yield Record(3, "f", 4, {"prompt": Q, **TEXTS})

    spec = PairsSpec(which=which)
    found = list(one_a_pair(records(), spec))
    assert [record.record_id for record in found] == list(range(len(expected) + 3))
    pairs = [read_pair(record.value, spec) for record in found[: len(expected)] if isinstance(record, Record)]
    assert [(pair.chosen[-1]["content"], pair.rejected[-1]["content"]) for pair in pairs] == expected
    assert isinstance(found[-3], Rejected) and isinstance(found[-2], Record)
    with pytest.raises(RecordError, match="a tie"):
        read_pair(found[-2].value, spec)


def tree(rows: bool) -> list[dict[str, Any]]:
    """A question with three ranked replies, of which one is asked on, as OpenAssistant's files have it."""
    messages = [
        ("m0", None, "prompter", "Hi.", None),
        ("m1", "m0", "assistant", "Hello.", 0),
        ("m2", "m0", "assistant", "Go away.", 1),
        ("m3", "m1", "prompter", Q, None),
        ("m4", "m3", "assistant", POOR, 2),
        ("m5", "m3", "assistant", GOOD, 0),
        ("m6", "m3", "assistant", FAIR, 1),
        ("m7", "m3", "assistant", "Unranked.", None),
    ]
    found = {
        name: {
            "message_id": name,
            "parent_id": parent,
            "message_tree_id": "m0",
            "role": role,
            "text": text,
            "rank": rank,
        }
        for name, parent, role, text, rank in messages
    }
    if rows:
        return list(found.values())
    for row in found.values():
        row["replies"] = []
        if row["parent_id"] is not None:
            found[row["parent_id"]]["replies"].append(row)
    return [{"message_tree_id": "m0", "tree_state": "ready_for_export", "prompt": found["m0"]}]


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize(("which", "n"), [("best-worst", 2), ("all", 4)])
def test_trees_of_messages(rows: bool, which: Which, n: int, tmp_path: Path, tiny: Any) -> None:
    lost = {**tree(True)[1], "message_tree_id": "other", "parent_id": "m1"}  # itself
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in (*tree(rows), lost, {"prompt": Q, **TEXTS})))
    spec = PairsSpec(which=which)
    found = list(pairs_in(str(path), spec))
    assert [record.record_id for record in found] == list(range(n + 2))
    assert [(record.field, record.reason) for record in found if isinstance(record, Rejected)] == [
        ("parent_id", "its parent message is not among its tree's records")
    ]
    pairs = [read_pair(record.value, spec) for record in found if isinstance(record, Record)]
    assert rendered(tiny, pairs[0]) == (
        "<|bos|><|user|>Hi.<|end|><|assistant|>Hello.<|end|>",
        "<|bos|><|user|>Hi.<|end|><|assistant|>Go away.<|end|>",
    )
    first = ("A plum.", "An onion.") if which == "best-worst" else ("A plum.", "A tomato.")
    assert rendered(tiny, pairs[1]) == tuple(f"{GREETED}{text}<|end|>" for text in first)
    with pytest.raises(RecordError, match="earlier turns stand in other records"):
        read_prompt(lost, FieldNames())


def test_sets_of_answers_make_a_pair_of_each_good_and_each_poor_one() -> None:
    record = {"prompt": Q, "chosen": [GOOD, FAIR], "rejected": [POOR, "A stone."]}
    counts = {which: len(list(one_a_pair(iter_of(record), PairsSpec(which=which)))) for which in ("best-worst", "all")}
    assert counts == {"best-worst": 1, "all": 4}


def iter_of(*values: Any) -> Any:
    yield from (Record(at, "f", at + 1, value) for at, value in enumerate(values))


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        (
            {"prompt": Q, "response_0": GOOD, "response_1": POOR, "better_response_id": 0, "safer_response_id": 1},
            "better_response_id",
            "contradict each other: --preference-field",
        ),
        ({"prompt": Q, "response_a": GOOD, "response_b": POOR, "label": 1}, "label", "--first-is-better"),
        ({"prompt": Q, "response_1": GOOD, "response_2": POOR, "preference": -2}, "preference", "--first-is-better"),
        (
            {"prompt": Q, "response_1": GOOD, "response_2": POOR, "preference_strength": 0},
            "preference_strength",
            "a tie",
        ),
        (
            {
                **ARENA,
                "winner": "tie (bothbad)",
                "conversation_a": WHOLE["chosen"],
                "conversation_b": WHOLE["rejected"],
            },
            "winner",
            "a tie",
        ),
        (
            {"prompt": Q, "chosen_response": GOOD, "rejected_response": POOR, "accepted": POOR, "rejected": GOOD},
            None,
            "--input-format",
        ),
        (
            {"prompt": Q, "response_1": GOOD, "response_2": POOR, "winner": "1", "answers": RANKED["answers"]},
            None,
            "--input-format",
        ),
        (
            {
                "prompt": Q,
                "answers": RANKED["answers"],
                "completions": [{"response": GOOD, "score": 1}, {"response": POOR, "score": 2}],
            },
            "completions",
            "--ignore-field",
        ),
        (
            {"prompt": Q, "answers": [{"answer": GOOD, "rank": 1}]},
            "answers[0].answer",
            "one ranked answer makes no pair",
        ),
        (
            {"prompt": [Q, Q], "response_a": [GOOD], "response_b": [POOR], "winner_model_a": 1, "winner_model_b": 0},
            "response_a",
            "1 answers to 2 questions",
        ),
    ],
)
def test_what_can_be_read_in_two_ways_or_in_none_names_what_decides(
    record: Any, field: str | None, reason: str
) -> None:
    with pytest.raises(RecordError) as raised:
        read_pair(record, PairsSpec())
    assert raised.value.field == field and reason in raised.value.reason
    assert detect(record) is not None  # so that the file is not refused as one without pairs


def test_what_decides_is_taken_of_answers_that_are_named_too() -> None:
    """--preference-field was passed over without a word where both answers had names: every pair kept its order."""
    own = FieldNames("goal", "sol1", "sol2", preference="label", first_is_better=("0",))
    record = {"goal": Q, "sol1": GOOD, "sol2": POOR, "label": 0}
    for label, chosen in ((0, GOOD), (1, POOR)):
        assert read_pair({**record, "label": label}, PairsSpec(names=own)).chosen[-1]["content"] == chosen
    named = FieldNames("goal", "sol1", "sol2", preference="label")
    assert read_pair({**record, "label": "sol2"}, PairsSpec(names=named)).chosen[-1]["content"] == POOR
    with pytest.raises(RecordError, match="not clear: --preference-field label --first-is-better VALUE"):
        read_pair(record, PairsSpec(names=named))
    with pytest.raises(RecordError, match="missing") as caught:
        read_pair({**record, "label": None}, PairsSpec(names=own))
    assert caught.value.field == "label"
    usual = {"prompt": Q, "chosen": GOOD, "rejected": POOR, "better": "second"}
    for form in (None, "trl"):
        spec = PairsSpec(form, FieldNames(preference="better", first_is_better=("first",)))
        assert read_pair(usual, spec).chosen[-1]["content"] == POOR
    two = {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": GOOD}]}
    with pytest.raises(RecordError, match="no two fields"):
        read_pair({**two, "rejected_response": POOR, "better": 1}, PairsSpec(names=FieldNames(preference="better")))


def test_ranks_and_scores_that_contradict_one_another_are_refused() -> None:
    """The rank won, and nothing said that the score has it the other way round."""
    answers = [{"text": GOOD, "rank": 1, "score": 0.1}, {"text": POOR, "rank": 2, "score": 0.9}]
    for record in (
        {"prompt": Q, "answers": answers},
        {"prompt": Q, "answers": [GOOD, POOR], "ranks": [1, 2], "scores": [0.1, 0.9]},
    ):
        with pytest.raises(RecordError, match="--preference-field ranks? or scores? says which counts"):
            read_pair(record, PairsSpec())
    for name, chosen in (("rank", GOOD), ("score", POOR)):
        found = read_pair({"prompt": Q, "answers": answers}, PairsSpec(names=FieldNames(preference=name)))
        assert found.chosen[-1]["content"] == chosen
    answers[0]["score"] = 1.0
    assert read_pair({"prompt": Q, "answers": answers}, PairsSpec()).chosen[-1]["content"] == GOOD


def test_an_answer_without_a_score_is_among_what_was_left() -> None:
    answers = [{"text": GOOD, "score": 3}, {"text": "Hm.", "score": None}, {"text": POOR, "score": 1}]
    assert read_pair({"prompt": Q, "answers": answers}, PairsSpec()).left == ("answers without score",)
    assert read_pair({"prompt": Q, "answers": answers[::2]}, PairsSpec()).left == ()


def test_what_decides_is_taken() -> None:
    record = {"prompt": Q, "response_0": GOOD, "response_1": POOR, "better_response_id": 0, "safer_response_id": 1}
    by = {
        name: read_pair(record, PairsSpec(names=FieldNames(preference=name))).chosen[-1]["content"]
        for name in ("better_response_id", "safer_response_id")
    }
    assert by == {"better_response_id": GOOD, "safer_response_id": POOR}
    own = FieldNames(preference="label", first_is_better=("1",))
    for label, chosen in ((1, GOOD), ("1.0", GOOD), (0, POOR)):
        pair = read_pair({"prompt": Q, "response_a": GOOD, "response_b": POOR, "label": label}, PairsSpec(names=own))
        assert pair.chosen[-1]["content"] == chosen
    with pytest.raises(RecordError, match="a tie"):  # which is no second answer
        read_pair({"prompt": Q, "response_a": GOOD, "response_b": POOR, "label": "tie"}, PairsSpec(names=own))
    scored = {
        "prompt": Q,
        "completions": [
            {"response": GOOD, "scores": {"helpful": 5, "short": 1}},
            {"response": POOR, "scores": {"helpful": 1, "short": 5}},
        ],
    }
    pair = read_pair(scored, PairsSpec(names=FieldNames(preference="scores.helpful")))
    assert pair.chosen[-1]["content"] == GOOD


@pytest.mark.parametrize(
    ("names", "field", "numbers", "fault"),
    [
        ("12", "label", (1, 0, 1), True),
        ("12", "label", (1, 1.0, "1"), False),
        ("12", "preference", (1, 2, 0), False),
        ("01", "preference", (1, -1), True),
        ("01", "better_response_id", (1, 0, -1), False),
        ("ab", "winner", (1, 0), False),  # every one of them is refused by itself
        ("12", "preference_strength", (1, -3), False),
        ("12", "preference", (1, 2, -2, -1), True),
    ],
)
def test_a_number_that_may_mean_either_answer_ends_the_run(
    names: str, field: str, numbers: tuple[Any, ...], fault: bool, tmp_path: Path
) -> None:
    both = {f"response_{name}": text for name, text in zip(names, (GOOD, POOR), strict=True)}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"prompt": Q, **both, field: number}) + "\n" for number in numbers))
    if not fault:
        assert len(list(pairs_in(str(path), PairsSpec()))) == len(numbers)
        return
    says = f"{field} has {', '.join(map(str, dict.fromkeys(numbers)))}, and the answers are called"
    with pytest.raises(InputError, match=says) as raised:
        pairs_in(str(path), PairsSpec())
    assert "--first-is-better" in raised.value.hint
    pairs_in(str(path), PairsSpec(names=FieldNames(preference=field, first_is_better=("1",))))
    with pytest.raises(InputError, match="the answers are called"):
        _records(RewardDetectSpec(str(path)))


@pytest.mark.parametrize(
    "prompt",
    [
        "<|im_start|>user\nHi<|im_end|>\n",
        "<s>[INST] Hi [/INST]",
        "<|user|>\nHi",
        "<start_of_turn>user\nHi",
        "Below is an instruction.\n\n### Instruction:\nHi\n\n### Response:\n",
        "Human: Hi\nAssistant:",
        "User: Hi\nAI: Hello.\nUser: Say more.\nAI: ",
        "A chat between two. USER: Hi ASSISTANT:",
        "<|bos|><|user|>Hi<|end|><|assistant|>",
        " <|user|>Hi<|end|>",
    ],
)
def test_a_prompt_that_was_put_into_a_template_already_is_not_put_into_another(prompt: str, tiny: Any) -> None:
    pair = read_pair({"prompt": prompt, **TEXTS}, PairsSpec())
    with pytest.raises(RecordError, match="written in a chat template already.*--no-chat"):
        rendered(tiny, pair)
    plain = encode_messages(tiny, pair.chosen, False, plain=pair.plain_of(0))
    assert plain.encoding.text == f"{prompt}{GOOD}"


@pytest.mark.parametrize(
    "prompt", ["Who is the user: me?\nAnswer:", "Write a line for\nAssistant:", "### Heading\ntext"]
)
def test_a_prompt_that_only_names_a_speaker_is_in_no_template(prompt: str, tiny: Any) -> None:
    for side in rendered(tiny, read_pair({"prompt": prompt, **TEXTS}, PairsSpec())):
        assert side.count(prompt) == 1


def test_a_prompt_in_a_template_is_found_behind_a_system_message_too(tiny: Any) -> None:
    pair = read_pair({"system": "Be brief.", "prompt": "<|im_start|>user\nHi", **TEXTS}, PairsSpec())
    with pytest.raises(RecordError, match="written in a chat template already"):
        rendered(tiny, pair)


def test_fields_of_ones_own_with_dotted_paths(tiny: Any) -> None:
    names = FieldNames("ask.now", "chosen.content", "rejected.content", "ask.sys", "ask.before")
    record = {
        "ask": {"now": Q, "sys": "Be brief.", "before": [["Hi.", "Hello."]]},
        "chosen": {"content": GOOD, "model": "m"},
        "rejected": {"content": POOR, "model": "m"},
        "id": 1,
    }
    pair = read_pair(record, PairsSpec(names=names))
    assert rendered(tiny, pair) == (f"{BOTH}A plum.<|end|>", f"{BOTH}An onion.<|end|>")
    assert pair.left == ("id",)
    flat = {"input.messages": [user(Q)], "win": GOOD, "lose": POOR}  # as json_normalize names columns
    pair = read_pair(flat, PairsSpec(names=FieldNames("input.messages", "win", "lose")))
    assert rendered(tiny, pair) == (PLUM, ONION)
    listed = {"prompt": Q, "texts": [POOR, GOOD]}
    pair = read_pair(listed, PairsSpec(names=FieldNames(chosen="texts.1", rejected="texts.0")))
    assert rendered(tiny, pair) == (PLUM, ONION)


def test_an_answer_in_a_template_is_not_put_into_another(tiny: Any) -> None:
    """Its tokens would begin with those of another model's turn."""
    sides = {side: f"<|im_start|>assistant\n{text}<|im_end|>" for side, text in TEXTS.items()}
    pair = read_pair({"prompt": "Hi", **sides}, PairsSpec())
    with pytest.raises(RecordError, match="the answer is written in a chat template already.*im_start.*--no-chat"):
        rendered(tiny, pair)
    assert len(rendered(tiny, read_pair({"prompt": "Hi", **TEXTS}, PairsSpec()))) == 2
