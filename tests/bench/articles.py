"""SQuAD and AdversarialQA, split by article: what the bundled adapters are trained on, and what they are measured on.

An article is in one part only. Questions of the two SQuAD releases about one paragraph go together; a question that is
in both comes once (the training door drops it).
"""

from __future__ import annotations

import json
import os
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("RAGKIT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SQUAD = ("squad-v1.1-dev.json", "squad-v2.0-dev.json")
HELD_OUT = 7
"""Articles of SQuAD 2.0, which has unanswerable questions, that nothing is trained on."""
SEED = 2026


@dataclass(frozen=True, slots=True)
class Articles:
    """Files of one part, in a folder of their own."""

    corpus: Path
    """JSON lines {"_id", "title", "text"}: one record a paragraph."""
    questions: tuple[Path, ...]
    """Questions on these paragraphs, as JSON lines or SQuAD JSON."""


def titles() -> list[str]:
    """Titles of the held-out articles, the same every time."""
    return sorted(random.Random(SEED).sample(sorted(_squad(SQUAD[1])), HELD_OUT))


def training(folder: Path) -> Articles:
    """All that is not held out: SQuAD's other articles, and AdversarialQA's paragraphs, which are none of SQuAD's."""
    folder.mkdir(parents=True, exist_ok=True)
    held = set(titles())
    files, paragraphs = [], {}
    for name in SQUAD:
        kept = [article for title, article in _squad(name).items() if title not in held]
        target = folder / name
        target.write_text(json.dumps({"version": "part", "data": kept}), encoding="utf-8")
        files.append(target)
        paragraphs |= {part["context"]: article["title"] for article in kept for part in article["paragraphs"]}
    rows = [json.loads(line) for line in _lines(DATA / "adversarialqa" / "adversarialqa-sample.jsonl")]
    # One document for each paragraph: the sample does not say which article a paragraph is from.
    groups = {context: f"adversarialqa-{number}" for number, context in enumerate(dict.fromkeys(_contexts(rows)))}
    target = folder / "adversarialqa.json"
    articles = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": context,
                    "qas": [
                        {"id": row["id"], "question": row["question"], "answers": row["answers"]}
                        for row in rows
                        if row["context"] == context
                    ],
                }
            ],
        }
        for context, title in groups.items()
    ]
    target.write_text(json.dumps({"version": "part", "data": articles}), encoding="utf-8")
    return Articles(_corpus(folder / "corpus.jsonl", paragraphs | groups), (*files, target))


def held_out(folder: Path, answerable: int, unanswerable: int) -> Articles:
    """The held-out articles, all their paragraphs, and a draw of questions as JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    articles = [_squad(SQUAD[1])[title] for title in titles()]
    paragraphs: dict[str, str] = {}
    for name in SQUAD:  # both releases have the article; together they have all its paragraphs
        for title in titles():
            article = _squad(name).get(title)
            if article:
                paragraphs |= {part["context"]: title for part in article["paragraphs"]}
    asked = [
        {
            "id": question["id"],
            "question": question["question"].strip(),
            "answers": list(dict.fromkeys(each["text"] for each in question["answers"])),
            "passage": part["context"],
        }
        for article in articles
        for part in article["paragraphs"]
        for question in part["qas"]
    ]
    draw = random.Random(SEED)
    chosen = [
        *draw.sample([row for row in asked if row["answers"]], answerable),
        *draw.sample([row for row in asked if not row["answers"]], unanswerable),
    ]
    target = folder / "questions.jsonl"
    target.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    return Articles(_corpus(folder / "corpus.jsonl", paragraphs), (target,))


LONG = 40
"""Questions that want a paragraph."""


def _asked_in_medical() -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in _lines(DATA / "medquad" / "medquad-dev.jsonl")]
    return random.Random(SEED).sample([row for row in rows if 200 <= len(row["answer"]) <= 1000], LONG)


def medical(folder: Path) -> Articles:
    """Questions of MedQuAD whose answers are a paragraph, and the documents that hold them, four others to each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in _lines(DATA / "medquad" / "medquad-dev.jsonl")]
    draw = random.Random(SEED)
    chosen = draw.sample([row for row in rows if 200 <= len(row["answer"]) <= 1000], LONG)
    others = draw.sample([row for row in rows if len(row["answer"]) <= 4000], 4 * LONG)
    target = folder / "questions.jsonl"
    asked = ({"id": row["qid"], "question": row["question"], "answers": [row["answer"]]} for row in chosen)
    target.write_text("".join(json.dumps(each) + "\n" for each in asked), encoding="utf-8")
    texts = {row["answer"]: row["focus"] for row in chosen + others}
    return Articles(_corpus(folder / "corpus.jsonl", texts), (target,))


def explanations(folder: Path, count: int) -> Articles:
    """Questions of MedQuAD whose answer's first sentence explains what was asked, with that sentence as the answer.

    "What is it?", "What causes it?", "How is it treated?": such questions get a sentence, where SQuAD's get a name or a
    number. What `medical` asks about is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept_out = {row["focus"] for row in _asked_in_medical()}
    rows = [json.loads(line) for line in _lines(DATA / "medquad" / "medquad-dev.jsonl")]
    random.Random(SEED).shuffle(rows)
    taken: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        sentence = _first_sentence(row["answer"])
        about, said = (set(re.findall(r"[a-z]{4,}", text.lower())) for text in (row["focus"], sentence))
        if "What I need" not in row["focus"] and row["focus"] not in kept_out and about & said:
            taken.setdefault((row["focus"], row["qtype"]), {**row, "sentence": sentence})
    chosen = list(taken.values())[:count]
    articles = [
        {
            "title": f"medquad-{row['qid']}",
            "paragraphs": [
                {
                    "context": (context := " ".join(row["answer"][:1200].split())),
                    "qas": [{
                        "id": row["qid"],
                        "question": row["question"].replace("(are) ", "").replace(" ?", "?"),
                        "answers": [{"text": row["sentence"], "answer_start": context.find(row["sentence"])}],
                    }],
                }
            ],
        }
        for row in chosen
    ]  # fmt: skip
    target = folder / "medquad.json"
    target.write_text(json.dumps({"version": "part", "data": articles}), encoding="utf-8")
    texts = {each["paragraphs"][0]["context"]: row["focus"] for each, row in zip(articles, chosen, strict=True)}
    return Articles(_corpus(folder / "medquad.jsonl", texts), (target,))


def _first_sentence(answer: str) -> str:
    """The first sentence of an answer, if it is one of ordinary length; else nothing."""
    start = " ".join(answer[:1200].split())
    found = re.match(r"(?!Key Points)[A-Z].{30,300}?[.](?=\s+[A-Z]|$)", start)
    return found[0] if found and "?" not in found[0] and 7 <= len(found[0].split()) <= 45 else ""


def _squad(name: str) -> dict[str, Any]:
    articles = json.loads((DATA / "squad" / name).read_text(encoding="utf-8"))["data"]
    return {article["title"]: article for article in articles}


def _contexts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["context"] for row in rows]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _corpus(path: Path, paragraphs: dict[str, str]) -> Path:
    lines = [
        json.dumps({"_id": f"{title}-{number}", "title": title.replace("_", " "), "text": text}) + "\n"
        for number, (text, title) in enumerate(paragraphs.items())
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return path
