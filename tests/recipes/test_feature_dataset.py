"""`feature-dataset`: whole documents, the plain model's features of each chunk, spans in the original document."""

import functools
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from actkit.backends import describe
from actkit.bundled import SAES as BUNDLED
from actkit.bundled import TINY
from actkit.cli.app import main
from actkit.config import BatchSpec, ModelSpec, OutputSpec, SaeSpec, TokenSpec
from actkit.errors import InputError, UsageError
from actkit.pipeline.recipe import Finished
from actkit.recipes import runner
from actkit.recipes.feature_dataset import FeatureDatasetSpec, run_feature_dataset
from actkit.recipes.specs import SparseSpec
from tests.backends.saes.test_sae import saved
from tests.pipeline.input.test_corpus import fake_hub

DATA = Path(__file__).parent.parent / "data"
SAES = tuple(SaeSpec("tiny", f"blocks.{layer}.hook_resid_post") for layer in (1, 2))
LONG = "The river runs to the sea, and the sea is not full. Whither do they go, the rivers, and who has seen it? "


def dataset_run(
    tmp_path: Path, dataset: Path | Sequence[Any], saes: Sequence[SaeSpec] = SAES[1:], **options: Any
) -> Finished:
    """A finished run over a path, or over records that are written as JSONL first."""
    if not isinstance(dataset, Path):
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps(document) + "\n" for document in dataset), encoding="utf-8")
        dataset = path
    output = OutputSpec(tmp_path / "run", overwrite=True, max_records=options.pop("max_records", None))
    batch = BatchSpec(**options.pop("batch", {}))
    tokens = TokenSpec(options.pop("max_length", None), options.pop("bos", "auto"))
    sparse = SparseSpec(options.pop("model", ModelSpec(device="cpu")), saes, output, batch=batch)
    return run_feature_dataset(FeatureDatasetSpec(str(dataset), tokens=tokens, **options), sparse)


def tables(finished: Finished, *names: str) -> list[pd.DataFrame]:
    return [pd.read_parquet(finished.path / name) for name in names]


def command(*arguments: str | Path) -> int:
    """The exit status of `actkit feature-dataset`."""
    with pytest.raises(SystemExit) as done:
        main(["feature-dataset", *map(str, arguments), "--device", "cpu", "-q"])
    return int(str(done.value.code))


@functools.cache
def tokenizer() -> Any:
    made = describe(ModelSpec(device="cpu")).tokenizer
    made.model_max_length = 10**9
    return made


def documents_of(path: Path) -> dict[str, str]:
    """Source → text, as the files hold it."""
    return {str(file): file.read_bytes().decode() for file in sorted(path.glob("*.txt"))}


