"""Importers find what a file is by its content, and say the line of what is wrong."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.evaluate.importers import read_answers, read_set
from ragkit.sets import SetError
from ragkit.types import Gold, Question

SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Cats",
            "paragraphs": [
                {
                    "context": "The cat sleeps on the mat.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Where does the cat sleep? ",
                            "answers": [
                                {"text": "on the mat", "answer_start": 15},
                                {"text": "on the mat", "answer_start": 15},
                                {"text": "the mat", "answer_start": 18},
                            ],
                        },
                        {
                            "id": "q2",
                            "question": "Who owns it?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "the mat", "answer_start": 18}],
                        },
                    ],
                }
            ],
        }
    ],
}


@pytest.fixture
def read(tmp_path):
    def given_text(text: str, name: str = "file.txt") -> list[Question]:
        path = tmp_path / name
        path.write_text(text, "utf-8", newline="")
        return read_set(path)

    return given_text


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_json_lines_in_all_their_spellings(read):
    got = read(
        lines(
            {"id": 7, "question": " Where? ", "answers": ["here", "there", "here"], "document": "a.pdf", "page": 3},
            {"_id": "b", "question": "Who?", "answer": "Ann", "passage": "Ann did."},
            {"id": "c", "question": "When?", "answers": []},
            {"id": "d", "question": "Why?", "unanswerable": True},
            {"id": "e", "question": "How?", "page": "iv"},
            {"id": "f", "question": "What?", "answers": [{"text": "x", "answer_start": 0}]},
            {"id": "g", "question": "Which?", "answers": {"text": ["y"], "answer_start": [1]}},
            {"id": "h", "question": "How many?", "answer": 42},
        )
    )
    assert got == [
        Question("7", "Where?", ("here", "there"), (Gold("a.pdf", 3),)),
        Question("b", "Who?", ("Ann",), passage="Ann did."),
        Question("c", "When?"),
        Question("d", "Why?"),
        Question("e", "How?", gold=(Gold(label="iv"),), judged=False),
        Question("f", "What?", ("x",)),
        Question("g", "Which?", ("y",)),
        Question("h", "How many?", ("42",)),
    ]


def test_a_question_without_an_id_always_gets_the_same_one(read):
    record = {"question": "Where?", "answers": ["here"]}
    first, again = read(lines(record))[0], read(lines({"question": "Other?", "answers": []}, record))[1]
    assert first.id == again.id
    twice = read(lines(record, record))
    assert twice[0].id == first.id
    assert twice[1].id == f"{first.id}-2"


def test_squad_answers_are_unique_and_the_paragraph_is_the_passage(read):
    assert read(json.dumps(SQUAD), "x.csv") == [
        Question("q1", "Where does the cat sleep?", ("on the mat", "the mat"), passage="The cat sleeps on the mat."),
        Question("q2", "Who owns it?", passage="The cat sleeps on the mat."),
    ]


def test_csv_with_any_usual_delimiter(read):
    for delimiter in ",;\t":
        rows = [["ID", "Question", "Answers", "document", "page"], ["1", "Where?", "here|there", "a.pdf", "2"]]
        text = "".join(delimiter.join(row) + "\r\n" for row in rows)
        assert read(text) == [Question("1", "Where?", ("here", "there"), (Gold("a.pdf", 2),))]
    got = read('question,answer,unanswerable\n"Who, then?",Ann,\nWhen?,,yes\nWhy?,,\n')
    assert [each.answers for each in got] == [("Ann",), (), ()]
    assert all(each.judged for each in got)
    assert not read("question,page\nWhere?,2\n")[0].judged
    assert read('question,answers\nWhere?,"[""a|b"", ""c""]"\n')[0].answers == ("a|b", "c")


def test_a_beir_folder_keeps_judged_queries_and_grades(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text(lines({"_id": "1", "text": "cats"}, {"_id": "2", "text": "dogs"}))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td7\t2\n1\td8\t1\n1\td9\t0\n2\td9\t0\n")
    (tmp_path / "qrels" / "dev.tsv").write_text("2 0 d9 1\n")
    assert read_set(tmp_path) == [
        Question("1", "cats", gold=(Gold(label="d7", gain=2.0), Gold(label="d8", gain=1.0)), judged=False)
    ]
    assert [each.id for each in read_set(tmp_path, "dev")] == ["2"]
    with pytest.raises(SetError, match="judgements 'train'.*There are: dev, test"):
        read_set(tmp_path, "train")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td7\tmuch\n")
    with pytest.raises(SetError, match=r"Line 2 of .*test.tsv is no judgement"):
        read_set(tmp_path)
    shutil.rmtree(tmp_path / "qrels")
    with pytest.raises(SetError, match="no BEIR folder"):
        read_set(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (lines({"question": "a?", "answers": []}) + "{broken\n", "Line 2 of .* is not JSON"),
        (lines({"question": "a?", "answers": []}, {"answers": ["x"]}), "Line 2 of .*: it has no question"),
        (lines({"question": "a?", "answers": [["x"]]}), "Line 1 .*no list of texts"),
        (lines({"question": "a?", "answers": ["x"], "unanswerable": True}), "unanswerable and has an answer"),
        (lines({"question": "a?", "unanswerable": "perhaps"}), "'perhaps', neither true nor false"),
        (lines({"question": "a?", "answers": [], "page": 1.5}), "its page is 1.5"),
        (lines({"question": "a?", "gold": [{"gain": "much"}]}), "gain of a page is 'much'"),
        (lines({"id": "1", "question": "a?"}, {"id": "1", "question": "b?"}), "the id '1' twice"),
        ('[{"question": "a?"}, 3]', "Record 2 of .*: it is no object"),
        ('{"data": [{"paragraphs": [{"qas": [{"id": "1"}]}]}]}', r"data\[0\]\.paragraphs\[0\]\.qas\[0\].* 'answers'"),
        ("query,answer\na,b\n", "no column 'question'"),
        ('question,answer\n"a?,b\n', "Line 2 of .* is no CSV"),
        ("question,answer\na?,b,c\n", "Line 2 of .* more cells"),
        ("question,answers\na?,[b\n", "Line 2 of .*no JSON list"),
        ("question\n", "holds no question"),
        ("", "no column 'question'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(read, text, said):
    with pytest.raises(SetError, match=said):
        read(text)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SetError, match="cannot be read"):
        read_set(tmp_path / "none.jsonl")
    (tmp_path / "latin.csv").write_bytes("question\nWo schläft sie?\n".encode("latin-1"))
    with pytest.raises(SetError, match="cannot be read.*UTF-8"):
        read_set(tmp_path / "latin.csv")


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1")), st.text(alphabet='{}[]":,question\n')))
def test_any_text_is_read_or_refused_in_a_sentence(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "file"
    path.write_text(text, "utf-8", newline="")
    for read_one in (read_set, read_answers):
        with contextlib.suppress(SetError):  # any other exception fails the test
            assert read_one(path) is not None


CELL = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELL, CELL.filter(lambda text: "|" not in text and text[0] != "[")), min_size=1, max_size=5))
def test_csv_cells_with_anything_in_them(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "file.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answers"])
        writer.writerows(rows)
    assert [(each.question, each.answers) for each in read_set(path)] == [(q, (a,)) for q, a in rows]


def test_answers_made_elsewhere(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"q1": "on the mat", "q2": "", "q3": null}')
    assert read_answers(path) == {"q1": "on the mat", "q2": "", "q3": ""}
    path.write_text(lines({"id": "q1", "answer": "a"}, {"_id": 2, "answer": None}))
    assert read_answers(path) == {"q1": "a", "2": ""}
    path.write_text(lines({"id": "q1", "answer": "a"}))
    assert read_answers(path) == {"q1": "a"}
    path.write_text(lines({"id": "q1", "answer": "a"}, {"id": "q1", "answer": "b"}))
    with pytest.raises(SetError, match="Line 2 of .* answers 'q1' again"):
        read_answers(path)
    path.write_text('{"q1": 3}')
    with pytest.raises(SetError, match="'q1' of .* is no text"):
        read_answers(path)
    path.write_text(lines({"id": "q1", "answer": "a"}, {"id": "q2"}))
    with pytest.raises(SetError, match="Line 2 of .* is no answer"):
        read_answers(path)


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "count", "unanswerable"),
    [
        ("squad/squad-v1.1-dev.json", 8391, 0),
        ("squad/squad-v2.0-dev.json", 7919, 3887),
        ("ir/scifact", 300, 0),
        ("ir/adi", 35, 0),
    ],
)
def test_official_files(data, path, count, unanswerable):
    questions = read_set(data / path)
    assert len(questions) == count
    assert sum(each.judged and not each.answerable for each in questions) == unanswerable
    if path.startswith("squad"):
        assert all(any(answer in each.passage for answer in each.answers) or not each.answers for each in questions)
    else:
        assert all(each.gold and not each.judged for each in questions)
