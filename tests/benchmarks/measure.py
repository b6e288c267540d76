"""One workload measured: every way takes its turn, round by round, in the same conditions."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from actkit.backends import describe, transformer_lens_models
from actkit.backends.kernels import fast_modules, fast_products
from actkit.backends.saes import sae_lens
from actkit.config import ModelSpec, SaeSpec
from tests.benchmarks import agreement, own, reference, ways, workloads
from tests.benchmarks.asking import Asked, PeerError

WORK, WHOLE, TUNED = "actkit, work", "actkit, whole run", "hand-tuned"
SAME_KERNELS = "hand-tuned, actkit's kernels"


@dataclass
class Measured:
    """What was measured of one workload."""

    seconds: dict[str, float]
    """Least seconds of each way."""
    agrees: dict[str, str]
    """How far the numbers of actkit, and of each peer, are from the reference's."""
    tokens: int
    """Of the workload, as such a script runs it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Peers whose process failed, and what it said."""
    facts: list[dict[str, Any]] = field(default_factory=list)
    """What actkit's runs said of themselves, a round each."""


def measure(
    inputs: workloads.Inputs, workload: str, rounds: int, usual: bool, peers: Mapping[str, Asked] | None = None
) -> Measured:
    """Let the ways take turns, `rounds` times. Peers are run once before, which warms them up."""
    layers = workloads.layers_read(workload, inputs.size)
    sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu")
    tuned = reference.base_model(inputs, max(layers) + 1)
    whole = AutoModelForCausalLM.from_pretrained(inputs.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    spec = ModelSpec("gpt2-random", device="cpu", loaded=(whole, tokenizer))
    of_reference = getattr(reference, workload)
    last = layers if workload == "contrasts" else sae
    kept: dict[str, Any] = {}
    out = inputs.folder / "run"

    def tuned_way() -> None:
        kept["expected"] = of_reference(inputs, tuned, last)

    def same_kernels() -> None:
        with fast_modules(tuned), fast_products():
            of_reference(inputs, tuned, last)

    runs: list[dict[str, Any]] = []

    def actkit_way() -> None:
        runs.append(own.run(inputs, workload, spec, out))

    timed = {
        name: partial(clocked, way)
        for name, way in ((TUNED, tuned_way), (WHOLE, actkit_way), (SAME_KERNELS, same_kernels))
    }
    if usual:
        bridge = transformer_lens_models.load(describe(ModelSpec(str(inputs.model), device="cpu"))).bridge
        asked = (inputs, workload, layers, sae)
        batched, alone = partial(ways.batched, whole, *asked), partial(ways.one_at_a_time, bridge, *asked)
        timed["Hugging Face, `output_hidden_states`, 16 a batch"] = partial(clocked, batched)
        timed["`run_with_cache`, one at a time"] = partial(clocked, alone)
    tokens = sum(map(len, ways.texts_of(inputs, workload)))
    doing = {name: peer for name, peer in (peers or {}).items() if workload in peer.works}
    timed |= {name: partial(_seconds_of, peer, workload, tokens) for name, peer in doing.items()}
    with torch.inference_mode():
        seconds, failed = turns(timed, rounds, list(doing))
        error, same = own.difference(inputs, workload, out, kept["expected"])
        agrees = {"actkit": agreement.shown(error, same if workload in ("documents", "answers") else None)}
        for name in (doer for doer in doing if doer not in failed):
            try:
                found = doing[name].result(workload)
                packed = "tokens" in found
                how_far = (
                    agreement.of_windows(found, tuned, sae)
                    if packed
                    else agreement.difference(workload, found, kept["expected"])
                )
                agrees[name] = agreement.shown(*how_far)
            except (PeerError, ValueError) as problem:
                failed[name] = str(problem)
    return Measured({WORK: min(map(own.work_seconds, runs)), **seconds}, agrees, tokens, failed, runs)


def turns(
    timed: Mapping[str, Callable[[], float]], rounds: int, peers: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Least seconds of each way, and what the peers among them said that failed and were left out from then on."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    failed: dict[str, str] = {}
    for turn in range(-1, rounds):
        for name, way in timed.items():
            if name in failed or (turn < 0 and name not in peers):
                continue
            try:
                spent = way()
            except PeerError as error:
                failed[name] = str(error)
                continue
            if turn >= 0:
                seconds[name].append(spent)
    return {name: min(times) for name, times in seconds.items() if name not in failed}, failed


def clocked(way: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def _seconds_of(peer: Asked, workload: str, tokens: int) -> float:
    """By the peer's own clock; where it ran another number of tokens, scaled to the workload's."""
    seconds, ran = peer.go(workload)
    return seconds if ran is None else seconds * tokens / ran
