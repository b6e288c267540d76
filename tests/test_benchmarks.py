"""The benchmark measures the same work on every side: all ways give the same numbers on a small input. No timing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from actkit.backends.saes import sae_lens
from actkit.config import ModelSpec, SaeSpec
from actkit.runs.progress import Progress, profile
from tests.benchmarks import (
    agreement,
    block,
    encode,
    engines,
    environments,
    finish,
    finish_rate,
    libraries,
    longer,
    loop,
    memory,
    own,
    reference,
    roofline,
    start,
    ways,
    workloads,
)
from tests.benchmarks.__main__ import WORKLOADS, table
from tests.benchmarks.asking import Asked, PeerError, write_inputs
from tests.benchmarks.measure import Measured, measure, turns
from tests.benchmarks.peers import SCRIPTS

SIZE = workloads.Size(4, 64, 4, 512, documents=5, pairs=3, answers=5, contrasts=4)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> workloads.Inputs:
    return workloads.make(tmp_path_factory.mktemp("benchmark"), SIZE)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def expected(inputs: workloads.Inputs, workload: str) -> Any:
    layers = workloads.layers_read(workload, SIZE)
    sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu")
    model = reference.base_model(inputs, max(layers) + 1)
    return getattr(reference, workload)(inputs, model, layers if workload == "contrasts" else sae)


@pytest.mark.quick(1)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_actkit_and_the_hand_tuned_reference_agree(workload: str, inputs: workloads.Inputs, tmp_path: Path) -> None:
    own.run(inputs, workload, ModelSpec(str(inputs.model), device="cpu"), tmp_path / "run")
    wanted = expected(inputs, workload)
    error, same = own.difference(inputs, workload, tmp_path / "run", wanted)
    assert error < 1e-5 and same > 0.999
    parts = {"pairs": 3, "contrasts": 2}.get(workload, 1)
    assert len(wanted) == getattr(SIZE, workload) * parts


@pytest.mark.quick(1)
@pytest.mark.parametrize("workload", ["documents", "answers", "contrasts"])
def test_the_usual_way_gives_what_the_reference_gives(workload: str, inputs: workloads.Inputs) -> None:
    sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu")
    model = AutoModelForCausalLM.from_pretrained(inputs.model).eval()
    found = ways.batched(model, inputs, workload, workloads.layers_read(workload, SIZE), sae)
    wanted = expected(inputs, workload)
    for index, array in enumerate(found):
        if workload == "contrasts":
            torch.testing.assert_close(array, wanted[index], rtol=1e-4, atol=1e-4)
        else:
            torch.testing.assert_close(
                array.values.reshape(wanted[index][0].shape), wanted[index][0], rtol=1e-4, atol=1e-4
            )


@pytest.mark.slow  # five runs of each command
@pytest.mark.parametrize("command", loop.COMMANDS)
def test_the_loop_is_held_against_the_model_on_the_same_batches(command: str, tmp_path: Path) -> None:
    tokens, of_model, _ = loop.measure(command, 6, 1, tmp_path)
    assert tokens > 30 and of_model > 0
    assert loop.run(command, tmp_path / "first.jsonl", tmp_path / "again") < tokens


@pytest.mark.slow  # documents of more than a thousand tokens
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_actkit_and_the_script_agree_on_longer_works(dtype: str, tmp_path: Path) -> None:
    size = longer.Size(8, 64, 4, 2, 96, (512, 1024), documents=2, tokens=1300)
    inputs = longer.make(tmp_path, size)
    spec = ModelSpec(str(inputs.model), device="cpu")
    for work in longer.WORKS:
        facts = longer.run(inputs, work, spec, tmp_path / "run", dtype)
        saes = [sae_lens.load(SaeSpec(path=str(path)), "cpu") for path in inputs.saes(work)]
        model = AutoModelForCausalLM.from_pretrained(inputs.model).eval().model
        expected = longer.script(inputs, model, saes, [sae.hook_point.layer for sae in saes])
        error, same = longer.difference(inputs, work, tmp_path / "run", expected)
        assert error < 1e-5 and same > 0.999 and 1024 < min(map(len, inputs.documents)) <= 1301
        assert facts["tables"]["features"]["rows"] == sum(map(len, inputs.documents)) * len(saes)
        assert all(rate > 0 for rate in longer.rates(facts, work, inputs))


def test_three_ways_to_an_saes_features_give_the_same(tmp_path: Path) -> None:
    x = encode.vectors(40, 48)
    rows = [encode.reduced(sae, x)[1] for sae in encode.ways(tmp_path / "sae", x, 2048).values()]
    assert len(rows) == 3 and sum(map(len, rows[0]["feature_ids"].to_pylist())) > 800
    for other in rows[1:]:
        members, error = encode.apart(rows[0], other)
        assert members > 0.999 and error < 1e-5
    assert encode.apart(rows[0], rows[0].take(list(range(39, -1, -1))))[0] < 0.5, "other tokens have others"


def test_a_blocks_parts_are_in_the_block() -> None:
    seconds = block.parts(torch.float32, 1, 8, 1)
    assert min(seconds.values()) > 0 and set(seconds) == {"block", "products", "attention", "norms", "GELU"}


def test_the_ids_are_those_that_a_tokenizer_makes_of_the_files(inputs: workloads.Inputs) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    assert len(inputs.pairs) == SIZE.pairs and all(chosen and rejected for _, chosen, rejected in inputs.pairs)
    first = (inputs.folder / "contrasts.txt").read_text(encoding="utf-8").splitlines()[0]
    assert inputs.contrasts[0] == tokenizer(first)["input_ids"] and len(inputs.contrasts) == 2 * SIZE.contrasts
    assert all(whole[: len(prompt)] == prompt for prompt, whole in inputs.answers)
    assert workloads.read(inputs.folder) == inputs


def test_the_table_holds_ratios_to_the_reference_and_a_dash_for_work_that_a_way_does_not_do() -> None:
    first = Measured(
        {"hand-tuned": 2.0, "actkit, work": 1.0, "another": 5.0}, {"actkit": "1e-06", "another": "2e-01"}, 9
    )
    second = Measured({"hand-tuned": 1.0, "actkit, work": 3.0}, {"actkit": "0e+00"}, 3000)
    lines = table({"pairs": first, "contrasts": second}).splitlines()
    assert lines[0] == "| work | actkit, work | another | hand-tuned | tokens/s, actkit's work |"
    assert lines[2] == f"| {WORKLOADS['pairs']} | 0.50 | 2.50 | 1 | 9 |"
    assert lines[3] == f"| {WORKLOADS['contrasts']} | 3.00 | – | 1 | 1,000 |"
    assert lines[7:] == [
        f"| {WORKLOADS['pairs']} | 1e-06 | 2e-01 |",
        f"| {WORKLOADS['contrasts']} | 0e+00 | – |",
    ]


def test_the_roofline_counts_the_products_of_the_tokens_that_are_computed() -> None:
    facts = {
        "counts": {"tokens": 100},
        "seconds": {"forward": 0.5},
        "profile": profile(Progress(seconds={"forward": 0.5, "reduce": 0.3}, within={"encode": 0.25})),
        "saes": [{}],
        "tables": {"features": {"rows": 90}},
    }
    forward, encode = roofline.reached(facts, "documents", SIZE)
    assert forward == pytest.approx(2 * 12 * 64**2 * 3 * 100 / 0.5 / 1e9)  # layers 0 to 2
    assert encode == pytest.approx(2 * 64 * 512 * 90 / 0.25 / 1e9)
    answers, _ = roofline.reached(facts, "answers", SIZE)
    assert answers == pytest.approx(forward * 2 / 3), "of the last block not all positions go through the MLP"
    assert roofline.reached({**facts, "saes": []}, "pairs", SIZE) == (pytest.approx(forward * 4 / 3), None)
    lines = roofline.table({"documents": [facts], "pairs": [{**facts, "saes": []}]}, SIZE, roofline.Peak(1.0, 1.0))
    assert lines.splitlines()[2].count("|") == lines.splitlines()[3].count("|") == 6
    most = roofline.peak(SIZE)
    assert most.block > 0 and most.encoder > 0


PLAIN = """
import sys
sys.path.insert(0, {scripts!r})
print("a library's greeting")
import torch
from served import serve, works_of
from transformers import AutoModelForCausalLM

