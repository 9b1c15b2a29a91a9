"""Questions on small documents, and a tiny tokenizer to count their tokens: what tests of training data start from."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ragkit.prompt.store import bundled
from ragkit.settings import RetrieveSettings, TuneSettings
from ragkit.tuning_data import Pair, prepare
from ragkit.workbench import Workbench
from tests import library
from tests.tiny_chat import tokenizer

CITIES = ["Paris", "Oslo", "Lima", "Cairo", "Quito", "Riga"]
THINGS = ["crane", "lathe", "press", "kiln"]
WORDS = ["the", "stands", "in", "weighs", "tonnes", "machine", "answer", "passages", "documents"]
ABSTENTION = bundled()["grounded"][0].abstain
RETRIEVE = RetrieveSettings()


def page(city: str, thing: str) -> str:
    weight = 10 * CITIES.index(city) + THINGS.index(thing) + 100
    return f"The {thing} of {city} stands in hall {thing}{city}. It weighs {weight} tonnes and is painted blue."


def text_pairs() -> list[Pair]:
    """Two questions that are answered and one that is not on every page."""
    found = []
    for city, thing in product(CITIES, THINGS):
        text, name = page(city, thing), f"{thing}-{city}"
        weight = re.findall(r"\d+ tonnes", text)[0]
        found += [
            Pair(f"{name}-1", f"How much does the {thing} of {city} weigh?", (weight, weight[:3]), passage=text),
            Pair(f"{name}-2", f"Where does the {thing} of {city} stand?", (f"hall {thing}{city}",), passage=text),
            Pair(f"{name}-3", f"Who built the {thing} of {city} by hand?", (), passage=text),
        ]
    return found


PAIRS = text_pairs()


def save_base(folder: Path, wide: bool = False, seed: int = 0) -> str:
    """A folder with a tiny model: `wide` enough to learn, or so small that only its tokenizer is of use."""
    texts = [*WORDS * 5, *(page(city, thing) for city, thing in product(CITIES, THINGS))]
    made = tokenizer(texts, 600)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    if wide:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=len(made), max_position_embeddings=4096, eos_token_id=made.eos_token_id, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    made.save_pretrained(folder)
    return str(folder)


def workbench(home: Path) -> Workbench:
    """A document for every city, with a page for every thing."""
    collection = library.new(home)
    for city in CITIES:
        library.put(collection, f"{city}.md", [page(city, thing) for thing in THINGS])
    return Workbench(collection)


def made(bench, base, pairs=PAIRS, against=(), **changes):
    return prepare(bench, pairs, TuneSettings(base=base, **changes), RETRIEVE, against=against)


def rows_of(prepared, *kinds):
    return [row for row in (*prepared.train, *prepared.held) if not kinds or row.kind in kinds]