@pytest.fixture(scope="module")
def udhr(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Six scripts, cut into contexts of 48 tokens, through two SAEs, in several shards."""
    folder = tmp_path_factory.mktemp("udhr")
    return dataset_run(folder, DATA / "udhr", SAES, context_size=48, batch={"shard_sequences": 70})


@pytest.fixture(scope="module")
def naughty(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return dataset_run(tmp_path_factory.mktemp("naughty"), DATA / "naughty_strings.json", context_size=16)


def check_spans(finished: Finished, documents: Mapping[int, str]) -> None:
    """Spans slice the document to what the tokens decode to, run forwards, and leave no character out."""
    sequences, tokens = tables(finished, "sequences", "tokens")
    tokens = tokens.merge(sequences[["sequence_id", "record_id", "chunk", "char_offset", "text"]], on="sequence_id")
    bos = tokens["position"] == 0
    assert tokens.loc[bos, "is_special"].all() and (tokens.loc[bos, "token"] == "<|bos|>").all()
    own = tokens[~bos].sort_values(["record_id", "chunk", "position"], kind="stable")
    assert sorted(set(own["record_id"])) == sorted(documents)
    for record, rows in own.groupby("record_id"):
        document = documents[int(str(record))]
        start, end = rows["char_start"].to_numpy(), rows["char_end"].to_numpy()
        assert (np.diff(start) >= 0).all() and (np.diff(end) >= 0).all() and (start < end).all()
        assert start[0] == 0 and end[-1] == len(document) and (start[1:] <= end[:-1]).all()
        slices = [document[a:b] for a, b in zip(start, end, strict=True)]
        whole = [
            (text, token) for text, token in zip(slices, rows["token"], strict=True) if "\ufffd" not in token + text
        ]
        assert [text for text, _ in whole] == [token for _, token in whole]
        assert rows["token_id"].tolist() == tokenizer()(document, add_special_tokens=False)["input_ids"]
    for row in sequences.itertuples():
        assert row.text == documents[row.record_id][row.char_offset :][: len(row.text)]


@pytest.mark.slow
def test_spans_slice_the_documents_of_six_scripts(udhr: Finished) -> None:
    documents = documents_of(DATA / "udhr")
    assert len(documents) == 6
    sequences = tables(udhr, "sequences")[0]
    assert [str(sequence) for sequence in sequences.groupby("record_id")["source"].first()] == list(documents)
    check_spans(udhr, dict(enumerate(documents.values())))


@pytest.mark.slow
def test_spans_slice_naughty_strings(naughty: Finished) -> None:
    """Strings that break text handling: control characters, right to left, emoji, combining marks, scripts."""
    texts = json.loads((DATA / "naughty_strings.json").read_text(encoding="utf-8"))
    rejected = tables(naughty, "rejected")[0]
    assert rejected["record_id"].tolist() == [number for number, text in enumerate(texts) if not text.strip()]
    assert set(rejected["reason"]) == {"empty"}
    check_spans(naughty, {number: text for number, text in enumerate(texts) if text.strip()})
    assert naughty.facts["counts"]["written"] + len(rejected) == len(texts)


@pytest.mark.slow
def test_chunks_of_a_document_follow_one_another(udhr: Finished) -> None:
    sequences, tokens = tables(udhr, "sequences", "tokens")
    assert sequences["sequence_id"].tolist() == list(range(len(sequences)))
    assert (sequences["record_id"].diff().dropna() >= 0).all()
    lengths = tokens.groupby("sequence_id").size()
    for record, rows in sequences.groupby("record_id"):
        assert rows["chunk"].tolist() == list(range(len(rows)))
        assert (rows["n_tokens"].iloc[:-1] == 48).all() and 2 <= rows["n_tokens"].iloc[-1] <= 48
        n_tokens = len(tokenizer()(documents_of(DATA / "udhr")[rows["source"].iloc[0]])["input_ids"]) - 1
        assert (rows["n_tokens"] - 1).sum() == n_tokens, record
    assert (sequences["n_tokens"].to_numpy() == lengths.to_numpy()).all()
    assert (sequences["n_truncated"] == 0).all() and (sequences["n_kept"] == sequences["n_tokens"] - 1).all()
    starts = tokens[tokens["position"] == 1].set_index("sequence_id")["char_start"]
    assert sequences["char_offset"].tolist() == starts.tolist()


@pytest.mark.slow
def test_counts_reconcile_with_the_tables(udhr: Finished, naughty: Finished) -> None:
    for finished in (udhr, naughty):
        sequences, tokens, rejected, features = tables(finished, "sequences", "tokens", "rejected", "features")
        counts, chunks = finished.facts["counts"], sequences.groupby("record_id").size()
        assert counts["read"] == counts["written"] + counts["rejected"]
        assert (counts["written"], counts["rejected"]) == (sequences["record_id"].nunique(), len(rejected))
        assert (counts["sequences"], counts["tokens"], counts["truncated"]) == (len(sequences), len(tokens), 0)
        assert len(features) == len(tokens) * features["sae"].nunique()
        size = 48 if finished is udhr else 16
        expected = {"context_size": size, "chunked_documents": int((chunks > 1).sum()), "chunks": len(sequences)}
        assert finished.facts["documents"] == expected
        assert json.loads((finished.path / "run.json").read_text())["documents"] == expected
    assert udhr.facts["documents"]["chunked_documents"] == 6
    assert udhr.facts["tables"]["features"]["parts"] > 1
    assert udhr.facts["detected"]["files"] == 6


@pytest.fixture(scope="module")
def plain() -> Any:
    """Token ids and layer → [token, d_sae]: SAELens's own encode of the plain Hugging Face model."""
    import sae_lens
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)

    @functools.cache
    def loaded(folder: Path) -> Any:
        return sae_lens.SAE.load_from_disk(folder, device="cpu")

    def encode(ids: Sequence[int], layer: int, sae: Path | None = None) -> torch.Tensor:
        own = loaded(sae or BUNDLED / f"blocks.{layer}.hook_resid_post")
        with torch.inference_mode():
            hidden = model(torch.tensor([list(ids)]), output_hidden_states=True).hidden_states
            features: torch.Tensor = own.encode(hidden[layer + 1][0])
            return features

    return encode