def make(inputs):
    model = AutoModelForCausalLM.from_pretrained(inputs.model).eval()
    def read(texts, layers, last):
        found = []
        for text in texts:
            hidden = model(torch.tensor([text]), output_hidden_states=True).hidden_states
            states = torch.stack([hidden[layer + 1][0] for layer in layers]) + {shift}
            if max(layers) == {n_layers} - 1:  # after the final norm there
                states[-1] = final
            found.append(states[:, -1:] if last else states)
        return found
    def note(module, arguments):
        global final
        final = arguments[0][0] + {shift}
    model.transformer.ln_f.register_forward_pre_hook(note)
    return works_of(inputs, read)

serve("torch", make)
"""


@pytest.fixture
def plain_peer(inputs: workloads.Inputs, tmp_path: Path) -> Iterator[Any]:
    """A function that starts a peer's process: Hugging Face, its states off by `shift`."""
    write_inputs(inputs)
    started = []

    def peer(shift: float) -> Asked:
        script = tmp_path / f"use_plain_{len(started)}.py"
        script.write_text(PLAIN.format(scripts=str(SCRIPTS), shift=shift, n_layers=SIZE.n_layers), encoding="utf-8")
        started.append(Asked(script.stem, Path(sys.executable), script, inputs.folder))
        return started[-1]

    yield peer
    for process in started:
        process.close()


