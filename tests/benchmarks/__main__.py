"""How long actkit takes for four kinds of work, beside a hand-tuned script and the usual ways.

    python -m tests.benchmarks [--small] [--longer [--model DIR]] [--rounds 3] [--peers] [--out TABLE.md]

1. A random GPT-2 small, an SAE for it and inputs are made from a seed, in a temporary directory.
2. For each workload the ways take turns, `--rounds` times: actkit's own command (tables written), the hand-tuned
   reference (`reference.py`) as it is and with actkit's kernels, TransformerLens's `run_with_cache` one text at a time,
   and Hugging Face batches with `output_hidden_states`. The model is in memory for all, and the others get token ids.
3. Ratios to the reference are printed, of the least time of each (what else a machine does only ever adds), with
   tokens a second and how far actkit's numbers are from the reference's. actkit's `work` leaves out reading, tokenizing
   and the tables computed at the end; `whole` does not.
4. Beside the machine's products alone stands how many operations a second actkit's runs reach (`roofline.py`).
5. With `--peers`, other tools take their turns, each in a process of its own, in an environment that is installed from
   the registry the first time. How far their numbers are from the reference's is printed as well.
6. With `--longer`, other works take their place: see `longer.py`.
7. With `--memory`, actkit and the reference are run once more, each in a process of its own, for the most memory held.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from tests.benchmarks import longer, report, roofline, workloads
from tests.benchmarks.asking import Asked, PeerError, write_inputs
from tests.benchmarks.environments import PEERS, NotInstalledError, cache, interpreter
from tests.benchmarks.measure import TUNED, WORK, Measured, measure

WORKLOADS = {
    "documents": "documents of 20-800 tokens, SAE in the middle, top-50 a token",
    "pairs": "preference pairs, all layers, all tokens",
    "answers": "SAE top-50 at the last prompt token of prompt + response",
    "contrasts": "contrast pairs, last token, 45-85 % of depth",
}


def table(measured: Mapping[str, Measured], titles: Mapping[str, str] = WORKLOADS) -> str:
    """Two Markdown tables, a row a workload: ratios to the reference, and how far numbers are from its own."""
    names = list(dict.fromkeys(name for found in measured.values() for name in found.seconds if name != TUNED))
    lines = [
        f"| work | {' | '.join(names)} | hand-tuned | tokens/s, actkit's work |",
        f"|---|{'---|' * (len(names) + 2)}",
    ]
    for workload, found in measured.items():
        ratios = (
            f"{found.seconds[name] / found.seconds[TUNED]:.2f}" if name in found.seconds else "–" for name in names
        )
        lines.append(f"| {titles[workload]} | {' | '.join(ratios)} | 1 | {found.tokens / found.seconds[WORK]:,.0f} |")
    whose = list(dict.fromkeys(name for found in measured.values() for name in found.agrees))
    lines += ["", f"| numbers differ by at most | {' | '.join(whose)} |", f"|---|{'---|' * len(whose)}"]
    for workload, found in measured.items():
        lines.append(f"| {titles[workload]} | {' | '.join(found.agrees.get(name, '–') for name in whose)} |")
    return "\n".join(lines) + "\n"


def memory_table(folder: Path, names: Sequence[str]) -> str:
    """The most memory that actkit and the reference hold, each in a process of its own."""
    lines = ["| work | actkit, MB | hand-tuned, MB |", "|---|---|---|"]
    for workload in names:
        held = [
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.once", str(folder), workload, way],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()[-1]
            for way in ("actkit", "tuned")
        ]
        lines.append(f"| {WORKLOADS[workload]} | {' | '.join(held)} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The processor, threads, torch and the day."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:  # no Linux
        pass
    version = importlib.metadata.version("actkit")
    today = datetime.datetime.now(datetime.UTC).date()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, actkit {version}, {today}"


@contextmanager
def peers_for(inputs: workloads.Inputs, names: Sequence[str]) -> Iterator[tuple[dict[str, Asked], list[str]]]:
    """A process for each peer that can be had, and a note on each: how it is used, or why it is not there."""
    peers: dict[str, Asked] = {}
    notes = []
    write_inputs(inputs)
    try:
        for name in names:
            peer = PEERS[name]
            try:
                peers[name] = Asked(name, interpreter(name, peer, cache()), peer.script, inputs.folder)
                notes.append(f"{name} {peers[name].version}: {peer.note}")
            except NotInstalledError as error:
                notes.append(f"{name} does not install: {error}")
            except PeerError as error:
                notes.append(f"{name} does not run: {error}")
        yield peers, notes
    finally:
        for process in peers.values():
            process.close()


def longer_tables(model: Path | None, works: Sequence[str], rounds: int) -> str:
    """Measure the longer works."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = longer.make(Path(folder), model=model, works=works)
        measured = {}
        for work in works:
            measured[work] = longer.measure(inputs, work, rounds)
            print(f"{work}: {measured[work].seconds}", file=sys.stderr, flush=True)
    size = inputs.size
    peak = roofline.Peak(roofline.product(size.d_model, size.d_mlp), roofline.product(size.d_model, size.widths[0]))
    found = {work: [longer.rates(facts, work, inputs) for facts in each.facts] for work, each in measured.items()}
    return f"{machine()}\n\n{table(measured, longer.WORKS)}\n{roofline.shown(found, peak)}"


def main() -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a model of 4 layers and few texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--longer", action="store_true", help="a model of 30 layers, long documents, wide SAEs")
    parser.add_argument("--model", type=Path, default=os.environ.get("ACTKIT_REAL_MODEL"), help="of --longer")
    parser.add_argument("--only", choices=[*WORKLOADS, *longer.WORKS], action="append")
    parser.add_argument("--limit-only", action="store_true", help="leave the usual ways out")
    parser.add_argument("--peers", action="store_const", const=list(PEERS), help="measure other tools too")
    parser.add_argument("--peer", choices=list(PEERS), action="append", help="one of them; may be repeated")
    parser.add_argument("--memory", action="store_true", help="measure memory too")
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()
    disable_progress_bar()
    if options.longer:
        report.show(longer_tables(options.model, options.only or list(longer.WORKS), options.rounds), options.out)
        return
    size = workloads.SMALL if options.small else workloads.FULL
    names = options.only or list(WORKLOADS)
    with tempfile.TemporaryDirectory() as folder:
        inputs = workloads.make(Path(folder), size)
        measured = {}
        with peers_for(inputs, options.peers or options.peer or ()) as (peers, notes):
            for workload in names:
                measured[workload] = measure(inputs, workload, options.rounds, not options.limit_only, peers)
                notes += [f"{name}, {workload}: {what}" for name, what in measured[workload].failed.items()]
                print(f"{workload}: {measured[workload].seconds}", file=sys.stderr, flush=True)
        facts = {workload: found.facts for workload, found in measured.items()}
        text = f"{machine()}\n\n{table(measured)}\n{roofline.table(facts, size, roofline.peak(size))}"
        if notes:
            text += "\n" + "".join(f"* {note}\n" for note in notes)
        if options.memory:
            text += "\n" + memory_table(Path(folder), names)
    report.show(text, options.out)


if __name__ == "__main__":
    main()
