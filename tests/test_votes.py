"""Votes and grades: what they keep, what they say of variants and their parts, and which pair comes next."""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from ragkit.collection import Collection
from ragkit.errors import CollectionError, SettingsError
from ragkit.evaluate import ballots as polls
from ragkit.evaluate.ratings import Ballot
from ragkit.history import History
from ragkit.types import Answer, Decoding, Demonstration, Variant
from ragkit.votes import Votes, draw_of
from ragkit.workbench import Workbench
from tests import library
from tests.command import ragkit, rows

ECHO = Variant(engine="echo", model="echo")
QUESTION = "What does LoRA freeze?"


@pytest.fixture
def collection(home: Path) -> Collection:
    made = library.filled(home, "sample")
    made.add_demonstrations([Demonstration("Who sleeps?", "The cat.", "The cat sleeps."), Demonstration("Why?", "So.")])
    return made


def compared(
    collection: Collection, *variants: Variant, thread: str = "t1", texts: tuple[str, ...] = ()
) -> list[Answer]:
    """Kept answers of one comparison; `texts` stand for what the models said."""
    answers = Workbench(collection).compare(QUESTION, variants)
    told = texts or tuple(f"{'word ' * place}end {place}." for place in range(1, len(answers) + 1))
    history = History(collection)
    return [history.keep(replace(each, text=text), thread, "compare") for each, text in zip(answers, told, strict=True)]


def two(collection: Collection, *variants: Variant, thread: str = "t1") -> tuple[Votes, Answer, Answer]:
    left, right = compared(collection, *(variants or (ECHO, replace(ECHO, template="quote"))), thread=thread)
    return Votes(collection), left, right


