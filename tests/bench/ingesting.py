"""Files to searchable passages: ragkit beside its peers, in turns, on the same files with the same weights.

Every side cuts as its documentation recommends, so passages differ in size; what is fair to compare is how many tokens
the encoder reads a second, all of loading, cutting, storing and indexing included.
"""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ragkit import models
from tests.bench.passages import DATA
from tests.bench.sides import Side

LIMIT = 256
"""Tokens that MiniLM reads of a passage by its own settings."""
LIMITS = {"txtai_embeddings": 512}
"""Those that go by the tokenizer's limit instead."""


def measure(
    scratch: Path, *, sides: Sequence[str], sets: Sequence[str], characters: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """By set and side: passages, the encoder's tokens, seconds of each round, peak memory; `bare` beside ragkit."""
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        open_sides = [stack.enter_context(Side(name, scratch)) for name in sides]
        warm = write(scratch / "warm", ["A file with some words. " * 40])
        for side in open_sides:
            side.ask("load")
            side.ask("ingest", files=warm)
        for name in sets:
            files = write(scratch / name, texts_of(name, characters))
            found[name] = _one_set(open_sides, files, rounds)
    return found


def _one_set(sides: Sequence[Side], files: list[str], rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    bare: list[float] = []
    passages = {}
    for number in range(rounds):
        for side in [*sides[number % len(sides) :], *sides[: number % len(sides)]]:
            passages[side.name] = side.ask("ingest", files=files)
            seconds[side.name].append(side.seconds)
            if side.name == "ragkit_workbench":
                bare.append(side.ask("bare"))
    rows = {}
    for side in sides:
        read, there = tokens(side.ask("embedded"), LIMITS.get(side.name, LIMIT))
        rows[side.name] = {
            "passages": passages[side.name], "tokens": read, "tokens in them": there,
            "seconds": seconds[side.name], "peak_mb": side.peak_mb,
        }  # fmt: skip
    rows["ragkit_workbench"]["bare"] = bare
    return {"files": len(files), "characters": sum(Path(each).stat().st_size for each in files), "sides": rows}


def tokens(texts: Sequence[str], limit: int) -> tuple[int, int]:
    """Tokens that the encoder reads of these texts, and tokens that they have."""
    counter = Tokenizer.from_file(str(models.resolve("minilm", "embedder").path / "tokenizer.json"))
    counter.no_truncation()
    counter.no_padding()
    lengths = [len(each.ids) for each in counter.encode_batch_fast(list(texts))]
    return sum(min(length, limit) for length in lengths), sum(lengths)


def texts_of(name: str, characters: int) -> Iterator[str]:
    """Texts of a set in a drawn order, until they have so many characters; the last is cut."""
    if name == "novels":
        texts = [file.read_text("utf-8") for file in sorted((DATA / "novels" / "files").iterdir())]
    elif name == "docs-tree":
        texts = [file.read_text("utf-8") for file in sorted((DATA / "docs-tree").rglob("*.md"))]
    elif name == "medquad":
        rows = map(json.loads, (DATA / "medquad" / "medquad-dev.jsonl").read_text("utf-8").splitlines())
        texts = [f"{row['question']}\n\n{row['answer']}" for row in rows]
    else:
        raise ValueError(f"There is no set {name!r} here; there are novels, docs-tree and medquad.")
    random.Random(0).shuffle(texts)
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def write(folder: Path, texts: Iterator[str] | Sequence[str]) -> list[str]:
    """A text file each; their paths."""
    folder.mkdir(parents=True)
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"{number:05}.txt"
        path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    return paths


def rates(row: dict[str, Any]) -> list[float]:
    """Encoder tokens a second, by round."""
    return [row["tokens"] / seconds for seconds in row["seconds"]]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """How many times as much: the ratio of the medians, the least and the most of the rounds' own ratios."""
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return statistics.median(ours) / statistics.median(theirs), min(each), max(each)
