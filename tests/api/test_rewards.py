"""`RewardSignalDetector` finds what `reward-detect` writes; `SAEFeatureExtractor` pools as it does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import actkit
from actkit.errors import InputError, RunError, UsageError

GOOD = ("Thank you, this is lovely.", "Well done, I love it.", "What a good answer!", "Great, thanks a lot.")
BAD = ("This is wrong.", "No, that is of no use.", "What a poor answer.", "I hate this, it is bad.")
RECORDS = [
    {"text": f"{text} {more}", "feedback": sign, "group": more}
    for more in ("About the sea.", "About bread.", "About rain.", "About the road.", "About ships.", "About a hare.")
    for sign, texts in (("positive", GOOD), ("negative", BAD))
    for text in texts
]


def written(path: str = "in.jsonl") -> Path:
    Path(path).write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    return Path(path)


@pytest.mark.slow
def test_it_finds_what_the_command_writes(tiny: actkit.ModelSpec, tmp_path: Path) -> None:
    spec = actkit.RewardDetectSpec(str(written()), pool="mean", top_k=7)
    saes = [actkit.SaeSpec("tiny", "blocks.1.hook_resid_post")]
    sparse = actkit.SparseSpec(tiny, saes, actkit.OutputSpec(tmp_path / "run"))
    run = actkit.open_run(actkit.run_reward_detect(spec, sparse).path)
    detector = actkit.RewardSignalDetector(tiny, target_layer=1, pool="mean", top_k=7)
    document = json.loads((run.path / "reward_features.json").read_text(encoding="utf-8"))
    for feedback in ("in.jsonl", Path("in.jsonl"), RECORDS, pd.DataFrame(RECORDS)):
        found = detector.detect(feedback)
        pd.testing.assert_frame_equal(found.features, run.to_pandas("feature_scores"))
        assert found.reward_features == document["reward_features"] and found.warnings == document["warnings"]
        assert found.statistics == document["statistics"] and len(found.document["features"]) == 7
        assert found.run is None
    assert json.loads(found.save("x/found.json").read_text(encoding="utf-8")) == found.document


@pytest.mark.slow
def test_pooled_features_are_those_of_the_run(tiny: actkit.ModelSpec) -> None:
    texts = [record["text"] for record in RECORDS]
    for pool in ("max", "mean"):
        found = actkit.RewardSignalDetector(tiny, target_layer=2, pool=pool).detect(RECORDS, out=f"runs/{pool}")
        assert found.run is not None and "features" not in found.run.tables
        expected = found.run.features()
        rows = actkit.SAEFeatureExtractor(tiny, target_layer=2, pool=pool).extract(texts)
        assert rows.shape == expected.shape == (len(texts), found.run.facts["saes"][0]["d_sae"])
        assert rows.dtype == np.float32 and rows.nnz > len(texts)
        assert np.array_equal(rows.toarray(), expected.toarray())


@pytest.mark.slow
def test_the_largest_feature_over_a_texts_tokens_is_its_pooled_one(tiny: actkit.ModelSpec) -> None:
    every = actkit.create_feature_dataset(GOOD[:1], tiny, out="runs/x")
    special = every.to_pandas("tokens")["is_special"].to_numpy()
    tokens = every.features().toarray()[~special]
    for pool, expected in (("max", tokens.max(0)), ("mean", tokens.mean(0)), ("last", tokens[-1])):
        pooled = actkit.SAEFeatureExtractor(tiny, target_layer=2, pool=pool).extract(GOOD[0]).toarray()[0]
        assert np.allclose(pooled, expected, rtol=1e-4, atol=1e-5), pool
    assert 0 < special.sum() < len(special)


@pytest.mark.slow
def test_name_and_memory_give_the_same(in_memory: Any) -> None:
    saes = Path(actkit.__file__).parent / "bundled" / "saes" / "blocks.2.hook_resid_post"
    first, other = (actkit.SAEFeatureExtractor(model, sae_path=saes).extract(GOOD) for model in ("tiny", in_memory))
    assert first.nnz and np.array_equal(first.toarray(), other.toarray())
    signals = [actkit.RewardSignalDetector(model, sae_path=saes).detect(RECORDS) for model in ("tiny", in_memory)]
    pd.testing.assert_frame_equal(signals[0].features, signals[1].features)


def test_feedback_from_lists_sides_and_files_is_the_same() -> None:
    texts, signs = [record["text"] for record in RECORDS], [record["feedback"] == "positive" for record in RECORDS]
    lists = actkit.FeedbackDataLoader.from_lists(texts, signs, groups=[record["group"] for record in RECORDS])
    assert len(lists) == len(RECORDS) and next(iter(lists)) == {
        "text": texts[0],
        "feedback": True,
        "group": RECORDS[0]["group"],
    }
    sides = actkit.FeedbackDataLoader.from_sides(GOOD, BAD)
    assert [side["feedback"] for side in sides] == ["positive"] * 4 + ["negative"] * 4
    assert [side["text"] for side in sides] == [*GOOD, *BAD]
    assert list(actkit.FeedbackDataLoader.from_file(written())) == RECORDS
    example = [row["feedback"] for row in actkit.FeedbackDataLoader.example()]
    assert example.count("positive") == example.count("negative") == 200


@pytest.mark.slow
def test_labels_of_ones_own_are_read(tiny: actkit.ModelSpec) -> None:
    labels = {"positive": "joy", "negative": "anger"}
    rows = [
        {"comment": record["text"], "mood": labels[record["feedback"]], "group": record["group"]} for record in RECORDS
    ]
    pd.DataFrame(rows).to_csv("in.csv", index=False)
    data = actkit.FeedbackDataLoader.from_file(
        "in.csv", text_field="comment", label_field="mood", positive=["joy"], negative=["anger"]
    )
    detector = actkit.RewardSignalDetector(tiny)
    pd.testing.assert_frame_equal(detector.detect(data).features, detector.detect(RECORDS).features)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda detector: detector.detect("missing.jsonl"), InputError, "missing.jsonl"),
        (lambda detector: detector.detect(["a text"]), UsageError, "str is no record of feedback"),
        (lambda detector: detector.detect([{"text": "One.", "feedback": 1}]), RunError, "negative"),
        (
            lambda detector: detector.detect([]),
            RunError,
            r"^the input has no records\nhint: is the file, or what is piped in, empty\?$",
        ),
        (lambda _: actkit.FeedbackDataLoader.from_lists(["One.", "Two."], [1]), UsageError, "2 text, 1 feedback"),
        (lambda _: actkit.FeedbackDataLoader.from_file("missing.csv"), InputError, "missing.csv"),
        (lambda _: actkit.SAEFeatureExtractor("tiny").extract([]), UsageError, "there are none"),
        (lambda _: actkit.SAEFeatureExtractor("tiny").extract([3]), UsageError, "int is no text"),
        (lambda _: actkit.SAEFeatureExtractor("tiny").extract(["One.", ""]), InputError, "empty"),
        (lambda _: actkit.RewardSignalDetector("gpt2"), UsageError, "no SAE given for gpt2"),
        (lambda _: actkit.RewardSignalDetector(3), UsageError, "int is no model"),
    ],
)
def test_errors_say_what_to_do(tiny: actkit.ModelSpec, call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        call(actkit.RewardSignalDetector(tiny))
    assert isinstance(caught.value, actkit.ActkitError) and caught.value.hint