class TestVotes:
    def test_a_vote_keeps_everything_that_led_to_the_answers(self, collection: Collection) -> None:
        votes, left, right = two(collection, ECHO, replace(ECHO, template="few-shot", decoding=Decoding(seed=7)))
        vote = votes.cast(left.id, right.id, "right", blind=True, draw=42, seconds=3.5, comment="clearer")
        assert votes.list() == [vote]
        assert (vote.left.answer, vote.right.answer) == (left, right)
        assert vote.left.template_sha256 == Workbench(collection).templates.get("cite").sha256
        assert vote.left.chunk_sha256 == tuple(hashlib.sha256(hit.text.encode()).hexdigest() for hit in left.hits)
        assert vote.right.answer.prompt.demonstrations
        assert vote.right.answer.variant.decoding.seed == 7
        assert (vote.question, vote.thread, vote.blind, vote.draw) == (QUESTION, "t1", True, 42)
        assert (vote.choice, vote.seconds, vote.comment) == ("right", 3.5, "clearer")
        assert vote.preferred == (vote.right, vote.left)

    def test_deleting_the_answers_and_the_documents_loses_nothing(self, collection: Collection) -> None:
        votes, left, right = two(collection)
        vote = votes.cast(left.id, right.id, "left")
        History(collection).forget("t1")
        for document in collection.documents():
            collection.remove(document.name)
        assert votes.get(vote.id) == vote
        assert vote.left.answer.prompt.hits[0].text

    def test_the_template_is_known_by_what_it_was_when_it_answered(self, collection: Collection) -> None:
        store = Workbench(collection).templates
        before = store.copy("cite", "mine")
        votes, left, right = two(collection, ECHO, replace(ECHO, template="mine"))
        store.save(store.text("mine").replace("{question}", "Be brief. {question}"))
        vote = votes.cast(left.id, right.id, "left")
        assert vote.right.template_sha256 == before.sha256 != store.get("mine").sha256

    def test_the_weights_are_known_by_their_hashes(self, collection: Collection, tmp_path: Path) -> None:
        (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
        (tmp_path / "model.gguf").write_bytes(b"GGUF and weights")
        votes, left, right = two(collection)
        variant = replace(ECHO, engine="auto", model=str(tmp_path / "model.gguf"), adapter=str(tmp_path))
        tuned = History(collection).keep(replace(right, variant=variant), "t1", "compare")
        vote = votes.cast(left.id, tuned.id, "tie")
        assert (vote.left.model_sha256, vote.left.adapter_sha256) == ("", "")
        assert vote.right.model_sha256 == hashlib.sha256(b"GGUF and weights").hexdigest()
        assert vote.right.adapter_sha256 == hashlib.sha256(b"weights").hexdigest()
        (tmp_path / "model.gguf").unlink()
        assert votes.cast(left.id, tuned.id, "tie").right.model_sha256 == "", "a vote does not fail for a lost model"

    def test_undo_takes_back_the_last_vote_and_no_id_is_used_twice(self, collection: Collection) -> None:
        votes, left, right = two(collection)
        first, second = votes.cast(left.id, right.id, "left"), votes.cast(right.id, left.id, "left")
        assert votes.undo() == second
        assert votes.list() == [first]
        assert votes.cast(left.id, right.id, "tie").id > second.id
        assert votes.undo("another comparison") is None
        assert (votes.undo("t1").choice, votes.undo("t1"), votes.undo(), votes.count()) == ("tie", first, None, 0)

    def test_votes_are_listed_by_comparison_and_the_latest_on_request(self, collection: Collection) -> None:
        votes, left, right = two(collection)
        cast = [votes.cast(left.id, right.id, "left") for _ in range(3)]
        _, one, other = two(collection, thread="t2")
        later = votes.cast(one.id, other.id, "left")
        assert votes.list("t2") == [later]
        assert votes.list(limit=2) == [cast[-1], later]

    def test_what_is_no_vote_is_refused_with_a_reason(self, collection: Collection) -> None:
        votes, left, right = two(collection)
        _, other, _ = two(collection, thread="t2")
        with pytest.raises(SettingsError, match=r"'both'.*left, right, tie, bad"):
            votes.cast(left.id, right.id, "both")
        later = History(collection).keep(replace(left, question="And the cat?"), "t1", "ask")
        for one, another in ((left.id, other.id), (left.id, left.id), (left.id, later.id)):
            with pytest.raises(CollectionError, match="not two answers of one comparison"):
                votes.cast(one, another, "left")
        with pytest.raises(CollectionError, match="999 is not in the history"):
            votes.cast(left.id, 999, "left")
        assert votes.count() == 0


class TestGrades:
    def test_the_second_grade_of_an_answer_replaces_the_first(self, collection: Collection) -> None:
        votes, left, right = two(collection)
        votes.grade(left.id, False, comment="too short")
        grade = votes.grade(left.id, True, edited=" Better. ")
        votes.grade(right.id, True, edited=right.text)
        assert votes.grades(left.id) == [grade]
        assert (grade.good, grade.edited, grade.comment, grade.judged.answer) == (True, "Better.", "", left)
        assert votes.grades(right.id)[0].edited == "", "the same text is no edit"
        assert [votes.ungrade(left.id), votes.ungrade(left.id), len(votes.grades())] == [True, False, 1]

    def test_good_and_edited_answers_become_worked_examples(self, collection: Collection) -> None:
        collection.clear_demonstrations()
        answers = compared(collection, ECHO, ECHO, ECHO, texts=("Good [1]. So [2, 3].", "Bad.", "Wrong."))
        votes = Votes(collection)
        for answer, good, edited in zip(answers, (True, False, False), ("", "", "Right."), strict=True):
            votes.grade(answer.id, good, edited=edited)
        assert [votes.to_demonstrations(answer.id) for answer in answers[1::-1]] == [0, 1]
        assert votes.to_demonstrations() == 1
        bank = collection.demonstrations()
        assert [(each.question, each.answer) for each in bank] == [(QUESTION, "Good. So."), (QUESTION, "Right.")]
        assert bank[0].passage == next(h.text for h in answers[0].hits if h.chunk == answers[0].citations[0].chunk)
        assert votes.to_demonstrations() == 0


class TestBallots:
    def test_each_factor_sees_what_made_the_answers(self, collection: Collection) -> None:
        few = replace(ECHO, template="few-shot", selector="random", demonstrations=2, order="bank")
        votes, left, right = two(collection, ECHO, few)
        votes.cast(left.id, right.id, "right")
        (cast,) = polls.ballots(votes.list())
        assert (cast.left, cast.right, cast.choice) == (ECHO.name, few.name, "right")
        assert cast.length_difference == pytest.approx(math.log(3 / 4))
        levels = {factor: [(b.left, b.right) for b in polls.ballots(votes.list(), factor)] for factor in polls.FACTORS}
        assert levels["template"] == [("cite", "few-shot")]
        assert levels["selector"] == [("none", "random")]
        assert levels["k"] == [("0", "2")]
        assert levels["order"] == [("none", "bank")]
        assert levels["model"] == levels["adapter"] == [], "equal levels inform nothing"

    def test_decoding_makes_another_variant_and_a_seed_does_not(self, collection: Collection) -> None:
        warm = replace(ECHO, decoding=Decoding(temperature=0.7))
        assert polls.variant_name(warm) == f"{ECHO.name} + temperature 0.7"
        votes, left, right = two(collection, ECHO, replace(ECHO, decoding=Decoding(seed=3)))
        votes.cast(left.id, right.id, "left")
        assert polls.ballots(votes.list()) == []

    def test_a_template_that_was_changed_is_another_contestant(self, collection: Collection) -> None:
        store = Workbench(collection).templates
        store.copy("cite", "mine")
        mine = replace(ECHO, template="mine")
        votes, left, right = two(collection, ECHO, mine)
        votes.cast(left.id, right.id, "left")
        assert polls.ballots(votes.list(), "template")[0].right == "mine"
        store.save(store.text("mine").replace("{question}", "Be brief. {question}"))
        _, left, right = two(collection, ECHO, mine, thread="t2")
        votes.cast(left.id, right.id, "left")
        for factor in ("template", "variant"):
            cast = polls.ballots(votes.list(), factor)
            assert len({ballot.left for ballot in cast}) == 1
            assert len({ballot.right for ballot in cast}) == 2
            assert all(" @" in ballot.right and " @" not in ballot.left for ballot in cast)

    def test_alone_counts_only_what_differs_in_nothing_else(self, collection: Collection) -> None:
        few = replace(ECHO, template="few-shot")
        made = [ECHO, few, replace(few, demonstrations=1), replace(few, selector="first", demonstrations=2)]
        answers = compared(collection, *made)
        votes = Votes(collection)
        for left, right in combinations(answers, 2):
            votes.cast(left.id, right.id, "left")
        told = {
            factor: (len(polls.ballots(votes.list(), factor)), len(polls.ballots(votes.list(), factor, alone=True)))
            for factor in polls.FACTORS
        }
        assert told == {
            "variant": (6, 6), "template": (3, 1), "selector": (5, 0), "k": (6, 1), "order": (3, 0),
            "model": (0, 0), "adapter": (0, 0),
        }  # fmt: skip

    def test_an_unknown_factor_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="'colour'"):
            polls.ballots([], "colour")

    def test_the_better_template_is_found_whatever_the_side(self, collection: Collection) -> None:
        votes, cite, quote = two(collection)
        for number in range(16):
            left, right = (cite, quote) if number % 2 else (quote, cite)
            votes.cast(left.id, right.id, "left" if left is quote else "right")
        table = polls.table(votes.list(), "template")
        assert ([rating.name for rating in table.ratings], table.enough) == (["quote", "cite"], True)
        assert abs(table.left_bonus) < 1e-6


