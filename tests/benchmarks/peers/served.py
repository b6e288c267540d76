"""What every peer's script has in common: inputs from a folder, work on demand, seconds and results out.

A script runs with the peer's own interpreter, in which there is no actkit. It is asked on standard input, line by line,
and answers with a line of JSON:

    go documents           does the work once: {"seconds": …, "tokens": how many, if not those of the input}
    write documents FILE   writes what the last work gave, as npz: {}

The first line it says by itself, once the model is in memory: {"ready": [works], "version": …}. An error is
{"error": …}.

Arrays of a result: for the i-th document or answer "i/values" and "i/ids", [n_tokens, 50] or [50]; of windows of packed
documents "tokens" [window, position] and "values", "ids" [window, position, 50]; for a pair "i/chosen", "i/rejected"
[layer, n_tokens, d_model], all tokens; for a contrast "i" [layer, d_model].
"""

import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

TOP_K = 50
BATCH = 16


@dataclass(frozen=True)
class Inputs:
    """The token ids of the works, texts of the contrasts, and which layers are read."""

    folder: Path
    documents: list
    pairs: list
    """Two whole conversations each, chosen and rejected."""
    answers: list
    """Prompts: what follows them is not needed."""
    contrasts: list
    texts: list
    """Of the contrasts."""
    document_texts: list
    n_layers: int
    sae_layer: int
    contrast_layers: list

    @property
    def model(self):
        """The model's directory."""
        return str(self.folder / "model")


def read(folder):
    """What the benchmark has written to `folder`."""
    given = json.loads((folder / "peers.json").read_text(encoding="utf-8"))
    return Inputs(folder, **given)


class PlainSae:
    """The benchmark's SAE (a standard one, in SAELens's format) for peers that have none of their own."""

    def __init__(self, folder):
        weights = load_file(str(folder / "sae" / "sae_weights.safetensors"))
        self.w_enc, self.b_enc, self.b_dec = weights["W_enc"], weights["b_enc"], weights["b_dec"]

    def encode(self, x):
        """[..., d_model] to [..., d_sae]."""
        return torch.relu((x - self.b_dec) @ self.w_enc + self.b_enc)

    def top(self, x):
        """The largest features of each vector."""
        return self.encode(x).topk(TOP_K)


def batches(rows, size=BATCH):
    """Index of the first one, and some rows, in the order of the input."""
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


def works_of(inputs, read):
    """The four works, by `read(texts, layers, last)`: each text's states [layer, n_tokens, d_model].

    With `last`, n_tokens is 1: the last token's.
    """
    sae = PlainSae(inputs.folder)

    def documents():
        states = read(inputs.documents, [inputs.sae_layer], False)
        return None, _features([sae.top(state[0]) for state in states])

    def pairs():
        states = read([side for pair in inputs.pairs for side in pair], list(range(inputs.n_layers)), False)
        return None, {f"{index // 2}/{('chosen', 'rejected')[index % 2]}": state for index, state in enumerate(states)}

    def answers():
        states = read(inputs.answers, [inputs.sae_layer], True)
        return None, _features([sae.top(state[0, 0]) for state in states])

    def contrasts():
        states = read(inputs.contrasts, inputs.contrast_layers, True)
        return None, {str(index): state[:, 0] for index, state in enumerate(states)}

    return {function.__name__: function for function in (documents, pairs, answers, contrasts)}


def _features(top):
    parts = (("values", 0), ("ids", 1))
    return {f"{index}/{name}": arrays[part] for index, arrays in enumerate(top) for name, part in parts}


def serve(package, make):
    """Answer until standard input ends; `make(inputs)` gives work → a function that returns tokens and a result.

    Tokens are None where all of the input is run as it is. A result is a mapping of arrays, or a function that makes
    one, which is not timed.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(answer):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        with torch.no_grad():
            works, last = make(read(Path(sys.argv[1]))), {}
            say({"ready": list(works), "version": version(package)})
            for line in sys.stdin:
                verb, work, *rest = line.rstrip("\n").split(" ", 2)
                if verb == "go":
                    start = time.perf_counter()
                    tokens, last[work] = works[work]()
                    say({"seconds": time.perf_counter() - start, "tokens": tokens})
                else:
                    result = last[work]() if callable(last[work]) else last[work]
                    np.savez(rest[0], **{name: np.asarray(value) for name, value in result.items()})
                    say({})
    except Exception as error:
        traceback.print_exc()
        say({"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"})
        sys.exit(1)
