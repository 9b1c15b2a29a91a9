"""Votes and grades as training rows that trl's DPOTrainer, RewardTrainer and KTOTrainer read.

A preference row has one prompt and two answers. Two answers of one comparison were often made by different templates,
so they had different prompts; such a pair is attached to one deployment prompt: the template that will be used after
training, over the passages that both answers were written from (prompt distillation). Such rows are marked.

Every row names its votes. What says nothing, or would teach something wrong, is left out and counted with its reason.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ragkit.errors import SettingsError
from ragkit.evaluate.wording import completion, prompt_text
from ragkit.types import Demonstration, Hit, Prompt, digest
from ragkit.votes import Grade, Judged, Vote

Format = Literal["dpo", "kto", "reward"]
FORMATS: dict[Format, str] = {
    "dpo": "Pairs for trl's DPOTrainer: prompt, chosen, rejected.",
    "kto": "Single answers for trl's KTOTrainer: prompt, completion, label.",
    "reward": "Pairs for trl's RewardTrainer: prompt, chosen, rejected.",
}

Deploy = Callable[[str, Sequence[Hit], Sequence[Demonstration]], Prompt]
"""A template's `render`: the deployment prompt for a question over passages with demonstrations."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Judgements that gave no row."""

    reason: str
    votes: tuple[int, ...] = ()
    answers: tuple[int, ...] = ()
    """Ids of answers whose grade gave none."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Training rows and what became of every judgement."""

    format: Format
    rows: tuple[dict[str, Any], ...]
    left_out: tuple[LeftOut, ...]
    template: str
    """The deployment template; empty if there is none."""
    votes: int
    grades: int
    longest: int
    """Tokens of the longest prompt with its answer, by the models' own counts; 0 where nobody counted."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many judgements were left out for each reason, most first."""
        counts: Counter[str] = Counter()
        for item in self.left_out:
            counts[item.reason] += len(item.votes) + len(item.answers)
        return dict(counts.most_common())


@dataclass(slots=True)
class _Draft:
    """A row before its ids are joined: the same pair may have been judged several times."""

    prompt: Prompt
    texts: tuple[str, ...]
    """(chosen, rejected) in a pair, (completion,) otherwise."""
    question: str
    origin: str
    label: bool = True
    votes: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    graded: bool = False
    tokens: int = 0


class _Refused(Exception):
    """Why a judgement gives no row."""


def build(
    format: Format,
    votes: Sequence[Vote],
    grades: Sequence[Grade] = (),
    *,
    template: str = "",
    deploy: Deploy | None = None,
    unpair: bool = False,
) -> Ledger:
    """The rows of a format.

    Args:
        format: dpo and reward take the votes; kto takes the grades and the votes that call both answers bad.
        votes: votes, in the order in which they were cast.
        grades: grades of single answers.
        template: name of the deployment template.
        deploy: its `render`. Pairs whose prompts differ are attached to the prompt that it makes, and left out
            without it; pairs with one prompt keep that. Rows for kto are attached to it where they came from another
            template.
        unpair: for kto, also take the better answer of a vote as good and the worse one as bad. A vote does not say
            that: the better of two can still be bad.

    Raises SettingsError for an unknown format.
    """
    if format not in FORMATS:
        raise SettingsError(f"There is no format {format!r} of training data.", f"There are: {', '.join(FORMATS)}.")
    left_out: list[LeftOut] = []
    if format == "kto":
        drafts = _singles(votes, grades, template, deploy, unpair, left_out)
        drafts = _agreed_singles(drafts, left_out)
    else:
        drafts = _agreed_pairs(_pairs(votes, deploy, left_out), left_out)
        grades = ()
    rows = tuple(_row(draft, format) for draft in drafts)
    longest = max((draft.tokens for draft in drafts), default=0)
    return Ledger(format, rows, tuple(left_out), template if deploy else "", len(votes), len(grades), longest)


# Pairs


def _pairs(votes: Sequence[Vote], deploy: Deploy | None, left_out: list[LeftOut]) -> Iterator[_Draft]:
    for vote in votes:
        try:
            yield _pair(vote, deploy)
        except _Refused as refusal:
            left_out.append(LeftOut(str(refusal), votes=(vote.id,)))


def _pair(vote: Vote, deploy: Deploy | None) -> _Draft:
    if vote.preferred is None:
        raise _Refused("a tie prefers neither" if vote.choice == "tie" else "both bad: neither is to be preferred")
    better, worse = vote.preferred
    if better.text == worse.text:
        raise _Refused("both answers are the same text")
    _whole(better)
    prompt, origin = _prompt_of(better), "same prompt"
    if _key(prompt) != _key(_prompt_of(worse)):
        if deploy is None:
            raise _Refused("the prompts differ and no deployment template was chosen")
        prompt, origin = _deployed(deploy, better, worse), "deployment prompt"
    tokens = max(_tokens(better, prompt), _tokens(worse, prompt))
    return _Draft(prompt, (better.text, worse.text), vote.question, origin, votes=[vote.id], tokens=tokens)


