# /// script
# dependencies = ["llama-cpp-python==0.3.36"]
# ///
"""llama.cpp by its Python package (it compiles for some minutes): greedy, the same file, as many threads as cores."""

from __future__ import annotations

import os
import time

from llama_cpp import Llama
from serve import serve


class LlamaCpp:
    def load(self, model: str, context: int) -> None:
        threads = os.cpu_count() or 1
        self.model = Llama(model, n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)

    def answer(self, text: str, tokens: int, penalty: float) -> dict[str, float]:
        """Seconds to the first token and to the last, and how many there were."""
        given = self.model.tokenize(text.encode(), add_bos=False, special=True)
        begun = time.perf_counter()
        first, count = 0.0, 0
        stream = self.model.create_completion(
            given, max_tokens=tokens, temperature=0.0, repeat_penalty=penalty, stream=True
        )
        for _ in stream:
            first = first or time.perf_counter() - begun
            count += 1
        return {"prompt": len(given), "first": first, "seconds": time.perf_counter() - begun, "tokens": count}


serve(LlamaCpp())
