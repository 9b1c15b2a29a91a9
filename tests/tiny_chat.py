"""A tokenizer with a chat template, learnt from a few sentences: what tiny language models of tests speak through."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CHAT = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_ROLES = ["<|system|>", "<|user|>", "<|assistant|>"]


def tokenizer(texts: Iterable[str], vocabulary: int, chat: bool = True) -> PreTrainedTokenizerFast:
    """Pieces of words: every byte is one, so that every text can be written; 1 pads, 2 ends."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<unk>", "<pad>", "<|end|>", *_ROLES],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    trained.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|end|>",
        additional_special_tokens=_ROLES,
    )
    made.chat_template = CHAT if chat else None
    return made
