"""Score the prompt templates on SQuAD v1.1: the gold paragraph among four others of the same article.

    python tests/bench/templates.py -n 60 --template cite --template concise

For each template: exact match and F1 of the answer (SQuAD's normalisation; citation marks removed first), the share
of answers that contain a gold answer, the share with a citation mark, the share whose marks name the gold passage,
and, with `--unanswerable`, how many abstentions there are when the gold paragraph is left out.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import statistics
import string
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ragkit.catalog import GENERATORS
from ragkit.generate.engines import choose
from ragkit.generate.grounding import abstains, marks, without_marks
from ragkit.prompt.pack import pack
from ragkit.prompt.store import TemplateStore
from ragkit.types import Decoding, Demonstration, Hit

PASSAGES = 5


@dataclass(frozen=True)
class Item:
    """One question, its accepted answers, and five passages, `gold` (from 1) of which holds the answer."""

    question: str
    answers: tuple[str, ...]
    hits: tuple[Hit, ...]
    gold: int


def items(n: int, seed: int) -> tuple[list[Item], list[Demonstration]]:
    """n questions from half of the articles, and demonstrations from the other half."""
    root = Path(os.environ.get("RAGKIT_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))
    articles = json.loads((root / "squad" / "squad-v1.1-dev.json").read_text(encoding="utf-8"))["data"]
    rng = random.Random(seed)
    rng.shuffle(articles)
    half = len(articles) // 2
    bank = []
    for article in articles[half:]:
        qa = rng.choice(rng.choice(article["paragraphs"])["qas"])
        bank.append(Demonstration(qa["question"], qa["answers"][0]["text"]))
    return [_item(rng.choice(articles[:half]), rng) for _ in range(n)], bank


def _item(article: dict, rng: random.Random) -> Item:
    paragraphs = [paragraph for paragraph in article["paragraphs"] if paragraph["qas"]]
    gold = rng.choice(paragraphs)
    shown = [gold, *rng.sample([other for other in paragraphs if other is not gold], PASSAGES - 1)]
    rng.shuffle(shown)
    qa = rng.choice(gold["qas"])
    hits = tuple(
        Hit(rank, 1.0 / rank, rank, article["title"], 1, "1", 0, len(paragraph["context"]), paragraph["context"])
        for rank, paragraph in enumerate(shown, start=1)
    )
    return Item(qa["question"], tuple(answer["text"] for answer in qa["answers"]), hits, shown.index(gold) + 1)


def normalised(text: str) -> list[str]:
    """Words as SQuAD compares them: lower case, no punctuation, no articles."""
    bare = "".join(char for char in text.lower() if char not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def f1(answer: str, golds: tuple[str, ...]) -> float:
    """Best token F1 against any accepted answer."""
    best = 0.0
    words = normalised(answer)
    for gold in golds:
        wanted = normalised(gold)
        same = sum((collections.Counter(words) & collections.Counter(wanted)).values())
        if same:
            precision, recall = same / len(words), same / len(wanted)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def contains(answer: str, golds: tuple[str, ...]) -> bool:
    """Whether the answer holds a gold answer as whole words."""
    padded = f" {' '.join(normalised(answer))} "
    return any(f" {' '.join(normalised(gold))} " in padded for gold in golds)


def score(
    args: argparse.Namespace, name: str, questions: list[Item], bank: list[Demonstration], engine: object
) -> dict:
    """All figures of one template."""
    template = TemplateStore(Path(args.templates)).get(name)
    rows = []
    for item in questions:
        hits = tuple(hit for hit in item.hits if hit.rank != item.gold) if args.unanswerable else item.hits
        examples = bank[: args.demonstrations] if template.few_shot else []
        decoding = Decoding(max_tokens=args.max_tokens, repetition_penalty=args.penalty)
        prompt = pack(template, item.question, hits, examples, engine, args.max_tokens)
        made = engine.generate(prompt, decoding, lambda text: True)
        bare = without_marks(made.text)
        bare = bare.rsplit("Answer:", 1)[-1]
        named = {number for mark in marks(made.text) for number in mark.numbers}
        rows.append(
            {
                "em": float(any(normalised(bare) == normalised(gold) for gold in item.answers)),
                "f1": f1(bare, item.answers),
                "contains": float(contains(made.text, item.answers)),
                "cited": float(bool(named)),
                "gold_cited": float(item.gold in named),
                "abstained": float(abstains(made.text, template.abstain)),
                "tokens": float(made.tokens),
                "first": made.seconds_to_first,
            }
        )
        if args.show:
            sys.stderr.write(f"[{name}] {item.question}\n  gold {item.gold}: {item.answers[0]}\n  -> {made.text!r}\n")
    return {"template": name, **{key: round(statistics.mean(row[key] for row in rows), 3) for key in rows[0]}}


def main() -> None:
    """Print one JSON line a template."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--template", action="append")
    parser.add_argument("--templates", default="templates", help="folder with templates of your own")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--demonstrations", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--penalty", type=float, default=Decoding().repetition_penalty)
    parser.add_argument("--unanswerable", action="store_true", help="leave the gold paragraph out")
    parser.add_argument("--show", action="store_true", help="print every answer to stderr")
    args = parser.parse_args()
    questions, bank = items(args.n, args.seed)
    engine = GENERATORS.load(choose(args.engine, args.model))(args.model, "")
    settings = {key: value for key, value in vars(args).items() if key not in ("template", "show")}
    sys.stdout.write(json.dumps({"settings": settings, "decoding": asdict(Decoding())}) + "\n")
    for name in args.template or TemplateStore(Path(args.templates)).names:
        sys.stdout.write(json.dumps(score(args, name, questions, bank, engine)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
