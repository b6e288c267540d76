"""The known shapes of preference pairs: a sketch of the record, data sets that have it, and the way to read it.

Shapes whose fields name the better answer are here; shapes that judge or rank answers are in `judged_shapes`.

To add a shape, add a row. `answers` (see `answers.py`) and `needs` tell its records from others. The messages before
the answers are read from the usual fields (see `names.py`), or from `prompt`. Then write the page anew (`python -m
tests.made_pages`), and add a record with its rendering to `tests/recipes/conversations/test_shapes.py`.
"""

from dataclasses import replace
from functools import lru_cache

from actkit.errors import RecordError
from actkit.recipes.conversations.answers import InOrder, LastOf, NamedSides
from actkit.recipes.conversations.fields import Fields, possible
from actkit.recipes.conversations.judged import Judged
from actkit.recipes.conversations.judged_shapes import JUDGED_SHAPES
from actkit.recipes.conversations.names import MESSAGES
from actkit.recipes.conversations.ranked import Ranked
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


def shape_of(fields: Fields) -> Shape | None:
    """Return the shape of a record; None if it has none of them.

    Fields whose names tell the better answer come before judged or ranked answers, from which they were made. Raises
    RecordError where a record can be read in two ways, naming the options that decide.
    """
    names = fields.names
    if names.chosen is not None or names.rejected is not None:
        own = NamedSides(names.chosen or "chosen", names.rejected or "rejected")
        return judged_so(Shape("named-fields", "", (), own), fields) if own.found(fields) else None
    found = _found(fields)
    return None if found is None else judged_so(found, fields)


def judged_so(shape: Shape, fields: Fields) -> Shape:
    """Return the shape; if the user names a field that tells the better answer, with its answers judged by that field.

    Raises RecordError where the record lacks that field, or the shape has no two fields for it to judge.
    """
    path = fields.names.preference
    if path is None or isinstance(shape.answers, (Judged, Ranked)):
        return shape
    if not isinstance(shape.answers, NamedSides):
        raise RecordError(path, f"no two fields with answers that it could judge in a record of the shape {shape.name}")
    if not fields.has(path):
        raise RecordError(path, "missing")
    judged = Judged(("",), (shape.answers.names_in(fields),), ())
    return replace(shape, answers=judged) if judged.found(fields) else shape  # `NamedSides.read` names the missing side


def _found(fields: Fields) -> Shape | None:
    shapes = _shapes_of(fields.beginnings)
    if fields.names.preference is not None:  # shapes that are judged or ranked anyway come first
        own = [shape for shape in shapes if isinstance(shape.answers, (Judged, Ranked)) and shape.found(fields)]
        shapes = tuple(own) or shapes
    sided = [shape for shape in shapes if shape.answers is CHOSEN]
    if sided and CHOSEN.found(fields):
        is_asked = fields.names.prompt is not None and fields.has(fields.names.prompt)
        own_names = Shape("named-fields", "", (), CHOSEN) if is_asked else None
        return next((shape for shape in sided if shape.found(fields)), own_names)
    found = [shape for shape in shapes if shape.answers is not CHOSEN and shape.found(fields)]
    for kinds in ((LastOf,), (NamedSides,), (Judged, Ranked, InOrder)):
        own_kind = [shape for shape in found if isinstance(shape.answers, kinds)]
        # Of several judged shapes, the first one is the most specific.
        are_one = kinds == (LastOf,) or all(isinstance(shape.answers, Judged) for shape in own_kind)
        if len(own_kind) > 1 and not are_one:
            two = [shape.name for shape in own_kind[:2]]
            raise RecordError(
                None,
                f"read as {' or as '.join(two)}, it has other pairs: --input-format {' or '.join(two)}, or "
                "--chosen-field and --rejected-field, say which",
            )
        if own_kind:
            return own_kind[0]
    return None


@lru_cache(maxsize=1 << 12)
def _shapes_of(beginnings: frozenset[str]) -> tuple[Shape, ...]:
    """Return the shapes whose fields a record with these `beginnings` may have; cached, as records are alike."""
    needed = ((shape, tuple(paths)) for shape in SHAPES for paths in shape.answers.needed)
    return tuple(dict.fromkeys(shape for shape, paths in needed if possible(paths, beginnings) == paths))
