"""Drafts of questions: their answers stand in a sentence of the page, and a person decides."""

from __future__ import annotations

from itertools import islice

import pytest

from ragkit import drafting
from ragkit.evaluate.drafts import listed, propose
from ragkit.generate.grounding import sentences
from ragkit.sets import Sets
from ragkit.types import Page
from ragkit.workbench import Workbench
from tests.command import ragkit
from tests.library import new, put

TEXT = (
    "A cathedral is a large church that holds the seat of a bishop. It is a big place with many doors. "
    "The World Health Organization (WHO) keeps a list of medicines. The tower was finished by masons in 1345. "
    "The river is said to be 1,233 kilometres long by now. We met the painter Claude Monet in the garden. "
    "Short one. In 1900 and in 1950 the roof was mended again."
)


def drafts_of(text, **more):
    return list(propose([("a.txt", Page(1, "1", text))], sentences, **more))


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("What is a cathedral?", "a large church", "definition"),
        ("What does WHO stand for?", "World Health Organization", "abbreviation"),
        ('Which year belongs in the gap? "The tower was finished by masons in ____."', "1345", "year"),
        (
            'Which number belongs in the gap? "The river is said to be ____ kilometres long by now."',
            "1,233",
            "number",
        ),
        ('Which name belongs in the gap? "We met the painter ____ in the garden."', "Claude Monet", "name"),
    ],
)
def test_sentences_of_known_shapes_become_questions(question, answer, kind):
    found = {draft.question: draft for draft in drafts_of(TEXT)}
    assert (found[question].answer, found[question].kind) == (answer, kind)


def test_pronouns_short_sentences_and_doubtful_gaps_become_none():
    asked = " ".join(draft.question for draft in drafts_of(TEXT))
    assert "What is It" not in asked
    assert "Short one" not in asked
    assert "the roof was mended" not in asked, "two years: which one is meant is anybody's guess"


def test_a_draft_names_the_place_of_its_sentence_exactly():
    text = "\n\nHeading\n\n" + TEXT.replace("that holds", "that\nholds")
    for draft in drafts_of(text):
        assert text[draft.start : draft.end] == draft.sentence
        assert draft.answer in draft.sentence
        assert (draft.document, draft.page) == ("a.txt", 1)
    question = drafts_of(text)[0].as_question()
    assert question.id
    assert (question.gold[0].document, question.gold[0].page) == ("a.txt", 1)


def test_the_same_seed_gives_the_same_drafts_and_pages_take_turns():
    texts = [TEXT.replace("cathedral", f"thing{n}").replace("1345", f"13{n}0") for n in range(6)]
    pages = [(f"{n}.txt", Page(1, "1", text)) for n, text in enumerate(texts)]
    first = [draft.document for draft in islice(propose(pages, sentences, seed=1), 6)]
    assert sorted(first) == [f"{n}.txt" for n in range(6)]
    assert first == [draft.document for draft in islice(propose(pages, sentences, seed=1), 6)]
    assert any(first != [d.document for d in islice(propose(pages, sentences, seed=s), 6)] for s in range(2, 9))
    asked = [draft.question for draft in propose(pages, sentences)]
    assert len(asked) == len(set(asked))


def test_what_is_known_already_is_not_proposed_again():
    everything = drafts_of(TEXT)
    left = listed(iter(everything), 3, [everything[0].question.upper()])
    assert left == everything[1:4]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Question: Who keeps a list?\nAnswer: the World Health Organization", "The World Health Organization"),
        ("question: Who paints? answer: claude monet.", "Claude Monet"),
        ("Question: Who paints?\nAnswer: Pablo Picasso", None),
        ("I cannot do that.", None),
        ("Question: no mark\nAnswer: Claude Monet", None),
        ("", None),
    ],
)
def test_what_a_model_writes_counts_only_if_its_answer_stands_in_the_page(written, kept):
    found = drafts_of(TEXT, write=lambda _: written)
    assert [draft.answer for draft in found] == ([kept] if kept else [])
    assert all(draft.kind == "model" for draft in found)


def test_drafts_of_a_collection_are_kept_or_dropped_by_a_person(tmp_path):
    home = tmp_path / "home"
    collection = new(home)
    put(collection, "a.txt", [TEXT])
    found = list(drafting.drafts(Workbench(collection)))
    assert len(found) >= 5
    keys = "k\nd\ne\nanother answer\nq\n"
    ragkit("sets", "draft", "mine", "-c", "notes", home=home, input=keys)
    kept = Sets(collection).questions("mine")
    assert [each.question for each in kept] == [found[0].question, found[2].question]
    assert kept[1].answers == ("another answer",)
    ragkit("sets", "draft", "mine", "-n", "2", "--keep-all", "-c", "notes", home=home)
    assert len(Sets(collection).questions("mine")) == 4, "what was kept before is not proposed again"