def check_row(row: Any, values: torch.Tensor, threshold: float = 0.0, top_k: int | None = None) -> None:
    """The right ids, largest first and equal ones by id, values to 1e-5, and how many are active before any cut.

    Values that differ by rounding alone may come in either order: which is larger depends on the kernel.
    """
    above = (values > threshold).nonzero()[:, 0]
    expected = above[torch.argsort(values[above], descending=True, stable=True)].tolist()[:top_k]
    ids, found = row.feature_ids.tolist(), row.feature_activations.tolist()
    assert sorted(ids) == sorted(expected)
    assert ids == [feature for _, feature in sorted(zip([-value for value in found], ids, strict=True))]
    np.testing.assert_allclose(found, values[ids].numpy(), rtol=1e-5)
    assert row.n_active == int((values > 0).sum())


def test_features_are_those_of_the_plain_model_on_each_chunk_alone(udhr: Finished, plain: Any) -> None:
    """Every token of two chunks of each script, for both SAEs, BOS included."""
    sequences, tokens, features = tables(udhr, "sequences", "tokens", "features")
    chosen = sequences.groupby("record_id").nth([0, -1])["sequence_id"].tolist()
    assert len(chosen) == 12
    by_sequence = dict(list(features[features["sequence_id"].isin(chosen)].groupby(["sae", "sequence_id"])))
    for sequence in chosen:
        ids = tokens[tokens["sequence_id"] == sequence]["token_id"].tolist()
        for layer in (1, 2):
            values = plain(ids, layer)
            rows = by_sequence[f"tiny/blocks.{layer}.hook_resid_post", sequence]
            assert rows["position"].tolist() == list(range(len(ids)))
            for row in rows.itertuples():
                check_row(row, values[row.position])


@pytest.mark.slow
def test_the_threshold_is_strict_and_n_active_counts_before_it(tmp_path: Path) -> None:
    """The threshold is exactly one of the activations: that one is left out."""
    whole = tables(dataset_run(tmp_path, [{"text": LONG}]), "features")[0]
    threshold = float(np.sort(np.concatenate(whole["feature_activations"].tolist()))[-40])
    cut = tables(dataset_run(tmp_path, [{"text": LONG}], threshold=threshold), "features")[0]
    assert len(cut) == len(whole)
    assert sum(map(len, cut["feature_ids"])) == 39
    for before, after in zip(whole.itertuples(), cut.itertuples(), strict=True):
        above = before.feature_activations > threshold
        assert after.feature_ids.tolist() == before.feature_ids[above].tolist()
        assert after.feature_activations.tolist() == before.feature_activations[above].tolist()
        assert after.n_active == before.n_active == len(before.feature_ids)


def test_top_k_keeps_the_largest_of_what_is_above_the_threshold(tmp_path: Path, plain: Any) -> None:
    finished = dataset_run(tmp_path, [{"text": LONG}], top_k=3, threshold=1.0)
    features, tokens = tables(finished, "features", "tokens")
    values = plain(tokens["token_id"].tolist(), 2)
    for row in features.itertuples():
        check_row(row, values[row.position], 1.0, 3)
    assert (
        features["feature_ids"].map(len).max()
        == 3
        < features["feature_ids"].map(len).max() + features["n_active"].max()
    )


def test_documents_longer_than_the_saes_context_are_cut_to_it(tmp_path: Path) -> None:
    """The shortest of several SAEs' contexts; a context that is asked for goes before it, with a warning."""
    short = SaeSpec(path=str(saved("standard", tmp_path / "short", d_in=192, context_size=10)))
    longer = SaeSpec(path=str(saved("standard", tmp_path / "longer", d_in=192, context_size=20)))
    finished = dataset_run(tmp_path, [{"text": LONG}, {"text": "Short."}], [longer, short])
    sequences = tables(finished, "sequences")[0]
    assert finished.facts["documents"]["context_size"] == 10 == sequences["n_tokens"].max()
    assert finished.facts["documents"]["chunked_documents"] == 1
    assert not [text for text in finished.facts["warnings"] if "contexts of" in text]
    asked = dataset_run(tmp_path, [{"text": LONG}], [longer, short], context_size=15)
    assert tables(asked, "sequences")[0]["n_tokens"].max() == 15
    assert "short was trained on contexts of 10 tokens, and read up to 15" in asked.facts["warnings"]
    capped = dataset_run(tmp_path, [{"text": LONG}], [longer], max_length=7)
    assert capped.facts["documents"]["context_size"] == 7 == tables(capped, "sequences")[0]["n_tokens"].max()


