"""The table of known shapes of preference pairs: what a record looks like, which data set has it, how it is read.

To add a shape, add a row: its fields are told from others by `answers` (see `answers.py`) and `needs`; what stands
before the answers is read from the usual fields (see `names.py`), or from `prompt`. Then write the page anew (`python
-m actkit.cli.generate_docs`), and add a record with its rendering to `tests/recipes/conversations/test_shapes.py`.
"""

from actkit.recipes.conversations.answers import InOrder, LastOf, NamedSides
from actkit.recipes.conversations.fields import is_empty, lookup
from actkit.recipes.conversations.judged import Judged
from actkit.recipes.conversations.names import MESSAGES
from actkit.recipes.conversations.ranked import Ranked
from actkit.recipes.conversations.shape import CHOSEN, OBJECT_TEXT, Shape, is_dialogue_pair, is_not_text, post_of
from actkit.recipes.conversations.verdicts import Verdict, by_flags, by_name, by_sign, first_if_one

SCORES = (
    *("overall_score", "score", "pm_score", "rating", "overall_rating", "reward", "rm_score"),
    *("chosen", "is_chosen", "preferred", "is_preferred", "is_best"),
)
LISTS = ("completions", "answers", "responses", "generations", "candidates", "outputs", "summaries")
SUFFIXES = (("_0", "_1"), ("_1", "_2"), ("0", "1"), ("1", "2"), ("_a", "_b"), ("_A", "_B"), ("A", "B"))

