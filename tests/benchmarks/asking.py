"""The other end of `peers/served.py`: a peer's process, asked for work and for results."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import workloads


class PeerError(Exception):
    """A peer's process failed: the message is what it said last."""


def write_inputs(inputs: workloads.Inputs) -> None:
    """Write what the scripts read, peers.json, into the workload's folder."""
    folder, size = inputs.folder, inputs.size
    rows = (folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    given = {
        "documents": inputs.documents,
        "pairs": [[shared + chosen, shared + rejected] for shared, chosen, rejected in inputs.pairs],
        "answers": [prompt for prompt, _ in inputs.answers],
        "contrasts": inputs.contrasts,
        "texts": (folder / "contrasts.txt").read_text(encoding="utf-8").splitlines(),
        "document_texts": [json.loads(row)["text"] for row in rows],
        "n_layers": size.n_layers,
        "sae_layer": size.sae_layer,
        "contrast_layers": list(workloads.layers_read("contrasts", size)),
    }
    (folder / "peers.json").write_text(json.dumps(given), encoding="utf-8")


class Asked:
    """A peer's process with its model in memory. It works while it is asked, and waits otherwise."""

    def __init__(self, name: str, interpreter: Path, script: Path, folder: Path) -> None:
        self._folder, self._name = folder, name
        self._log = folder / f"{name}.log"
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("PYTHONPATH", None)
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(interpreter), str(script), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        about = self._answer()
        self.works: tuple[str, ...] = tuple(about["ready"])
        self.version: str = about["version"]

    def go(self, work: str) -> tuple[float, int | None]:
        """Do a work once: its seconds, and its tokens where they are not those of the input. Raises PeerError."""
        answer = self._ask(f"go {work}")
        return float(answer["seconds"]), answer["tokens"]

    def result(self, work: str) -> dict[str, Any]:
        """The arrays that it last gave, see `peers/served.py`. Raises PeerError."""
        path = self._folder / f"{self._name}-{work}.npz"
        self._ask(f"write {work} {path}")
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
        path.unlink()
        return found

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # a pipe that is closed already is a ValueError
            raise PeerError(self._last_line()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        # What a library prints when it is imported is no answer.
        line = next((text for text in self._process.stdout if text.startswith("{")), None)
        if line is None:
            self._process.wait()
        answer = json.loads(line) if line else {"error": self._last_line()}
        if "error" in answer:
            self.close()
            raise PeerError(answer["error"])
        return dict(answer)

    def _last_line(self) -> str:
        lines = [line for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it ended without a word"
