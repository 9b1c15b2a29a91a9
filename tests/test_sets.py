"""Evaluation sets: versions by content, edits, what runs keep."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import SettingsError
from ragkit.evaluate.importers import read_set
from ragkit.runs import Runs
from ragkit.sets import SetError, Sets, question_id, set_name
from ragkit.types import Gold, Question
from tests.library import new

QUESTIONS = [
    Question("a", "Where does the cat sleep?", ("on the mat",), (Gold("cats.txt", 1),)),
    Question("b", "Who is the king?", ()),
    Question("c", "cats", gold=(Gold(label="7", gain=2.0),), judged=False),
]


@pytest.fixture
def sets(tmp_path):
    return Sets(new(tmp_path))


def test_a_set_comes_back_as_it_was_put(sets):
    made = sets.put("first", QUESTIONS, "q.jsonl")
    assert (made.name, made.version, made.count, made.unanswerable, made.source) == ("first", 1, 3, 1, "q.jsonl")
    assert sets.questions("first") == QUESTIONS
    assert sets.list() == [made]


def test_the_same_content_again_is_no_new_version(sets):
    first = sets.put("first", QUESTIONS)
    assert sets.put("first", list(QUESTIONS)) == first
    assert len(sets.versions("first")) == 1


def test_changed_content_is_a_new_version_and_the_old_one_stays(sets):
    first = sets.put("first", QUESTIONS)
    second = sets.put("first", QUESTIONS[:2])
    assert (second.version, second.count) == (2, 2)
    assert [each.version for each in sets.versions("first")] == [2, 1]
    assert sets.by_sha256(first.sha256) == QUESTIONS
    assert sets.questions("first", 1) == QUESTIONS
    assert sets.questions("first") == QUESTIONS[:2]
    back = sets.put("first", QUESTIONS)
    assert (back.version, back.sha256) == (3, first.sha256)


def test_adding_changing_and_deleting_a_question_each_make_a_version(sets):
    sets.add("hand", QUESTIONS[0])
    sets.add("hand", QUESTIONS[1])
    changed = Question("b", "Who is the queen?", ("Nobody",))
    sets.edit("hand", changed)
    assert sets.questions("hand") == [QUESTIONS[0], changed]
    made = sets.delete("hand", "a")
    assert sets.questions("hand") == [changed]
    assert made.version == 4


def test_what_cannot_be_a_set_is_refused_and_nothing_is_kept(sets):
    with pytest.raises(SetError, match="no question"):
        sets.put("x", [])
    with pytest.raises(SetError, match="Question 2 .'b'. is empty"):
        sets.put("x", [QUESTIONS[0], Question("b", "  ")])
    with pytest.raises(SetError, match="'a' of question 2"):
        sets.put("x", [QUESTIONS[0], QUESTIONS[0]])
    with pytest.raises(SettingsError, match="cannot name a set"):
        sets.put("../x", QUESTIONS)
    assert sets.list() == []


def test_what_is_not_there_is_named(sets):
    sets.put("first", QUESTIONS)
    with pytest.raises(SetError, match="no evaluation set 'other'.*first"):
        sets.get("other")
    with pytest.raises(SetError, match="no version 9"):
        sets.get("first", 9)
    with pytest.raises(SetError, match="no question 'z'"):
        sets.delete("first", "z")
    with pytest.raises(SetError, match="no question 'z'"):
        sets.edit("first", Question("z", "?"))


def test_removing_a_set_forgets_its_questions_unless_a_run_stands_on_them(tmp_path):
    collection = new(tmp_path)
    sets = Sets(collection)
    used, unused = sets.put("used", QUESTIONS), sets.put("unused", QUESTIONS[:1])
    Runs(collection).create("evaluate", "used", used.sha256, {}, "identity")
    sets.remove("used")
    sets.remove("unused")
    assert sets.list() == []
    assert sets.by_sha256(used.sha256) == QUESTIONS
    with pytest.raises(SetError, match="are gone"):
        sets.by_sha256(unused.sha256)


TEXT = st.text(min_size=1).filter(str.strip)
GOLD = st.builds(
    Gold,
    st.text(),
    st.none() | st.integers(1, 10**6),
    st.text(alphabet="abc 1", max_size=4).map(str.strip),
    st.floats(0.5, 4, allow_nan=False),
)


def _made(number: int, asked: str, answers: list[str], gold: list[Gold], passage: str, judged: bool) -> Question:
    unique = tuple(dict.fromkeys(answers)) if judged else ()
    return Question(str(number), asked.strip(), unique, tuple(gold), passage, judged)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(TEXT, st.lists(TEXT, max_size=3), st.lists(GOLD, max_size=2), st.text(), st.booleans()), min_size=1
    )
)
def test_export_and_import_give_the_same_questions_whatever_is_in_them(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("sets")
    sets = Sets(new(folder))
    questions = [_made(number, *row) for number, row in enumerate(rows)]
    made = sets.put("any", questions)
    assert sets.questions("any") == questions
    file = folder / "any.jsonl"
    file.write_text(sets.export("any"), "utf-8", newline="\n")
    assert read_set(file) == questions
    assert sets.put("any", read_set(file)) == made


def test_exported_lines_hold_what_people_write(sets):
    sets.put("first", QUESTIONS)
    lines = [json.loads(line) for line in sets.export("first").splitlines()]
    assert lines[0] == {
        "id": "a",
        "question": "Where does the cat sleep?",
        "answers": ["on the mat"],
        "gold": [{"document": "cats.txt", "page": 1, "gain": 1.0}],
    }
    assert lines[1]["answers"] == []
    assert "answers" not in lines[2]


def test_names_of_sets_and_questions():
    assert set_name("/a/My set (1).jsonl") == "My-set-1"
    assert set_name("scifact/") == "scifact"
    assert set_name("...") == "questions"
    one, other = Question("", "a?", ("b",)), Question("x", "a?", ("b",))
    assert question_id(one) == question_id(other) != question_id(Question("", "a?", ("c",)))
