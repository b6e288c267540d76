"""nnterp: token ids in batches to `trace` and `layers_output`; for last tokens its `collect_token_activations_batched`.

nnterp pads on the left, which is what a negative index needs.
"""

import torch
from nnterp import StandardizedTransformer
from nnterp.nnsight_utils import collect_token_activations_batched
from served import BATCH, batches, serve, works_of


def make(inputs):
    """The works that nnterp does."""
    model = StandardizedTransformer(inputs.model, device_map="cpu")

    def read(texts, layers, last):
        if last:  # [layer, text, d_model]
            states = collect_token_activations_batched(model, texts, BATCH, layers)
            return list(states.transpose(0, 1)[:, :, None])
        found = []
        for _, rows in batches(texts):
            with model.trace(rows) as tracer:
                saved = [].save()
                for layer in layers:
                    saved.append(model.layers_output[layer])
                tracer.stop()
            states = torch.stack(list(saved), 1)
            found += [state[:, -len(row) :] for state, row in zip(states, rows, strict=True)]
        return found

    return works_of(inputs, read)


serve("nnterp", make)