class TestPairs:
    def test_every_pair_of_a_comparison_comes_once(self, collection: Collection) -> None:
        templates = ("cite", "quote", "concise", "strict")
        answers = compared(collection, *(replace(ECHO, template=name) for name in templates))
        votes, seen = Votes(collection), []
        while pairing := polls.pair(votes.list(), "t1", answers):
            assert polls.pair(votes.list(), "t1", answers[::-1]) == pairing, "a reload shows the same"
            assert (pairing.left.id > pairing.right.id) == polls.swapped(pairing.draw), "the draw places the sides"
            votes.cast(pairing.left.id, pairing.right.id, "tie", draw=pairing.draw)
            seen.append(frozenset((pairing.left.id, pairing.right.id)))
        assert set(seen) == {frozenset((one.id, other.id)) for one, other in combinations(answers, 2)}
        assert len(seen) == 6

    def test_other_variants_come_first_and_equal_texts_never(self, collection: Collection) -> None:
        answers = compared(
            collection, ECHO, ECHO, replace(ECHO, template="quote"), replace(ECHO, template="concise"),
            texts=("One.", "Two.", "Three.", "Three."),
        )  # fmt: skip
        votes, seen = Votes(collection), []
        while pairing := polls.pair(votes.list(), "t1", answers):
            votes.cast(pairing.left.id, pairing.right.id, "tie")
            seen.append({pairing.left.text, pairing.right.text})
        assert seen[-1] == {"One.", "Two."}
        assert len(seen) == 5

    def test_it_says_when_enough_votes_are_in(self, collection: Collection) -> None:
        votes, cite, quote = two(collection)
        assert not polls.pair([], "t1", [cite, quote]).enough
        for _ in range(12):
            votes.cast(cite.id, quote.id, "right")
            votes.cast(quote.id, cite.id, "left")
        fresh = compared(collection, cite.variant, quote.variant, thread="t2")
        assert polls.pair(votes.list(), "t2", fresh).enough
        other = compared(collection, cite.variant, replace(ECHO, template="concise"), thread="t3")
        assert not polls.pair(votes.list(), "t3", other).enough, "it is about the variants that are compared"

    def test_sides_are_fair_and_follow_from_the_draw(self) -> None:
        draws = [draw_of(f"thread {number}", 1, 2) for number in range(2000)]
        assert abs(sum(map(polls.swapped, draws)) / len(draws) - 0.5) < 0.05
        assert draw_of("t", 1, 2) == draw_of("t", 2, 1) != draw_of("u", 1, 2)

    def test_the_next_variants_are_the_unsettled_ones(self, collection: Collection) -> None:
        variants = [replace(ECHO, template=name) for name in ("cite", "quote", "concise")]
        votes, cite, quote = two(collection, variants[0], variants[1])
        for _ in range(20):
            votes.cast(cite.id, quote.id, "left")
            votes.cast(quote.id, cite.id, "right")
        chosen = {polls.next_variants(votes.list(), variants, draw) for draw in range(8)}
        assert chosen == {(variants[0], variants[2]), (variants[2], variants[0])}
        with pytest.raises(SettingsError, match="two different variants"):
            polls.next_variants([], [ECHO, replace(ECHO, decoding=Decoding(seed=5))], 0)

    def test_pairs_restricted_to_some_are_chosen_from_them(self) -> None:
        cast = [Ballot("a", "b", random.Random(place).choice(["left", "right"])) for place in range(9)]
        assert polls.next_pair(cast, "abc", [("a", "b")]) == ("a", "b")