def _agreed_pairs(drafts: Iterator[_Draft], left_out: list[LeftOut]) -> list[_Draft]:
    """One row for each pair of texts under one prompt; the majority of its votes says which is chosen."""
    groups: dict[tuple[str, frozenset[str]], list[_Draft]] = defaultdict(list)
    for draft in drafts:
        groups[_key(draft.prompt), frozenset(draft.texts)].append(draft)
    agreed = []
    for group in groups.values():
        (chosen, most), *others = Counter(draft.texts for draft in group).most_common()
        votes = [vote for draft in group for vote in draft.votes]
        if others and others[0][1] == most:
            left_out.append(LeftOut("the votes on this pair contradict each other", votes=tuple(votes)))
            continue
        first = next(draft for draft in group if draft.texts == chosen)
        first.votes = [vote for draft in group if draft.texts == chosen for vote in draft.votes]
        outvoted = tuple(vote for vote in votes if vote not in first.votes)
        if outvoted:
            left_out.append(LeftOut("outvoted by other votes on this pair", votes=outvoted))
        agreed.append(first)
    return agreed


# Single answers


def _singles(
    votes: Sequence[Vote],
    grades: Sequence[Grade],
    template: str,
    deploy: Deploy | None,
    unpair: bool,
    left_out: list[LeftOut],
) -> Iterator[_Draft]:
    for grade in grades:
        answer = grade.judged.answer.id or 0
        told = [(grade.edited, True, "edited")] if grade.edited else []
        if not (grade.good and grade.edited):  # good once it was edited: that says nothing of how it was before
            told.append((grade.judged.text, grade.good, "grade"))
        for text, good, origin in told:
            try:
                draft = _single(grade.judged, text, good, origin, template, deploy)
            except _Refused as refusal:
                left_out.append(LeftOut(str(refusal), answers=(answer,)))
                continue
            draft.answers, draft.graded = [answer], True
            yield draft
    for vote in votes:
        yield from _unpaired(vote, template, deploy, unpair, left_out)


def _unpaired(
    vote: Vote, template: str, deploy: Deploy | None, unpair: bool, left_out: list[LeftOut]
) -> Iterator[_Draft]:
    if vote.choice == "bad":
        told = [(vote.left, False, "both bad"), (vote.right, False, "both bad")]
    elif vote.preferred and unpair:
        told = [(vote.preferred[0], True, "unpaired vote"), (vote.preferred[1], False, "unpaired vote")]
    else:
        reason = "a tie calls neither good nor bad" if vote.choice == "tie" else "better is not yet good"
        left_out.append(LeftOut(reason, votes=(vote.id,)))
        return
    for side, good, origin in told:
        try:
            draft = _single(side, side.text, good, origin, template, deploy)
        except _Refused as refusal:
            left_out.append(LeftOut(str(refusal), votes=(vote.id,)))
            continue
        draft.votes, draft.answers = [vote.id], [side.answer.id or 0]
        yield draft


def _single(side: Judged, text: str, good: bool, origin: str, template: str, deploy: Deploy | None) -> _Draft:
    if good and text == side.text:
        _whole(side)
    prompt = _prompt_of(side)
    if deploy is not None and prompt.template != template:
        prompt, origin = _deployed(deploy, side, side), f"{origin}, deployment prompt"
    return _Draft(prompt, (text,), side.answer.question, origin, good, tokens=_tokens(side, prompt))


def _agreed_singles(drafts: Iterator[_Draft], left_out: list[LeftOut]) -> list[_Draft]:
    """One row for each text under one prompt; none where it was called both good and bad."""
    groups: dict[tuple[str, str], list[_Draft]] = defaultdict(list)
    for draft in drafts:
        groups[_key(draft.prompt), draft.texts[0]].append(draft)
    agreed = []
    for group in groups.values():
        votes = sorted({vote for draft in group for vote in draft.votes})
        answers = sorted({answer for draft in group for answer in draft.answers})
        if len({draft.label for draft in group}) > 1:
            graded = sorted({answer for draft in group if draft.graded for answer in draft.answers})
            reason = "the same answer was called good and bad"
            left_out.append(LeftOut(reason, votes=tuple(votes), answers=tuple(graded)))
            continue
        group[0].votes, group[0].answers = votes, answers
        agreed.append(group[0])
    return agreed


# Prompts


def _prompt_of(side: Judged) -> Prompt:
    if side.answer.prompt is None:
        raise _Refused("the answer was given without a model, since no passage was near")
    return side.answer.prompt


