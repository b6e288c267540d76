"""The table of known shapes of preference pairs: what a record looks like, which data set has it, how it is read.

Here are the shapes that name the better answer; those that judge or rank answers are in `judged_shapes`.

To add a shape, add a row: its fields are told from others by `answers` (see `answers.py`) and `needs`; what stands
before the answers is read from the usual fields (see `names.py`), or from `prompt`. Then write the page anew (`python
-m tests.made_pages`), and add a record with its rendering to `tests/recipes/conversations/test_shapes.py`.
"""

from actkit.recipes.conversations.answers import LastOf, NamedSides
from actkit.recipes.conversations.judged_shapes import JUDGED_SHAPES
from actkit.recipes.conversations.names import MESSAGES
from actkit.recipes.conversations.shape import CHOSEN, Shape, is_dialogue_pair, is_not_text

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
    *JUDGED_SHAPES,
)
BY_NAME = {shape.name: shape for shape in SHAPES}
