"""Hard prompt search: the split, the rounds, the winner, one test on what it never saw."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import Cancelled, TemplateError
from ragkit.prompt.source import load
from ragkit.prompt_search import FEWEST, Space, rounds_of, search, split
from ragkit.runs import RunError, Runs
from ragkit.sets import Sets
from ragkit.settings import RetrieveSettings
from ragkit.types import Demonstration, Question, Variant
from ragkit.workbench import Workbench
from tests.command import ragkit
from tests.library import filled, new, put

NEVER = RetrieveSettings(abstain_below=0.0, k=1, retriever="words")
COUNT = 40
CITE = Variant(template="cite", engine="echo")


@pytest.fixture
def bench(tmp_path):
    """The nearest passage to each question says nothing, the second nearest all: k = 2 must win, and clearly."""
    collection = new(tmp_path)
    near = [f"Code{n} code{n} code{n} code{n} code{n}." for n in range(COUNT)]
    right = [f"Code{n} has the tint shade{n} in every light and on every other day of the week." for n in range(COUNT)]
    put(collection, "near.txt", near)
    put(collection, "right.txt", right)
    asked = [Question(f"q{n}", f"Which tint has code{n}?", (f"shade{n}",)) for n in range(COUNT)]
    Sets(collection).put("colours", asked)
    return Workbench(collection)


@given(st.integers(1, 200), st.integers(1, 2000))
def test_rounds_grow_to_all_questions(candidates, questions):
    rounds = rounds_of(candidates, questions)
    assert rounds[-1] == questions
    assert all(one <= other for one, other in pairwise(rounds))
    assert all(size >= min(FEWEST, questions) for size in rounds)
    left = candidates
    for _ in rounds:
        left = -(-left // 2)
    assert left == 1


@given(st.lists(st.integers(0, 15), min_size=4, max_size=60).filter(lambda rows: len(set(rows)) > 3), st.integers(0, 9))
def test_a_split_keeps_a_passage_on_one_side_and_loses_nothing(passages, seed):
    asked = [Question(str(n), "?", ("x",), passage=f"p{passage}") for n, passage in enumerate(passages)]
    try:
        training, held_out = split(asked, 0.5, seed)
    except RunError:
        return  # one passage holds more than its half
    assert sorted(each.id for each in training + held_out) == sorted(each.id for each in asked)
    assert not {each.passage for each in training} & {each.passage for each in held_out}
    assert (training, held_out) == split(asked, 0.5, seed)


def test_a_split_that_leaves_a_part_empty_is_refused():
    asked = [Question(str(n), "?", ("x",), passage="one") for n in range(9)]
    with pytest.raises(RunError, match="9 questions cannot be split"):
        split(asked, 0.5)
    with pytest.raises(RunError, match="cannot be split at 0"):
        split([Question("a", "?"), Question("b", "?")], 0.0)


def test_the_planted_winner_wins_and_the_held_out_part_confirms_it(bench):
    found = search(bench, "colours", CITE, Space(("cite", "concise"), ks=(1, 2)), retrieve=NEVER)
    assert [each.name for each in found.candidates] == ["cite, k 1", "cite, k 2", "concise, k 1", "concise, k 2"]
    assert (found.training, found.held_out) == (20, 20)
    assert found.candidates[found.winner].k == 2
    assert found.comparison is not None
    assert found.comparison.questions == 20
    assert found.comparison.verdict == "better"
    assert found.verdict.startswith("better by")
    assert [(trial.round, trial.questions) for trial in found.trials] == [(1, 10)] * 4 + [(2, 20)] * 2
    assert [trial.goes_on for trial in found.trials].count(True) == 3
    run = Runs(bench.collection).get(found.run)
    assert (run.kind, run.state) == ("search", "done")
    assert Runs(bench.collection).report(run.id)["verdict"] == found.verdict


def test_a_second_search_is_served_from_the_cache_and_says_the_same(bench):
    space = Space(("cite",), ks=(1, 2, 3))
    first = search(bench, "colours", CITE, space, retrieve=NEVER)
    second = search(bench, "colours", CITE, space, retrieve=NEVER)
    assert first.generated > 0
    assert second.generated == 0
    assert second.trials == first.trials
    assert (second.winner, second.verdict) == (first.winner, first.verdict)


def test_an_instruction_takes_the_place_of_the_system_block_and_nothing_is_written(bench):
    space = Space(("cite",), instructions=("Answer as a pirate would.",))
    found = search(bench, "colours", CITE, space, retrieve=NEVER)
    assert [each.name for each in found.candidates] == ["cite, k 1", "cite, instruction 1, k 1"]
    assert found.winner == 0
    assert found.comparison is None
    assert "default" in found.verdict
    assert not (bench.collection.home / "templates").exists()
    with pytest.raises(TemplateError, match="no template"):
        bench.templates.get("cite-candidate-1")


def test_demonstrations_multiply_only_templates_that_show_them(bench):
    bench.collection.add_demonstrations([Demonstration(f"q{n}", f"a{n}") for n in range(4)])
    space = Space(("cite", "few-shot"), demonstrations=(0, 2))
    found = search(bench, "colours", CITE, space, retrieve=NEVER)
    assert [each.name for each in found.candidates] == [
        "cite, k 1",
        "few-shot, k 1, 0 examples",
        "few-shot, k 1, 2 examples",
    ]


def test_a_search_of_one_candidate_is_refused_and_a_stop_is_obeyed(bench):
    with pytest.raises(RunError, match="only the default"):
        search(bench, "colours", CITE, Space(("cite",)), retrieve=NEVER)
    stops = iter([False] * 60)
    with pytest.raises(Cancelled):
        search(
            bench, "colours", CITE, Space(("cite",), ks=(1, 2)), retrieve=NEVER, should_stop=lambda: next(stops, True)
        )
    assert [run.state for run in Runs(bench.collection).list()] == ["stopped"]
    again = search(bench, "colours", CITE, Space(("cite",), ks=(1, 2)), retrieve=NEVER)
    assert again.cached > 0
    assert [run.state for run in Runs(bench.collection).list()] == ["done"]


def test_the_winner_can_be_kept_as_a_template(tmp_path):
    home = tmp_path / "home"
    filled(home)
    lines = [{"id": str(n), "question": f"Where does cat {n} sleep?", "answers": ["on the mat"]} for n in range(12)]
    file = tmp_path / "q.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["-t", "cite", "-t", "concise", "-k", "1", "--engine", "echo", "-c", "notes", "--abstain-below", "0"]
    shown = ragkit("search-prompts", file, *options, home=home)
    assert "cite, k 1 (default)" in shown.stdout
    assert "concise, k 1" in shown.stdout
    told = ragkit("search-prompts", file, *options, "--json", "--save", "best", home=home)
    found = json.loads(told.stdout)
    assert load(found["template"]).user
    assert (home / "templates" / "best.toml").exists() == (found["winner"] != 0)