def _whole(side: Judged) -> None:
    """Refuse an answer that was cut off: the trainers put an end mark behind it, which would teach to stop there."""
    finish = side.answer.generation.finish if side.answer.generation else "stop"
    if finish != "stop":
        why = "was stopped by hand" if finish == "cancelled" else "ran into the limit of its length"
        raise _Refused(f"the better answer {why}")


def _deployed(deploy: Deploy, one: Judged, other: Judged) -> Prompt:
    """The deployment prompt over the passages of both, numbered as they were, so that `[2]` means the same passage."""
    prompts = sorted((_prompt_of(one), _prompt_of(other)), key=lambda prompt: len(prompt.hits))
    fewer, more = ([hit.chunk for hit in prompt.hits] for prompt in prompts)
    if more[: len(fewer)] != fewer:
        raise _Refused("the two answers were written from different passages")
    examples = max((prompt.demonstrations for prompt in prompts), key=len)
    return deploy(one.answer.question, prompts[1].hits, examples)


def _key(prompt: Prompt) -> str:
    """Two prompts are the same if the model reads the same."""
    return digest([prompt.chat, [(message.role, message.text) for message in prompt.messages]])


def _tokens(side: Judged, prompt: Prompt) -> int:
    """Tokens of the prompt and the answer; for another prompt than the answer's own estimated from its length."""
    made = side.answer.generation
    if made is None:
        return 0
    own = len(_prompt_of(side).text)
    return math.ceil(made.prompt_tokens * max(1.0, len(prompt.text) / max(own, 1))) + made.tokens


# Rows and files


def _row(draft: _Draft, format: Format) -> dict[str, Any]:
    """The row as the trainer reads it, with columns behind that trace it: the trainers drop what they do not know."""
    prompt = prompt_text(draft.prompt)
    completions = [completion(draft.prompt, text) for text in draft.texts]
    row: dict[str, Any] = {"prompt": prompt}
    if format == "kto":
        row |= {"completion": completions[0], "label": draft.label}
    else:
        row |= {"chosen": completions[0], "rejected": completions[1]}
    row |= {
        "id": digest(row)[:16],
        "question": draft.question,
        "template": draft.prompt.template,
        "origin": draft.origin,
        "votes": draft.votes,
    }
    return row | ({"answers": draft.answers} if format == "kto" else {})


def files(ledger: Ledger, name: str, *, source: str = "") -> dict[str, str]:
    """The rows as JSON lines and a card that describes them: texts by file name, the card last.

    Chat prompts and completions cannot share a file, since a trainer decides by the first row how to read all of them:
    where there are both, completions go to a file of their own (`name.completion.jsonl`).

    Args:
        ledger: what to write.
        name: name of the file of rows.
        source: what the card names as the source, such as the collection.
    """
    stem, suffix = Path(name).stem, Path(name).suffix
    chats = [row for row in ledger.rows if not isinstance(row["prompt"], str)]
    plain = [row for row in ledger.rows if isinstance(row["prompt"], str)]
    parts = {name: chats or plain}
    if chats and plain:
        parts[f"{stem}.completion{suffix}"] = plain
    texts = {
        part: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) for part, rows in parts.items()
    }
    card = _card(ledger, parts, texts, source)
    return texts | {f"{stem}.card.json": json.dumps(card, ensure_ascii=False, indent=2) + "\n"}


def write(ledger: Ledger, path: Path, *, source: str = "") -> list[Path]:
    """Write the `files` to where `path` is, the folder made if need be; returns their paths, the card last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in files(ledger, path.name, source=source).items():
        written.append(path.with_name(name))
        written[-1].write_text(text, encoding="utf-8", newline="\n")
    return written


def _card(ledger: Ledger, parts: Mapping[str, Rows], texts: Mapping[str, str], source: str) -> dict[str, Any]:
    """What is in the files, by hash and count, and what was left out and why."""
    return {
        "format": ledger.format,
        "for": FORMATS[ledger.format],
        "source": source,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": [
            {
                "name": name,
                "rows": len(rows),
                "sha256": hashlib.sha256(texts[name].encode()).hexdigest(),
                "prompts": "completions" if rows and isinstance(rows[0]["prompt"], str) else "chats",
            }
            for name, rows in parts.items()
        ],
        "votes": ledger.votes,
        "grades": ledger.grades,
        "origins": dict(Counter(row["origin"] for row in ledger.rows)),
        "labels": dict(Counter(str(row["label"]).lower() for row in ledger.rows if "label" in row)),
        "deployment_template": ledger.template,
        "longest_row_tokens": ledger.longest,
        "max_length": "Set it to longest_row_tokens or more in the trainer's config: trl drops longer rows in silence.",
        "left_out": [
            {"reason": item.reason, "votes": list(item.votes), "answers": list(item.answers)}
            for item in ledger.left_out
        ],
    }