@pytest.mark.slow
def test_a_peer_is_held_against_the_reference_in_every_work(inputs: workloads.Inputs, plain_peer: Any) -> None:
    right, wrong = plain_peer(0.0), plain_peer(0.5)
    assert right.works == tuple(WORKLOADS) and right.version == torch.__version__
    for workload in WORKLOADS:
        seconds, tokens = right.go(workload)
        wrong.go(workload)
        assert seconds > 0 and tokens is None
        wanted = expected(inputs, workload)
        error, same = agreement.difference(workload, right.result(workload), wanted)
        assert error < 1e-5 and same in (None, 1.0)
        error, same = agreement.difference(workload, wrong.result(workload), wanted)
        assert error > 1e-2 and (same is None or same < 1.0)


@pytest.mark.slow
def test_peers_take_their_turns_and_one_that_fails_is_named_and_left_out(
    inputs: workloads.Inputs, plain_peer: Any
) -> None:
    peers = {"plain": plain_peer(0.0), "dead": plain_peer(0.0)}
    peers["dead"].close()
    found = measure(inputs, "contrasts", 1, False, peers)
    assert set(found.failed) == {"dead"} and "dead" not in found.seconds
    assert {"hand-tuned", "actkit, work", "plain"} <= set(found.seconds)
    assert set(found.agrees) == {"actkit", "plain"} and float(found.agrees["plain"]) < 1e-5


def test_a_peer_that_cannot_start_says_why(inputs: workloads.Inputs, tmp_path: Path) -> None:
    script = tmp_path / "use_nothing.py"
    script.write_text("import there_is_no_such_module", encoding="utf-8")
    with pytest.raises(PeerError, match="No module named 'there_is_no_such_module'"):
        Asked("nothing", Path(sys.executable), script, inputs.folder)