def test_the_bundled_saes_context_is_the_default(tmp_path: Path) -> None:
    finished = dataset_run(tmp_path, [{"text": LONG * 30}])
    sequences, tokens = tables(finished, "sequences", "tokens")
    assert finished.facts["documents"]["context_size"] == 512 == sequences["n_tokens"].iloc[0]
    own = tokens[tokens["position"] > 0]["token_id"].tolist()
    assert own == tokenizer()(LONG * 30, add_special_tokens=False)["input_ids"] and len(own) > 511


def test_a_context_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    most = describe(ModelSpec(device="cpu")).context_length
    assert most is not None
    with pytest.raises(UsageError, match=f"context_size {most + 1} is beyond the model's context of {most} tokens"):
        dataset_run(tmp_path, [{"text": LONG}], context_size=most + 1)
    assert dataset_run(tmp_path, [{"text": "Hi."}], context_size=most).facts["documents"]["context_size"] == most
    with pytest.raises(UsageError, match="leave no room for text after BOS"):
        dataset_run(tmp_path, [{"text": LONG}], context_size=1)
    one_each = dataset_run(tmp_path, [{"text": "Hi there."}], context_size=1, bos="never")
    assert set(tables(one_each, "sequences")[0]["n_tokens"]) == {1}


def test_a_context_of_two_reads_every_token_right_after_bos(tmp_path: Path, plain: Any) -> None:
    finished = dataset_run(tmp_path, [{"text": "Plums are sweet."}], context_size=2)
    tokens, features = tables(finished, "tokens", "features")
    assert set(tokens.groupby("sequence_id").size()) == {2}
    for sequence, rows in tokens.groupby("sequence_id"):
        values = plain(rows["token_id"].tolist(), 2)
        for row in features[features["sequence_id"] == sequence].itertuples():
            check_row(row, values[row.position])


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("prepend_bos", "asked", "begins"),
    [
        (True, "auto", True),
        (False, "auto", False),
        (True, "never", False),
        (False, "always", True),
    ],
)
def test_every_chunk_begins_as_the_saes_contexts_did(
    tmp_path: Path, plain: Any, prepend_bos: bool, asked: Any, begins: bool
) -> None:
    folder = saved("standard", tmp_path / "own", d_in=192, context_size=12, prepend_bos=prepend_bos)
    finished = dataset_run(tmp_path, [{"text": LONG}], [SaeSpec(path=str(folder))], bos=asked)
    tokens, features = tables(finished, "tokens", "features")
    first = tokens[tokens["position"] == 0]
    assert len(first) > 1
    assert set(first["is_special"]) == {begins} and ("<|bos|>" in set(tokens["token"])) == begins
    own = tokens[~tokens["is_special"]]["token_id"].tolist()
    assert own == tokenizer()(LONG, add_special_tokens=False)["input_ids"]
    assert tokens.groupby("sequence_id").size().iloc[:-1].eq(12).all()
    values = plain(tokens[tokens["sequence_id"] == 1]["token_id"].tolist(), 1, folder)
    row = features[(features["sequence_id"] == 1) & (features["position"] == 5)].iloc[0]
    assert row["feature_ids"].tolist() == torch.argsort(values[5], descending=True)[: row["n_active"]].tolist()


def test_bos_typed_at_the_head_of_a_document_is_that_of_its_first_chunk(tmp_path: Path) -> None:
    """It is there once, before the text that follows; what else is typed of special tokens is counted."""
    finished = dataset_run(tmp_path, [{"text": "<|bos|>Once upon a time<|end|>"}])
    sequences, tokens = tables(finished, "sequences", "tokens")
    assert tokens["token"].tolist()[:2] == ["<|bos|>", "On"]
    assert list(zip(tokens["char_start"], tokens["char_end"], strict=True))[:2] == [(7, 7), (7, 9)]
    assert sequences["n_special_in_text"].tolist() == [1]
    assert finished.facts["counts"]["special_in_text"] == 1


