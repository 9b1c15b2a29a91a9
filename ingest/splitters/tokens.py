"""Counting tokens of many overlapping pieces of a text without reading it with the tokenizer again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CountTokens = Callable[[Sequence[str]], list[int]]

CHARACTERS = 16
"""A word counts at least one token for this many characters: some tokenizers call any longer word "unknown"."""
_KEPT = 200_000
"""Words remembered; about 20 MB."""
_BATCH = 4096


class WordCosts:
    """Tokens of a text as the sum over its words, each of which the tokenizer sees once.

    Exact for tokenizers that never join words (WordPiece), close for the others; a splitter checks its result with
    the tokenizer in the end.
    """

    def __init__(self, count_tokens: CountTokens) -> None:
        self._count = count_tokens
        self._costs: dict[str, int] = {}
        self.special = count_tokens([""])[0]
        """Tokens that every text gets on top."""

    def learn(self, text: str) -> None:
        """Count the words of a text that are new, in batches."""
        if len(self._costs) > _KEPT:
            self._costs.clear()
        new = [word for word in dict.fromkeys(text.split()) if word not in self._costs]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            for word, count in zip(batch, self._count(batch), strict=True):
                self._costs[word] = max(count - self.special, -(-len(word) // CHARACTERS))

    def __call__(self, text: str) -> int:
        """Tokens of a text, special ones aside."""
        try:
            return sum(map(self._costs.__getitem__, text.split()))
        except KeyError:
            self.learn(text)
            return sum(map(self._costs.__getitem__, text.split()))
