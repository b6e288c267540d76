"""Rows of `SHAPES`: preference pairs in which a verdict, a rank, a score or the order tells the better answer."""

from actkit.recipes.conversations.answers import InOrder
from actkit.recipes.conversations.fields import is_empty, lookup
from actkit.recipes.conversations.judged import Judged
from actkit.recipes.conversations.ranked import Ranked
from actkit.recipes.conversations.shape import OBJECT_TEXT, Shape, post_of
from actkit.recipes.conversations.verdicts import Verdict, by_flags, by_name, by_sign, first_if_one

SCORES = (
    *("overall_score", "score", "pm_score", "rating", "overall_rating", "reward", "rm_score"),
    *("chosen", "is_chosen", "preferred", "is_preferred", "is_best"),
)
LISTS = ("completions", "answers", "responses", "generations", "candidates", "outputs", "summaries")
SUFFIXES = (("_0", "_1"), ("_1", "_2"), ("0", "1"), ("1", "2"), ("_a", "_b"), ("_A", "_B"), ("A", "B"))

JUDGED_SHAPES: tuple[Shape, ...] = (
    Shape(
        "post",
        '{"info": {"post", "title", "subreddit"}, "summaries": [{"text"}, {"text"}], "choice": 0 or 1}',
        ("openai/summarize_from_feedback (comparisons)",),
        Judged(("summaries.",), (("0.text", "1.text"),), (Verdict("choice", by_name),)),
        context=post_of,
    ),
    Shape(
        "shp",
        '{"history": a post, "human_ref_A", "human_ref_B", "labels": 1 where A is preferred}',
        ("stanfordnlp/SHP and SHP-2",),
        Judged(("human_ref",), (("_A", "_B"),), (Verdict("labels", first_if_one),), ("score_{}",)),
        prompt="history",
    ),
    Shape(
        "webgpt",
        '{"question": {"full_text"}, "answer_0", "answer_1", "score_0", "score_1"}',
        ("openai/webgpt_comparisons",),
        Judged(("answer",), (("_0", "_1"),), (), ("score_{}",)),
        prompt="question.full_text",
        also=lambda fields: not is_empty(lookup(fields.value, "question.full_text")),
    ),
    Shape(
        "battle",
        '{"conversation_a": […], "conversation_b": […], "winner": "model_a", "model_b" or a tie, "turn"}',
        (
            "lmsys/chatbot_arena_conversations",
            "lmsys/mt_bench_human_judgments (read as far as the judged `turn`)",
            "lmarena-ai/arena-human-preference-100k and -140k",
        ),
        Judged(("conversation",), (("_a", "_b"),), (Verdict("winner", by_name),), turn="turn"),
    ),
    Shape(
        "battle-turns",
        '{"prompt": ["…"], "response_a": ["…"], "response_b": ["…"], "winner_model_a", "winner_model_b", "winner_tie"}',
        ("lmsys/lmsys-arena-human-preference-55k",),
        Judged(("response",), (("_a", "_b"),), (Verdict("winner_model_a", by_flags),), asked="prompt"),
    ),
    Shape(
        "conversations-rated",
        '{"conv_A": […], "conv_B": […], "conv_A_rating", "conv_B_rating"}',
        ("llm-blender/Unified-Feedback",),
        Judged(("conv",), (("_A", "_B"),), (), ("conv_{}_rating",)),
    ),
    Shape(
        "prometheus",
        '{"orig_instruction", "orig_response_A", "orig_response_B", "orig_preference": "A" or "B"}',
        ("prometheus-eval/Preference-Collection",),
        Judged(("orig_response",), (("_A", "_B"),), (Verdict("orig_preference", by_name),)),
        prompt="orig_instruction",
    ),
    Shape(
        "judged",
        '{"prompt", "response_0", "response_1", "better_response_id"}: two answers, and what says which is better',
        (
            "PKU-Alignment/PKU-SafeRLHF and PKU-SafeRLHF-30K",
            "nvidia/HelpSteer2 preference (`preference_strength`)",
            "nvidia/HelpSteer3 (`context`, `overall_preference`)",
            "tatsu-lab/alpaca_farm and AlpacaEval (`output_1`, `output_2`, `preference`)",
            "NCSOFT/offsetbias and LLMBar (`label`)",
            "ScalerLab/JudgeBench (`response_A`, `response_B`, `label`: A>B)",
        ),
        Judged(
            (
                *("response", "answer", "output", "completion", "summary", "generation", "text"),
                *("candidate", "assistant", "reply", "model_response", "model_output"),
            ),
            SUFFIXES,
            (
                Verdict("better_response_id", by_name),
                Verdict("safer_response_id", by_name),
                Verdict("preference_strength", by_sign),
                Verdict("overall_preference", by_sign),
                *(
                    Verdict(name, by_name)
                    for name in (
                        "winner",
                        "preference",
                        "preferred",
                        "preferred_id",
                        "choice",
                        "chosen",
                        "better",
                        "best",
                        "verdict",
                        "judgment",
                        "judgement",
                        "human_preference",
                        "preferred_response",
                        "better_response",
                        "label",
                        "labels",
                    )
                ),
            ),
            ("score_{}", "rating_{}", "reward_{}", "response_{}_score", "response_{}_rating"),
        ),
    ),
    Shape(
        "ranked",
        '{"prompt", "answers": [{"answer", "rank"}]} or [{"response", "overall_score"}]: each with a rank or a score',
        (
            "berkeley-nest/Nectar",
            "openbmb/UltraFeedback (each answer with its `custom_system_prompt`)",
            "HuggingFaceH4/stack-exchange-preferences (`pm_score`)",
            "OpenAssistant/oasst1 and oasst2: trees, or their messages one by one",
        ),
        Ranked(LISTS, OBJECT_TEXT, ("rank", "ranking"), SCORES),
    ),
    Shape(
        "scored-lists",
        '{"instruction", "generations": ["…"], "ratings": [5, 2]}: a list of answers beside one of ranks or scores',
        ("distilabel's UltraFeedback task", "argilla/OpenHermesPreferences before it was binarized"),
        Ranked(
            (*LISTS, "all_generated_responses", "candidates_completions"),
            (),
            ("ranks", "rank"),
            ("ratings", "rating", "scores", "score", "rewards", "all_rm_scores", "rm_scores"),
        ),
    ),
    Shape(
        "choices",
        '{"input", "targets": {"choices": ["…"], "labels": [1, 0]}}',
        ("HuggingFaceH4/hhh_alignment", "truthfulqa/truthful_qa multiple_choice (`mc1_targets`)"),
        Ranked(("targets", "mc1_targets"), ("choices",), (), ("labels",)),
    ),
    Shape(
        "best-first",
        '{"instruction", "input", "output": [better, worse]}',
        ("LLaMA-Factory's older ranking files",),
        InOrder("output"),
    ),
)
