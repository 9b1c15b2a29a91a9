# /// script
# dependencies = ["langchain-huggingface==1.2.3", "langchain-community==0.4.2", "langchain-text-splitters==1.1.3",
#   "sentence-transformers==6.2.0", "torch==2.13.0", "faiss-cpu==1.15.1", "pypdf", "pypdfium2"]
# ///
"""LangChain with FAISS, as its retrieval tutorial and its page on FAISS show it: 1,000 characters, 200 shared."""

from __future__ import annotations

import json

import faiss
import numpy as np
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.document_loaders import PyPDFium2Loader, PyPDFLoader, TextLoader
from langchain_community.vectorstores import FAISS
from langchain_core.documents import Document
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
from serve import MODEL, rows, serve, timed


class LangChain:
    def load(self) -> None:
        self.embeddings = HuggingFaceEmbeddings(model_name=MODEL)
        self.embeddings.embed_query("warm")

    def ingest(self, files: list[str]) -> int:
        return self._put([page for file in files for page in TextLoader(file, encoding="utf-8").load()])

    def records(self, file: str) -> int:
        return self._put([Document(row["text"], metadata={"id": row["id"]}) for row in rows(file)])

    def fill(self, texts: str, vectors: str) -> int:
        with open(texts, encoding="utf-8") as handle:
            given = json.load(handle)
        self.store = self._empty()
        numbers = [{"id": place} for place in range(len(given))]
        self.store.add_embeddings(zip(given, np.load(vectors), strict=True), numbers)
        return len(given)

    def read(self, files: list[str]) -> int:
        return sum(len(PyPDFLoader(file).load()) for file in files)

    def read_pdfium(self, files: list[str]) -> int:
        return sum(len(PyPDFium2Loader(file).load()) for file in files)

    def embedded(self) -> list[str]:
        return self.texts

    def search(self, questions: list[str], k: int) -> dict:
        return timed(questions, lambda text: [hit.metadata["id"] for hit in self.store.similarity_search(text, k=k)])

    def _put(self, documents: list[Document]) -> int:
        splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200, add_start_index=True)
        pieces = splitter.split_documents(documents)
        self.store = self._empty()
        self.store.add_documents(pieces)
        self.texts = [piece.page_content for piece in pieces]
        return len(pieces)

    def _empty(self) -> FAISS:
        index = faiss.IndexFlatL2(len(self.embeddings.embed_query("how long")))
        return FAISS(self.embeddings, index, InMemoryDocstore(), {})


serve(LangChain())