class TestCommands:
    def test_list_undo_and_ratings(self, collection: Collection, home: Path) -> None:
        votes, cite, quote = two(collection)
        assert "no votes" in ragkit("votes", home=home).stderr
        assert "No vote tells anything" in ragkit("ratings", home=home).stderr
        for _ in range(12):
            votes.cast(cite.id, quote.id, "right")
            votes.cast(quote.id, cite.id, "left")
        listed = rows(ragkit("votes", "--json", home=home))
        assert [row["id"] for row in listed] == [vote.id for vote in votes.list()]
        assert "right is better" in ragkit("votes", home=home).stdout
        (table,) = rows(ragkit("ratings", "--by", "template", "--json", home=home))
        assert ([rating["name"] for rating in table["ratings"]], table["enough"]) == (["quote", "cite"], True)
        shown = ragkit("ratings", "--by", "template", home=home)
        assert shown.stdout.index("quote") < shown.stdout.index("cite")
        assert "quote is the strongest" in shown.stderr
        assert "'colour'" in ragkit("ratings", "--by", "colour", home=home, expect=1).stderr
        (undone,) = rows(ragkit("votes", "undo", "--json", home=home))
        assert undone["id"] == listed[-1]["id"]
        assert votes.count() == 23

    def test_export(self, collection: Collection, home: Path, tmp_path: Path) -> None:
        votes, cite, quote = two(collection)
        votes.cast(cite.id, quote.id, "right")
        ragkit("votes", "export", home=home, expect=2)
        export = ("votes", "export", "--format", "dpo", "--to", tmp_path / "out.jsonl")
        assert "1 left out: the prompts differ" in ragkit(*export, home=home).stderr
        (told,) = rows(ragkit(*export, "--template", "concise", "--json", home=home))
        assert (told["rows"], told["left_out"]) == (1, {})
        (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
        assert (row["template"], row["chosen"][0]["content"]) == ("concise", quote.text)
        assert "nonesuch" in ragkit(*export, "-t", "nonesuch", home=home, expect=1).stderr


def test_a_comparison_on_the_command_line_can_be_voted_on(home: Path) -> None:
    library.filled(home)
    at = ("--collection", "notes", "--json")
    question = ("compare", "Which matrices does LoRA learn?", "-v", "cite", "-v", "quote", "--engine", "echo")
    left, right = (str(json.loads(line)["id"]) for line in ragkit(*question, *at, home=home).stdout.splitlines())
    cast = ragkit("votes", "cast", "--left", left, "--right", right, "--choice", "left", *at, home=home)
    assert json.loads(cast.stdout)["choice"] == "left"
    assert not json.loads(cast.stdout)["blind"]
    assert len(ragkit("votes", *at, home=home).stdout.splitlines()) == 1
    ragkit("votes", "cast", "--left", left, *at, home=home, expect=2)
    done = ragkit("votes", "cast", "--left", left, "--right", "999", "--choice", "tie", *at, home=home, expect=1)
    assert "999" in done.stderr
