"""delphi: `LatentCache` over windows of 256 tokens into which its own tokenizing packs the documents.

All features that are active are cached; the largest of a token are taken from them afterwards, untimed. What does not
fill a batch of windows is left out by the cache.
"""

import torch
from datasets import Dataset
from delphi.latents.cache import LatentCache
from served import TOP_K, PlainSae, serve
from sparsify.data import chunk_and_tokenize
from transformers import AutoModel, AutoTokenizer

CONTEXT, BATCH = 256, 4


def make(inputs):
    """The work that delphi does."""
    model = AutoModel.from_pretrained(inputs.model).eval()
    sae = PlainSae(inputs.folder)
    data = Dataset.from_dict({"text": inputs.document_texts})
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    windows = chunk_and_tokenize(data, tokenizer, max_seq_len=CONTEXT, num_proc=1)["input_ids"][:]
    windows = torch.as_tensor(windows)
    point = f"h.{inputs.sae_layer}"

    def documents():
        cache = LatentCache(model, {point: sae.encode}, BATCH)
        cache.run(windows.numel(), windows)
        found = cache.cache
        tokens = found.tokens[point]

        def result():
            places, values = found.latent_locations[point], found.latent_activations[point]
            dense = torch.zeros(*tokens.shape, cache.width)
            dense[tuple(places.T)] = values
            top = dense.topk(TOP_K)
            return {"tokens": tokens, "values": top.values, "ids": top.indices.to(torch.int32)}

        return tokens.numel(), result

    return {"documents": documents}


serve("eai-delphi", make)
