"""The command line in a process of its own, offline, with models and SAEs by their real names, from look-alikes.

What it writes equals SAELens's own `encode` of the plain Hugging Face model's own hidden state, one text at a time.
"""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch

from tests.look_alikes import build, revision, snapshot

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Encode = Callable[["Named", str], tuple[list[int], torch.Tensor]]

RECORDS = [
    {"prompt": "The capital of France is", "response": " Paris, of course."},
    {"prompt": "Was it good? \U0001f407", "response": " Nö."},
    {"prompt": "7 * 6 =", "response": " 42"},
]
STORY = "Once upon a time there was a hare who could not sleep. " * 5
THRESHOLD = 0.1


class Named(NamedTuple):
    """A model and an SAE of it, as a user names them, and what is known of them beforehand."""

    model: str
    repository: str
    release: str
    sae_id: str
    hook_point: str
    hidden_state: int
    """The hook point's index in Hugging Face's `hidden_states`."""
    centred: bool
    """Whether the SAE reads activations less their mean over d_model."""
    context: int
    page: str
    """Of its feature 0 on Neuronpedia."""

    @property
    def sae(self) -> str:
        return f"{self.release}/{self.sae_id}"

    @property
    def flags(self) -> list[str]:
        return ["--model", self.model, "--sae-release", self.release, "--sae-id", self.sae_id, "--device", "cpu", "-q"]


GPT2 = Named(
    "gpt2-small",
    "gpt2",
    "gpt2-small-res-jb",
    "blocks.8.hook_resid_pre",
    "blocks.8.hook_resid_pre",
    hidden_state=8,
    centred=True,
    context=128,
    page="https://neuronpedia.org/gpt2-small/8-res-jb/0",
)
GEMMA = Named(
    "google/gemma-2-2b",
    "google/gemma-2-2b",
    "gemma-scope-2b-pt-res-canonical",
    "layer_12/width_16k/canonical",
    "blocks.12.hook_resid_post",
    hidden_state=13,
    centred=False,
    context=1024,
    page="https://neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k/0",
)
both = pytest.mark.parametrize("named", [GPT2, GEMMA], ids=lambda named: named.model)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of look-alikes, from which this process too reads until the module's tests are done."""
    built = tmp_path_factory.mktemp("look-alikes")
    build(built)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(built / "hub"))
        yield built
    shutil.rmtree(built)


@pytest.fixture(scope="module")
def encode(home: Path) -> Encode:
    """A text → its token ids, with one BOS, and [token, d_sae], computed without actkit."""

    @cache
    def loaded(repository: str, release: str, sae_id: str) -> tuple[Any, Any, Any]:
        from sae_lens import SAE
        from transformers import AutoModelForCausalLM, AutoTokenizer

        path = snapshot(home, repository)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SAELens says how it would load the model
            sae = SAE.from_pretrained(release, sae_id, device="cpu", dtype="float32")
        return AutoTokenizer.from_pretrained(path), model, sae

    def encoded(named: Named, text: str) -> tuple[list[int], torch.Tensor]:
        tokenizer, model, sae = loaded(named.repository, named.release, named.sae_id)
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        with torch.inference_mode():
            x = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[named.hidden_state][0]
            return ids, sae.encode(x - x.mean(-1, keepdim=True) if named.centred else x)

    return encoded


