"""SIGKILL within one record that fills many shards: what goes on has every byte of the run that was left alone.

`ACTKIT_LONG_RECORD=8` makes a record of 8 MB; of 0.4 MB by default, which is 50 shards.
"""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest
import torch
from safetensors.torch import save_file

from actkit.runs.manifest import manifests
from tests.conftest import ARCHITECTURES, save_random_model
from tests.faults.runs import call, ended, facts_of, fork, wait_until_it_writes

MEGABYTES = float(os.environ.get("ACTKIT_LONG_RECORD", "0.4"))
CONTEXT = 64
D_IN, D_SAE = 32, 64
ARGUMENTS = (
    *(
        "feature-dataset",
        "in.jsonl",
        "--model",
        "model",
        "--sae",
        "sae",
        "--context-size",
        str(CONTEXT),
        "--top-k",
        "4",
    ),
    *("--shard-sequences", str(max(32, int(MEGABYTES * 2e6 / CONTEXT / 100))), "-q", "--device", "cpu"),
)
"""Some fifty shards, or a hundred of a record of many megabytes."""
KILLS = 6
TASKS = 3

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("signals_as_in_a_terminal")]


def write_input(folder: Path) -> None:
    """A short record, one that lies over nearly every shard, and another short one."""
    words = [*map(str, range(97)), "boats", "ließen", "die", "海", "🦔", "and", "ropes\n\n", "zur", "See"]
    draw = random.Random(0)
    long = ""
    while len(long.encode()) < MEGABYTES * 1e6:
        long += " ".join(draw.choices(words, k=2000)) + " "
    rows = [{"text": text} for text in ("A short one.", long, "And a last one.")]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_sae(folder: Path) -> None:
    """An SAE of the random model, in SAELens's format."""
    folder.mkdir()
    about = {"architecture": "jumprelu", "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    about |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none"}
    says = {"hook_name": "blocks.1.hook_resid_post", "model_name": "x", "context_size": CONTEXT, "prepend_bos": True}
    says |= {"model_from_pretrained_kwargs": {}, "hook_head_index": None, "sae_lens_version": "6.40.0"}
    (folder / "cfg.json").write_text(json.dumps({**about, "metadata": says}), encoding="utf-8")
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(D_SAE, D_IN), dim=1)
    weights = {"W_enc": directions.T.contiguous(), "W_dec": directions, "b_dec": torch.zeros(D_IN)}
    weights |= {"b_enc": torch.full((D_SAE,), -0.5), "threshold": torch.full((D_SAE,), 0.1)}
    save_file(weights, folder / "sae_weights.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with input, model and SAE, and `whole`, the run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("record")
    write_input(folder)
    save_random_model(*ARCHITECTURES["llama"], folder / "model")
    write_sae(folder / "sae")
    status, _, err = call((*ARGUMENTS, "--out", "whole"), folder)
    assert status == 0, err
    crossing = [manifest for manifest in manifests(folder / "whole")[0] if manifest.end.within]
    assert len(crossing) > 20
    return folder


def shards_of(run: Path) -> int:
    return len(list((run / "shards").glob("part-*.json")))


def killed(arguments: tuple[str, ...], partial: Path, after: int, moments: random.Random) -> bool:
    """Whether the process was killed, some moment after it had finished so many shards more, before it was done."""
    process = fork((*arguments, "--resume"), partial.parent)
    wait_until_it_writes(process, partial, shards_of(partial) + after)
    time.sleep(moments.uniform(0, 0.3))
    process.kill()
    status, _, err = ended(process)
    assert status in (0, -signal.SIGKILL), err
    return status != 0


def files(run: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(run.rglob("*.parquet")):
        yield str(path.relative_to(run)), path.read_bytes()


def check_same(folder: Path, name: str) -> None:
    """Every byte of every table, those that are computed at the end too; the same counts; nothing beside the run."""
    for mine, other in zip(files(folder / "whole"), files(folder / name), strict=True):
        assert mine[0] == other[0] and mine[1] == other[1], mine[0]
    first, second = facts_of(folder / "whole"), facts_of(folder / name)
    assert {
        key: (first.get(key), second.get(key)) for key in {*first, *second} if first.get(key) != second.get(key)
    } == {}
    assert [path.name for path in folder.glob(f"{name}*")] == [name]
    assert not list((folder / name).rglob("*.tmp"))


def test_killed_within_a_record_it_goes_on_to_the_same_bytes(folder: Path) -> None:
    arguments, moments, partial = (*ARGUMENTS, "--out", "part"), random.Random(1), folder / "part.partial"
    most, kills = shards_of(folder / "whole") // KILLS, 0
    while kills < KILLS:
        if killed(arguments, partial, moments.randrange(most) if partial.exists() else 2, moments):
            assert not partial.exists() or any(manifest.end.within for manifest in manifests(partial)[0])
            kills += 1
        else:  # a machine that is fast comes to the end before it is killed so often
            check_same(folder, "part")
            rmtree(folder / "part")
    status, out, err = call((*arguments, "--resume"), folder)
    assert (status, out) == (0, "part\n"), err
    check_same(folder, "part")


def test_tasks_that_share_a_record_and_are_killed_merge_to_the_same_bytes(folder: Path) -> None:
    """Each task is killed, and so is putting them together."""
    moments = random.Random(2)
    for number in range(TASKS):
        arguments = (*ARGUMENTS, "--out", "shared", "--shard", f"{number}/{TASKS}")
        share = folder / f"shared.{number}-of-{TASKS}.partial"
        for after in (0, moments.randrange(1, shards_of(folder / "whole") // TASKS // 2)):
            killed(arguments, share, after, moments)
        status, _, err = call((*arguments, "--resume"), folder)
        assert status == 0, err
    for _ in range(4):
        process = fork(("merge", "shared", "-q"), folder)
        time.sleep(moments.uniform(1, 6))
        process.kill()
        status, _, err = ended(process)
        assert status in (0, -signal.SIGKILL), err
    status, out, err = call(("merge", "shared", "-q"), folder)
    assert (status, out) == (0, "shared\n"), err
    check_same(folder, "shared")
