"""repeng: the last tokens' states of texts, as its control vectors are trained from, in its batches of 32."""

from repeng.extract import batched_get_hiddens
from served import serve
from transformers import AutoModelForCausalLM, AutoTokenizer


def make(inputs):
    """The work that repeng does: it takes texts, so that tokenizing them is timed too."""
    model = AutoModelForCausalLM.from_pretrained(inputs.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(inputs.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    def contrasts():
        states = batched_get_hiddens(model, tokenizer, inputs.texts, inputs.contrast_layers, 32)
        by_text = zip(*(states[layer] for layer in inputs.contrast_layers), strict=True)
        return None, {str(index): vectors for index, vectors in enumerate(by_text)}

    return {"contrasts": contrasts}


serve("repeng", make)
