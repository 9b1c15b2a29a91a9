# /// script
# dependencies = ["llama-index-core==0.14.25", "llama-index-embeddings-huggingface==0.8.0",
#   "llama-index-readers-file==0.7.0", "sentence-transformers==6.2.0", "torch==2.13.0"]
# ///
"""LlamaIndex as its starter shows it: a VectorStoreIndex from documents, cut by its own splitter (1,024 tokens)."""

from __future__ import annotations

import json

import numpy as np
from llama_index.core import Document, Settings, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from serve import MODEL, rows, serve, timed


class LlamaIndex:
    def load(self) -> None:
        Settings.embed_model = HuggingFaceEmbedding(model_name=MODEL)
        Settings.embed_model.get_query_embedding("warm")

    def ingest(self, files: list[str]) -> int:
        return self._put(SimpleDirectoryReader(input_files=files).load_data())

    def records(self, file: str) -> int:
        given = [Document(text=row["text"], metadata={"id": row["id"]}) for row in rows(file)]
        for document in given:  # an id says nothing: it goes neither into the vector nor into a prompt
            document.excluded_embed_metadata_keys = document.excluded_llm_metadata_keys = ["id"]
        return self._put(given)

    def fill(self, texts: str, vectors: str) -> int:
        with open(texts, encoding="utf-8") as handle:
            given = json.load(handle)
        nodes = [
            TextNode(text=text, metadata={"id": place}, embedding=vector.tolist())
            for place, (text, vector) in enumerate(zip(given, np.load(vectors), strict=True))
        ]
        self.index = VectorStoreIndex(nodes=nodes)
        return len(nodes)

    def read(self, files: list[str]) -> int:
        return len(SimpleDirectoryReader(input_files=files).load_data())

    def embedded(self) -> list[str]:
        nodes = self.index.docstore.docs.values()
        return [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]

    def search(self, questions: list[str], k: int) -> dict:
        retriever = self.index.as_retriever(similarity_top_k=k)
        return timed(questions, lambda text: [hit.node.metadata["id"] for hit in retriever.retrieve(text)])

    def _put(self, documents: list[Document]) -> int:
        self.index = VectorStoreIndex.from_documents(documents)
        return len(self.index.docstore.docs)


serve(LlamaIndex())