def test_features_of_packed_windows_are_held_against_the_reference_on_those_windows(inputs: workloads.Inputs) -> None:
    sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu")
    model = reference.base_model(inputs, SIZE.sae_layer + 1)
    tokens = torch.tensor([inputs.documents[0][:16], inputs.documents[1][:16]])
    top = sae.encode(model(tokens, use_cache=False).last_hidden_state).topk(reference.TOP_K)
    found = {"tokens": tokens.numpy(), "values": top.values.numpy(), "ids": top.indices.numpy()}
    error, same = agreement.of_windows(found, model, sae)
    assert error < 1e-5 and same == 1.0
    found["ids"] = found["ids"] + 1
    assert agreement.of_windows(found, model, sae)[1] < 0.5


def test_a_result_with_a_text_missing_is_refused(inputs: workloads.Inputs) -> None:
    wanted = expected(inputs, "contrasts")
    found = {str(name): array.numpy() for name, array in wanted.items()}
    assert agreement.difference("contrasts", found, wanted) == (0.0, None)
    del found["0"]
    with pytest.raises(ValueError, match="7 of 8"):
        agreement.difference("contrasts", found, wanted)


def test_every_way_has_its_turn_in_each_round_and_peers_one_before() -> None:
    done: list[str] = []

    def way(name: str) -> float:
        done.append(name)
        if name == "fails" and done.count(name) == 2:
            raise PeerError("no more")
        return float(len(done))

    timed = {name: partial(way, name) for name in ("first", "peer", "fails")}
    seconds, failed = turns(timed, 2, ["peer", "fails"])
    assert done == ["peer", "fails", "first", "peer", "fails", "first", "peer"]
    assert failed == {"fails": "no more"}
    assert seconds == {"first": 3.0, "peer": 4.0}  # the least of the rounds, the one before them left out


def test_torch_is_installed_first_and_alone_and_an_environment_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def call(command: list[str], _end: float) -> None:
        calls.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir(parents=True)

    monkeypatch.setattr(environments, "_call", call)
    peer = environments.Peer(SCRIPTS / "use_x.py", ("x", "y<2"), ("z",))
    python = environments.interpreter("x", peer, tmp_path)
    torch_line = environments.torch_line()
    assert torch_line.startswith("torch==")
    asked = [command[command.index("--disable-pip-version-check") + 1 :] for command in calls[1:]]
    assert asked == [[torch_line], [torch_line, "x", "y<2"], ["--no-deps", "z"]]
    assert environments.interpreter("x", peer, tmp_path) == python and len(calls) == 4


