"""From answers to what is learnt: replies, spans, and the split into training and held-out rows. No model, no files."""

from __future__ import annotations

import hashlib
import json
import random
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from ragkit.tune.rows import Row, Span
from ragkit.types import Hit, digest

FEW_ROWS = 20
"""Below this a training learns the rows by heart and little else."""
ONE_SIDED = 0.9
"""Share of one kind of row from which a model learns to always (or never) answer."""
LONG_TARGET = 60
"""Words of a reply that is called long, where the usual one is less than a tenth of it."""
_SENTENCE = 3
"""An answer of more words that ends in a full stop is a sentence, and the stop is its own; of fewer, maybe "U.S."."""


def reply(answer: str, number: int | None) -> str:
    """The reply to learn for an answer: `Denver Broncos [2].`, or without the mark for `number` None."""
    text = " ".join(answer.split())
    last = text.rpartition(" ")[2]
    if text.endswith(".") and "." not in last[:-1] and len(text.split()) > _SENTENCE:
        text = text[:-1]
    mark = "" if number is None else f" [{number}]"
    return f"{text}{mark}" + ("" if text.endswith((".", "!", "?")) and not mark else ".")


def occurrences(text: str, answers: Iterable[str]) -> list[tuple[int, int]]:
    """Every place, as (start, end), where one of the answers stands as whole words, in order.

    White space may differ. The case may differ only where the answer never stands as it is written ("may" is no "May").
    """
    found: set[tuple[int, int]] = set()
    for answer in answers:
        words = answer.split()
        if not words:
            continue
        before = r"(?<!\w)" if re.match(r"\w", words[0]) else ""
        after = r"(?!\w)" if re.search(r"\w$", words[-1]) else ""
        pattern = before + r"\s+".join(map(re.escape, words)) + after
        exact = [match.span() for match in re.finditer(pattern, text)]
        found.update(exact or [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)])
    return sorted(found)


def spans(hits: Sequence[Hit], gold: int, answers: Sequence[str]) -> tuple[Span, ...]:
    """Every place of the gold passage that says one of the answers, also where a neighbouring passage overlaps it."""
    own = hits[gold]
    found = []
    for place, hit in enumerate(hits):
        near = place != gold and hit.chunk and (hit.document, hit.page) == (own.document, own.page)
        for start, end in occurrences(hit.text, answers) if near or place == gold else ():
            if place == gold or (own.start <= hit.start + start and hit.start + end <= own.end):
                found.append(Span(place, start, end))
    return tuple(found)


def chance(seed: int, *what: str) -> float:
    """A number from 0 to 1 that depends on the arguments only: the same in every run, whatever came before."""
    return int(digest([seed, *what])[:12], 16) / 16**12


_DRAWS = 64


def split(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row], str]:
    """Rows to train on, rows held out, and what to warn of. Rows of a group stay together.

    Args:
        rows: in their order, which both parts keep.
        share: of the rows that is held out, in whole groups; at least one group where there are two, none for 0.
        seed: of the draws, of which the one is taken that comes nearest to the share and to the mix of rows with and
            without an answer.
    """
    sizes = Counter(row.group for row in rows)
    if share <= 0:
        return list(rows), [], "No rows are held out, so nothing shows when to stop."
    if len(sizes) < 2:
        return list(rows), [], "All rows are about one passage, so none can be held out and nothing shows when to stop."
    kept = min((_drawn(rows, sizes, share, seed, turn) for turn in range(_DRAWS)), key=lambda draw: draw[0])[1]
    return [row for row in rows if row.group not in kept], [row for row in rows if row.group in kept], ""


def _drawn(rows: Sequence[Row], sizes: Counter[str], share: float, seed: int, turn: int) -> tuple[float, set[str]]:
    """Groups drawn at random until they hold a share of the rows, and how far they are from what was wanted."""
    order = sorted(sizes)
    random.Random(f"{seed} {turn}").shuffle(order)
    small = [group for group in order if sizes[group] * 2 <= len(rows)] or order  # never the bulk of the rows
    held: set[str] = set()
    for group in small:
        if len(held) == len(order) - 1 or sum(sizes[each] for each in held) >= share * len(rows):
            break
        held.add(group)
    part = [row for row in rows if row.group in held]
    silent = [sum(row.kind != "answer" for row in some) / len(some) for some in (rows, part)]
    return abs(len(part) / len(rows) - share) + abs(silent[0] - silent[1]), held


def by_passage(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """The rows with the key of their passage as the group, for rows that are all of one document."""
    return [replace(row, group=f"{row.group} {key}".strip()) for row, key in zip(rows, keys, strict=True)]


def doubts(rows: Sequence[Row]) -> list[str]:
    """What a person should know of the rows, in whole sentences."""
    found = []
    if len(rows) < FEW_ROWS:
        found.append(f"There are only {len(rows)} rows: a model learns them by heart and little else.")
    answered = sum(row.kind == "answer" for row in rows)
    if answered > ONE_SIDED * len(rows):
        found.append(
            f"{answered:,} of {len(rows):,} rows have an answer: the model will hardly learn to say that the documents"
            " do not say. Raise the share of rows without their passage, or add unanswerable questions."
        )
    elif len(rows) - answered > ONE_SIDED * len(rows):
        found.append(
            f"{len(rows) - answered:,} of {len(rows):,} rows have no answer: the model will learn to decline. Add"
            " questions with answers."
        )
    lengths = [len(row.target.split()) for row in rows if row.kind == "answer"]
    usual = statistics.median(lengths) if lengths else 0
    long = sum(length > max(LONG_TARGET, 10 * usual) for length in lengths)
    if long:
        found.append(f"{long:,} replies are much longer than the usual {usual:g} words: look whether they are right.")
    return found


def rows_sha256(rows: Iterable[Row]) -> str:
    """Hash over what is learnt from the rows, in their order."""
    total = hashlib.sha256()
    for row in rows:
        shown = [[message.role, message.text] for message in row.prompt.messages] if row.prompt else []
        where = [asdict(span) for span in row.spans]
        parts = [row.id, row.group, row.question, row.kind, row.target, shown, row.passages, where]
        total.update(json.dumps(parts, ensure_ascii=False).encode())
    return total.hexdigest()
