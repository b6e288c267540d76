"""The tokenizer of `tiny`: byte-level BPE of 4,096 with BOS, role markers and a chat template."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.bundled_recipe.corpus import Document

VOCAB_SIZE = 4096
CONTEXT = 512
PAD, BOS, END = "<|pad|>", "<|bos|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(documents: Iterable[Document], out: Path) -> PreTrainedTokenizerFast:
    """Train the BPE on `documents` and save it to `out` in Hugging Face layout."""
    bpe = Tokenizer(models.BPE())
    # One token a digit keeps numbers readable in feature tables; the rest is GPT-2's splitting, which loses no byte.
    split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer = pre_tokenizers.Sequence(split)
    bpe.decoder = decoders.ByteLevel()
    specials = [PAD, BOS, END, *ROLES]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(documents), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(ROLES),
        model_max_length=CONTEXT,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(out)
    return fast


def encode(tokenizer: PreTrainedTokenizerFast, document: Document) -> list[int]:
    """Turn one document into ids as it is trained on: BOS first, END last; chats through the chat template."""
    if document.messages:
        text = str(tokenizer.apply_chat_template(list(document.messages), tokenize=False))
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [*tokenizer(document.text)["input_ids"], tokenizer.eos_token_id]


def _texts(documents: Iterable[Document]) -> Iterable[str]:
    for document in documents:
        yield from (message["content"] for message in document.messages) if document.messages else (document.text,)
