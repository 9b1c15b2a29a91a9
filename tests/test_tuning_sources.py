"""Where training data comes from: files, sets, votes and worked examples."""

from __future__ import annotations

import json

import pytest

from ragkit.history import History
from ragkit.prompt.store import bundled
from ragkit.sets import SetError, Sets
from ragkit.tuning_data import TWICE, Sources, TuningError, gather
from ragkit.types import Answer, Demonstration, Generation, Gold, Hit, Question, Variant
from ragkit.votes import Votes
from ragkit.workbench import Workbench
from tests import library, quizzes
from tests.quizzes import ABSTENTION, made, rows_of


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return quizzes.save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return quizzes.workbench(tmp_path_factory.mktemp("home"))


class TestGather:
    def test_squad_names_its_articles_and_the_usual_answer_comes_first(self, bench, tmp_path):
        def asked(key, impossible, *texts):
            return {
                "id": key,
                "question": f"{key}?",
                "is_impossible": impossible,
                "answers": [{"text": text, "answer_start": 0} for text in texts],
            }

        paragraph = {"context": "a b c", "qas": [asked("q1", False, "a b c", "b", "a b", "a b"), asked("q2", True)]}
        file = tmp_path / "squad.json"
        file.write_text(json.dumps({"version": "2", "data": [{"title": "Alphabet", "paragraphs": [paragraph]}]}))
        one, two = gather(bench, Sources(files=(str(file),)))
        assert (one.answers, one.document, one.passage, one.origin) == (
            ("a b", "b", "a b c"),
            "Alphabet",
            "a b c",
            "squad.json",
        )
        assert (two.answers, two.document) == ((), "Alphabet")

    def test_plain_rows_and_sets_are_read(self, home, tmp_path):
        bench = Workbench(library.filled(home))
        file = tmp_path / "rows.jsonl"
        file.write_text('{"question": "Who sleeps?", "answer": "The cat", "passage": "The cat sleeps."}\n')
        Sets(bench.collection).put("mine", [Question("s1", "Who barks?", ("A dog",), (Gold("cats.txt", 2),))])
        pairs = gather(bench, Sources(files=(str(file),), sets=("mine",)))
        assert [(pair.question, pair.answers, pair.passage, pair.origin) for pair in pairs] == [
            ("Who barks?", ("A dog",), "", "mine"),
            ("Who sleeps?", ("The cat",), "The cat sleeps.", "rows.jsonl"),
        ]

    def test_questions_that_say_nothing_about_answers_are_refused(self, bench, tmp_path):
        file = tmp_path / "rows.jsonl"
        file.write_text('{"question": "Who sleeps?", "document": "cats.txt"}\n')
        with pytest.raises(TuningError, match="Who sleeps"):
            gather(bench, Sources(files=(str(file),)))

    def test_nothing_and_what_is_not_there_are_refused(self, bench):
        with pytest.raises(TuningError, match="no row"):
            gather(bench, Sources())
        with pytest.raises(SetError):
            gather(bench, Sources(files=("/nowhere.jsonl",)))

    def test_judged_answers_keep_their_words_and_their_passages(self, home, base):
        bench = Workbench(library.filled(home))
        hits = tuple(
            Hit(n, 1.0, n, "cats.txt", n, "1", 0, 9, text) for n, text in enumerate(library.FIELD["cats.txt"], 1)
        )

        def keep(text, abstained=False):
            prompt = bundled()["cite"][0].render("Who sleeps?", hits)
            answer = Answer(
                question="Who sleeps?",
                text=text,
                variant=Variant(engine="echo"),
                citations=(),
                support=(),
                abstained=abstained,
                nearest=0.9,
                hits=hits,
                prompt=prompt,
                generation=Generation(text, 1, 1, 0.1, 0.1, "stop"),
            )
            return History(bench.collection).keep(answer, "t", "compare").id

        texts = ("The cat [1].", "A dog [2].", "Nobody.", "A cat [1].")
        good, bad, worse, better = map(keep, texts)
        none = keep(ABSTENTION, True)
        votes = Votes(bench.collection)
        votes.grade(good, True)
        votes.grade(bad, False, edited="Surely the cat [1].")
        votes.grade(worse, False)
        votes.grade(none, True)
        votes.cast(worse, good, "left")  # but it was graded bad
        votes.cast(better, bad, "left")
        pairs = gather(bench, Sources(votes=True))
        assert pairs[0].target == "Surely the cat [1]."
        assert {(pair.origin, pair.target, pair.answers) for pair in pairs} == {
            ("edits", "Surely the cat [1].", ("Surely the cat",)),
            ("votes", "The cat [1].", ("The cat",)),
            ("votes", "A cat [1].", ("A cat",)),
            ("votes", "", ()),
        }
        assert all(pair.evidence == hits for pair in pairs)
        prepared = made(bench, base, pairs)
        assert [row.target for row in rows_of(prepared)] == ["Surely the cat [1]."]
        assert prepared.left_out == {TWICE: 3}

    def test_worked_examples_are_rows_with_their_passage(self, home, base):
        bench = Workbench(library.filled(home))
        text = library.FIELD["cats.txt"][0]
        bench.collection.add_demonstrations(
            [
                Demonstration("Who sleeps?", "The cat", text),
                Demonstration("Who sings?", "The documents do not say.", text),
            ]
        )
        pairs = gather(bench, Sources(demonstrations=True))
        assert [(pair.answers, pair.passage) for pair in pairs] == [(("The cat",), text), ((), text)]
        rows = rows_of(made(bench, base, pairs, absent=0))
        assert [row.target for row in rows] == [f"The cat [{rows[0].passages.index(text) + 1}].", ABSTENTION]
