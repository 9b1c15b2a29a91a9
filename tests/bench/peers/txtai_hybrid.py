# /// script
# dependencies = ["txtai==9.14.0", "sentence-transformers==6.2.0", "torch==2.13.0"]
# ///
"""txtai with `hybrid=True`: its BM25 beside its vectors."""

from __future__ import annotations

from serve import serve
from txtai_embeddings import Txtai


class Hybrid(Txtai):
    hybrid = True


serve(Hybrid())
