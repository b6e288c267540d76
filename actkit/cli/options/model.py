"""The options of the panel Model: which model, and how it is loaded."""

from typing import Annotated, TypeAlias

from actkit.cli.options.groups import MODEL, among, at_home, option
from actkit.cli.options.presets import NAMES, load_preset
from actkit.config import Attention, DeviceMap, Quantize

ModelName: TypeAlias = Annotated[
    str,
    option(
        MODEL,
        "[b]tiny[/] (bundled), a Hugging Face id, a TransformerLens alias or a local directory.",
        "-m",
        callback=at_home,
    ),
]
Revision: TypeAlias = Annotated[str | None, option(MODEL, "Branch, tag or commit of a Hugging Face id.")]
Device: TypeAlias = Annotated[str, option(MODEL, "auto, cpu, cuda, cuda:1, mps.")]
Dtype: TypeAlias = Annotated[
    str, option(MODEL, "auto (bfloat16 on a GPU that has it, float32 on a CPU), float32, bfloat16, float16.")
]
Attn: TypeAlias = Annotated[
    Attention, option(MODEL, "Attention implementation; auto is sdpa where the architecture has it.")
]
TrustRemoteCode: TypeAlias = Annotated[bool, option(MODEL, "Run Python code from the model's repository.")]
AllowPickle: TypeAlias = Annotated[
    bool, option(MODEL, "Read a checkpoint that is not in safetensors; a pickle can run code when it is loaded.")
]
Placed: TypeAlias = Annotated[
    DeviceMap | None, option(MODEL, "Spread the weights over all GPUs, what does not fit on the CPU or the disk.")
]
Quantized: TypeAlias = Annotated[
    Quantize | None, option(MODEL, "Load the weights in 8 or 4 bits (CUDA, actkit\\[quantize]); changes the numbers.")
]
Preset: TypeAlias = Annotated[
    str | None,
    option(
        MODEL,
        f"Model, dtype, layers and SAE; --config and flags come first. One of {', '.join(NAMES)}.",
        callback=load_preset,
        autocompletion=among(NAMES),
        is_eager=True,
    ),
]
