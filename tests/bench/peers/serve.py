"""One side of a bench: a process that does what it is asked, one JSON object a line in and one out.

Only the standard library is needed, because every peer lives in a virtual environment of its own. A side is an object
with some of these methods; what it cannot do it does not have.

    load()                 the embedding model, from the folder that BENCH_MODEL names
    ingest(files)          into an empty store, cut and embedded as the peer's documentation shows; passages
    records(file)          the same with a JSONL of {"_id", "title", "text"}, whose ids `search` returns
    fill(texts, vectors)   an empty store with texts (a JSON list) and their ready vectors (.npy)
    read(files)            PDF files into pages; how many
    embedded()             the texts that were embedded last
    search(questions, k)   by question: record ids (or places in the list of texts), best first
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from typing import Any

MODEL = os.environ.get("BENCH_MODEL", "")
SCRATCH = os.environ.get("BENCH_SCRATCH", "")


def serve(side: object) -> None:
    """Answer requests until there are no more; whatever libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        do = request.pop("do")
        try:
            begun = time.perf_counter()
            found = getattr(side, do)(**request)
            answer = {"seconds": time.perf_counter() - begun, "found": found, "peak_mb": _peak()}
        except Exception:  # noqa: BLE001 - whatever a peer raises is the answer
            answer = {"error": traceback.format_exc()}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def timed(questions: list[str], search: Any) -> dict[str, Any]:  # noqa: ANN401 - Callable, without typing's import
    """What `search(question)` returns for each question, and the seconds that each took."""
    found, seconds = [], []
    for question in questions:
        begun = time.perf_counter()
        found.append(search(question))
        seconds.append(time.perf_counter() - begun)
    return {"ids": found, "seconds": seconds}


def rows(file: str) -> list[dict[str, str]]:
    """The records of a JSONL file, each with its title before its text."""
    with open(file, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [{"id": row["_id"], "text": f"{row.get('title') or ''}\n{row['text']}".strip()} for row in records]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
