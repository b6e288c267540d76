"""SAELens: `ActivationsStore` packs the documents into windows and runs them; its SAE encodes what the store gives.

What does not fill a batch of windows is left out by the store. (Its `CacheActivationsRunner` stores activations only,
shuffled, and no features.)
"""

import torch
from datasets import Dataset
from sae_lens import SAE, ActivationsStore
from served import TOP_K, serve
from transformer_lens.model_bridge import TransformerBridge

CONTEXT, BATCH = 256, 4


def make(inputs):
    """The work that SAELens does; tokenizing is timed too, since the store does it on the way."""
    model = TransformerBridge.boot_transformers(inputs.model, device="cpu")
    sae = SAE.load_from_disk(str(inputs.folder / "sae"), device="cpu")
    data = Dataset.from_dict({"text": inputs.document_texts})

    def documents():
        store = ActivationsStore.from_sae(
            model, sae, data, context_size=CONTEXT, store_batch_size_prompts=BATCH, streaming=False
        )
        tokens, values, ids = [], [], []
        while True:
            try:
                tokens.append(store.get_batch_tokens(raise_at_epoch_end=True))
            except StopIteration:
                break
            top = sae.encode(store.get_activations(tokens[-1])).topk(TOP_K)
            values.append(top.values)
            ids.append(top.indices)
        tokens = torch.cat(tokens)
        return tokens.numel(), {"tokens": tokens, "values": torch.cat(values), "ids": torch.cat(ids)}

    return {"documents": documents}


serve("sae-lens", make)
