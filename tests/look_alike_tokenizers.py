"""Tokenizers of the kinds that models have, small: SentencePiece's Unigram and BPE, WordPiece; see also `conftest`."""

from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:?!.,"


def unigram(byte_fallback: bool = True, **names: Any) -> Any:
    """As llm-jp or T5 have it: words with `▁`, and one token a byte, or [UNK], for what is in no piece."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -4.0)]
    pieces += [(letter, -6.0 - place / 100) for place, letter in enumerate(LETTERS)]
    pieces += [(f"▁{word}", -5.0 - len(word) / 10) for word in ("Name", "it", "yes", "the", "water", "and")]
    if byte_fallback:
        pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    model = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=byte_fallback))
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    model.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return PreTrainedTokenizerFast(
        tokenizer_object=model, **{"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", **names}
    )


def word_piece() -> Any:
    """As BERT's: [CLS] before a text, [SEP] after it, [UNK] for a word with a character outside of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*names, *LETTERS, *(f"##{letter}" for letter in LETTERS), "the", "sat", "##ing"]
    model = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    model.add_special_tokens(names)
    model.normalizer = normalizers.BertNormalizer(lowercase=False)
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model.decoder = decoders.WordPiece()
    model.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    kinds = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=model, **{f"{kind}_token": name for kind, name in kinds.items()})


def llama2(prepends: bool = True) -> Any:
    """As Llama 2's (a space before each text), or Mistral's (before a text's first word), which decode without it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ("the", "dog")
    merges = [
        (before, word[len(before) :][:1]) for word in words for before in (word[:at] for at in range(1, len(word)))
    ]
    merges += [("▁", word) for word in words]
    pieces = ["<unk>", "<s>", "</s>", "▁", "▁▁", *LETTERS, *("".join(pair) for pair in merges)]
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.BPE(vocabulary, [("▁", "▁"), *merges], unk_token="<unk>", byte_fallback=True))
    if prepends:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(parts)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
