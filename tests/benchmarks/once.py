"""One way to do one workload, alone in a process: prints the most memory that it held, in MB.

python -m tests.benchmarks.once FOLDER WORKLOAD actkit|tuned
"""

import sys
from pathlib import Path

import torch

from actkit.pipeline.provenance import peak_memory_mb


def main() -> None:
    """Run it and print the figure, last on the line."""
    folder, workload, way = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    from tests.benchmarks import workloads

    inputs = workloads.read(folder)
    if way == "actkit":
        from actkit.config import ModelSpec
        from tests.benchmarks import own

        own.run(inputs, workload, ModelSpec(str(inputs.model), device="cpu"), folder / "run")
    else:
        from actkit.backends.saes import sae_lens
        from actkit.config import SaeSpec
        from tests.benchmarks import reference

        layers = workloads.layers_read(workload, inputs.size)
        with_sae = workload in ("documents", "answers")
        sae = sae_lens.load(SaeSpec(path=str(inputs.sae)), "cpu") if with_sae else None
        model = reference.base_model(inputs, max(layers) + 1)
        with torch.inference_mode():
            getattr(reference, workload)(inputs, model, layers if workload == "contrasts" else sae)
    print(round(peak_memory_mb() or 0))


if __name__ == "__main__":
    main()