SHAPES: tuple[Shape, ...] = (
    Shape(
        "trl",
        '{"prompt", "chosen", "rejected"}: each text or messages; the answers may repeat the prompt',
        (
            "HuggingFaceH4/ultrafeedback_binarized",
            "argilla/ultrafeedback-binarized-preferences-cleaned",
            "allenai/llama-3.1-tulu-3-8b-preference-mixture",
            "allenai/reward-bench, and reward-bench-2 with lists of answers",
            "mlabonne/orpo-dpo-mix-40k",
            "argilla/distilabel-capybara-dpo-7k-binarized",
            "jondurbin/truthy-dpo-v0.1 and py-dpo-v0.1",
            "Dahoas/full-hh-rlhf and rm-static (dialogues in `prompt`)",
            "trl-lib/hh-rlhf-helpful-base",
            "princeton-nlp/llama3-ultrafeedback-armorm",
            "CarperAI/openai_summarize_comparisons",
            "axolotl chatml.prompt_pairs and chatml.ultra",
        ),
        CHOSEN,
        needs=("prompt",),
    ),
    Shape(
        "instruction",
        '{"instruction", "input", "chosen", "rejected"}, with "system" and "history": [[question, answer], …]',
        ("LLaMA-Factory ranking files", "rasbt's instruction data with preferences", "axolotl chatml.argilla"),
        CHOSEN,
        needs=("instruction",),
    ),
    Shape(
        "question",
        '{"question", "query", "input" or "context", "chosen", "rejected"}, with "system"',
        (
            "Intel/orca_dpo_pairs",
            "argilla/distilabel-intel-orca-dpo-pairs",
            "CyberNative/Code_Vulnerability_Security_DPO",
            "axolotl chatml.intel and chatml.icr",
        ),
        CHOSEN,
        needs=("question", "query", "input", "context"),
    ),
    Shape(
        "sharegpt",
        '{"conversations" or "messages": […], "chosen": {…}, "rejected": {…}}: answers as objects, lists or text',
        (
            "LLaMA-Factory sharegpt ranking (hiyouga/DPO-En-Zh-20k)",
            "m-a-p/COIG-P",
            "axolotl chat_template.default",
            "openbmb/UltraInteract_pair (`trajectory`)",
        ),
        CHOSEN,
        needs=MESSAGES,
    ),
    Shape(
        "hh",
        r'{"chosen", "rejected"}: dialogues with "\n\nHuman: " and "\n\nAssistant: " turns',
        ("Anthropic/hh-rlhf", "yitingxie/rlhf-reward-datasets"),
        CHOSEN,
        also=is_dialogue_pair,
    ),
    Shape(
        "chatml",
        '{"chosen": [messages], "rejected": [messages]}: lists, an object of lists, or JSON text',
        (
            "Skywork/Skywork-Reward-Preference-80K-v0.2",
            "trl-lib/ultrafeedback_binarized",
            "argilla/dpo-mix-7k",
            "RLHFlow/pair_data_v2_80K_wsafety",
            "axolotl chatml.argilla_chat",
            "`datasets` Sequence and Json columns",
        ),
        CHOSEN,
        also=is_not_text,
    ),
    Shape(
        "responses",
        '{"instruction", "chosen_response", "rejected_response"}',
        ("argilla/ultrafeedback-binarized-preferences", "argilla/distilabel-math-preference-dpo"),
        NamedSides("chosen_response", "rejected_response"),
    ),
    Shape(
        "openai",
        '{"input": {"messages", "tools"}, "preferred_output": [message], "non_preferred_output": [message]}',
        ("OpenAI preference fine-tuning",),
        NamedSides("preferred_output", "non_preferred_output"),
    ),
    Shape(
        "preferred",
        '{"prompt", "preferred", "dispreferred"}',
        ("microsoft/WildFeedback",),
        NamedSides("preferred", "dispreferred"),
    ),
    Shape(
        "accepted",
        '{"input", "accepted", "rejected"}',
        ("Vezora/Code-Preference-Pairs",),
        NamedSides("accepted", "rejected"),
    ),
    Shape(
        "better-worse",
        '{"prompt", "better_response", "worse_response"}, or the two under names like these',
        ("files of one's own",),
        NamedSides(
            "better_response",
            "worse_response",
            (
                ("chosen_answer", "rejected_answer"),
                ("chosen_completion", "rejected_completion"),
                ("chosen_output", "rejected_output"),
                ("preferred_response", "dispreferred_response"),
                ("preferred_response", "rejected_response"),
                ("preferred", "rejected"),
                ("better", "worse"),
                ("good", "bad"),
                ("winner", "loser"),
                ("win", "lose"),
            ),
        ),
    ),
    Shape(
        "j-k",
        '{"question", "response_j", "response_k"}: j is the better one',
        ("lvwerra/stack-exchange-paired",),
        NamedSides("response_j", "response_k"),
    ),
    Shape(
        "chosen-messages",
        '{"chosen_messages": […], "rejected_messages": […]}',
        ("files of one's own",),
        NamedSides("chosen_messages", "rejected_messages"),
    ),
    Shape(
        "truthful-qa",
        '{"Question", "Best Answer", "Best Incorrect Answer"}',
        ("TruthfulQA.csv",),
        NamedSides("Best Answer", "Best Incorrect Answer"),
        prompt="Question",
    ),
    Shape(
        "truthful-qa-lists",
        '{"question", "best_answer", "correct_answers": ["…"], "incorrect_answers": ["…"]}',
        ("truthfulqa/truthful_qa generation",),
        NamedSides("correct_answers", "incorrect_answers"),
        needs=("best_answer",),
    ),
    Shape(
        "swift",
        '{"messages": [… the better answer], "rejected_response"}',
        ("ms-swift",),
        LastOf("messages", "rejected_response"),
    ),
    Shape(
        "swift-messages",
        '{"messages": [… the better answer], "rejected_messages"}',
        ("ms-swift",),
        LastOf("messages", "rejected_messages"),
    ),
    Shape(
        "swift-query",
        '{"system", "query", "response", "rejected_response", "history"}',
        ("ms-swift 2",),
        NamedSides("response", "rejected_response"),
    ),
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
BY_NAME = {shape.name: shape for shape in SHAPES}
