"""Train one SAE at each of three hook points of `tiny`, with SAELens's own trainer.

    python -m tests.bundled_recipe.saes --data DATA --model actkit/bundled/tiny --out actkit/bundled/saes

1. Run the model in float32 over the windows that it was trained on; one forward feeds all three SAEs.
2. Drop every BOS: an attention sink whose norm would swamp the loss.
3. Shuffle the rest through a buffer and train BatchTopK SAEs, dead features revived by the trainer's auxiliary loss.
4. Store them as SAELens stores JumpReLU SAEs, the two matrices in float16; `SAE.load_from_disk` returns float32.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.mixing_buffer import multi_hook_concat_split_iter
from sae_lens.training.multi_sae_trainer import MultiSAETrainer
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.bundled_recipe.corpus import load_corpus
from tests.bundled_recipe.model import batches, windows
from tests.bundled_recipe.residual import LAYERS, hook_point, is_bos, load, residuals
from tests.bundled_recipe.tokenizer import CONTEXT

DATASET = (
    "training split of the bundled recipe: classic-books-markdown (up to 1922), African Storybook (CC-BY), "
    "GoEmotions, instruction pairs of LLMs-from-scratch and LLaMA-Factory"
)
WINDOWS_A_FORWARD = 64
BUFFER_TOKENS = 200_000
"""Tokens shuffled together, 2.3 KB each for three hook points in float32; the whole run takes about 2.5 GB."""


def activations(
    model: LlamaForCausalLM, rows: np.ndarray, layers: Sequence[int], seed: int
) -> Iterator[dict[str, Tensor]]:
    """Endless residual streams `{hook point: [token, d_model]}` of the windows `rows`, without any BOS."""
    wanted = [hook_point(layer) for layer in layers]
    for batch in batches(rows, min(WINDOWS_A_FORWARD, len(rows)), seed):
        ids = batch[:, :-1]
        kept = ~is_bos(model, ids)
        streams = residuals(model, ids)
        yield {name: streams[name][kept] for name in wanted}


def new_sae(model: LlamaForCausalLM, layer: int, options: argparse.Namespace) -> BatchTopKTrainingSAE:
    """Make an untrained SAE for the output of block `layer`, its metadata complete."""
    metadata = SAEMetadata(
        model_name="tiny",
        model_class_name=type(model).__name__,
        hook_name=hook_point(layer),
        hf_hook_name=f"model.layers.{layer}",
        hook_head_index=None,
        context_size=CONTEXT,
        seqpos_slice=[None],
        prepend_bos=True,
        exclude_special_tokens=[model.config.bos_token_id],
        model_from_pretrained_kwargs={},
        dataset_path=DATASET,
        training_tokens=options.tokens // options.batch * options.batch,
        training_batch_tokens=options.batch,
        training_lr=options.lr,
        training_seed=options.seed,
    )
    config = BatchTopKTrainingSAEConfig(
        d_in=model.config.hidden_size,
        d_sae=options.d_sae,
        k=options.k,
        # With the default of 0.1 a reconstruction begins at 0.01 of its size, and a thousand steps go into growing it.
        decoder_init_norm=1.0,
        # Brings the three hook points to one scale, so that one learning rate fits; folded into the weights at the end.
        normalize_activations="expected_average_only_in",
        metadata=metadata,
    )
    return BatchTopKTrainingSAE(config)


@torch.no_grad()
def centre(saes: dict[str, BatchTopKTrainingSAE], sample: dict[str, Tensor]) -> None:
    """Begin at the mean of a sample, in the trainer's scale, else every feature starts with the mean's direction."""
    for name, sae in saes.items():
        stream = sample[name]
        scale = math.sqrt(sae.cfg.d_in) / stream.norm(dim=-1).mean()
        sae.b_dec.copy_(stream.mean(0) * scale)


def train(
    saes: dict[str, BatchTopKTrainingSAE], data: Iterator[dict[str, Tensor]], options: argparse.Namespace
) -> None:
    """Train in place; the rate is constant, then falls linearly to zero over the last third."""
    steps = options.tokens // options.batch
    config = SAETrainerConfig(
        total_training_samples=steps * options.batch,
        train_batch_size_samples=options.batch,
        lr=options.lr,
        lr_end=options.lr,
        lr_warm_up_steps=min(100, steps // 10),
        lr_decay_steps=steps // 3,
        # Matrix products in bfloat16, twice as fast on a CPU that has it; weights and optimizer stay float32.
        autocast=True,
        # In steps; the default of 1,000 would leave the auxiliary loss too little time to revive anything.
        dead_feature_window=150,
        n_batches_for_norm_estimate=20,
    )
    buffered = multi_hook_concat_split_iter(min(BUFFER_TOKENS, options.tokens), options.batch, data, list(saes))
    MultiSAETrainer(config, saes, {name: name for name in saes}, buffered).fit()


def store(sae: BatchTopKTrainingSAE, folder: Path) -> None:
    """Save for inference in SAELens's layout, at half the size."""
    weights_path, config_path = sae.save_inference_model(folder)
    stored = {}
    for name, tensor in load_file(weights_path).items():
        # Thresholds and biases decide which features fire and cost 30 KB: they keep their precision.
        stored[name] = tensor.to(torch.float16 if tensor.ndim == 2 else torch.float32, copy=True)
    save_file(stored, weights_path)
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Train and store; SAELens draws the progress."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with text/, feedback/ and pref/")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model, in Hugging Face layout")
    parser.add_argument("--out", type=Path, required=True, help="folder for the SAEs, one folder each")
    parser.add_argument(
        "--layers", type=int, nargs="+", default=list(LAYERS), choices=LAYERS, help="blocks to train for"
    )
    parser.add_argument("--tokens", type=int, default=4_000_000, help="training tokens, the same for each SAE")
    parser.add_argument("--batch", type=int, default=1024, help="tokens a step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--d-sae", type=int, default=3072)
    parser.add_argument("--k", type=float, default=18, help="active features a token, on average")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    model, tokenizer = load(options.model)
    documents, _ = load_corpus(options.data)
    rows = windows(documents, tokenizer, options.seed)
    saes = {hook_point(layer): new_sae(model, layer, options) for layer in options.layers}
    data = activations(model, rows, options.layers, options.seed)
    centre(saes, next(data))
    train(saes, data, options)
    for name, sae in saes.items():
        store(sae, options.out / name)


if __name__ == "__main__":
    main()
