# /// script
# dependencies = ["chromadb==1.5.9", "sentence-transformers==6.2.0", "torch==2.13.0",
#   "langchain-text-splitters==1.1.3"]
# ///
"""Chroma on disk with its SentenceTransformer embedding function. It cuts nothing: records go in whole, files are cut
as LangChain's tutorial cuts them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import chromadb
import numpy as np
from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction
from langchain_text_splitters import RecursiveCharacterTextSplitter
from serve import MODEL, SCRATCH, rows, serve, timed


class Chroma:
    def load(self) -> None:
        self.function = SentenceTransformerEmbeddingFunction(model_name=MODEL)
        self.function(["warm"])

    def ingest(self, files: list[str]) -> int:
        splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
        texts = [piece for file in files for piece in splitter.split_text(Path(file).read_text("utf-8"))]
        return self._put(texts, [str(place) for place in range(len(texts))])

    def records(self, file: str) -> int:
        given = rows(file)
        return self._put([row["text"] for row in given], [row["id"] for row in given])

    def fill(self, texts: str, vectors: str) -> int:
        with open(texts, encoding="utf-8") as handle:
            given = json.load(handle)
        return self._put(given, [str(place) for place in range(len(given))], np.load(vectors))

    def embedded(self) -> list[str]:
        return self.texts

    def search(self, questions: list[str], k: int) -> dict:
        return timed(questions, lambda text: self.collection.query(query_texts=[text], n_results=k)["ids"][0])

    def _put(self, texts: list[str], ids: list[str], vectors: np.ndarray | None = None) -> int:
        self.texts = texts
        client = chromadb.PersistentClient(path=tempfile.mkdtemp(dir=SCRATCH or None))
        self.collection = client.create_collection("bench", embedding_function=self.function)
        for start in range(0, len(texts), client.get_max_batch_size()):
            part = slice(start, start + client.get_max_batch_size())
            ready = {} if vectors is None else {"embeddings": vectors[part]}
            self.collection.add(ids=ids[part], documents=texts[part], **ready)
        return len(texts)


serve(Chroma())