def actkit(home: Path, *arguments: str | Path) -> Done:
    """Call the command line where nothing is at hand but `home`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ACTKIT", "COV", "HF_", "PYTEST"))
    }
    return subprocess.run(
        [sys.executable, "-m", "actkit", *map(str, arguments)],
        env={**kept, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
        text=True,
        timeout=600,
    )


def check_run(done: Done, named: Named, out: Path) -> None:
    """It went well, and `run.json` says that model and SAE are those that were named."""
    assert (done.returncode, done.stdout) == (0, f"{out}\n"), done.stderr
    facts = json.loads((out / "run.json").read_text(encoding="utf-8"))
    model, saes = facts["model"], facts["saes"]
    assert (model["name"], model["revision"], model["dtype"]) == (named.model, revision(named.repository), "float32")
    assert facts["hook_points"] == [named.hook_point]
    assert [(sae["name"], sae["hook_point"]) for sae in saes] == [(named.sae, named.hook_point)]
    assert saes[0]["metadata"]["centred_input"] is named.centred
    assert saes[0]["metadata"]["context_size"] == named.context
    assert f"{saes[0]['neuronpedia_id']}/0" in named.page
    # An SAE that took the model for another's would say so; that random features explain nothing is said rightly.
    assert not [text for text in facts["warnings"] if "trained on" in text and "one token a text" not in text]


def check_row(row: Any, expected: torch.Tensor, above: float = 0.0, most: int | None = None) -> None:
    """A row has the `most` largest of `expected` [d_sae] that are above a threshold, largest first.

    Numbers agree to 1e-4 of the largest one (so deep a random model is itself 1e-5 from its numbers in float64); what
    is as close to the threshold or the cut may fall on either side.
    """
    ids, values = row.feature_ids.tolist(), row.feature_activations.tolist()
    assert len(set(ids)) == len(ids) > 0
    assert values == sorted(values, reverse=True)
    found, wanted = torch.zeros_like(expected), torch.zeros_like(expected)
    found[ids] = torch.tensor(values)
    kept = torch.topk(expected, min(most or len(expected), int((expected > above).sum())))
    wanted[kept.indices] = kept.values
    tolerance, largest_of_both = 1e-4 * float(expected.max()), torch.maximum(found, wanted)
    edge = float(largest_of_both[largest_of_both > 0].min())
    off = (found - wanted).abs() > tolerance
    assert largest_of_both[off].tolist() == pytest.approx([edge] * int(off.sum()), abs=2 * tolerance)


def written(path: Path, records: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def token_ids(out: Path) -> dict[Any, list[int]]:
    tokens = pd.read_parquet(out / "tokens").sort_values(["sequence_id", "position"])
    return {number: rows.tolist() for number, rows in tokens.groupby("sequence_id")["token_id"]}


@both
def test_sae_extract_has_the_features_of_the_prompts_last_token(
    named: Named, home: Path, encode: Encode, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    check_run(actkit(home, "sae-extract", written(tmp_path / "in.jsonl", RECORDS), *named.flags, "-o", out), named, out)
    features, ids = pd.read_parquet(out / "features"), token_ids(out)
    assert features["feature_ids"].map(len).tolist() == [50] * len(RECORDS)
    for row in features.itertuples():
        record = RECORDS[row.sequence_id]
        prompt_ids, expected = encode(named, record["prompt"])
        assert row.position == len(prompt_ids) - 1
        assert ids[row.sequence_id] == encode(named, record["prompt"] + record["response"])[0]
        check_row(row, expected[-1], most=50)
        assert abs(row.n_active - int((expected[-1] > 0).sum())) <= 1


@both
def test_feature_dataset_has_the_features_of_every_token_of_every_chunk(
    named: Named, home: Path, encode: Encode, tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, text in (("1.txt", STORY), ("2.md", "A hare \U0001f407, a Häschen.\n")):
        (texts / name).write_text(text, encoding="utf-8", newline="")
    out = tmp_path / "run"
    least = ["--activation-threshold", str(THRESHOLD)]
    check_run(actkit(home, "feature-dataset", texts, *named.flags, *least, "-o", out), named, out)
    sequences, ids = pd.read_parquet(out / "sequences"), token_ids(out)
    # BOS takes one place of each chunk; in the look-alikes, an ASCII character is a token.
    assert sequences["n_tokens"].max() == min(named.context, len(STORY) + 1)
    assert len(sequences) == (4 if named is GPT2 else 2)
    features = pd.read_parquet(out / "features").set_index("sequence_id")
    for sequence in sequences.itertuples():
        expected_ids, expected = encode(named, str(sequence.text))
        rows = list(features.loc[[sequence.sequence_id]].sort_values("position").itertuples())
        assert ids[sequence.sequence_id] == expected_ids
        assert [row.position for row in rows] == list(range(len(expected_ids)))
        for row, values in zip(rows, expected, strict=True):
            check_row(row, values, above=THRESHOLD)
    stats = pd.read_parquet(out / "feature_stats").set_index("feature_id")
    assert stats.loc[0, "url"] == named.page


@both
def test_reward_detect_pools_the_features_of_the_example_data(
    named: Named, home: Path, encode: Encode, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    check_run(actkit(home, "reward-detect", "--use-example-data", *named.flags, "-o", out), named, out)
    sequences = pd.read_parquet(out / "sequences").set_index("sequence_id")
    pooled = pd.read_parquet(out / "pooled_features")
    assert len(pooled) == len(sequences) > 10
    for row in pooled.iloc[:: len(pooled) // 4].itertuples():
        sequence = sequences.loc[row.sequence_id]
        _, expected = encode(named, sequence["text"])
        start = sequence["response_start"]
        # BOS is in the input and not in the maximum; of a text after a prompt neither is the prompt.
        check_row(row, expected[1 if pd.isna(start) else int(start) :].max(0).values)


@both
def test_the_reference_tells_the_right_hidden_state_from_its_neighbours(named: Named, encode: Encode) -> None:
    text = RECORDS[0]["prompt"]
    right = encode(named, text)[1]
    others = [
        named._replace(hidden_state=named.hidden_state - 1),
        named._replace(hidden_state=named.hidden_state + 1),
        named._replace(centred=not named.centred),
    ]
    for other in others:
        assert float((encode(other, text)[1] - right).abs().max()) > 0.05 * float(right.max())


def check_error(done: Done, says: str) -> None:
    """`error: …`, a blank line, `hint: …`, and nothing else."""
    assert (done.returncode, done.stdout) == (1, "")
    error, blank, hint = done.stderr.splitlines()
    assert error.startswith("error: ") and says in error
    assert (blank, hint[:6]) == ("", "hint: ")


def test_a_model_that_is_not_there_is_an_error_with_a_hint(home: Path, tmp_path: Path) -> None:
    source, out = written(tmp_path / "in.jsonl", RECORDS), tmp_path / "run"
    absent = GEMMA._replace(model="google/gemma-2-2b-it")
    done = actkit(home, "sae-extract", source, *absent.flags, "-o", out)
    check_error(done, "google/gemma-2-2b-it")
    assert "the connection" in done.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_an_sae_that_is_not_there_is_an_error_with_a_hint(home: Path, tmp_path: Path) -> None:
    source, out = written(tmp_path / "in.jsonl", RECORDS), tmp_path / "run"
    absent = GPT2._replace(sae_id="blocks.7.hook_resid_pre")
    check_error(actkit(home, "sae-extract", source, *absent.flags, "-o", out), absent.sae)
    assert list(tmp_path.iterdir()) == [source]
