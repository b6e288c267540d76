"""pt of contrasts: both sides as dictionaries that `torch.load(weights_only=True)` reads, with statistics beside them.

positive, negative   each as the `pt` of a capture run has it, one row a pair
concept, num_layers, captured_layers
"""

import json
from typing import Any

from actkit.errors import RunError
from actkit.export.job import ExportJob
from actkit.export.pair_sides import side_of
from actkit.export.torch_pt import MB
from actkit.runs.run import Run

SIDES = ("positive", "negative")


def write(job: ExportJob, max_mb: int = 2000) -> None:
    """Write both sides, and beside them the statistics of the differences of each layer as JSON.

    Raises RunError when the tensors would be larger than `max_mb` MB: they are in memory as a whole.
    """
    import torch

    run = Run(job.run)
    size = 2 * sum(int(table["bytes"]) for name, table in run.facts["tables"].items() if name == "activations") / MB
    if size > max_mb:
        raise RunError(
            f"padded, both sides would be about {size:,.0f} MB, more than --max-mb {max_mb}", "raise --max-mb"
        )
    document: dict[str, Any] = {}
    for done, side in enumerate(SIDES, 1):
        document[side] = side_of(run, side)
        job.progress(done / len(SIDES))
    about = {name: document["positive"][name] for name in ("num_layers", "captured_layers")}
    about["concept"] = run.facts["options"].get("what")
    torch.save({**document, **about}, job.out)
    rows = run.table("pair_stats").to_pylist()
    text = json.dumps({"model": run.facts["model"]["name"], **about, "statistics": rows}, indent=2, ensure_ascii=False)
    job.out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
