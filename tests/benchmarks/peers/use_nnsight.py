"""nnsight: token ids in batches to `trace`, the outputs of the layers saved, and the run stopped after the last one.

nnsight pads on the left and gives the position ids.
"""

import torch
from nnsight import TransformersModel
from served import batches, serve, works_of


def make(inputs):
    """The works that nnsight does."""
    model = TransformersModel(inputs.model, task="text-generation", dispatch=True)

    def read(texts, layers, last):
        found = []
        for _, rows in batches(texts):
            with model.trace(rows) as tracer:
                saved = [].save()
                for layer in layers:
                    out = model.transformer.h[layer].output
                    out = out[0] if isinstance(out, tuple) else out
                    saved.append(out[:, -1:] if last else out)
                tracer.stop()
            states = torch.stack(list(saved), 1)
            found += [state[:, -1 if last else -len(row) :] for state, row in zip(states, rows, strict=True)]
        return found

    return works_of(inputs, read)


serve("nnsight", make)