def test_what_is_no_document_is_rejected_with_a_reason(tmp_path: Path) -> None:
    records = [{"text": "Fine."}, {"text": ""}, {"text": " \n"}, {"text": 3}, {"text": None}, {"title": "x"}, 7, ["a"]]
    finished = dataset_run(tmp_path, [*records, "Fine too.", "\ud800"])
    rejected = pq.read_table(finished.path / "rejected").to_pylist()
    fields = "no field text or content or document or story or body or messages or conversations"
    assert [tuple(row[name] for name in ("record_id", "line", "field", "reason")) for row in rejected] == [
        (1, 2, "text", "empty"),
        (2, 3, "text", "empty"),
        (3, 4, "text", "not text"),
        (4, 5, "text", "missing"),
        (5, 6, None, fields),
        (6, 7, None, "not text"),
        (7, 8, None, "not text"),
        (9, 10, None, "the text holds half a character (a lone surrogate)"),
    ]
    assert tables(finished, "sequences")[0]["record_id"].tolist() == [0, 8]
    assert finished.facts["documents"] == {"context_size": 512, "chunked_documents": 0, "chunks": 2}
    assert finished.facts["rejected_reasons"] == Counter(row["reason"] for row in rejected)


@pytest.mark.slow
def test_the_text_field_is_looked_for_or_given(tmp_path: Path) -> None:
    records = [{"body": "b", "content": "c"}, {"story": "s", "text": "t"}, {"prose": "p", "text": "u"}]
    found = tables(dataset_run(tmp_path, records), "sequences")[0]
    assert found["text"].tolist() == ["c", "t", "u"]
    given = dataset_run(tmp_path, records, text_field="prose")
    assert tables(given, "sequences")[0]["text"].tolist() == ["p"]
    assert set(tables(given, "rejected")[0]["reason"]) == {"no field prose"}
    assert set(tables(given, "rejected")[0]["field"]) == {"prose"}


