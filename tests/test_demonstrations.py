"""Worked examples: their files, the balanced selector, the order in which they are shown, and what is dropped first."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import demonstrations
from ragkit.catalog import SELECTORS
from ragkit.collection import Collection
from ragkit.embed.hashing import HashingEmbedder
from ragkit.errors import LoadError, SettingsError
from ragkit.evaluate.leaks import row_text
from ragkit.prompt.select import ORDERS, arrangement
from ragkit.sets import Sets
from ragkit.types import Demonstration, Question, Variant
from ragkit.votes import Votes
from ragkit.workbench import Workbench
from tests import library
from tests.command import ragkit, rows

WORDS = ["cats", "dogs", "ships", "stars"]


def embed(texts):
    """Bags of known words, length 1."""
    table = np.array([[text.split().count(word) for word in WORDS] for text in texts], dtype=np.float32) + 1e-3
    return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


def bank_of(*examples: str) -> list[Demonstration]:
    """Each example is "question = answer"."""
    return [Demonstration(*text.split(" = ")) for text in examples]


BANK = bank_of("ships = no", "cats = yes", "cats dogs = yes", "cats cats dogs = yes", "stars = no", "dogs = perhaps")


class TestBalanced:
    def choose(self, bank: list[Demonstration], n: int, question: str = "cats") -> list[Demonstration]:
        return SELECTORS.load("balanced")(embed, 0).select(question, bank, n)

    def test_as_many_of_each_answer_the_nearest_of_each(self) -> None:
        chosen = self.choose(BANK, 4)
        assert Counter(each.answer for each in chosen[-3:]) == {"yes": 1, "no": 1, "perhaps": 1}
        assert chosen[-1].question == "cats", "the nearest stands last"
        assert chosen[0].question == "cats cats dogs", "then the second of the answer that has the nearest one"

    def test_case_and_space_make_no_other_answer(self) -> None:
        bank = bank_of("cats = Yes", "cats cats = yes ", "cats dogs =  YES", "dogs = no")
        assert Counter(each.answer.strip().lower() for each in self.choose(bank, 2)) == {"yes": 1, "no": 1}

    def test_where_all_answers_differ_it_is_nearest(self) -> None:
        bank = [replace(example, answer=str(place)) for place, example in enumerate(BANK)]
        assert self.choose(bank, 3) == SELECTORS.load("nearest")(embed, 0).select("cats", bank, 3)

    @given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from("abc")), max_size=12), st.integers(0, 12))
    def test_no_answer_is_shown_twice_more_than_another_that_was_left(self, pairs, n: int) -> None:
        bank = [Demonstration(f"{word} {place}", answer) for place, (word, answer) in enumerate(pairs)]
        chosen = Counter(each.answer for each in self.choose(bank, n))
        left = Counter(each.answer for each in bank) - chosen
        assert chosen.total() == min(n, len(bank))
        assert all(chosen[more] <= chosen[fewer] + 1 for more in chosen for fewer in left)


class TestOrder:
    def shown(self, order: str, chosen: list[Demonstration], seed: int = 0) -> list[str]:
        arrange = arrangement(order, "cats", chosen, BANK, embed, seed)
        return [example.question for example in arrange(chosen)]

    def test_every_order(self) -> None:
        chosen = [BANK[place] for place in (2, 0, 1)]
        assert self.shown("as-chosen", chosen) == ["cats dogs", "ships", "cats"]
        assert self.shown("nearest-last", chosen) == ["ships", "cats dogs", "cats"]
        assert self.shown("nearest-first", chosen) == ["cats", "cats dogs", "ships"]
        assert self.shown("bank", chosen) == ["ships", "cats", "cats dogs"]
        assert len({tuple(self.shown("random", chosen, seed)) for seed in range(30)}) == 6
        assert self.shown("random", chosen, 5) == self.shown("random", chosen[::-1], 5), "of the seed alone"

    @pytest.mark.parametrize("order", ORDERS)
    @given(places=st.lists(st.integers(0, len(BANK) - 1), unique=True), cut=st.integers(0, 6))
    def test_a_shortened_prompt_keeps_the_order(self, order: str, places: list[int], cut: int) -> None:
        chosen = [BANK[place] for place in places]
        arrange = arrangement(order, "cats", chosen, BANK, embed, 3)
        assert arrange(chosen[cut:]) == [example for example in arrange(chosen) if example in chosen[cut:]]

    def test_an_unknown_order_is_refused(self) -> None:
        with pytest.raises(SettingsError, match=r"'upside-down'.*as-chosen, nearest-last"):
            self.shown("upside-down", BANK)


@pytest.fixture
def collection(home: Path) -> Collection:
    made = library.filled(home, "sample")
    made.add_demonstrations([
        Demonstration("Where does the dog bark?", "In the yard.", "A dog barks in the yard."),
        Demonstration("What sleeps on the mat?", "The cat.", "The cat sleeps on the mat."),
        Demonstration("What are matrices?", "Tables of numbers.", "A matrix is a table of numbers."),
    ])
    return made


FEW = Variant(template="few-shot", engine="echo", model="echo")


class TestPrompts:
    def prompt(self, collection: Collection, variant: Variant):
        workbench = Workbench(collection)
        question = "What sleeps on the mat at night?"
        return workbench.prompt(question, variant, workbench.retrieve(question))

    def test_the_order_is_a_setting_of_the_variant(self, collection: Collection) -> None:
        last = self.prompt(collection, replace(FEW, order="nearest-last")).demonstrations
        assert last[-1].question == "What sleeps on the mat?"
        assert self.prompt(collection, replace(FEW, order="nearest-first")).demonstrations == last[::-1]
        assert list(self.prompt(collection, replace(FEW, order="bank")).demonstrations) == collection.demonstrations()
        with pytest.raises(SettingsError, match="upside-down"):
            self.prompt(collection, replace(FEW, order="upside-down"))

    @pytest.mark.parametrize("order", ORDERS)
    def test_none_means_none(self, collection: Collection, order: str) -> None:
        for selector in SELECTORS.names:
            variant = replace(FEW, demonstrations=0, order=order, selector=selector)
            assert self.prompt(collection, variant).demonstrations == ()

    @pytest.mark.parametrize("order", ["as-chosen", "nearest-first", "nearest-last", "bank", "random"])
    def test_the_least_useful_is_dropped_first_whatever_the_order(
        self, collection: Collection, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workbench, variant = Workbench(collection), replace(FEW, order=order)
        whole = self.prompt(collection, variant)
        generator = workbench.generator(variant)
        count = generator.count_tokens(generator.render(whole))
        found = set()
        for room in range(count + 260, 280, -1):
            monkeypatch.setattr(type(generator), "context_tokens", room)
            shown = self.prompt(collection, variant).demonstrations
            if not shown:
                break
            assert "What sleeps on the mat?" in {example.question for example in shown}
            found.add(len(shown))
        assert found == {1, 2, 3}


    def test_the_bank_is_embedded_once_for_all_questions(
        self, collection: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection.add_demonstrations([Demonstration(f"Never asked before {place}?", "x") for place in range(3)])
        asked: list[str] = []
        genuine = HashingEmbedder.embed

        def noted(self, texts, kind="passage"):
            asked.extend(texts)
            return genuine(self, texts, kind)

        monkeypatch.setattr(HashingEmbedder, "embed", noted)
        for _ in range(3):
            self.prompt(collection, replace(FEW, order="nearest-first"))
            Workbench(collection).ask("Who barks?", FEW)
        assert [text for text in asked if text.startswith("Never asked")] == [
            f"Never asked before {place}?" for place in range(3)
        ]


class TestFiles:
    def test_what_is_exported_is_read_back(self, tmp_path: Path, collection: Collection) -> None:
        odd = Demonstration('A "quoted", odd\nquestion?', "Line\u2028separator.", "Привет")
        (tmp_path / "bank.jsonl").write_text(demonstrations.dump([*collection.demonstrations(), odd]), "utf-8")
        assert demonstrations.read(tmp_path / "bank.jsonl") == [*collection.demonstrations(), odd]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.csv", 'Question,Answer,Passage\n"Why, then?",So.,Thus.\nWhen?,1999,\n'),
            ("a.tsv", "answer\tquestion\tpassage\nSo.\tWhy, then?\tThus.\n1999\tWhen?\t\n"),
            ("a.csv", '\ufeffid,question,answer,passage\r\n1,"Why, then?",So.,Thus.\r\n2,When?,1999,\r\n'),
            ("a.jsonl", '{"question": "Why, then?", "answer": "So.", "passage": "Thus."}\n\n'
                        '{"question": "When?", "answer": 1999, "id": 3}\n'),
            ("a.json", '[{"question": "Why, then?", "answer": "So.", "passage": "Thus."},'
                       ' {"question": "When?", "answer": "1999", "passage": null}]'),
        ],
    )  # fmt: skip
    def test_json_and_csv_are_read(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_bytes(text.encode())
        wanted = [Demonstration("Why, then?", "So.", "Thus."), Demonstration("When?", "1999")]
        assert demonstrations.read(tmp_path / name) == demonstrations.parse(text, name) == wanted

    @pytest.mark.parametrize(
        ("name", "text", "told"),
        [
            ("a.jsonl", '{"question": "Why?", "answer": "So."}\n{"question": "When?"}\n', "Line 2 of a.jsonl"),
            ("a.jsonl", '{"question": "", "answer": "So."}\n', "Line 1"),
            ("a.jsonl", '{"question": "Why?", "answer": ["So."]}\n', "Line 1"),
            ("a.jsonl", "Why? So.\n", "no JSON"),
            ("a.jsonl", '"question answer"\n', "Line 1"),
            ("a.json", '[{"question": "Why?"}]', "Entry 1"),
            ("a.json", "[" * 100_000, "no JSON"),
            ("a.csv", "q,a\nWhy?,So.\n", "the columns q, a"),
            ("a.csv", "", "the columns none"),
            ("a.csv", "question,answer\nWhy?,So.\nWhen?\n", "Line 3"),
            ("a.csv", 'question,answer\n"Why?,So.\n', "no CSV"),
        ],
    )
    def test_what_is_no_example_is_refused_with_its_line(self, tmp_path: Path, name: str, text: str, told: str) -> None:
        (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(LoadError, match=told):
            demonstrations.read(tmp_path / name)

    @pytest.mark.parametrize("content", [None, b"\xff\xfe\x00broken"])
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path, content: bytes | None) -> None:
        if content:
            (tmp_path / "bank.jsonl").write_bytes(content)
        with pytest.raises(LoadError, match=r"bank\.jsonl cannot be read"):
            demonstrations.read(tmp_path / "bank.jsonl")


def test_the_bank_loses_one_example_at_a_time(collection: Collection) -> None:
    first, *rest = collection.demonstrations()
    assert [collection.remove_demonstration(first), collection.remove_demonstration(first)] == [True, False]
    assert collection.demonstrations() == rest
    assert [collection.clear_demonstrations(), collection.demonstrations()] == [2, []]


def test_all_that_a_training_row_shows_is_read() -> None:
    row = {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        "chosen": [{"role": "assistant", "content": "So."}],
        "label": True,
        "votes": [1],
        "origin": "same prompt",
    }
    assert row_text(row).split("\n") == ["Be brief.", "Why?", "So."]


class TestCommand:
    def test_import_list_export_remove_clear(self, home: Path, tmp_path: Path) -> None:
        library.filled(home, "sample")
        (tmp_path / "bank.csv").write_text("question,answer\nWhy?,So.\nWhen?,Then.\nWho?,She.\n")
        assert "The bank is empty" in ragkit("demonstrations", home=home).stderr
        assert "3 worked examples added" in ragkit("demonstrations", "import", tmp_path / "bank.csv", home=home).stderr
        assert "When?" in ragkit("demonstrations", home=home).stdout
        ragkit("demonstrations", "remove", "2", home=home)
        ragkit("demonstrations", "remove", "3", home=home, expect=2)
        listed = rows(ragkit("demonstrations", "--json", home=home))
        assert [(row["number"], row["question"]) for row in listed] == [(1, "Why?"), (2, "Who?")]
        exported = rows(ragkit("demonstrations", "export", home=home))
        ragkit("demonstrations", "export", tmp_path / "out.jsonl", home=home)
        assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == exported
        assert [row["question"] for row in exported] == ["Why?", "Who?"]
        assert "2 worked examples removed" in ragkit("demonstrations", "clear", home=home).stderr
        ragkit("demonstrations", "import", home=home, expect=2)
        assert "cannot be read" in ragkit("demonstrations", "import", "nowhere.csv", home=home, expect=1).stderr

    def test_import_of_answers_that_were_graded_good(self, collection: Collection, home: Path) -> None:
        asked = ragkit("ask", "What does LoRA freeze?", "--engine", "echo", "--json", home=home)
        assert rows(asked)
        assert "0 worked examples added" in ragkit("demonstrations", "import", "--graded", home=home).stderr
        assert Votes(collection).grades() == []

    def test_check_finds_what_is_given_away(self, collection: Collection, home: Path, tmp_path: Path) -> None:
        asked = ["What sleeps on the mat?", "What does LoRA freeze in the pretrained model?"]
        Sets(collection).put("mine", [Question(f"q{place}", text, ("x",)) for place, text in enumerate(asked, start=1)])
        check = ("demonstrations", "check", "--against", "mine")
        (leak,) = rows(ragkit(*check, "--json", home=home, expect=1))
        assert (leak["kind"], leak["question_id"], leak["place"]) == ("exact", "q1", 1)
        done = ragkit(*check, home=home, expect=1)
        assert "1 of 2 questions of mine are given away" in done.stderr
        assert "What sleeps on the mat?" in done.stdout
        row = {"prompt": "A long instruction about passages. What does LoRA freeze in the pretrained model?"}
        (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
        (leak,) = rows(ragkit("demonstrations", "check", tmp_path / "rows.jsonl", "--against", "mine", "--json",
                              home=home, expect=1))  # fmt: skip
        assert (leak["kind"], leak["question_id"]) == ("near", "q2")
        collection.remove_demonstration(Demonstration("What sleeps on the mat?", "The cat."))
        assert "0 of 2" in ragkit(*check, home=home).stderr
        ragkit("demonstrations", "check", home=home, expect=2)