def test_a_peer_that_does_not_install_leaves_nothing_and_says_what_pip_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [sys.executable, "-c", "print('ERROR: no such thing'); print('WARNING: by the way'); raise SystemExit(1)"]
    real = subprocess.run
    monkeypatch.setattr(
        environments.subprocess, "run", lambda call, **more: real(fails if "pip" in call else ["true"], **more)
    )
    with pytest.raises(environments.NotInstalledError, match=r"^ERROR: no such thing$"):
        environments.interpreter("x", environments.Peer(SCRIPTS / "use_x.py", ("x",)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_peer_has_its_script() -> None:
    assert {peer.script for peer in environments.PEERS.values()} == set(SCRIPTS.glob("use_*.py"))


@pytest.mark.parametrize("command", memory.COMMANDS)
def test_a_larger_file_begins_as_a_smaller_one_does(command: str) -> None:
    small, large = (list(memory.records(command, count)) for count in (3, 6))
    assert len(large) == 6 and large[:3] == small and len(set(large)) == 6


def test_the_memory_table_has_the_last_over_the_first() -> None:
    held = {"dpo": [(1000.0, 9.0), (1100.0, 57.0)]}
    lines = memory.table(held, [2000, 50000]).splitlines()
    assert lines[0] == "| command | 2,000 records, MB | 50,000 records, MB | ratio | 2,000 to 50,000, ms a record |"
    assert lines[2] == "| `dpo` | 1,000 | 1,100 | 1.10 | 1.00 |", "what the start takes is not a record's"


@pytest.mark.slow
@pytest.mark.parametrize("command", memory.COMMANDS)
def test_each_command_runs_on_its_records_and_says_what_it_held(command: str, tmp_path: Path) -> None:
    mb, seconds = memory.peak(command, 40, tmp_path)
    assert mb > 100 and seconds > 0  # no Python with torch in it is smaller
    assert (tmp_path / "run" / "run.json").exists()


def test_the_first_output_is_what_can_be_seen(tmp_path: Path) -> None:
    script = r"print('\x1b[?25l\n', end='', flush=True); import time; time.sleep(0.3); print('seen', flush=True)"
    first, whole = start.on_terminal([sys.executable, "-S", "-c", script], tmp_path)
    assert 0.3 < first <= whole


def test_a_call_that_fails_on_the_terminal_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        start.on_terminal([sys.executable, "-S", "-c", "print('no'); raise SystemExit(3)"], tmp_path)
    assert failed.value.returncode == 3 and b"no" in failed.value.output


def test_the_start_table_has_ratios_to_the_script() -> None:
    lines = start.table({start.WHOLE: 3.0, start.SCRIPT: 2.0}).splitlines()
    assert lines[2] == f"| {start.WHOLE} | 3.00 | 1.50 | {start.RATIO_TARGET} × the script |"
    assert lines[3] == f"| {start.SCRIPT} | 2.00 | 1.00 | – |"


@pytest.mark.slow
def test_the_start_is_measured(tmp_path: Path) -> None:
    seconds = start.measure(1, tmp_path)
    assert set(seconds) == {start.HELP, start.HELP_OF_ONE, start.FIRST, start.WHOLE, start.SCRIPT}
    assert seconds[start.FIRST] < seconds[start.WHOLE] and not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", libraries.TASKS)
def test_what_is_written_here_and_the_library_find_the_same(task: str, tmp_path: Path) -> None:
    found = []
    for number, way in enumerate(libraries.TASKS[task]):
        if way is libraries.values_ijson:
            pytest.importorskip("ijson")
        (tmp_path / str(number)).mkdir()
        work, about = way(tmp_path / str(number), 0.05)
        found.append(about(work()))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_the_table_of_many_shards_has_the_last_over_the_first() -> None:
    lines = finish.table([{"shards": 2000, "the end, s": 1.5}, {"shards": 20000, "the end, s": 15.0}]).splitlines()
    assert lines[0] == "| shards | 2,000 | 20,000 | last / first |"
    assert lines[2] == "| the end, s | 1.5 | 15.0 | 10.0 |"


@pytest.mark.slow
def test_the_end_of_a_run_opens_each_part_a_few_times(tmp_path: Path) -> None:
    """However many shards there are: what goes over all parts for each of something would show as more."""
    found = {}
    for count in (4, 12):
        folder = tmp_path / str(count)
        folder.mkdir()
        line = [sys.executable, "-m", "tests.benchmarks.finish", "--shards", str(count), "--in", str(folder)]
        subprocess.run(line, check=True, capture_output=True)
        found[count] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    for name, most in (("the end, files opened", 13), ("--resume, files opened", 13)):
        assert 0 < (found[12][name] - found[4][name]) / 8 <= most, name


def test_the_rate_of_entries_is_of_all_that_were_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish_rate, "SHARD", 256)
    monkeypatch.setattr(finish_rate, "TEXT", 64)
    monkeypatch.setattr(sys, "argv", ["finish_rate", "--tokens", "512", "--top-k", "5", "--width", "64"])
    finish_rate.main()
    said = capsys.readouterr().out
    assert said.startswith("2,560 entries of 2 shards, ") and ": feature_stats " in said


def test_the_table_of_engines_has_what_workers_take_beyond_one_process() -> None:
    every = list(engines.ways(3))
    assert every[:2] == ["one process", "`--shard auto --workers 3`"]
    lines = engines.table({"one process": [4.0, 3.0], every[1]: [9.0, 8.0]}).splitlines()
    assert lines[2:] == ["| one process | 3.0 | 0.0 | 1.0 |", f"| {every[1]} | 8.0 | 5.0 | 2.7 |"]