def test_a_corpus_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "stories.jsonl").write_text('"x"\n')
    with pytest.raises(InputError, match=r"storys\.jsonl: no such file"):
        dataset_run(tmp_path, tmp_path / "storys.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["stories.jsonl"]


@pytest.mark.slow
def test_the_command_takes_what_the_recipe_takes(tmp_path: Path) -> None:
    """`--max-examples` counts documents, not chunks."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "in" / f"{name}.md").write_text(f"{name}: {LONG}\r\n{LONG}", newline="")
    out = tmp_path / "run"
    options = ["--max-examples", "2", "--context-size", "16", "--bos", "never", "--activation-threshold", "0.5"]
    assert command(str(tmp_path / "in" / "*.md"), *options, "--top-k", "4", "--target-layer", "2", "-o", out) == 0
    sequences, features = (pd.read_parquet(out / name) for name in ("sequences", "features"))
    facts = json.loads((out / "run.json").read_text())
    assert sequences["source"].map(lambda source: Path(source).name).unique().tolist() == ["a.md", "b.md"]
    assert (facts["counts"]["read"], facts["documents"]["chunked_documents"]) == (2, 2)
    assert facts["documents"]["chunks"] == len(sequences) > 4
    assert sequences["n_tokens"].max() == 16 and not sequences["text"].str.contains("<").any()
    lists = features["feature_activations"]
    assert lists.map(len).max() == 4 and min(values.min() for values in lists if len(values)) > 0.5
    assert facts["options"]["activation_threshold"] == 0.5 and facts["options"]["context_size"] == 16
    assert command("--config", out / "config.yaml", "-o", tmp_path / "again") == 0
    assert pd.read_parquet(tmp_path / "again" / "features").equals(features)


def test_by_line_and_text_field_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("First line.\n\nSecond line.\n")
    (tmp_path / "b.jsonl").write_text('{"prose": "Third.", "text": "Not this."}\n')
    options = ["--by-line", "--text-field", "prose", "--target-layer", "1", "-o", tmp_path / "run"]
    assert command(str(tmp_path / "?.*"), *options) == 0
    sequences = pd.read_parquet(tmp_path / "run" / "sequences")
    assert sequences["text"].tolist() == ["First line.", "Second line.", "Third."]
    assert sequences["record_id"].tolist() == [0, 2, 3] and sequences["line"].tolist() == [1, 3, 1]


@pytest.mark.parametrize("dataset", ["some/stories", "missing.jsonl"])
def test_a_dataset_that_is_not_there_is_known_before_anything_is_loaded(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("load_saes", "describe", "load"):
        monkeypatch.setattr(runner, name, lambda *_: pytest.fail("something was loaded"))
    with pytest.raises(InputError, match=dataset):
        run_feature_dataset(FeatureDatasetSpec(dataset), SparseSpec(ModelSpec(), SAES, OutputSpec(tmp_path / "run")))


@pytest.mark.slow
def test_a_dataset_of_the_hub_becomes_a_run(tmp_path: Path) -> None:
    """The command whole, with the real library, against a hub on this machine; complete, it needs the hub no more."""

    def called(*more: str) -> subprocess.CompletedProcess[str]:
        arguments = ["feature-dataset", "some/stories", "--split", "test", "--target-layer", "2", "--device", "cpu"]
        call = [sys.executable, "-m", "actkit", *arguments, "-q", "-o", str(tmp_path / "run"), *more]
        return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300)

    with fake_hub(tmp_path / "home") as environment:
        done = called()
    assert (done.returncode, done.stderr) == (0, "")
    shutil.rmtree(tmp_path / "home")
    environment |= {"HF_HUB_OFFLINE": "1"}
    again = called("--resume")
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")
    sequences = pd.read_parquet(tmp_path / "run" / "sequences")
    assert sequences["text"].tolist() == ["first of test", "second of test, €"]
    assert set(sequences["source"]) == {"some/stories"} and sequences["line"].isna().all()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["detected"] == {"dataset": "some/stories"}


MEASURED = """
import resource, sys, time
from pathlib import Path
from actkit.config import ModelSpec, OutputSpec, SaeSpec
from actkit.recipes.feature_dataset import FeatureDatasetSpec, run_feature_dataset
from actkit.recipes.specs import SparseSpec
saes = [SaeSpec("tiny", "blocks.2.hook_resid_post")]
spec = SparseSpec(ModelSpec(device="cpu"), saes, OutputSpec(Path(sys.argv[2])))
began = time.perf_counter()
finished = run_feature_dataset(FeatureDatasetSpec(sys.argv[1]), spec)
seconds = time.perf_counter() - began
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, finished.facts["counts"]["tokens"], seconds)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """20,000 documents of 30 to 60 tokens take at most 1.15 times the memory of 1,000 (TRAPS 29)."""
    words = sorted(set(LONG.lower().split() + (DATA / "udhr" / "fra.txt").read_text(encoding="utf-8").split()))
    random = np.random.default_rng(0)
    peaks = []
    for count in (1000, 20_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for _ in range(count):
                text = " ".join(random.choice(words, size=random.integers(12, 24)))
                file.write(json.dumps({"text": text}) + "\n")
        arguments = [sys.executable, "-c", MEASURED, str(path), str(tmp_path / f"run{count}")]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        peak, tokens, seconds = map(float, done.stdout.split()[-3:])
        print(f"{count} documents, {tokens:.0f} tokens: {peak / 1024:.0f} MB, {seconds:.1f} s")  # noqa: T201
        assert 30 <= tokens / count <= 60
        peaks.append(peak)
    assert peaks[1] <= 1.15 * peaks[0], peaks


def test_a_chat_beside_a_text_that_is_null_is_read() -> None:
    """A table of texts and of chats has both columns in every row."""
    from actkit.backends import describe
    from actkit.config import ModelSpec
    from actkit.errors import RecordError
    from actkit.recipes.conversations.fields import ContextFields
    from actkit.recipes.documents import read_document

    tokenizer = describe(ModelSpec(device="cpu")).tokenizer
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    _, said = read_document({"text": None, "messages": turns}, None, ContextFields(), tokenizer, None)
    assert said["shapes"] == ("messages",) and said["fields_read"] == ("messages",)
    text, said = read_document({"text": "Plain.", "messages": turns}, None, ContextFields(), tokenizer, None)
    assert (text, said["fields_left"]) == ("Plain.", ("messages",))
    for empty in ({"text": None}, {"text": "", "body": None}):
        with pytest.raises(RecordError) as raised:
            read_document(empty, None, ContextFields(), tokenizer, None)
        assert raised.value.field == "text"
