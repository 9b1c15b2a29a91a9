# /// script
# dependencies = ["llama-cpp-python==0.3.36"]
#
# [tool.bench.environment]
# CMAKE_ARGS = """-DGGML_AMX_TILE=OFF -DGGML_AMX_INT8=OFF -DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON
#   -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON
#   -DGGML_AVX512_BF16=ON"""
# ///
"""llama.cpp by its Python package (it compiles for some minutes): greedy, the same file, as many threads as cores.

Built for AVX-512 and without AMX, whose kernels crash with this model on the machine of the benches (Q4_1, 0.3.36).
"""

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
